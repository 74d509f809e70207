"""The guard of a program that uses the library (baton_options.guard), on a real etcd."""

import os
import re
import select
import signal
import subprocess

import pytest

from conftest import BATON, LIMIT_S

PROGRAM = os.path.join(os.path.dirname(BATON), "tests", "e2e", "program")
LONG_MS = 60_000  # longer than any limit here: nobody waits for such a lease


class Program:
    """program.c, and how to talk to it."""

    def __init__(self, world, guard="auto", ttl_ms=LONG_MS, before=(), **env):
        read, self.orders = os.pipe()
        self.world = world
        others = set(guards(world))
        self.process = world.start_command([*before, PROGRAM, guard, str(ttl_ms), "db"], stdin=read, env=env)
        os.close(read)
        self.others = others

    def __getattr__(self, name):
        return getattr(self.process, name)

    def order(self, word):
        os.write(self.orders, word.encode() + b"\n")

    def wait_lead(self, limit=LIMIT_S):
        return int(self.wait_line(r"^lead (\d+)", limit=limit)[0][1])

    def guard(self):
        """The pid of its guard, which was started after the others."""
        [pid] = set(guards(self.world)) - self.others
        return pid


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def guards(world):
    """The library's; those of `baton run` have its command line."""
    return [pid for pid in world.marked() if command_line(pid).startswith("baton-guard\0")]


