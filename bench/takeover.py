"""bench/takeover.py: how long nobody works after the leader is gone, next to flock(1) in the same run.

Each round starts a leader and a waiter (the same for flock(1) and for baton), lets both stand for a moment (--settle),
ends the leader, and measures from the last instant of the old one to the first line that the new one prints:

  command      SIGKILL to the leader's command
  supervisor   SIGKILL to `baton run` (its guard kills the command); flock(1): to flock itself and its command, since a
               command that lives on keeps flock's lock
  both         SIGKILL to both at once
  term         SIGTERM to the leader
  freeze       SIGSTOP to supervisor and command: nothing to compare with, flock(1) waits forever; against the ttl

The last instant of the old one is when it was killed; for a freeze, when it was stopped. Times are of CLOCK_BOOTTIME.
Prints medians, 99th percentiles and the ratio to flock(1); --json for machines. Rounds of both are interleaved, so that
a noisy machine disturbs both alike.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time

from stopwatch import now, percentile, read_line, watch_closely

LIMIT_S = 30
COMMAND = ["sh", "-c", 'echo "$$ up"; exec sleep 1000']
HELD = 'echo "$$ up"; exec sleep 1000'


def start(argv):
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)


def sweep(process, pid):
    for number in (pid, process.pid):
        for sent in (signal.SIGKILL, signal.SIGCONT):
            try:
                os.kill(number, sent)
            except ProcessLookupError:
                pass
    process.wait()
    process.stdout.close()


class Flock:
    name = "flock"

    def __init__(self, folder, options):
        self.settle_s = options.settle
        self.path = os.path.join(folder, "lock")
        open(self.path, "w").close()

    def start(self):
        return start(["flock", self.path, *COMMAND])

    def waiting(self, process):
        """Wait until it really waits: its task is blocked in the flock system call."""
        end = now() + LIMIT_S
        while now() < end:
            with open(f"/proc/{process.pid}/stat") as stat:
                state = stat.read().rsplit(")", 1)[1].split()[0]
            with open("/proc/locks") as locks:
                blocked = any("->" in line and f" {process.pid} " in line for line in locks)
            if state == "S" and blocked:
                return
            time.sleep(0.001)
        raise SystemExit("takeover: flock does not wait")


class Baton:
    name = "baton"

    def __init__(self, folder, options):
        self.baton, self.ttl, self.settle_s = options.baton, options.ttl, options.settle
        self.url = f"local:{folder}/state"
        self.watch = None

    def start(self):
        return start([self.baton, "run", "--url", self.url, "--ttl", f"{self.ttl}s", "--grace", "500ms", "bench", "--",
                      *COMMAND])

    def waiting(self, _process):
        """Wait until two candidates are seen to stand."""
        end = now() + LIMIT_S
        while now() < end:
            status = subprocess.run([self.baton, "status", "--url", self.url, "--json", "bench"], capture_output=True,
                                    text=True, timeout=LIMIT_S, check=False)
            try:
                told = json.loads(status.stdout)
            except ValueError:
                continue
            told = told[0] if isinstance(told, list) else told
            if len(told.get("candidates", [])) == 2 and told.get("leader"):
                return
            time.sleep(0.002)
        raise SystemExit("takeover: the second candidate does not stand")


def end_command(tool, leader, pid):
    os.kill(pid, signal.SIGKILL)


def end_supervisor(tool, leader, pid):
    if tool.name == "flock":
        os.kill(pid, signal.SIGKILL)
    leader.kill()


def end_both(tool, leader, pid):
    os.kill(pid, signal.SIGKILL)
    leader.kill()


def end_term(tool, leader, pid):
    if tool.name == "flock":
        os.kill(pid, signal.SIGTERM)
    leader.terminate()


def end_freeze(tool, leader, pid):
    leader.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)


WAYS = {"command": end_command, "supervisor": end_supervisor, "both": end_both, "term": end_term, "freeze": end_freeze}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def one_round(tool, way):
    """Returns ms from the end of the old one to the first line of the new one."""
    leader = start_and_read(tool)
    waiter = tool.start()
    tool.waiting(waiter)
    process, pid = leader
    time.sleep(tool.settle_s)
    begin = now()
    WAYS[way](tool, process, pid)
    line, at = read_line(waiter)
    if tool.name == "baton" and alive(pid):
        raise SystemExit(f"takeover: the old command lives while the new one begins ({way})")
    sweep(process, pid)
    sweep(waiter, int(line.split()[0]))
    return (at - begin) * 1000


def start_and_read(tool):
    process = tool.start()
    line, _ = read_line(process)
    return process, int(line.split()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default="build/baton")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--freezes", type=int, default=3, help="rounds of the freeze; each takes a ttl")
    parser.add_argument("--ttl", type=int, default=3, help="seconds")
    parser.add_argument("--settle", type=float, default=0.1, help="seconds in which both only stand")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    watch_closely()
    results = []
    with tempfile.TemporaryDirectory(prefix="baton-bench-", ignore_cleanup_errors=True) as folder:
        flock, baton = Flock(folder, options), Baton(folder, options)
        for way in WAYS:
            times = {"flock": [], "baton": []}
            rounds = options.freezes if way == "freeze" else options.rounds
            if rounds == 0:
                continue
            for _ in range(rounds):
                if way != "freeze":
                    times["flock"].append(one_round(flock, way))
                times["baton"].append(one_round(baton, way))
            result = {"way": way, "rounds": len(times["baton"])}
            for tool, values in times.items():
                if values:
                    result[tool + "_p50_ms"] = round(percentile(values, 0.5), 2)
                    result[tool + "_p99_ms"] = round(percentile(values, 0.99), 2)
            if times["flock"]:
                result["ratio_p50"] = round(result["baton_p50_ms"] / result["flock_p50_ms"], 2)
            else:
                result["ratio_ttl"] = round(max(times["baton"]) / (options.ttl * 1000), 3)
            results.append(result)
            if not options.json:
                show(result)
    if options.json:
        json.dump({"machine": platform.platform(), "cpus": os.cpu_count(), "ttl_s": options.ttl, "ways": results},
                  sys.stdout, indent=1)
        print()


def show(result):
    text = f"{result['way']:11} baton p50 {result['baton_p50_ms']:8.2f} ms  p99 {result['baton_p99_ms']:8.2f} ms"
    if "ratio_p50" in result:
        text += f"   flock p50 {result['flock_p50_ms']:6.2f}  p99 {result['flock_p99_ms']:6.2f}"
        text += f"   ratio {result['ratio_p50']:.2f}"
    else:
        text += f"   {result['ratio_ttl']:.3f} of the ttl at most"
    print(text, flush=True)


if __name__ == "__main__":
    main()
