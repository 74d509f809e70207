"""bench/memory.py: the private memory of an idle `baton run` and its guard, together (Private_* of smaps_rollup)."""

import argparse
import signal
import subprocess
import sys
import tempfile

BOUND_KIB = 12 * 1024


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(child) for child in listed.read().split()]


def name(pid):
    with open(f"/proc/{pid}/comm") as comm:
        return comm.read().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baton", default="build/baton")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        process = subprocess.Popen(
            [options.baton, "run", "--url", f"local:{folder}/state", "bench", "--", "sh", "-c",
             "echo up; exec sleep 100000"],
            stdout=subprocess.PIPE, start_new_session=True)
        try:
            process.stdout.readline()
            parts = {"baton run": private_kib(process.pid)}
            for child in children(process.pid):
                for one in [child, *children(child)]:
                    if name(one).startswith("baton"):
                        parts[name(one)] = private_kib(one)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    total = sum(parts.values())
    print(", ".join(f"{part} {kib} KiB" for part, kib in parts.items())
          + f": {total} KiB private together (bound: {BOUND_KIB} KiB)")
    return 0 if len(parts) >= 2 and total <= BOUND_KIB else 1


if __name__ == "__main__":
    sys.exit(main())
