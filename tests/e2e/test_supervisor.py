"""What `baton run`, `lock` and `once` have in common: what the caller left them, the signals, children that nobody
knows, the end."""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import time

import pytest

from cluster import Cluster
from conftest import BATON, children, dead, guard_of, state_of, wait_dead

VERBS = pytest.mark.parametrize("verb", ["run", "lock", "once"])
SLEEP = "exec sleep 1000"


def start(world, verb, *options, script=SLEEP, before=(), **kwargs):
    return world.start_command([*before, BATON, verb, *options, "x", "--", "sh", "-c", "echo up; " + script], **kwargs)


LIBC = {32, 33}  # signals of the C library's own: posix_spawn(3), as make uses it, leaves them ignored


def masks(lines):
    """The signals of SigBlk and SigIgn, as sets of numbers."""
    found = {}
    for line in lines:
        name, _, digits = line.partition(":\t")
        if name in ("SigBlk", "SigIgn"):
            found[name] = {bit + 1 for bit in range(64) if int(digits, 16) >> bit & 1} - LIBC
    return found


def ignoring(*numbers):
    return ("env", *(f"--ignore-signal={number.name[3:]}" for number in numbers))


# ---- what the caller left ----


@VERBS
@pytest.mark.parametrize("left", [
    (), (signal.SIGHUP,), (signal.SIGINT, signal.SIGQUIT), (signal.SIGCHLD,), (signal.SIGPIPE,), (signal.SIGTERM,),
    (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGALRM)])
def test_the_command_gets_the_signals_as_the_caller_left_them(world, verb, left):
    told = world.run_command([*ignoring(*left), BATON, verb, "x", "--", "cat", "/proc/self/status"])
    assert masks(told.lines) == {"SigBlk": set(), "SigIgn": set(left)}


@VERBS
def test_the_command_gets_the_signals_blocked_that_the_caller_has_blocked(world, verb):
    told = world.run_command(["env", "--block-signal=USR1", "--block-signal=ALRM", BATON, verb, "x", "--", "cat",
                              "/proc/self/status"])
    assert masks(told.lines)["SigBlk"] == {signal.SIGUSR1, signal.SIGALRM}


@VERBS
@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1"])
def test_a_signal_that_the_caller_ignored_ends_nothing(world, verb, name):
    """nohup(1), or a job in the background of a script."""
    number = signal.Signals[f"SIG{name}"]
    process = start(world, verb, before=ignoring(number),
                    script="trap 'echo woken' USR2; echo catches; while :; do sleep .05; done")
    process.wait_line("^catches$")
    process.signal(number)
    process.signal(signal.SIGUSR2)  # which comes after it
    process.wait_line("^woken$")
    assert process.stop() == 143  # the first that asks for the end: a second one would have no patience


@VERBS
def test_sigterm_ends_it_also_if_the_caller_ignored_it(world, verb):
    process = start(world, verb, "--grace", "100ms", before=ignoring(signal.SIGTERM))
    process.wait_line("^up$")
    assert process.stop() == 137  # the command ignores it, too, as it was told


@VERBS
def test_children_that_the_caller_left_are_collected(world, verb):
    """exec baton, in a script that has started something before."""
    process = world.start_command(["sh", "-c", "sleep 1000 & echo child $!; exec \"$@\"", "sh", BATON, verb, "x", "--",
                                   "sh", "-c", "echo up; " + SLEEP])
    child = int(process.wait_line(r"^child (\d+)$")[0].group(1))
    process.wait_line("^up$")
    os.kill(child, signal.SIGKILL)
    collected(process, child)
    assert process.stop() == 143


def collected(process, child):
    """Its parent has waited for it, or does so soon."""
    for _ in range(2000):
        if state_of(child) == "X":
            return
        select.select([], [], [], 0.01)
    pytest.fail(f"{child} stays a zombie of {process!r}")


def test_what_health_checks_leave_behind_is_collected(world):
    process = start(world, "run", "--health", "sleep .01 & echo $! >>left", "--health-every", "50ms")
    process.wait_line("^up$")
    tail = world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/left"])
    place = 0
    for _ in range(20):
        match, place = tail.wait_line(r"^(\d+)$", after=place)
    collected(process, int(match.group(1)))
    zombies = [child for child in children(process.pid) if state_of(child) == "Z"]
    assert len(zombies) <= 2, zombies
    assert process.stop() == 143


