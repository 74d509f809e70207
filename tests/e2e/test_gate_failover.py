"""`baton gate` while leaders die, hang and change, under clients that never stop."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import LIMIT_S, TOP
# pylint: disable-next=unused-import
from test_gate import SERVER, Client, gated, open_gate, serve, wait_candidate, who_serves  # noqa: F401

sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from server import Server  # noqa: E402 pylint: disable=wrong-import-position


class Writers:
    """Clients that write without a pause, each over a connection for as long as it lasts. `acks`: the term of each
    answer, and when it was asked for and answered."""

    def __init__(self, door, count):
        self.door, self.acks, self.failures, self.stopped = door, [], [], False
        self.news = threading.Condition()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        number = 0
        while not self.stopped:
            try:
                with Client(self.door) as client:
                    while not self.stopped:
                        number += 1
                        asked = time.monotonic()
                        answer = client.ask(f"write {number}")
                        if answer is None:
                            break  # it was cut: whether it was written is not known
                        term, rest = answer.split(" ", 1)
                        assert rest == f"write {number}", answer
                        with self.news:
                            self.acks.append((int(term), asked, time.monotonic()))
                            self.news.notify_all()
            except OSError:
                pass
            except BaseException as error:  # pylint: disable=broad-exception-caught
                self.failures.append(error)
                return

    def wait_newer(self, term):
        """The first term above this one that is answered."""
        with self.news:
            assert self.news.wait_for(lambda: self.acks and self.acks[-1][0] > term, LIMIT_S), (term, self.acks[-3:])
            return self.acks[-1][0]

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join(LIMIT_S)
        assert not self.failures, self.failures


def check_acks(acks):
    """What is asked after an answer of a newer term was there is not answered by an older one."""
    newest, answers = 0, sorted((answered, term) for term, _, answered in acks)
    place = 0
    for term, asked, _ in sorted(acks, key=lambda ack: ack[1]):
        while place < len(answers) and answers[place][0] <= asked:
            newest = max(newest, answers[place][1])
            place += 1
        assert term >= newest, (term, newest)


def family(world, process):
    """A supervisor, its guard and its command."""
    pids, more = {process.pid}, True
    while more:
        more = False
        for pid in world.marked():
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent in pids and pid not in pids:
                pids.add(pid)
                more = True
    return pids


def command_of(world, process):
    for pid in family(world, process):
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            if file.read().split("\0")[1:2] == [SERVER]:  # the others have it among their arguments, too
                return pid
    raise AssertionError(f"no command of {process!r}")


def fail_over(world, process, how):
    """Take its place from it; what has to be woken up afterwards."""
    if how == "supervisor":
        process.signal(signal.SIGKILL)
    elif how == "command":
        os.kill(command_of(world, process), signal.SIGKILL)
    elif how == "freeze":
        frozen = family(world, process)
        for pid in sorted(frozen, key=lambda pid: pid == process.pid):
            os.kill(pid, signal.SIGSTOP)
        return frozen
    else:
        assert world.run("transfer", "db").code == 0
    return ()


def test_no_write_is_acknowledged_by_a_leader_that_was(gated):  # noqa: F811
    servers = [serve(gated, number) for number in range(2)]
    open_gate(gated)
    writers = Writers(gated.door, 3)
    try:
        term = writers.wait_newer(0)
        for turn in range(20):
            number = who_serves(servers, term)
            wait_candidate(gated, f"s{1 - number}")
            how = ("supervisor", "freeze", "command", "transfer")[turn % 4]
            frozen = fail_over(gated, servers[number], how)
            term = writers.wait_newer(term)
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):  # those that were woken first may have ended the others
                    os.kill(pid, signal.SIGCONT)
            if how != "transfer":
                servers[number].stop() if how == "freeze" else servers[number].wait_exit()
                servers[number] = serve(gated, number)
    finally:
        writers.stop()
    check_acks(writers.acks)
    assert len({term for term, _, _ in writers.acks}) > 20


def fds(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def fds_when_idle(world, gate):
    """Its descriptors when no connection is left."""
    said, place = world.start_command(["tail", "-n", "+1", "-F", gate.errors]), 0
    for _ in range(gate.stderr.count(" accepted")):
        _, place = said.wait_line("open, .* accepted", after=place)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        gate.signal(signal.SIGUSR1)
        match, place = said.wait_line("open, .* accepted", after=place)
        if ": 0 open, 0 held" in match.string:
            return fds(gate)
    raise AssertionError(match.string)


def test_a_leader_that_changes_all_the_time(gated):  # noqa: F811
    """Clients connect throughout; each is answered by one of them, or cut, and nothing is left behind."""
    for number in range(2):
        gated.start_command([sys.executable, SERVER, str(gated.ports[number]), str(number + 1)]).wait_line("^serves")
        gated.start("elect", "--id", f"s{number}", "--address", f"127.0.0.1:{gated.ports[number]}", "db").wait_line(
            "lead" if number == 0 else "stand")
    gate = open_gate(gated)
    with Client(gated.door) as client:
        assert client.ask("x") == "1 x"
    before, seen, failures, stopped = fds_when_idle(gated, gate), [], [], threading.Event()

    def ask_always():
        while not stopped.is_set():
            try:
                with Client(gated.door) as client:
                    seen.append(client.ask("x"))
            except ConnectionError:
                seen.append(None)
            except BaseException as error:  # pylint: disable=broad-exception-caught
                failures.append(error)
                return

    threads = [threading.Thread(target=ask_always) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun = time.monotonic()
    for turn in range(60):
        assert gated.run("transfer", "--to", f"s{(turn + 1) % 2}", "db").code == 0
    took = time.monotonic() - begun
    stopped.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not failures, failures
    assert set(seen) <= {"1 x", "2 x", None} and {"1 x", "2 x"} <= set(seen)
    assert len(seen) > 60 and took < 60, (len(seen), took)
    assert fds_when_idle(gated, gate) <= before


@pytest.fixture
def two_databases():
    servers = [Server(), Server()]
    with servers[0], servers[1]:
        for server in servers:
            server.psql("CREATE TABLE log (text text)")
        yield servers


def test_clients_of_postgresql_write_to_the_leader_only(world, two_databases):
    folder = os.path.join(world.folder, "door")
    os.mkdir(folder)
    door = os.path.join(folder, ".s.PGSQL.5432")
    for number, server in enumerate(two_databases):
        world.start("elect", "--id", f"s{number}", "--address", f"unix:{server.folder}/.s.PGSQL.5432", "db").wait_line(
            "lead" if number == 0 else "stand")
    open_gate(world, listen=door)
    env = {**os.environ, **two_databases[0].env, "PGHOST": folder}

    def write(text):
        return subprocess.run(["psql", "-XAtq", "-c", f"INSERT INTO log VALUES ('{text}')"], env=env, text=True,
                              capture_output=True, timeout=LIMIT_S, check=False).returncode

    assert write("one") == 0
    # One that stays, and is within a transaction when its leader loses its place.
    with subprocess.Popen(["psql", "-XAtq"], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, bufsize=1) as stays:
        stays.stdin.write("BEGIN;\nINSERT INTO log VALUES ('lost') RETURNING text;\n")
        assert stays.stdout.readline() == "lost\n"
        assert world.run("transfer", "--to", "s1", "db").code == 0
        assert write("two") == 0
        stays.stdin.write("COMMIT;\nSELECT 1;\n")
        _, errors = stays.communicate(timeout=LIMIT_S)
        assert stays.returncode != 0 and "server closed the connection" in errors, errors
    assert world.run("transfer", "--to", "s0", "db").code == 0
    assert write("three") == 0
    assert two_databases[0].psql("SELECT text FROM log") == "one\nthree"
    assert two_databases[1].psql("SELECT text FROM log") == "two"
