#!/usr/bin/python3
"""Real instances on a real etcd, with one fault after the other; then what they did is checked (checker.py).

    chaos.py [--seconds N] [--members 1|3] [--instances N] [--seed N]

As root each instance has a network of its own (a namespace with a wire to etcd), which is cut both ways or one way.
Kinds of faults are drawn from a shuffled deck: each comes once before any comes twice.

After each fault is over there must be a leader within a stated bound (L), in a quiet time the leader stays (Q), and
while etcd has no quorum nobody writes any more when the last lease that it could renew is over (D).
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
from network import Network, why_not  # noqa: E402 pylint: disable=wrong-import-position
import checker  # noqa: E402 pylint: disable=wrong-import-position

TTL_S = 2
# etcd elects a leader within two election timeouts, and prolongs all leases by one then; it looks for those that are
# over every 500 ms. A client gives up a member that does not answer after 2.5 s, and a connection that is being made
# after 2 s. The rest is for a machine with two busy cores.
SETTLED_S = TTL_S + 3 + 0.5
LEADER_WITHIN_S = SETTLED_S + 2.5 + 2 + 2
# A leader of etcd's renews leases by itself until it notices that it has lost its quorum, within two election timeouts;
# the next one gives every lease its whole ttl, and an election timeout, again.
WITHOUT_QUORUM_S = 2 + TTL_S
LEADS_FOR_S = 0.3  # or it was one that was about to be ended
QUIET_S = 1.5 * TTL_S


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


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
        self.away = False

    def start(self):
        if self.away or (self.process is not None and self.process.poll() is None):
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
        if self.process is None or self.process.poll() is not None:
            return []
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
        self.said, self.url, self.starts, self.started = said, cluster.url("chaos"), 0, 0
        self.instances = [Instance(number, self) for number in range(options.instances + 1)]
        self.instances[-1].away = True  # until it joins
        self.deck, self.counts = [], {}
        self.removed = []  # when a place was taken away by hand: see checker.py
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
        """The life that has stamped last."""
        return max(checker.lives(self.folder), key=lambda one: one.last, default=None)

    def wait_leader(self):
        """L: somebody writes from now on, and goes on for a moment."""
        since, began = now_ns(), {}
        while now_ns() - since < LEADER_WITHIN_S * 1e9:
            life = self.newest()
            if life is not None and life.last > since:
                first = began.setdefault((life.term, life.instance), life.last)
                if life.last - first >= LEADS_FOR_S * 1e9:
                    return life
            time.sleep(0.02)
        raise AssertionError(f"L: nobody leads {LEADER_WITHIN_S} s after the fault")

    # ---- the faults: each is over when its function returns ----

    def leader(self):
        """The instance whose command runs; by chance another one."""
        leading = [one for one in self.instances if len(one.parts()) == 3]
        return self.rng.choice(leading or [one for one in self.instances if one.parts()])

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

    def lose_quorum(self):
        """D: whoever leads is over when its last renewal is, and nobody follows."""
        frozen = self.rng.sample(self.cluster.members, len(self.cluster.members) // 2 + 1)
        for member in frozen:
            member.freeze()
        since = now_ns()
        time.sleep(WITHOUT_QUORUM_S + self.rng.choice([1, 3]))
        life = self.newest()
        for member in frozen:
            member.thaw()
        if life is not None and life.last > since + WITHOUT_QUORUM_S * 1e9:
            raise AssertionError(f"D: without a quorum since {since}, still leads: {life}")

    def leave(self):
        """An instance goes, one way or the other, and does not come back by itself."""
        here = [one for one in self.instances if not one.away]
        leader = self.leader()
        gone = leader if self.rng.random() < 0.5 and not leader.away else self.rng.choice(here)
        gone.away = True
        self.kill([gone.process.pid], self.rng.choice([signal.SIGTERM, signal.SIGKILL]))

    def join(self):
        """One that was not there comes."""
        away = [one for one in self.instances if one.away]
        if away:
            self.rng.choice(away).away = False  # one_fault starts it

    def revoke(self):
        leases = self.cluster.leases()
        if leases:
            self.removed.append(now_ns())
            self.cluster.ctl("lease", "revoke", self.rng.choice(leases), check=False)

    def delete_keys(self):
        keys = self.cluster.ctl("get", "--prefix", "--keys-only", "chaos/elections/chaos/candidates/").split()
        if keys:
            self.removed.append(now_ns())
            self.cluster.ctl("del", self.rng.choice(keys))

    def compact(self):
        out = self.cluster.ctl("endpoint", "status", "-w", "json")
        revision = out.split('"revision":')[1].split(",")[0]
        self.cluster.ctl("compact", revision, check=False)
        self.cluster.ctl("defrag", check=False)

    def one_fault(self):
        if not self.deck:
            self.deck = [self.kill_parts, self.stop_parts, self.terminate, self.freeze_etcd, self.kill_etcd,
                         self.lose_quorum, self.revoke, self.delete_keys, self.compact, self.leave, self.join]
            self.deck += [self.cut] if isinstance(self.network, Network) else []
            self.rng.shuffle(self.deck)
        fault = self.deck.pop()
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
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
        time.sleep(SETTLED_S)
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
        why = why_not()
        with (open(os.path.join(top, "said"), "w+", encoding="utf-8") as said,
              Network(options.instances + 1) if why is None else NoNetwork() as network,
              Cluster(etcd, options.members, host=network.etcd) as cluster):
            chaos, wrong = Chaos(options, folder, cluster, network, said), []
            try:
                chaos.run(options.seconds)
            except AssertionError as error:
                wrong.append(str(error))
            finally:
                chaos.close()
            wrong += checker.check(folder, chaos.removed)
            terms = len({life.term for life in checker.lives(folder)})
            print(f"chaos: seed {options.seed}, {options.members} member(s) of etcd, {sum(chaos.counts.values())} "
                  f"faults, {terms} terms{'' if why is None else f', no network cuts ({why})'}: "
                  f"{'ok' if not wrong else 'FAILED'}")
            print("  " + ", ".join(f"{name} {count}" for name, count in sorted(chaos.counts.items())))
            for what in wrong:
                print("  " + what)
            if wrong:
                said.seek(0)
                print("what the instances said last:\n" + "".join(said.readlines()[-60:]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