def wait_end(pid, limit=LIMIT_S):
    """It ends, within the limit."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(fd):
        assert select.select([fd], [], [], limit)[0], f"{pid} lives"


@pytest.fixture
def start(etcd_world):
    programs = []

    def start_program(*args, **kwargs):
        programs.append(Program(etcd_world, *args, **kwargs))
        return programs[-1]

    yield start_program
    for program in programs:
        os.close(program.orders)


@pytest.fixture
def pair(etcd_world, start):
    """A program that leads, with a guard, and a candidate beside it."""
    program = start()
    program.term = program.wait_lead()
    program.other = etcd_world.stand("db", "b", "--ttl=60s",
                                     command=("sh", "-c", 'echo "up $BATON_TERM"; exec sleep 1000'))
    program.wait_line("^candidates 2$")
    program.order("sync")
    program.wait_line("^synced$")  # and its guard knows of the other one
    return program


def wait_next(program):
    """The other one leads, named by the guard: nobody waited, nobody claimed."""
    term = int(program.other.wait_line(r"^up (\d+)")[0][1])
    assert term > program.term
    assert program.world.run("history", "--json", "db").objects[0]["reason"] == "death"


def test_a_program_that_is_killed_is_followed_at_once(pair):
    guard = pair.guard()
    pair.signal(signal.SIGKILL)
    wait_next(pair)
    wait_end(guard)


def test_a_program_finds_no_child_and_gets_no_signal(pair):
    pair.order("children")
    pair.wait_line("^children none, SIGCHLD never$")
    guard = pair.guard()
    with open(f"/proc/{guard}/stat", encoding="ascii") as file:
        assert int(file.read().rsplit(")", 1)[1].split()[1]) != pair.pid
    assert os.getsid(guard) == guard
    assert all(os.readlink(f"/proc/{guard}/fd/{fd}") == "/dev/null" for fd in (0, 1, 2))


SUBREAPER = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execv(sys.argv[1], sys.argv[1:])"


def test_to_a_subreaper_the_guard_is_a_child_until_the_client_is_closed(etcd_world, start):
    program = start(before=["/usr/bin/python3", "-c", SUBREAPER])
    program.wait_lead()
    guard = program.guard()
    with open(f"/proc/{guard}/stat", encoding="ascii") as file:
        assert int(file.read().rsplit(")", 1)[1].split()[1]) == program.pid
    program.order("children")
    program.wait_line("^children some, SIGCHLD never$")
    program.order("close")
    program.wait_line("^closed$")
    wait_end(guard)
    program.order("children")  # it collects the guard
    _, place = program.wait_line("^children some, SIGCHLD came$")
    program.order("children")
    program.wait_line("^children none, SIGCHLD came$", after=place)


PROCESS_1 = ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.mark.skipif(subprocess.run([*PROCESS_1, "true"], check=False, capture_output=True).returncode != 0,
                    reason="no pid namespaces here")
class TestProcess1:
    def test_it_has_no_guard_and_is_told(self, etcd_world, start):
        program = start(before=PROCESS_1)
        program.wait_line(r"^trouble 0 a crash of this process would cost a ttl: .* first process of its pid namespace")
        program.wait_lead()
        program.order("sync")
        program.wait_line("^synced$")
        assert not guards(etcd_world)
        program.order("children")
        program.wait_line("^children none, SIGCHLD never$")

    def test_it_cannot_ask_for_one(self, etcd_world):
        told = etcd_world.run_command([*PROCESS_1, PROGRAM, "on", "10000", "db"])
        assert told.code == 1 and "shareProcessNamespace" in told.err, told


def test_a_forked_child_keeps_the_place_while_it_lives(pair):
    pair.order("fork")
    child = int(pair.wait_line(r"^forked (\d+)$")[0][1])
    pair.signal(signal.SIGKILL)
    wait_end(pair.pid)
    # Its child may still do what the leader did.
    with pytest.raises(pytest.fail.Exception):
        pair.other.wait_line("^up ", limit=2)
    os.kill(child, signal.SIGKILL)
    wait_next(pair)


def test_a_guard_that_is_killed_is_replaced(pair):
    first = pair.guard()
    os.kill(first, signal.SIGKILL)
    wait_end(first)
    # The next one has a connection, so it knows what to do.
    wait = pair.world.start_command(["sh", "-c", """
        until pid=$(pgrep -f "^baton-guard " | grep -vx "$0") && ls -l $(printf "/proc/%s/fd " $pid) | grep -q " 6 ->"
        do sleep 0.05; done""", str(first)])
    assert wait.wait_exit() == 0
    assert pair.guard() != first
    pair.signal(signal.SIGKILL)
    wait_next(pair)


def test_a_guard_goes_with_its_client(pair):
    guard = pair.guard()
    pair.order("close")
    pair.wait_line("^closed$")
    wait_end(guard)
    assert int(pair.other.wait_line(r"^up (\d+)")[0][1]) > pair.term
    pair.order("children")
    pair.wait_line("^children none, SIGCHLD never$")


def test_a_guard_stays_where_the_end_of_the_session_was_not_answered(etcd_world, etcd, start):
    """That of an earlier session was, which says nothing about this one."""
    before = set(etcd.leases())
    program = start(ttl_ms=6000)
    program.wait_lead()
    [first] = set(etcd.leases()) - before
    etcd.ctl("lease", "revoke", first)
    _, place = program.wait_line("^lost-session")
    program.wait_line(r"^lead (\d+)", after=place)
    guard = program.guard()
    [member] = etcd.members
    member.freeze()
    try:
        program.order("close")
        program.wait_line("^closed$")
        with pytest.raises(AssertionError):
            wait_end(guard, limit=2)
    finally:
        member.thaw()
    wait_end(guard)


def test_a_program_that_becomes_another_one_loses_its_place_by_the_ttl(etcd_world, start):
    program = start(ttl_ms=2000)
    program.wait_lead()
    guard = program.guard()
    watch = etcd_world.watch("db")
    watch.wait_object(change="lead")
    program.order("exec")
    watch.wait_object(change="vacant")
    wait_end(guard)


def test_an_idle_guard_is_small_and_does_nothing(start):
    with open(PROGRAM, "rb") as file:
        if b"__asan_init" in file.read():
            pytest.skip("a sanitizer needs memory of its own")
    program = start(ttl_ms=3000)
    program.wait_lead()

    def ticks():
        with open(f"/proc/{program.guard()}/stat", encoding="ascii") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))

    def switches():
        with open(f"/proc/{program.guard()}/status", encoding="ascii") as file:
            return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.MULTILINE)[1])

    _, place = program.wait_line("^renewed")
    before, calls = ticks(), switches()
    for _ in range(3):
        _, place = program.wait_line("^renewed", after=place)
    assert ticks() - before <= 1 and switches() - calls <= 1
    with open(f"/proc/{program.guard()}/smaps_rollup", encoding="ascii") as file:
        sizes = dict(re.findall(r"^(Private_\w+): +(\d+) kB", file.read(), re.MULTILINE))
    assert int(sizes["Private_Clean"]) + int(sizes["Private_Dirty"]) < 3072, sizes


def test_no_guard_where_the_kernel_tells(world):
    program = world.start_command([PROGRAM, "auto", "10000", "db"])
    program.wait_line("^lead ")
    assert not guards(world)


def test_a_guard_that_was_asked_for_on_the_local_engine(world):
    read, write = os.pipe()
    program = world.start_command([PROGRAM, "on", "10000", "db"], stdin=read)
    program.wait_line("^lead ")
    [guard] = guards(world)
    program.signal(signal.SIGKILL)
    wait_end(guard)
    os.close(read)
    os.close(write)
    last = world.run("history", "--json", "db").objects[0]
    assert last["reason"] == "claim"  # nobody was there to be named


def test_a_guard_that_is_not_there(world, start):
    missing = {"BATON_GUARD": "/nowhere/baton-guard"}
    told = world.run_command([PROGRAM, "on", "10000", "db"], env=missing)
    assert told.code == 1 and "no guard: /nowhere/baton-guard: No such file" in told.err, told
    program = start(**missing)
    program.wait_line("^trouble 0 a crash of this process would cost a ttl: cannot start the guard /nowhere/baton-g")
    program.wait_lead()


def test_a_guard_is_not_started_by_hand():
    path = os.path.join(os.path.dirname(BATON), "src", "client", "baton-guard")
    done = subprocess.run([path], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 64 and "the library starts it" in done.stderr
