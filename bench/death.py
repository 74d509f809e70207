"""bench/death.py: how long a killed process takes to be seen as dead, by pidfd; and what an inotify descriptor adds.

The death of a process is told when all its descriptors are closed. Compares, in turns: a process that holds nothing,
one that holds an inotify descriptor with one watch, and `baton watch`, which waits for changes of its namespace.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

PLAIN = "import sys, time; print('up', flush=True); time.sleep(1000)"
INOTIFY = ("import ctypes, time; libc = ctypes.CDLL(None); fd = libc.inotify_init1(0); "
           "assert libc.inotify_add_watch(fd, b'/tmp', 2) >= 0; " + PLAIN)
LIMIT_S = 20


def one(argv):
    """Milliseconds from the kill to the pidfd that is readable."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        process.stdout.readline()
        fd = os.pidfd_open(process.pid)
        begin = time.monotonic()
        process.send_signal(signal.SIGKILL)
        if not select.select([fd], [], [], LIMIT_S)[0]:
            raise SystemExit("death: not seen")
        took = time.monotonic() - begin
        os.close(fd)
        return took * 1000
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default="build/baton")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        url = f"local:{folder}/state"
        subprocess.run([options.baton, "hold", "--url", url, "x"], stdout=subprocess.DEVNULL, check=True)
        kinds = {"a process that holds nothing": ["/usr/bin/python3", "-c", PLAIN],
                 "one that holds an inotify descriptor": ["/usr/bin/python3", "-c", INOTIFY],
                 "baton watch": [options.baton, "watch", "--url", url]}
        times = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, argv in kinds.items():
                times[kind].append(one(argv))
    plain = sorted(times["a process that holds nothing"])[options.rounds // 2]
    for kind, values in times.items():
        values.sort()
        median = values[len(values) // 2]
        print(f"{kind}: p50 {median:.2f} ms, longest {values[-1]:.2f} ms, {median / plain:.1f} times the first")
    return 0


if __name__ == "__main__":
    sys.exit(main())
