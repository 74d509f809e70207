"""`baton run --follow`: a second command that runs while the instance does not lead, and never beside the first."""

import json
import os
import select
import signal
import time

import pytest

from conftest import LIMIT_S, dead, freeze

# Each instance has a lock of its own, which both of its commands need; who cannot have it says so.
PART = ('exec 9>"alone-$BATON_ID"; flock -n 9 || echo CONTENDED; '
        'echo $$ >"pid-$BATON_ID"; told="{part} $BATON_ID ${{BATON_TERM-none}}"; echo "$told" >>log; echo "$told"; '
        'exec sleep 1000')


@pytest.fixture(params=["local", "etcd"])
def place(request, world):
    """A namespace on each engine."""
    return world if request.param == "local" else request.getfixturevalue("etcd_world")


def instance(world, name, *options, follow=PART.format(part="follows"), **kwargs):
    return world.start("run", "--id", name, "--follow", follow, *options, "db", "--", "sh", "-c",
                       PART.format(part="leads"), **kwargs)


def pid_of(world, name):
    with open(f"{world.folder}/pid-{name}", encoding="utf-8") as file:
        return int(file.read())


def log_of(world):
    with open(f"{world.folder}/log", encoding="utf-8") as file:
        return file.read().splitlines()


def trio(place):
    a = instance(place, "a")
    a.wait_line("^leads a")
    b, c = instance(place, "b"), instance(place, "c")
    b.wait_line("^follows b none$")
    c.wait_line("^follows c none$")
    return {"a": a, "b": b, "c": c}


def test_an_instance_whose_followers_guard_hangs_does_not_lead_without_a_command(place):
    a = instance(place, "a")
    _, led = a.wait_line("^leads a")
    b = instance(place, "b", "--grace", "200ms")
    b.wait_line("^follows b none$")
    follower = pid_of(place, "b")
    with open(f"/proc/{follower}/status", encoding="utf-8") as status:
        freeze(next(int(line.split()[1]) for line in status if line.startswith("PPid:")))
    assert place.run("transfer", "db", "--to", "b").code == 0
    assert b.wait_exit() == 70
    assert "baton: db: the guard of the follower's command hangs: all commands are killed\n" in b.stderr
    assert dead(follower)
    a.wait_line("^leads a", after=led)
    assert "CONTENDED" not in a.seen + b.seen


def test_one_leads_and_the_others_follow(place):
    processes = trio(place)
    assert log_of(place)[0].startswith("leads a ") and len(log_of(place)) == 3  # who is alone does not follow first
    place_in = {name: 0 for name in processes}
    for leader, following in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "b")):
        assert place.run("transfer", "db", "--to", following).code == 0
        _, place_in[following] = processes[following].wait_line(f"^leads {following} ", after=place_in[following])
        _, place_in[leader] = processes[leader].wait_line(f"^follows {leader} none$", after=place_in[leader])
    for process in processes.values():
        process.drain()
        assert "CONTENDED" not in process.seen, process


