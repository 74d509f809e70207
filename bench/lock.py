"""bench/lock.py: locks, on the local engine and on an etcd of its own.

  command   `baton lock X -- true` next to `flock X true`, in turns (local)
  rate      one client that acquires and releases a lock nobody else wants, next to two bare writes of the same engine
            for each, in turns: without waiting for the end of a release, as a program would, and with; local: and next
            to flock(2), and to PostgreSQL's advisory locks (one session)
  line      many clients of one process wait; the lock goes from one to the next: writes, and the time of a hand-over

Each prints what is asked of it ("kept", "MISSED").
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "etcd"))
sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position
from server import Server, program  # noqa: E402 pylint: disable=wrong-import-position

LIMIT_S = 900


def median(values):
    return sorted(values)[len(values) // 2]


def timed(command, **kwargs):
    begin = time.perf_counter()
    subprocess.run(command, check=True, timeout=LIMIT_S, **kwargs)
    return (time.perf_counter() - begin) * 1000


def tell(what, measured, kept=None):
    print(f"{what:<52} {measured:>14}  {'' if kept is None else 'kept' if kept else 'MISSED'}".rstrip(), flush=True)


def run(options, *args):
    done = subprocess.run([options.bench, *map(str, args)], capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"{args}: {done.stderr}")
    return json.loads(done.stdout)


def measure_command(options, folder):
    env = {**os.environ, "BATON_URL": f"local:{folder}/command"}
    baton, flock = [], []
    for _ in range(options.rounds):
        baton.append(timed([options.baton, "lock", "x", "--", "true"], env=env))
        flock.append(timed(["flock", f"{folder}/flock", "true"]))
    ratio = median(baton) / median(flock)
    tell("baton lock x -- true, flock x true, p50", f"{median(baton):.2f}, {median(flock):.2f} ms")
    tell("the first divided by the second", f"{ratio:.2f}", ratio <= 3)


def measure_rate(options, name, url):
    told = run(options, "lock", url, options.cycles)
    tell(f"{name}: acquire and release", f"{told['cycles'] / told['lock_ms'] * 1000:.0f} a second")
    rate = told["bare_ms"] / told["lock_ms"]
    tell(f"{name}: rate next to that of as many bare writes", f"{rate:.2f}", rate >= 0.9)
    tell(f"{name}: the same, waiting for each release", f"{told['bare_ms'] / told['waiting_ms']:.2f}")
    if name == "local":
        tell("local: rate next to that of flock(2)", f"{told['flock_ms'] / told['lock_ms']:.2f}")
    return told["cycles"] / told["lock_ms"] * 1000


def advisory_rate(options, folder):
    """Pairs of PostgreSQL's lock and unlock a second, by one session over a Unix socket."""
    script = os.path.join(folder, "advisory.sql")
    with open(script, "w", encoding="ascii") as file:
        file.write("SELECT pg_advisory_lock(7);\nSELECT pg_advisory_unlock(7);\n")
    with Server() as server:
        done = subprocess.run([program("pgbench"), "-n", "-f", script, "-t", str(options.cycles)],
                              env={**os.environ, **server.env}, capture_output=True, text=True, timeout=LIMIT_S,
                              check=True)
    return float(re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)[1])


def measure_line(options, name, url):
    first = None
    for waiters in options.waiters:
        told = run(options, "line", f"{url}-{waiters}", waiters + 1, options.turns)
        p50 = median(told["handover_ms"])
        first = first or p50
        tell(f"{name}: {waiters} wait: hand-over p50, writes each",
             f"{p50:.2f} ms, {told['writes'] / told['turns']:.2f}", told["writes"] == told["turns"])
    ratio = p50 / first
    tell(f"{name}: p50 with {options.waiters[-1]} divided by {options.waiters[0]}", f"{ratio:.2f}",
         ratio <= 5 if name == "local" else None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default=os.path.join(TOP, "build", "baton"))
    parser.add_argument("--bench", default=os.path.join(TOP, "build", "bench", "bench_etcd"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--waiters", default="2,10,100")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    options.waiters = [int(number) for number in options.waiters.split(",")]
    # bench_etcd has the engines' loader in itself, so it does not find what is beside libbaton.
    os.environ.setdefault("BATON_ENGINE_DIR", os.path.join(os.path.dirname(os.path.abspath(options.baton)), "src",
                                                           "engine", "etcd"))
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        measure_command(options, folder)
        local = measure_rate(options, "local", f"local:{folder}/rate")
        advisory = advisory_rate(options, folder)
        tell("PostgreSQL: advisory lock and unlock", f"{advisory:.0f} a second")
        tell("local: rate next to that of PostgreSQL", f"{local / advisory:.2f}", local >= 4 * advisory)
        measure_line(options, "local", f"local:{folder}/line")
        os.mkdir(f"{folder}/etcd")
        with Cluster(f"{folder}/etcd") as cluster:
            measure_rate(options, "etcd", cluster.url("rate"))
            measure_line(options, "etcd", cluster.url("line"))


if __name__ == "__main__":
    main()
