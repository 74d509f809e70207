"""bench/stopwatch.py: when a line of another process is there, by the clock that all processes share."""

import os
import selectors
import sys
import time

LIMIT_S = 60


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def watch_closely():
    """A reader of equal rank may wait until whoever has written the line lets go of the core, at times longer than all
    that is measured takes. This one does not; what is started from here is of equal rank."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        print("not root: some times include how long the reader waits for a core", file=sys.stderr)


def read_line(process, limit_s=LIMIT_S):
    """The next line of stdout, with the time at which it was there."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(limit_s):
            raise SystemExit("no line in time")
    at = now()
    return process.stdout.readline().decode(), at


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]