def test_a_health_check_that_was_killed_is_collected(world):
    """One that takes too long is killed, and waited for by nobody in particular."""
    process = start(world, "run", "--restart", "always", "--health", "echo $$ >>pids; exec sleep 1000",
                    "--health-every", "50ms")
    process.wait_line("^up$")
    world.wait_error(process, "has failed its health check 3 times in a row")
    with open(f"{world.folder}/pids", encoding="ascii") as pids:
        for pid in pids.read().split():
            collected(process, int(pid))


# ---- the end ----


@VERBS
def test_what_a_command_leaves_behind_is_told(world, verb):
    """A daemon that forks itself away is ended: not without a word."""
    told = world.run(verb, "x", "--", "sh", "-c", "sleep 1000 & setsid sleep 1000 & exit 3")
    assert told.code == 3
    # proc(5): the list of children may lack one that is being given another parent.
    assert re.search("^baton: x: the command has ended and has left (1 process behind, which is|"
                     "2 processes behind, which are) ended, too$", told.err, re.MULTILINE), told
    told = world.run(verb, "y", "--", "sh", "-c", "sleep 1000 & exit 3")
    assert "baton: y: the command has ended and has left 1 process behind, which is ended, too\n" in told.err


@VERBS
def test_a_command_that_leaves_nothing_behind_is_ended_without_a_word(world, verb):
    told = world.run(verb, "x", "--", "sh", "-c", "sleep .01 & wait; exit 3")
    assert told.code == 3 and "behind" not in told.err


@VERBS
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_a_second_signal_has_no_patience(world, verb, name):
    number = signal.Signals[f"SIG{name}"]
    process = start(world, verb, "--ttl", "1000s", "--grace", "300s",
                    script=f"trap 'echo told' {name}; echo catches; while :; do sleep .05; done")
    process.wait_line("^catches$")
    process.signal(number)
    process.wait_line("^told$")  # two that come together are one
    process.signal(number)
    assert process.wait_exit() == 137


@pytest.fixture
def own_etcd(world, tmp_path):
    """A world on an etcd of its own, which a test may stop."""
    folder = tmp_path / "etcd"
    folder.mkdir()
    with Cluster(str(folder)) as cluster:
        world.etcd = cluster
        world.env["BATON_URL"] = cluster.url()
        yield world


@VERBS
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_second_signal_ends_it_at_once_while_the_engine_is_away(own_etcd, verb, how):
    process = start(own_etcd, verb, "--ttl", "1000s", "--grace", "300s",
                    script="trap 'echo told' TERM; echo catches; while :; do sleep .05; done")
    process.wait_line("^catches$")
    getattr(own_etcd.etcd.members[0], how)()
    process.signal(signal.SIGTERM)
    process.wait_line("^told$")
    process.signal(signal.SIGTERM)
    assert process.wait_exit() == (69 if verb == "once" else 137)
    assert not process.open  # whoever reads its output does not wait for the end of the lease, either


@VERBS
def test_one_signal_ends_it_within_a_limit_while_the_engine_is_away(own_etcd, verb):
    process = start(own_etcd, verb, "--ttl", "60s", "--grace", "1s")
    process.wait_line("^up$")
    own_etcd.etcd.members[0].freeze()
    process.signal(signal.SIGTERM)
    assert process.wait_exit() == (69 if verb == "once" else 143), process
    assert not process.open
    if verb == "once":
        assert "the command has ended with status 143, but the engine does not answer: that is not recorded" \
            in process.stderr


def wait_guarded(process):
    for _ in range(2000):
        for child in children(process.pid):
            with open(f"/proc/{child}/comm", encoding="utf-8") as comm:
                if comm.read().strip() == "baton-guard":
                    return
        select.select([], [], [], 0.01)
    pytest.fail(f"{process!r} has no guard")


@VERBS
def test_what_waits_can_be_ended_while_the_engine_is_away(own_etcd, verb):
    own_etcd.etcd.members[0].freeze()
    process = start(own_etcd, verb)
    wait_guarded(process)  # it takes its signals by now
    assert process.stop() == (0 if verb == "run" else 143)