def test_a_leader_that_is_killed_is_followed_by_one_whose_follower_is_over(place):
    processes = trio(place)
    processes.pop("a").signal(signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while len(leading := [line for line in log_of(place) if line.startswith("leads ")]) < 2:
        assert time.monotonic() < deadline, log_of(place)
    name = leading[1].split()[1]
    processes[name].drain()
    assert "CONTENDED" not in processes[name].seen
    status = json.loads(place.run("status", "--json", "db").out)
    assert status["leader"] == name


def test_a_follower_that_ends_is_started_again(world):
    first = instance(world, "a")
    first.wait_line("^leads a")
    second = instance(world, "b")
    _, after = second.wait_line("^follows b none$")
    os.kill(pid_of(world, "b"), signal.SIGKILL)
    second.wait_line("^follows b none$", after=after)
    assert "it is started again in 100 ms" in second.stderr


def test_nothing_is_left_of_it(world):
    first = instance(world, "a")
    first.wait_line("^leads a")
    second = instance(world, "b")
    second.wait_line("^follows b none$")
    assert second.stop() == 0
    third = instance(world, "c")
    third.wait_line("^follows c none$")
    pid = os.pidfd_open(pid_of(world, "c"))
    third.signal(signal.SIGKILL)
    try:
        assert select.select([pid], [], [], LIMIT_S)[0], "the follower's command outlives its supervisor"
    finally:
        os.close(pid)


def test_a_follower_that_does_not_end_is_killed_after_the_grace(world):
    first = instance(world, "a")
    first.wait_line("^leads a")
    stubborn = 'trap "" TERM; echo "follows b"; while :; do sleep 0.1; done'
    second = instance(world, "b", "--grace=300ms", "--ttl=3s", follow=stubborn)
    second.wait_line("^follows b$")
    first.stop()
    second.wait_line("^leads b ")


def test_a_session_that_is_lost_does_not_end_the_follower(etcd_world):
    first = instance(etcd_world, "a")
    first.wait_line("^leads a")
    second = instance(etcd_world, "b", "--ttl=2s")
    second.wait_line("^follows b none$")
    pid = pid_of(etcd_world, "b")
    member = etcd_world.etcd.members[0]
    member.freeze()
    try:
        deadline = time.monotonic() + LIMIT_S
        while "the session is over" not in second.stderr:
            assert time.monotonic() < deadline, second
        os.kill(pid, 0)
    finally:
        member.thaw()


def test_one_of_the_two_runs_also_when_the_engine_does_not_answer(etcd_world):
    member = etcd_world.etcd.members[0]
    member.freeze()
    try:
        first = instance(etcd_world, "a")
        first.wait_line("^follows a none$")
    finally:
        member.thaw()
    first.wait_line("^leads a ")
    assert "CONTENDED" not in first.seen


def test_a_leader_that_loses_its_session_follows(etcd_world):
    first = instance(etcd_world, "a", "--ttl=2s", "--grace=300ms")
    first.wait_line("^leads a ")
    member = etcd_world.etcd.members[0]
    member.freeze()
    try:
        _, after = first.wait_line("^follows a none$")
    finally:
        member.thaw()
    first.wait_line("^leads a ", after=after)
    assert "CONTENDED" not in first.seen


def test_while_an_election_is_on_hold_all_follow(place):
    first = instance(place, "a")
    first.wait_line("^leads a ")
    second = instance(place, "b")
    second.wait_line("^follows b none$")
    assert place.run("hold", "db").code == 0
    _, after = first.wait_line("^follows a none$")
    late = instance(place, "c")
    late.wait_line("^follows c none$")
    assert place.run("release", "db").code == 0
    place.watch("db").wait_object(change="lead")
    assert not [line for line in first.seen + second.seen if line == "CONTENDED"]


# Tells when it begins and when it ends, and takes its time for both. (The signal is for its date(1), too.)
INTERVAL = """over=; trap 'over=1' TERM
tell() {{ until now=$(date +%s%N); do :; done; echo "$now $1 {part} $BATON_ID" >>intervals; }}
tell begin; echo "{part}"; until [ "$over" ]; do sleep 0.02; done; sleep 0.05; tell end"""


def test_never_both_and_always_one(place):
    names = "abc"
    processes = {name: place.start("run", "--id", name, "--follow", INTERVAL.format(part="follows"), "db", "--", "sh",
                                   "-c", INTERVAL.format(part="leads")) for name in names}
    seen = {name: 0 for name in names}
    for name, process in processes.items():
        process.wait_line("^(leads|follows)$")
    leader = json.loads(place.run("status", "--json", "db").out)["leader"]
    for turn in range(6):
        before, leader = leader, next(name for name in names if name != leader)
        if turn % 3 == 2:
            assert place.run("hold", "db").code == 0
            _, seen[before] = processes[before].wait_line("^follows$", after=seen[before])
            assert place.run("release", "db").code == 0
            place.watch("db").wait_object(change="lead")
            leader = json.loads(place.run("status", "--json", "db").out)["leader"]
        else:
            seen[before] = len(processes[before].seen)
            assert place.run("transfer", "db", "--to", leader).code == 0
            _, seen[before] = processes[before].wait_line("^follows$", after=seen[before])
        processes[leader].wait_line("^leads$", after=seen[leader])
        seen = {name: len(process.seen) for name, process in processes.items()}
    for process in processes.values():
        process.stop()
    with open(f"{place.folder}/intervals", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    for name in names:
        mine = [(int(time_ns), what) for time_ns, what, _, who in lines if who == name]
        assert [what for _, what in mine] == ["begin", "end"] * (len(mine) // 2), mine  # never both
        times = [time_ns for time_ns, _ in mine]
        assert times == sorted(times)
        gaps = [(begin - end) / 1e9 for end, begin in zip(times[1::2], times[2::2])]
        assert all(gap < LIMIT_S / 2 for gap in gaps), gaps  # always one
    assert len([line for line in lines if line[1:3] == ["begin", "leads"]]) >= 6


@pytest.mark.parametrize("name", ["HUP", "USR1", "USR2", "WINCH"])
def test_signals_reach_the_command_of_a_follower(world, name):
    catch = f"trap 'echo got {name}; exit' {name}; echo follows; while :; do sleep 0.05; done"
    leader = world.stand("db", "a")
    changes = world.watch("db")
    changes.wait_object(change="lead", id="a")
    process = world.start("run", "--id", "b", "--follow", catch, "db", "--", "true")
    process.wait_line("^follows$")
    process.signal(signal.Signals[f"SIG{name}"])
    process.wait_line(f"^got {name}$")
    assert leader.popen.poll() is None
