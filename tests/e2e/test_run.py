"""`baton run`, with real processes, real kills and real stops.

The command of each instance holds an exclusive flock(1) on one file while it, or anything that it has started, lives;
if two were ever there at once, the second would say CONTENDED.
"""

import json
import os
import random
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from conftest import BATON, TOP, Systemd, children, dead, freeze, guard_of, wait_dead

UP = 'exec 9>"$0.lock"; flock -n 9 || echo CONTENDED; echo "up $$ $BATON_TERM $BATON_ID"; '
SLEEP = UP + "exec sleep 1000"


def stand(world, instance, *options, script=SLEEP, **kwargs):
    command = ("sh", "-c", script, os.path.join(world.folder, "db"))
    return world.stand("db", instance, *options, command=command, **kwargs)


def wait_up(process, limit=20):
    """The command of this instance runs: its pid and term. `process.place` remembers what was seen."""
    seen = getattr(process, "up_place", 0)
    match, process.up_place = process.wait_line(r"^(CONTENDED|up (\d+) (\d+) \S+)$", limit, seen)
    assert match.group(1) != "CONTENDED", "two commands at once"
    return int(match.group(2)), int(match.group(3))


def make_pair(world, ttl):
    world.changes = world.watch("db")
    world.a = stand(world, "a", "--ttl", ttl, "--grace", "1s", env=world.traced("a"))
    world.command, world.term = wait_up(world.a)
    world.b = stand(world, "b", "--ttl", ttl, "--grace", "1s")
    world.changes.wait_object(change="join", id="b")
    world.wait_other_seen("a")  # who knows of nobody resigns in favour of nobody
    return world


@pytest.fixture
def pair(world):
    """`a` leads and runs its command, `b` waits. No test waits for so long a lease: it does not decide."""
    return make_pair(world, "60s")


@pytest.fixture
def short_pair(world):
    """The same, for those in which the lease decides."""
    return make_pair(world, "3s")


def test_the_command_has_its_environment(world):
    process = world.stand("db", "a", command=("sh", "-c", 'echo "$BATON_NAME|$BATON_ID|$BATON_TERM|$BATON_URL"'))
    match, _ = process.wait_line(r"^db\|a\|(\d+)\|(.*)$")
    assert int(match.group(1)) > 0
    assert match.group(2) == world.url
    assert process.wait_exit() == 0


def test_nothing_but_what_is_promised_is_in_its_environment(world):
    before = {"BATON_TOKEN": "7", "BATON_ATTEMPT": "8", "WATCHDOG_USEC": "9000000"}
    process = world.stand("db", "a", command=("sh", "-c", "env | cut -d= -f1 | sort | xargs"), env=before)
    match, _ = process.wait_line("BATON")
    names = {name for name in match.string.split() if name.startswith(("BATON_", "WATCHDOG_", "PGOPTIONS"))}
    assert names - set(world.env) == {"BATON_ID", "BATON_NAME", "BATON_TERM"}


def put_tool(world, folder, says):
    os.makedirs(os.path.join(world.folder, folder), exist_ok=True)
    path = os.path.join(world.folder, folder, "tool")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\necho {says}\nexec sleep 1000\n")
    os.chmod(path, 0o755)


def test_the_command_is_looked_for_when_it_is_started(world):
    """Also when it was prepared long before: the path may have another one by then."""
    env = {"PATH": f"{world.folder}/first:{world.folder}/second:{os.environ['PATH']}"}
    put_tool(world, "second", "old")
    changes = world.watch("db")
    a = world.stand("db", "a", command=("tool",), env=env)
    a.wait_line("^old$")
    b = world.stand("db", "b", command=("tool",), env=env)
    changes.wait_object(change="join", id="b")
    put_tool(world, "first", "new")
    a.stop()
    assert b.wait_line("old|new")[0].group(0) == "new"