def test_a_leader_is_over_within_a_limit_when_its_command_has_ended_and_the_engine_is_away(own_etcd):
    process = start(own_etcd, "run", "--ttl", "60s", script="read -r line; exit 5", stdin=-1)
    process.wait_line("^up$")
    own_etcd.etcd.members[0].freeze()
    process.popen.stdin.close()
    assert process.wait_exit() == 5
    assert "baton: x: ends without an answer of the engine; what is left of the place is over when the session is\n" \
        in process.stderr


# ---- a killed guard ----


@VERBS
def test_who_lost_its_guard_gives_its_place_away_when_all_is_gone(world, verb):
    """What the command has started, too, in sessions of its own."""
    process = start(world, verb, script="setsid sleep 1000 & echo pid $!; setsid sleep 1001 & echo pid $!; " + SLEEP)
    pids = []
    place = 0
    for _ in range(2):
        match, place = process.wait_line(r"^pid (\d+)$", after=place)
        pids.append(int(match.group(1)))
    os.kill(guard_of(process), signal.SIGKILL)
    assert process.wait_exit() == (125 if verb == "once" else 70)
    assert all(dead(pid) for pid in pids)
    assert "baton: x: the guard is gone: the command is killed\n" in process.stderr


def test_a_health_check_does_not_outlive_a_killed_guard(world):
    process = start(world, "run", "--health", "echo $$ >>pids; exec sleep 1000", "--health-every", "60s")
    process.wait_line("^up$")
    assert process.stop() == 143
    process = start(world, "run", "--health", "echo $$ >pid; echo asks >&2; exec sleep 1000", "--health-every", "10s",
                    "--ttl", "60s")
    world.wait_error(process, "^asks$")
    os.kill(guard_of(process), signal.SIGKILL)
    assert process.wait_exit() == 70
    with open(f"{world.folder}/pid", encoding="ascii") as pid:
        wait_dead(int(pid.read()))


# ---- what cannot be killed ----

RAISE = os.path.join(os.path.dirname(BATON), "tests", "unit", "raise")
NEED_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else, and a set-uid program")
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def ordinary(open_world):
    """A world of a user who is nobody, and has a set-uid program of root's at hand."""
    os.chmod(open_world.state, 0o700)
    os.chown(open_world.state, 65534, 65534)
    open_world.raised = os.path.join(open_world.folder, "raise")
    shutil.copy(RAISE, open_world.raised)
    os.chmod(open_world.raised, 0o4755)
    return open_world


def start_ordinary(world, verb, *args):
    return world.start_command([*AS_NOBODY, world.baton, verb, "--ttl", "2s", "--grace", "200ms", *args])


@NEED_ROOT
@VERBS
def test_a_command_may_not_raise_its_privileges(ordinary, verb):
    process = start_ordinary(ordinary, verb, "x", "--", ordinary.raised, "sh", "-c", "echo up")
    assert process.wait_exit() == 77
    assert not process.seen
    process = start_ordinary(ordinary, verb, "--allow-privileges", "y", "--", ordinary.raised, "id", "-u")
    assert process.wait_exit() == 0
    assert process.seen == ["0"]


@NEED_ROOT
@VERBS
@pytest.mark.parametrize("how", ["stop", "guard"])
def test_what_cannot_be_killed_keeps_the_place_until_it_is_gone(ordinary, verb, how):
    process = start_ordinary(ordinary, verb, "--allow-privileges", "x", "--", ordinary.raised, "sh", "-c",
                             "trap '' TERM; echo up $$; while :; do sleep .05; done")
    pid = int(process.wait_line(r"^up (\d+)$")[0].group(1))
    other = start_ordinary(ordinary, verb, *(["--any-command"] if verb == "once" else []), "x", "--", "echo", "other")
    if how == "stop":
        process.signal(signal.SIGTERM)
    else:
        os.kill(guard_of(process), signal.SIGKILL)
    ordinary.wait_error(process, rf"^baton: x: cannot end process {pid} \(sh\): Operation not permitted; the \w+ "
                                 "does not pass on before it is gone$")
    for _ in range(3):
        process.signal(signal.SIGTERM)
    ordinary.wait_error(process, "is kept until it is gone")
    assert not select.select([other.popen.stdout], [], [], 5)[0], other  # more than twice as long as a lease
    assert process.popen.poll() is None
    os.kill(pid, signal.SIGKILL)
    process.wait_exit()
    other.wait_exit()
    assert verb == "once" or other.seen == ["other"]


