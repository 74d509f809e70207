"""bench/writes.py: one takeover among many processes: how long it takes, and how many records change for it.

Starts `baton run` many times on one election, kills the leader's supervisor again and again, and starts it anew when
the next one leads and all stand again. Prints the median and the 99th percentile of the takeovers (from the SIGKILL to
the first line of the next leader's command), and the writes of each: the namespace's revision, which is read from the
state directory, grows by one for each write that changes records. They are: the end of the dead one's session, with
which its presence vanishes; the claim of the next one; the presence of the one that was started in its place.
"""

import argparse
import os
import re
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from stopwatch import now, percentile, watch_closely

LIMIT_S = 60


def revision(folder):
    with sqlite3.connect(f"file:{folder}/state/baton.db?mode=ro", uri=True) as db:
        return db.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]


class Run:
    def __init__(self, options, folder, selector):
        self.process = subprocess.Popen(
            [options.baton, "run", "--url", f"local:{folder}/state", "--ttl", "10s", "bench", "--", "sh", "-c",
             'echo "$BATON_TERM"; exec sleep 100000'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def kill(self, selector):
        """Returns when."""
        selector.unregister(self.process.stdout)
        killed = now()
        self.process.kill()
        return killed

    def bury(self):
        self.process.wait()
        self.process.stdout.close()


def wait_for_leader(selector, term):
    """Returns who leads now, its term, and when that was seen."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        for key, _ in selector.select(end - time.monotonic()):
            at = now()
            line = os.read(key.fd, 100)
            if re.fullmatch(rb"\d+\n", line) and int(line) > term:
                return key.data, int(line), at
    raise SystemExit("writes: nobody leads")


def wait_for_candidates(options, folder):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        told = subprocess.run([options.baton, "status", "--json", "--url", f"local:{folder}/state", "bench"],
                              stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False).stdout
        if told.count('"id"') == options.candidates:
            return
        time.sleep(0.05)
    raise SystemExit("writes: not all candidates stand")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default="build/baton")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--settle", type=float, default=0.1, help="seconds in which all only stand")
    options = parser.parse_args()
    watch_closely()
    selector = selectors.DefaultSelector()
    runs, times = [], []
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        try:
            runs = [Run(options, folder, selector) for _ in range(options.candidates)]
            leader, term, _ = wait_for_leader(selector, 0)
            wait_for_candidates(options, folder)
            before = revision(folder)
            for _ in range(options.kills):
                time.sleep(options.settle)
                dead, killed = leader, leader.kill(selector)
                leader, term, at = wait_for_leader(selector, term)
                times.append((at - killed) * 1000)
                dead.bury()
                runs.remove(dead)
                runs.append(Run(options, folder, selector))
                wait_for_candidates(options, folder)
            writes = (revision(folder) - before) / options.kills
            print(f"{options.kills} takeovers among {options.candidates} candidates: "
                  f"p50 {percentile(times, 0.5):.2f} ms, p99 {percentile(times, 0.99):.2f} ms; "
                  f"{writes:.2f} writes each (bound: 3)")
        finally:
            for run in runs:
                try:
                    run.process.send_signal(signal.SIGTERM)
                except ProcessLookupError:
                    pass
            for run in runs:
                run.process.wait(LIMIT_S)
    return 0 if writes <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
