"""bench/etcd.py: baton on etcd, next to etcd's own `etcdctl lock`, on one real etcd in one run.

  takeover   SIGKILL to the leader's process, to the first line that the next one prints (`etcdctl lock`: its key;
             `baton run`: its command's); `etcdctl lock` with its default ttl and with --ttl=2; and bare
             compare-and-sets in turns
  term       the same for SIGTERM
  cut        the leader's machine is cut off (a network namespace), ttl 2 s; needs root
  calm       etcd frozen for half the ttl, its members restarted one after the other, its leader changed: leaders lost
  renewals   answered renewals of a client with 1, 100 and many elections
  herd       2, 10, 100 and 500 candidates: writes a takeover, and how long it takes
  campaign   stand, lead, resign in a loop, next to as many bare writes

Every part starts etcd of its own. --json for machines; --parts a,b for some of it.
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

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "etcd"))
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position

LIMIT_S = 60
TERM_BOUND = 1.1  # of etcdctl lock's time, for a handover after SIGTERM
COMMAND = ["sh", "-c", 'echo "$$ up"; exec sleep 1000']


def start(argv, **kwargs):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            start_new_session=True, **kwargs)


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdout.close()


class Etcdctl:
    """`etcdctl lock`, without a command (a SIGTERM does not end one): it prints its key when it has the lock."""

    def __init__(self, options, cluster, ttl=None):
        self.cluster, self.ttl, self.settle_s = cluster, ttl, options.settle
        self.name = "etcdctl lock" + (f" --ttl={ttl}" if ttl else "")
        self.lock = f"lock{ttl or 0}"

    def start(self):
        return start(["etcdctl", "--endpoints", self.cluster.endpoints, "lock",
                      *([f"--ttl={self.ttl}"] if self.ttl else []), self.lock])

    def wait_waiting(self, count):
        """Until so many are in its queue."""
        end = now() + LIMIT_S
        while now() < end:
            if len(self.cluster.ctl("get", "--prefix", "--keys-only", self.lock + "/").split()) == count:
                return
        raise SystemExit("etcd: etcdctl does not wait")


class Baton:
    def __init__(self, options, cluster, ttl="10s"):
        self.baton, self.cluster, self.ttl, self.settle_s = options.baton, cluster, ttl, options.settle
        self.name, self.number = "baton", 0
        self.url = cluster.url("bench")

    def start(self, url=None, inside=()):
        self.number += 1
        return start([*inside, self.baton, "run", "--url", url or self.url, "--ttl", self.ttl, "--grace", "300ms",
                      "--id", f"i{self.number}", "bench", "--", *COMMAND])

    def wait_waiting(self, count):
        end = now() + LIMIT_S
        while now() < end:
            told = subprocess.run([self.baton, "status", "--url", self.url, "--json", "bench"], capture_output=True,
                                  text=True, timeout=LIMIT_S, check=False)
            try:
                status = json.loads(told.stdout)
            except ValueError:
                continue
            if len(status.get("candidates", [])) == count and status.get("leader"):
                return
        raise SystemExit("etcd: the second candidate does not stand")

    def term(self):
        told = subprocess.run([self.baton, "status", "--url", self.url, "--json", "bench"], capture_output=True,
                              text=True, timeout=LIMIT_S, check=True)
        return json.loads(told.stdout)["term"]


def one_round(tool, number):
    """ms from the signal to the first line of the next one."""
    leader = tool.start()
    read_line(leader)
    waiter = tool.start()
    tool.wait_waiting(2)
    time.sleep(tool.settle_s)
    begin = now()
    leader.send_signal(number)
    _, at = read_line(waiter)
    end_group(leader)
    waiter.terminate()
    waiter.wait()
    end_group(waiter)
    return (at - begin) * 1000


def bare(options, cluster, count):
    done = subprocess.run([options.bench, "rtt", cluster.url("bare"), str(count)], capture_output=True, text=True,
                          timeout=LIMIT_S, check=True)
    return json.loads(done.stdout)


def measure_takeover(options, folder):
    with Cluster(folder) as cluster:
        baton, lock, lock2 = Baton(options, cluster), Etcdctl(options, cluster), Etcdctl(options, cluster, 2)
        times, rtt = [], []
        for _ in range(options.rounds):
            times.append(one_round(baton, signal.SIGKILL))
            rtt += bare(options, cluster, 5)
        slow = [one_round(lock, signal.SIGKILL) for _ in range(options.slow)]
        slow2 = [one_round(lock2, signal.SIGKILL) for _ in range(options.slow)]
        p50, rtt50 = percentile(times, 0.5), percentile(rtt, 0.5)
        yield "baton p50", f"{p50:.2f} ms", None
        yield "baton p99", f"{percentile(times, 0.99):.2f} ms", None
        yield "a bare compare-and-set, p50", f"{rtt50:.2f} ms", None
        yield "baton p50 / a bare compare-and-set", f"{p50 / rtt50:.2f}", p50 / rtt50 <= 4
        yield f"{lock.name} / baton", f"{percentile(slow, 0.5) / p50:.0f}", percentile(slow, 0.5) / p50 >= 500
        yield f"{lock2.name} / baton", f"{percentile(slow2, 0.5) / p50:.0f}", percentile(slow2, 0.5) / p50 >= 100


def measure_term(options, folder):
    with Cluster(folder) as cluster:
        baton, lock = Baton(options, cluster), Etcdctl(options, cluster)
        times = {baton: [], lock: []}
        for _ in range(options.rounds):
            for tool, values in times.items():
                values.append(one_round(tool, signal.SIGTERM))
        p50 = {tool: percentile(values, 0.5) for tool, values in times.items()}
        yield "baton p50", f"{p50[baton]:.2f} ms", None
        yield "etcdctl lock p50", f"{p50[lock]:.2f} ms", None
        yield "baton / etcdctl lock", f"{p50[baton] / p50[lock]:.2f}", p50[baton] <= TERM_BOUND * p50[lock]


class Machine:
    """A network namespace with a wire to this one: another machine."""

    def __init__(self):
        self.name = f"baton{os.getpid()}"
        self.wire = f"bt{os.getpid()}"
        self.near, self.far = "10.213.77.1", "10.213.77.2"

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True, capture_output=True, timeout=LIMIT_S)

    def __enter__(self):
        self.ip("netns", "add", self.name)
        try:
            self.ip("link", "add", self.wire, "type", "veth", "peer", "name", "wire", "netns", self.name)
            self.ip("addr", "add", f"{self.near}/30", "dev", self.wire)
            self.ip("link", "set", self.wire, "up")
            self.ip("-n", self.name, "addr", "add", f"{self.far}/30", "dev", "wire")
            self.ip("-n", self.name, "link", "set", "wire", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.ip("netns", "del", self.name)

    def cut(self, is_cut):
        self.ip("link", "set", self.wire, "down" if is_cut else "up")


def measure_cut(options, folder):
    ttl_ms, late_ms = 2000, 500
    with Machine() as machine, Cluster(folder, host=machine.near) as cluster:
        baton, times = Baton(options, cluster, "2s"), []
        for _ in range(options.slow):
            leader = baton.start(inside=("ip", "netns", "exec", machine.name))
            read_line(leader)
            waiter = baton.start()
            baton.wait_waiting(2)
            begin = now()
            machine.cut(True)
            _, at = read_line(waiter)
            times.append((at - begin) * 1000)
            machine.cut(False)
            for process in (waiter, leader):
                process.terminate()
                process.wait()
                end_group(process)
        yield "longest, after the cut", f"{max(times):.0f} ms", max(times) <= ttl_ms + late_ms
        yield "median", f"{percentile(times, 0.5):.0f} ms", None


def measure_calm(options, folder):
    ttl_s = 6
    with Cluster(folder, 3) as cluster:
        baton = Baton(options, cluster, f"{ttl_s}s")
        processes = [baton.start() for _ in range(3)]
        baton.wait_waiting(3)
        term = baton.term()

        def freeze():
            for member in cluster.members:
                member.freeze()
            time.sleep(ttl_s / 2)  # that is the fault
            for member in cluster.members:
                member.thaw()

        def restart():
            for member in cluster.members:
                member.stop()
                member.start()
                member.wait_ready()

        def change_leader():
            leader = cluster.leader()
            other = next(one for one in cluster.members if one is not leader)
            cluster.ctl("move-leader", cluster.member_id(other), endpoint=leader.endpoint)

        for name, fault in (("all of etcd frozen for half the ttl", freeze), ("rolling restart", restart),
                            ("etcd's leader moved", change_leader)):
            fault()
            cluster.wait_leader()
            time.sleep(ttl_s)  # for what may come of it
            yield f"{name}: changes of leader", str(baton.term() - term), baton.term() == term
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
            end_group(process)


def measure_renewals(options, folder):
    counts = {}
    with Cluster(folder) as cluster:
        for number in (1, 100, options.many):
            done = subprocess.run([options.bench, "many", cluster.url(f"many{number}"), str(number), str(options.idle)],
                                  capture_output=True, text=True, timeout=900, check=True)
            told = json.loads(done.stdout)
            counts[number] = told["renewals"]
            yield f"{number} elections: renewals in {options.idle} s", str(told["renewals"]), None
    yield "the same for all (but for one)", str(max(counts.values()) - min(counts.values()) <= 1), \
        max(counts.values()) - min(counts.values()) <= 1


def measure_herd(options, folder):
    first, p99 = None, None
    for candidates in options.candidates:
        times, writes = [], 0
        for herd in range(options.herds):
            # An etcd each: the sessions of those that are over end one after the other, and would be counted.
            own = os.path.join(folder, f"{candidates}-{herd}")
            os.mkdir(own)
            with Cluster(own) as cluster:
                done = subprocess.run([options.bench, "herd", cluster.url("herd"), str(candidates), str(options.kills)],
                                      capture_output=True, text=True, timeout=900, check=True)
            told = json.loads(done.stdout)
            times += told["takeover_ms"]
            writes += told["writes"] / options.kills / options.herds
        p99 = percentile(times, 0.99)
        first = first or (p99, writes)
        yield (f"{candidates} candidates", f"p50 {percentile(times, 0.5):.2f} ms, p99 {p99:.2f} ms, "
               f"{writes:.2f} writes a takeover", abs(writes - first[1]) < 0.1)
    yield f"p99 of {options.candidates[-1]} / p99 of {options.candidates[0]}", f"{p99 / first[0]:.2f}", \
        p99 / first[0] <= 3


def measure_campaign(options, folder):
    with Cluster(folder) as cluster:
        done = subprocess.run([options.bench, "campaign", cluster.url("campaign"), str(options.cycles)],
                              capture_output=True, text=True, timeout=900, check=True)
        told = json.loads(done.stdout)
        yield "writes a cycle", f"{told['writes'] / told['cycles']:.2f}", None
        yield "cycles a second", f"{told['cycles'] / told['campaign_ms'] * 1000:.0f}", None
        rate = told["bare_ms"] / told["campaign_ms"]
        yield "rate next to that of as many bare writes", f"{rate:.2f}", rate >= 0.8


PARTS = {"takeover": measure_takeover, "term": measure_term, "cut": measure_cut, "calm": measure_calm,
         "renewals": measure_renewals, "herd": measure_herd, "campaign": measure_campaign}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default=os.path.join(TOP, "build", "baton"))
    parser.add_argument("--bench", default=os.path.join(TOP, "build", "bench", "bench_etcd"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--slow", type=int, default=5, help="rounds in which something waits for a lease")
    parser.add_argument("--many", type=int, default=10000, help="elections of one client")
    parser.add_argument("--idle", type=int, default=30, help="seconds in which renewals are counted")
    parser.add_argument("--candidates", default="2,10,100,500")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--herds", type=int, default=1, help="so many times each, to have more takeovers")
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--settle", type=float, default=0.1, help="seconds in which both only stand")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # bench_etcd has the engines' loader in itself, so it does not find what is beside libbaton.
    os.environ.setdefault("BATON_ENGINE_DIR", os.path.join(os.path.dirname(os.path.abspath(options.baton)), "src",
                                                           "engine", "etcd"))
    options.candidates = [int(number) for number in options.candidates.split(",")]
    watch_closely()
    results = []
    for part in options.parts.split(","):
        if part == "cut" and os.geteuid() != 0:
            print("cut: not measured, it needs root", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
            for what, measured, kept in PARTS[part](options, folder):
                results.append({"part": part, "what": what, "measured": measured, "kept": kept})
                if not options.json:
                    verdict = {None: "", True: "kept", False: "MISSED"}[kept]
                    print(f"{part:9} {what:45} {measured:>12}  {verdict}", flush=True)
    if options.json:
        json.dump({"machine": platform.platform(), "cpus": os.cpu_count(), "results": results}, sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