# ---- a loop that stands still ----

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


def stop_main_thread(process):
    """Its loop stands still; the threads of the library go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, process.pid, None, None) != 0:
            pytest.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
    while state_of(process.pid) != "t":
        select.select([], [], [], 0.01)


def test_who_comes_to_lead_while_its_loop_stands_still_loses_the_place(world):
    """It would renew for ever, and run nothing."""
    changes = world.watch("x")
    leader = world.stand("x", "leader")
    changes.wait_object(change="lead", id="leader")
    hangs = world.stand("x", "hangs", "--ttl", "2s", "--grace", "100ms")
    changes.wait_object(change="join", id="hangs")
    other = world.stand("x", "other", command=("sh", "-c", "echo up; " + SLEEP))
    changes.wait_object(change="join", id="other")
    world.wait_error(hangs, "stands")
    stop_main_thread(hangs)
    leader.stop()
    other.wait_line("^up$")


def test_a_lock_that_comes_while_the_loop_stands_still_passes_on(world):
    first = start(world, "lock")
    first.wait_line("^up$")
    hangs = start(world, "lock", "--id", "hangs", "--ttl", "2s", "--grace", "100ms")
    wait_entries(world, 2)
    other = start(world, "lock")
    wait_entries(world, 3)
    stop_main_thread(hangs)
    first.stop()
    other.wait_line("^up$")


def wait_entries(world, count):
    for _ in range(2000):
        told = world.run("lock", "--describe", "--json", "x")
        if told.out.count('"id":') == count:
            return
    pytest.fail(f"{told} has not {count} entries")


# ---- start ----


def test_a_leader_that_stood_still_while_it_waited_to_start_again_starts_nothing(world):
    """It goes on when another one leads: the time to start again is over, and so is its place."""
    command = ("sh", "-c", f"echo $BATON_ID >>{world.folder}/log; echo ran; exit 1")
    a = world.stand("x", "a", "--ttl", "1s", "--grace", "100ms", "--restart", "always", command=command)
    world.wait_error(a, "started again in 800 ms")
    a.signal(signal.SIGSTOP)
    b = world.stand("x", "b", "--ttl", "1s", "--grace", "100ms",
                    command=("sh", "-c", f"echo b >>{world.folder}/log; echo up; " + SLEEP))
    b.wait_line("^up$")
    a.signal(signal.SIGCONT)
    world.wait_error(a, "follows")
    with open(f"{world.folder}/log", encoding="ascii") as log:
        assert log.read().split() == ["a"] * 4 + ["b"]


@VERBS
def test_the_slack_is_part_of_a_stop(world, verb):
    told = world.run(verb, "--ttl", "4s", "--grace", "1s", "--slack", "1500ms", "x", "--", "true")
    assert told.code == 64
    assert told.err == (f"baton {verb}: --grace 1s and 1500ms for the kill make 2500ms; --ttl 4s leaves 2s for a stop: "
                        f"choose a longer --ttl or a shorter --grace or --slack; see baton {verb} --help\n")


def test_a_leader_that_stands_still_is_over_a_slack_before_the_end_of_its_lease(world):
    began = time.monotonic()
    process = start(world, "run", "--ttl", "12s", "--grace", "0", "--slack", "5s", script="echo $$; " + SLEEP)
    pid = int(process.wait_line(r"^(\d+)$")[0].group(1))
    process.signal(signal.SIGSTOP)
    wait_dead(pid)
    assert time.monotonic() - began < 11


def test_errors_are_json_where_json_is_asked_for(world):
    told = world.run("run", "--json", "x", "--", "/no/such/command")
    assert told.code == 127
    events = [json.loads(line) for line in told.err.splitlines()]
    [error] = [event["text"] for event in events if event["event"] == "error"]
    assert error == "x: cannot run '/no/such/command': No such file or directory"
    told = world.run("run", "--json", "x", "--", "sh", "-c", "sleep 1000 & exit 3")
    assert "left" in [json.loads(line)["event"] for line in told.err.splitlines()]
    told = world.run("run", "--json", "--url", "local:/proc/no", "x", "--", "true")
    assert [json.loads(line)["event"] for line in told.err.splitlines()] == ["error"]
