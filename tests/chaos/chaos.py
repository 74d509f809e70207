#!/usr/bin/python3
"""Real instances on a real etcd, with one fault after the other; then what they did is checked (checker.py).

    chaos.py [--seconds N] [--members 1|3] [--instances N] [--seed N]

As root each instance has a network of its own (a namespace with a wire to etcd), which is cut both ways or one way.

After each fault is over there must be a leader within a stated bound (L), and in a quiet time the leader stays (Q).
Prints the seed: the same faults come again with it, if not at the same instants.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "etcd"))
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position
import checker  # noqa: E402 pylint: disable=wrong-import-position

TTL_S = 2
# etcd prolongs all leases by an election timeout when it has a new leader, and looks for those that are over every
# 500 ms; the rest is for a machine with two busy cores.
LEADER_WITHIN_S = TTL_S + 1 + 0.5 + 12
QUIET_S = 1.5 * TTL_S


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=20)


class Network:
    """An address for etcd, and for each instance a network namespace with a wire to it. Whoever cuts it takes the way
    away from who sends: what was sent before arrives, what is sent after is lost, and nobody is told."""

    def __init__(self, count):
        self.second = 128 + os.getpid() % 100  # two runs on one machine do not meet
        self.etcd = f"10.{self.second}.0.1"
        self.names = [f"baton{os.getpid()}-{number}" for number in range(count)]

    def far(self, number):
        return f"10.{self.second}.{number + 1}.2"

    def __enter__(self):
        try:
            ip("addr", "add", f"{self.etcd}/32", "dev", "lo")
            for number, name in enumerate(self.names):
                near, wire = f"10.{self.second}.{number + 1}.1", f"bc{os.getpid()}-{number}"
                ip("netns", "add", name)
                ip("link", "add", wire, "type", "veth", "peer", "name", "wire", "netns", name)
                ip("addr", "add", f"{near}/30", "dev", wire)
                ip("link", "set", wire, "up")
                ip("-n", name, "addr", "add", f"{self.far(number)}/30", "dev", "wire")
                ip("-n", name, "link", "set", "wire", "up")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "route", "add", "default", "via", near)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for command in [("addr", "del", f"{self.etcd}/32", "dev", "lo"),
                        *[("netns", "del", name) for name in self.names]]:
            try:
                ip(*command)
            except (OSError, subprocess.SubprocessError):
                pass

    def inside(self, number):
        return ("ip", "netns", "exec", self.names[number])

    def cut(self, number, towards_etcd, from_etcd):
        if towards_etcd:
            ip("-n", self.names[number], "route", "add", "blackhole", f"{self.etcd}/32")
        if from_etcd:
            ip("route", "add", "blackhole", f"{self.far(number)}/32")

    def mend(self, number, towards_etcd, from_etcd):
        if towards_etcd:
            ip("-n", self.names[number], "route", "del", "blackhole", f"{self.etcd}/32")
        if from_etcd:
            ip("route", "del", "blackhole", f"{self.far(number)}/32")


class NoNetwork:
    """For who may not have one: everything is on the loopback, and nothing is cut."""

    etcd = "127.0.0.1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @staticmethod
    def inside(_):
        return ()


class Instance:
    """A `baton run` that is started again when it has ended."""

    def __init__(self, number, chaos):
        self.number, self.name, self.chaos, self.process = number, f"i{number}", chaos, None

    def start(self):
        if self.process is not None and self.process.poll() is None:
            return
        self.chaos.starts += 1
        self.chaos.started = time.monotonic()
        # It is ended in Chaos.close, whatever happens.
        self.process = subprocess.Popen(
            [*self.chaos.network.inside(self.number), self.chaos.baton, "run", "--url", self.chaos.url,
             "--id", f"{self.name}-{self.chaos.starts}", "--ttl", f"{TTL_S}s", "--grace", "200ms", "chaos", "--",
             os.path.join(HERE, "writer.py"),
             self.chaos.folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.chaos.said, start_new_session=True)

    def parts(self):
        """Supervisor, guard, command: those that are there."""
        found, pid = [self.process.pid], self.process.pid
        while len(found) < 3:
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                    children = [int(child) for child in file.read().split()]
                named = [child for child in children if self._is_part(child)]
            except OSError:
                break
            if not named:
                break
            pid = named[0]
            found.append(pid)
        return found

    @staticmethod
    def _is_part(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                return file.read().strip() != "baton-ready"
        except OSError:
            return False


class Chaos:
    """One run."""

    def __init__(self, options, folder, cluster, network, said):
        self.rng = random.Random(options.seed)
        self.baton, self.folder, self.cluster, self.network = options.baton, folder, cluster, network
        self.said, self.url, self.starts, self.faults, self.started = said, cluster.url("chaos"), 0, 0, 0
        self.instances = [Instance(number, self) for number in range(options.instances)]
        with sqlite3.connect(os.path.join(folder, "resource.db")) as resource:
            resource.execute("pragma journal_mode = wal")
            resource.execute("create table rows (id integer primary key, term integer, instance text)")

    def kill(self, pids, number=signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def newest(self):
        """The life that has stamped last, and how long ago, in s."""
        seen = checker.lives(self.folder)
        if not seen:
            return None, None
        life = max(seen, key=lambda one: one.last)
        return life, (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - life.last) / 1e9

    def wait_leader(self):
        """L: somebody writes, and it is nobody who is only about to be ended: it goes on for a moment."""
        deadline = time.monotonic() + LEADER_WITHIN_S
        while time.monotonic() < deadline:
            life, age = self.newest()
            if life is not None and age < 0.2:
                return life
            time.sleep(0.02)
        raise AssertionError(f"L: nobody leads {LEADER_WITHIN_S} s after the fault")

    # ---- the faults: each is over when its function returns ----

    def leader(self):
        """The instance whose command runs; by chance another one."""
        leading = [one for one in self.instances if len(one.parts()) == 3]
        return self.rng.choice(leading or self.instances)

    def kill_parts(self):
        parts = self.leader().parts()
        self.kill(self.rng.sample(parts, self.rng.randint(1, len(parts))))

    def stop_parts(self):
        """One of them, or all but the guard: who stops the guard and its supervisor has taken away everything that
        could end the command; only the fence helps then."""
        parts = self.leader().parts()
        stopped = self.rng.choice([[part] for part in parts] + [list(parts)])
        if len(stopped) == 3:
            stopped = [stopped[0], stopped[2]]
        self.kill(stopped, signal.SIGSTOP)
        time.sleep(self.rng.choice([0.1, 0.5, 1.0, 1.5 * TTL_S]))
        self.kill(stopped, signal.SIGCONT)

    def terminate(self):
        self.kill([self.leader().process.pid], signal.SIGTERM)

    def freeze_etcd(self):
        frozen = self.rng.sample(self.cluster.members, self.rng.randint(1, len(self.cluster.members)))
        for member in frozen:
            member.freeze()
        time.sleep(self.rng.choice([0.5, 1, 3, 9]))
        for member in frozen:
            member.thaw()

    def kill_etcd(self):
        killed = self.rng.sample(self.cluster.members, self.rng.randint(1, len(self.cluster.members)))
        for member in killed:
            member.kill()
        time.sleep(self.rng.choice([0.2, 1, 1.5 * TTL_S]))
        for member in killed:
            member.start()
        for member in killed:
            member.wait_ready()

    def cut(self):
        """Its packets are lost, or those to it, or both."""
        ways = self.rng.choice([(True, True), (True, False), (False, True)])
        number = self.leader().number
        self.network.cut(number, *ways)
        time.sleep(self.rng.choice([0.2, 0.5 * TTL_S, 2 * TTL_S, 4 * TTL_S]))
        self.network.mend(number, *ways)

    def revoke(self):
        leases = self.cluster.leases()
        if leases:
            self.cluster.ctl("lease", "revoke", self.rng.choice(leases), check=False)

    def delete_keys(self):
        keys = self.cluster.ctl("get", "--prefix", "--keys-only", "chaos/elections/chaos/candidates/").split()
        if keys:
            self.cluster.ctl("del", self.rng.choice(keys))

    def compact(self):
        out = self.cluster.ctl("endpoint", "status", "-w", "json")
        revision = out.split('"revision":')[1].split(",")[0]
        self.cluster.ctl("compact", revision, check=False)
        self.cluster.ctl("defrag", check=False)

    def one_fault(self):
        known = [self.kill_parts, self.kill_parts, self.stop_parts, self.terminate, self.freeze_etcd,
                 self.kill_etcd, self.revoke, self.delete_keys, self.compact]
        if isinstance(self.network, Network):
            known += [self.cut, self.cut]
        fault = self.rng.choice(known)
        self.faults += 1
        if self.rng.random() < 0.7:
            # Until everybody has renewed: before that, only the deadline of a session's opening is put to the test.
            time.sleep(max(0, self.started + TTL_S / 2 - time.monotonic()))
        fault()
        for instance in self.instances:
            instance.start()
        return fault.__name__

    # ---- the run ----

    def run(self, seconds):
        for instance in self.instances:
            instance.start()
        self.wait_leader()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault = self.one_fault()
            try:
                self.wait_leader()
            except AssertionError as error:
                raise AssertionError(f"{error} ({fault})") from None
            if self.rng.random() < 0.3:
                self.stay_quiet(fault)
            else:
                time.sleep(self.rng.random() * 0.5)

    def stay_quiet(self, fault):
        """Q: once the last fault's consequences are over, the leader stays."""
        time.sleep(LEADER_WITHIN_S - 12)
        before = self.wait_leader()
        time.sleep(QUIET_S)
        after = self.wait_leader()
        if after.term != before.term:
            raise AssertionError(f"Q: the leader changed without a fault (after {fault}): {before}; {after}")

    def close(self):
        for instance in self.instances:
            if instance.process is None:
                continue
            self.kill(instance.parts(), signal.SIGCONT)
            self.kill([instance.process.pid], signal.SIGTERM)
        for instance in self.instances:
            if instance.process is not None:
                try:
                    instance.process.wait(10)
                except subprocess.TimeoutExpired:
                    self.kill(reversed(instance.parts()))
                    instance.process.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default=os.environ.get("BATON_BIN", os.path.join(TOP, "build", "baton")))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--members", type=int, choices=(1, 3), default=3)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baton-chaos-", ignore_cleanup_errors=True) as top:
        folder, etcd = os.path.join(top, "run"), os.path.join(top, "etcd")
        os.mkdir(folder)
        os.mkdir(etcd)
        with (open(os.path.join(top, "said"), "w+", encoding="utf-8") as said,
              Network(options.instances) if os.geteuid() == 0 else NoNetwork() as network,
              Cluster(etcd, options.members, host=network.etcd) as cluster):
            chaos, wrong = Chaos(options, folder, cluster, network, said), []
            try:
                chaos.run(options.seconds)
            except AssertionError as error:
                wrong.append(str(error))
            finally:
                chaos.close()
            wrong += checker.check(folder)
            terms = len({life.term for life in checker.lives(folder)})
            print(f"chaos: seed {options.seed}, {options.members} member(s) of etcd, {chaos.faults} faults, "
                  f"{terms} terms{'' if isinstance(network, Network) else ', no network cuts (not root)'}: "
                  f"{'ok' if not wrong else 'FAILED'}")
            for what in wrong:
                print("  " + what)
            if wrong:
                said.seek(0)
                print("what the instances said last:\n" + "".join(said.readlines()[-60:]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
