"""bench/writes.py: how many records change for one takeover, with many candidates.

Starts `baton run` many times on one election, kills the leader's supervisor again and again, starts it anew, and reads
the namespace's revision from the state directory: it grows by one for each write that changes records. A takeover is:
the testament, by which the dead one's guard names the next leader; the end of its session, with which its presence
vanishes; and the presence of the one that was started in its place.
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
        selector.unregister(self.process.stdout)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def wait_for_leader(selector, term):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        for key, _ in selector.select(end - time.monotonic()):
            line = os.read(key.fd, 100)
            if re.fullmatch(rb"\d+\n", line) and int(line) > term:
                return key.data, int(line)
    raise SystemExit("writes: nobody leads")


def wait_for_candidates(options, folder, count):
    """Wait until so many stand, by the command that follows the changes."""
    watch = subprocess.Popen([options.baton, "status", "--json", "--url", f"local:{folder}/state", "bench"],
                             stdout=subprocess.PIPE, text=True)
    told = watch.communicate(timeout=LIMIT_S)[0]
    return told.count('"id"') == count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default="build/baton")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--kills", type=int, default=100)
    options = parser.parse_args()
    selector = selectors.DefaultSelector()
    runs = []
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        try:
            runs = [Run(options, folder, selector) for _ in range(options.candidates)]
            leader, term = wait_for_leader(selector, 0)
            end = time.monotonic() + LIMIT_S
            while not wait_for_candidates(options, folder, options.candidates):
                if time.monotonic() > end:
                    raise SystemExit("writes: not all candidates stand")
            before = revision(folder)
            for _ in range(options.kills):
                leader.kill(selector)
                runs.remove(leader)
                runs.append(Run(options, folder, selector))
                leader, term = wait_for_leader(selector, term)
            end = time.monotonic() + LIMIT_S
            while not wait_for_candidates(options, folder, options.candidates):
                if time.monotonic() > end:
                    raise SystemExit("writes: not all candidates stand")
            writes = (revision(folder) - before) / options.kills
            print(f"{options.kills} takeovers among {options.candidates} candidates: {writes:.2f} writes each "
                  f"(bound: 3)")
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