@pytest.mark.parametrize("script,status", [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("true", 0)])
def test_the_exit_status_of_the_command_is_batons(world, script, status):
    assert world.stand("db", "a", command=("sh", "-c", script)).wait_exit() == status


@pytest.mark.parametrize("name,script,status,words", [
    ("missing", "nowhere", 127, "baton: db: cannot run './nowhere': No such file or directory\n"),
    ("not executable", "plain", 126, "baton: db: cannot run './plain': Permission denied\n")])
def test_a_command_that_cannot_run_passes_the_place_on(world, name, script, status, words):
    with open(os.path.join(world.folder, "plain"), "w", encoding="utf-8") as file:
        file.write("no program")
    process = world.stand("db", "a", command=(f"./{script}",))
    assert process.wait_exit() == status
    assert words in process.stderr
    wait_up(stand(world, "b"))


def test_a_killed_command_passes_the_place_on(pair):
    os.kill(pair.command, signal.SIGKILL)
    assert wait_up(pair.b)[1] > pair.term
    assert pair.a.wait_exit() == 137


def test_a_killed_supervisor_takes_its_command_along(pair):
    pair.a.signal(signal.SIGKILL)
    assert wait_up(pair.b)[1] > pair.term
    assert dead(pair.command)


def test_no_signal_makes_the_guard_believe_that_its_supervisor_is_dead(pair):
    """The kernel tells it of that by a signal, too, but not everybody can."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        os.kill(guard_of(pair.a), number)
    pair.a.signal(signal.SIGTERM)  # answered by the guard, which has those signals behind it
    assert pair.a.wait_exit() == 143
    assert wait_up(pair.b)[1] == pair.term + 1


def test_a_killed_supervisor_and_command_pass_the_place_on(pair):
    os.kill(pair.command, signal.SIGKILL)
    pair.a.signal(signal.SIGKILL)
    assert wait_up(pair.b)[1] > pair.term


def test_a_frozen_leader_is_replaced_and_its_command_is_dead_before(short_pair):
    short_pair.wait_renewed("a")
    short_pair.a.signal(signal.SIGSTOP)
    os.kill(short_pair.command, signal.SIGSTOP)
    assert wait_up(short_pair.b, limit=3 + 10)[1] > short_pair.term
    assert dead(short_pair.command)
    short_pair.a.signal(signal.SIGCONT)
    short_pair.b.signal(signal.SIGKILL)  # it woke up as a candidate like any other
    assert wait_up(short_pair.a)[1] > short_pair.term + 1


def test_a_frozen_supervisor_alone_loses_its_place_too(short_pair):
    short_pair.wait_renewed("a")
    short_pair.a.signal(signal.SIGSTOP)
    assert wait_up(short_pair.b, limit=3 + 10)[1] > short_pair.term
    assert dead(short_pair.command)
    short_pair.a.signal(signal.SIGCONT)


def test_sigterm_hands_over(pair):
    assert pair.a.stop() == 143
    assert wait_up(pair.b)[1] == pair.term + 1
    assert pair.changes.wait_object(change="lead", id="b")["reason"] == "resign"


def test_sigterm_to_one_that_waits_ends_it_with_0(pair):
    assert pair.b.stop() == 0
    assert not dead(pair.command)


def test_the_status_of_a_command_that_ends_well_on_sigterm_is_batons(world):
    process = stand(world, "a", script="trap 'echo bye; exit 5' TERM; " + UP + "while :; do sleep 0.05; done 9>&-")
    wait_up(process)
    assert process.stop() == 5
    assert "bye" in process.seen


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(world):
    process = stand(world, "a", "--ttl", "3s", "--grace", "300ms",
                    script="trap '' TERM; " + UP + "while :; do sleep 1; done")
    pid, _ = wait_up(process)
    begin = time.monotonic()
    assert process.stop() == 137
    assert time.monotonic() - begin >= 0.3
    assert dead(pid)


def test_a_second_sigterm_has_no_patience(world):
    process = stand(world, "a", "--ttl", "60s", "--grace", "25s", script="trap 'echo no' TERM; " + UP +
                    "while :; do sleep 0.05; done 9>&-")
    wait_up(process)
    process.signal(signal.SIGTERM)
    process.wait_line("^no$")
    process.signal(signal.SIGTERM)
    assert process.wait_exit(15) == 137


DAEMON = ("setsid sh -c '(trap \"\" TERM HUP; echo daemon $$; exec sleep 1000) & ' & " + SLEEP)


@pytest.mark.parametrize("how", ["command", "supervisor", "term", "freeze"])
def test_daemons_of_the_command_do_not_outlive_it(world, how):
    a = stand(world, "a", "--ttl", "3s" if how == "freeze" else "60s", "--grace", "500ms", script="(" + DAEMON + ")")
    pid, _ = wait_up(a)
    a.wait_line("daemon")
    b = stand(world, "b", "--ttl", "60s")
    if how == "command":
        os.kill(pid, signal.SIGKILL)
    elif how == "supervisor":
        a.signal(signal.SIGKILL)
    elif how == "term":
        a.signal(signal.SIGTERM)
    else:
        a.signal(signal.SIGSTOP)
    wait_up(b, 15)  # CONTENDED if one of them still held the lock
    if how == "freeze":
        a.signal(signal.SIGCONT)


def test_daemons_of_the_command_get_a_sigterm_first(world):
    daemon = 'setsid sh -c \'trap "echo daemon bye; exit" TERM; echo daemon; while :; do sleep 0.05; done\' & '
    a = stand(world, "a", script=daemon + "trap 'sleep 0.3; exit 0' TERM; " + UP + "while :; do sleep 0.05; done 9>&-")
    wait_up(a)
    a.wait_line("^daemon$")
    assert a.stop() == 0
    assert "daemon bye" in a.seen


def test_a_sigterm_comes_once(world):
    a = stand(world, "a", script="trap 'echo got TERM' TERM; sh -c 'exec sleep 1000' & " + UP +
              "n=0; while [ $n -lt 10 ]; do sleep 0.05; n=$((n + 1)); done 9>&-; exit 4")
    wait_up(a)
    assert a.stop() == 4
    assert a.seen.count("got TERM") == 1


def test_a_sigterm_comes_once_also_if_there_are_two_reasons_for_it(world):
    ill = os.path.join(world.folder, "ill")
    a = stand(world, "a", "--health", f"test ! -e {ill}", "--health-every", "10ms", "--grace", "500ms",
              script="trap 'echo got TERM' TERM; " + UP + "while :; do sleep 0.05; done 9>&-")
    wait_up(a)
    with open(ill, "w", encoding="utf-8"):
        pass
    a.wait_line("^got TERM$")
    a.stop()
    assert a.seen.count("got TERM") == 1


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return next((line.split("::", 1)[1].strip() for line in file if line.startswith("0::")), None)


def cgroup_folder():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        mount = next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)
    own = cgroup_of("self")
    return mount + own if mount and own else None


def cgroup_works():
    """Whether a cgroup can be made here and a process moved into it: the mode of the folder does not tell."""
    if cgroup_folder() is None:
        return False
    probe = os.path.join(cgroup_folder(), f"baton-probe-{os.getpid()}")
    try:
        os.mkdir(probe)
    except OSError:
        return False
    try:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            with open(os.path.join(probe, "cgroup.procs"), "w", encoding="utf-8") as procs:
                procs.write(str(process.pid))
            moved = cgroup_of(process.pid).endswith(os.path.basename(probe))
            process.stdin.close()
            process.wait()
        return moved
    except OSError:
        return False
    finally:
        os.rmdir(probe)


@pytest.mark.skipif(not cgroup_works(), reason="needs a cgroup (version 2) that processes may be moved into")
def test_the_command_has_a_cgroup_of_its_own_which_goes_with_it(world):
    a = stand(world, "a")
    pid, _ = wait_up(a)
    name = cgroup_of(pid).rsplit("/", 1)[1]
    assert name == f"baton-{guard_of(a)}"
    a.stop()
    assert not os.path.exists(os.path.join(cgroup_folder(), name))


@pytest.mark.skipif(not cgroup_works(), reason="needs a cgroup (version 2) that processes may be moved into")
def test_what_a_killed_guard_left_of_its_cgroup_is_removed_by_the_next_start(world):
    a = stand(world, "a")
    wait_up(a)
    left = os.path.join(cgroup_folder(), f"baton-{guard_of(a)}")
    assert os.path.isdir(left)
    os.kill(guard_of(a), signal.SIGKILL)
    a.wait_exit()
    assert os.path.isdir(left)
    # The kernel lists cgroups in no stated order, and a start removes 64 at most.
    for attempt in range(200):
        b = stand(world, f"b{attempt}")
        wait_up(b)
        b.stop()
        if not os.path.exists(left):
            break
    assert not os.path.exists(left)


def test_a_killed_guard_ends_the_command_and_passes_the_place_on(pair):
    os.kill(guard_of(pair.a), signal.SIGKILL)
    wait_up(pair.b)
    assert dead(pair.command)
    assert pair.a.wait_exit() == 70


@pytest.mark.parametrize("how", ["transfer", "hold", "term"])
def test_a_frozen_guard_does_not_keep_the_command_beside_the_next_one(pair, how):
    freeze(guard_of(pair.a))
    if how == "term":
        pair.a.signal(signal.SIGTERM)
    else:
        assert pair.run(how, "db").code == 0
    if how == "hold":
        assert dead(pair.command)
        pair.b.drain()
        assert pair.b.seen == []
    else:
        assert wait_up(pair.b)[1] > pair.term
        assert dead(pair.command)
    pair.a.wait_exit()
    assert "baton: db: the guard hangs: it is killed, and the command with it\n" in pair.a.stderr


def test_a_frozen_guard_does_not_keep_the_command_when_the_session_is_lost(world):
    process = stand(world, "a", "--ttl", "3s", "--grace", "500ms")
    pid, _ = wait_up(process)
    freeze(guard_of(process))
    shutil.rmtree(world.state)
    wait_dead(pid)
    process.signal(signal.SIGTERM)
    process.wait_exit()


def test_a_frozen_guard_does_not_stop_its_supervisor(pair):
    """Each signal is an order to the guard, until there is no room for more."""
    freeze(guard_of(pair.a))
    deadline = time.monotonic() + 20
    while pair.a.popen.poll() is None and time.monotonic() < deadline:
        pair.a.signal(signal.SIGUSR1)
    assert pair.a.wait_exit(1) == 70
    assert wait_up(pair.b)[1] > pair.term
    assert dead(pair.command)
    assert "baton: db: the guard hangs: it is killed, and the command with it\n" in pair.a.stderr


def test_a_leader_that_died_unseen_is_not_shown_as_one(world):
    process = stand(world, "a")
    pid, _ = wait_up(process)
    fds = [os.pidfd_open(one) for one in (pid, guard_of(process), process.pid)]
    for one in (guard_of(process), process.pid):
        os.kill(one, signal.SIGKILL)
    for fd in fds:
        assert select.select([fd], [], [], 20)[0]
        os.close(fd)
    told = world.run("status", "db")
    assert told.code == 1, told
    assert "nobody leads" in told.out


def test_killed_guard_and_supervisor_take_the_command_along(pair):
    guard = guard_of(pair.a)
    pair.a.signal(signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    pair.a.signal(signal.SIGKILL)
    wait_up(pair.b, 15)
    assert dead(pair.command)


def test_a_transfer_moves_the_command_and_back(pair):
    assert pair.run("transfer", "db", "--to", "b").code == 0
    assert wait_up(pair.b)[1] == pair.term + 1
    assert dead(pair.command)
    assert pair.run("transfer", "db", "--to", "a").code == 0
    assert wait_up(pair.a)[1] == pair.term + 2


def test_the_highest_priority_takes_over(world):
    changes = world.watch("db")
    a = stand(world, "a", "--ttl", "60s")
    _, term = wait_up(a)
    waiting = {}
    for name, priority in (("b", "-5"), ("c", "7"), ("d", "3")):
        waiting[name] = stand(world, name, "--ttl", "60s", "--priority", priority)
        changes.wait_object(change="join", id=name)
    # It is who would be next that counts, not who came next; and nobody takes a place away for it.
    assert world.run("status", "--json", "db").objects[0]["leader"] == "a"
    a.signal(signal.SIGKILL)
    for name in ("c", "d", "b"):
        _, newer = wait_up(waiting[name])
        assert newer > term
        term = newer
        for other in waiting.values():
            other.drain()
        assert [other for other in waiting if waiting[other].seen] == [name]
        waiting.pop(name).signal(signal.SIGKILL)


def test_preempt_takes_the_place_of_a_lower_priority_only(world):
    changes = world.watch("db")
    a = stand(world, "a", "--ttl", "60s", "--priority", "5")
    command, term = wait_up(a)
    for priority in ("4", "5"):
        other = stand(world, f"b{priority}", "--ttl", "60s", "--priority", priority, "--preempt")
        changes.wait_object(change="join", id=f"b{priority}")
        other.stop()
        changes.wait_object(change="leave", id=f"b{priority}")
        assert other.seen == []
    assert not dead(command)
    c = stand(world, "c", "--ttl", "60s", "--priority", "6", "--preempt")
    assert wait_up(c)[1] == term + 1
    assert dead(command)
    assert a.popen.poll() is None  # it stands on
    c.stop()
    assert wait_up(a)[1] > term + 1


def test_a_hold_stops_the_command_until_the_release(pair):
    assert pair.run("hold", "db").code == 0
    pair.changes.wait_object(change="vacant")
    assert dead(pair.command)
    assert pair.run("release", "db").code == 0
    assert wait_up(pair.a)[1] > pair.term


def test_restart_on_failure_starts_it_again_and_success_ends_it(world):
    script = 'echo run; echo x >>"$0.runs"; [ "$(wc -l <"$0.runs")" -ge 3 ]'
    process = stand(world, "a", "--restart", "on-failure", script=script)
    assert process.wait_exit() == 0
    assert process.seen.count("run") == 3


def test_restart_always_starts_it_again_with_the_same_term(world):
    process = stand(world, "a", "--restart", "always", script='echo "run $BATON_TERM"')
    first, place = process.wait_line(r"^run (\d+)$")
    second, _ = process.wait_line(r"^run (\d+)$", after=place)
    assert first.group(1) == second.group(1)
    assert process.stop() in (0, 143)  # between two runs, or in one


def test_a_command_is_started_again_also_when_it_had_left_something_behind(world):
    """What is left is killed with its cgroup; that must not be the end of what is born into it later."""
    process = stand(world, "a", "--restart", "always", script='sleep 1000 & echo "run $BATON_TERM"')
    place = 0
    for _ in range(3):
        _, place = process.wait_line(r"^run \d+$", after=place)
    process.stop()
    assert "status 137" not in process.stderr


def test_a_failing_health_check_gives_the_place_to_another_one(world):
    changes = world.watch("db")
    a = stand(world, "a", "--restart", "always", "--health", f"test ! -e {world.folder}/sick", "--health-every", "50ms")
    wait_up(a)
    b = stand(world, "b")
    changes.wait_object(change="join", id="b")
    with open(f"{world.folder}/sick", "w", encoding="utf-8"):
        pass
    wait_up(b)
    assert "has failed its health check 3 times in a row" in a.stderr
    changes.wait_object(change="join", id="a")  # it stands again


def test_an_id_that_is_in_use_is_told_and_given_up(pair):
    second = stand(pair, "a", "--ttl", "1s")
    assert second.wait_exit() == 69
    assert ("baton: db: the id 'a' is in use by another live candidate; give each instance an id of its own (--id)\n"
            in second.stderr)
    assert not dead(pair.command)


def signals_of_the_manual(pattern):
    """The names of the signals in this sentence of baton-run(1)."""
    with open(os.path.join(TOP, "man", "baton-run.1"), encoding="utf-8") as page:
        [sentence] = re.findall(pattern, page.read())
    return re.findall(r"SIG([A-Z0-9]+)", sentence)


FORWARDED = signals_of_the_manual(r"(SIG.*) are forwarded")
POLITE = signals_of_the_manual(r"A (SIG.*) to\n")
CATCH = "trap 'echo got {0}{1}' {0}; " + UP + "while :; do sleep 0.05; done 9>&-"


def test_the_manual_lists_the_signals():
    assert FORWARDED == ["HUP", "USR1", "USR2", "WINCH"] and POLITE == ["TERM", "INT", "QUIT"]


@pytest.mark.parametrize("name", FORWARDED)
def test_signals_are_forwarded(world, name):
    process = stand(world, "a", script=CATCH.format(name, ""))
    wait_up(process)
    for _ in range(2):
        process.signal(signal.Signals[f"SIG{name}"])
        _, process.up_place = process.wait_line(f"^got {name}$", after=process.up_place)
    assert process.popen.poll() is None


@pytest.mark.parametrize("name", POLITE)
def test_signals_that_end_it_reach_the_command_as_they_are(world, name):
    process = stand(world, "a", script=CATCH.format(name, "; exit 3"))
    wait_up(process)
    process.signal(signal.Signals[f"SIG{name}"])
    assert process.wait_exit() == 3
    assert f"got {name}" in process.seen


def test_systemd_hears_how_it_is(world):
    systemd = Systemd(world.folder)
    env = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "400000"}
    tell = "env | grep -c -x \"NOTIFY_SOCKET=$SYSTEMD\"; env | grep -c WATCHDOG_USEC; "
    process = stand(world, "a", env={**env, "SYSTEMD": systemd.path}, script=tell + SLEEP)
    systemd.wait("READY=1")
    systemd.wait("STATUS=leads (term 3)")
    systemd.wait("WATCHDOG=1")
    wait_up(process)
    assert process.seen[:2] == ["0", "0"], "the command got baton's own notify socket"
    process.signal(signal.SIGTERM)
    systemd.wait("STOPPING=1")
    process.wait_exit()
    systemd.socket.close()


def test_json_tells_each_change_on_stderr(world):
    process = stand(world, "a", "--json")
    wait_up(process)
    process.stop()
    events = [json.loads(line) for line in process.stderr.splitlines()]
    assert [event["event"] for event in events] == ["stand", "lead"]
    assert events[1]["term"] > 0


def test_terms_grow_and_nobody_overlaps_in_many_takeovers(world):
    runs = [stand(world, f"i{n}") for n in range(4)]
    ways = (signal.SIGKILL, signal.SIGTERM)
    newest = 0
    for turn in range(12):
        leader = None
        deadline = time.monotonic() + 20
        while leader is None and time.monotonic() < deadline:
            ready, _, _ = select.select([run.popen.stdout for run in runs], [], [], 1)
            for run in runs:
                if run.popen.stdout in ready:
                    run._read(time.monotonic())
                    if any(line.startswith("up") or line == "CONTENDED" for line in run.seen):
                        leader = run
        _, term = wait_up(leader)
        assert term > newest
        newest = term
        leader.signal(ways[turn % 2])
        leader.wait_exit()
        runs.remove(leader)
        runs.append(stand(world, f"j{turn}"))


def test_kills_at_random_moments_lose_nothing(world):
    """Instances are killed, guard and all, at any moment of their coming, leading and writing. The terms that are then
    in the history, and those that commands have seen, only grow; and the database is sound."""
    dice = random.Random(20261124)
    begin = time.monotonic()
    first = stand(world, "first")
    terms = [wait_up(first)[1]]
    usual_s = time.monotonic() - begin  # on this machine, now
    first.stop()
    for turn in range(150):
        process = stand(world, f"i{turn}", "--restart", "always", script='echo "up $$ $BATON_TERM $BATON_ID"')
        # Until it leads, or not so long; and then a little longer.
        if select.select([process.popen.stdout], [], [], dice.random() * 2 * usual_s)[0]:
            select.select([], [], [], dice.random() * usual_s / 4)
        for pid in (process.pid, *children(process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait_exit()
        terms += [int(line.split()[2]) for line in process.seen if line.startswith("up")]
    assert terms == sorted(terms) and len(set(terms)) > 10
    last = stand(world, "last")
    _, term = wait_up(last)
    assert term > max(terms)
    history = world.run("history", "--json", "db").objects
    kept = [each["term"] for each in history]
    assert kept == sorted(kept, reverse=True) and kept[0] == term
    with sqlite3.connect(f"{world.state}/baton.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_removed_state_directory_ends_the_leadership(world):
    process = stand(world, "a", "--ttl", "1s")
    pid, _ = wait_up(process)
    shutil.rmtree(world.state)
    fd = os.pidfd_open(pid)
    assert select.select([fd], [], [], 20)[0]
    os.close(fd)
    world.wait_error(process, re.escape(f"local: the state directory {world.state} was removed; restart what uses it"))
    process.stop()
    assert "its heartbeat was too old" not in process.stderr


def switches(pid):
    """How often its threads have gone to sleep so far: for each time that something has woken them."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches:"))
    return total


