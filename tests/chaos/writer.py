#!/usr/bin/python3
"""What the leader runs in tests/chaos: it writes its term into a shared resource as long as it lives.

    writer.py FOLDER

The log gets a line when it begins and a stamp every few milliseconds, so the last stamp is at most that much older than
its end. The resource, an SQLite file, takes a row only with a term that is not older than the newest: a fence.
"""

import fcntl
import os
import sqlite3
import sys
import time

STAMP_S = 0.003


def main():
    folder, term, instance = sys.argv[1], int(os.environ["BATON_TERM"]), os.environ["BATON_ID"]
    lock = os.open(os.path.join(folder, "alone"), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = 1
    except BlockingIOError:
        alone = 0
    log = os.open(os.path.join(folder, f"log-{term}-{os.getpid()}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"begin {term} {instance} {alone}\n".encode())
    resource = sqlite3.connect(os.path.join(folder, "resource.db"), timeout=0.05, isolation_level=None)
    print(f"up {term}", flush=True)
    while True:
        os.write(log, f"{time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\n".encode())
        try:
            done = resource.execute("insert into rows (term, instance) select ?, ? where ? >= "
                                    "(select coalesce(max(term), 0) from rows)", (term, instance, term))
            if done.rowcount == 0:
                os.write(log, b"fenced\n")
        except sqlite3.OperationalError:
            pass  # busy: another one was killed in the middle, or is stopped there
        time.sleep(STAMP_S)


main()