def test_who_is_idle_wakes_up_for_its_renewals_only(world):
    changes = world.watch("db")
    a = stand(world, "a", "--ttl", "2s", env=world.traced("a"))
    wait_up(a)
    b = stand(world, "b", "--ttl", "2s", env=world.traced("b"))
    changes.wait_object(change="join", id="b")
    changes.stop()
    renewals = {name: world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/trace-{name}"]) for name in "ab"}
    places = {name: tail.wait_line("< session_renew .* done")[1] for name, tail in renewals.items()}
    pids = {"leader": a.pid, "its guard": guard_of(a), "waiter": b.pid, "the waiter's guard": guard_of(b)}
    before = {name: switches(pid) for name, pid in pids.items()}
    count = 8
    for _ in range(count):
        for name, tail in renewals.items():
            places[name] = tail.wait_line("< session_renew .* done", after=places[name])[1]
    woken = {name: switches(pid) - before[name] for name, pid in pids.items()}
    # A renewal wakes the loop, the supervisor and the guard once each. Polling, if only ten times between two of them,
    # would be seen.
    assert all(times <= 5 * count for times in woken.values()), woken


def test_nothing_is_left_when_all_have_ended(pair):
    pair.a.stop()
    wait_up(pair.b)
    pair.b.stop()
    pair.changes.stop()
    assert pair.marked() == []


@pytest.mark.parametrize("command", ["run", "lock", "once"])
def test_a_command_needs_no_dashes_before_it(world, command):
    told = world.run(command, "--id", "a", "db", "sh", "-c", 'echo "$0 $*"', "--verbose", "--", "--id", "x")
    assert (told.code, told.out) == (0, "--verbose -- --id x\n"), told
    told = world.run(command, "db2", "--ttl", "9s", "echo", "--json")
    assert (told.code, told.out) == (0, "--json\n"), told


@pytest.mark.parametrize("command", ["run", "lock", "once"])
def test_a_line_for_the_shell_in_place_of_a_command(world, command):
    told = world.run(command, "--id", "a", "db", "--", "echo a b")
    assert told.code == 127 and told.err.endswith("baton: db: cannot run 'echo a b': No such file or directory; a line "
                                                  "for the shell is: sh -c 'echo a b'\n"), told
    assert world.run(command, "db2", "--", "sh", "-c", "echo a b").out == "a b\n"
