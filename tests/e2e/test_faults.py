"""BATON_FAULTS: an engine that is worse than it need be, and what the commands make of it."""

import os
import signal

import pytest

from conftest import BATON

DIE = os.path.join(os.path.dirname(BATON), "tests", "e2e", "die.so")

# Each holds a lock while it lives; two at once would say so.
ALONE = ("sh", "-c", 'exec 9>"$0"; flock -n 9 || echo CONTENDED; echo "up $BATON_TERM"; exec sleep 1000')


def test_renewals_that_are_lost_end_the_leader_before_its_lease(world):
    lock = os.path.join(world.folder, "lock")
    a = world.stand("db", "a", "--ttl=1s", "--grace=200ms", command=(*ALONE, lock), env={"BATON_FAULTS": "renew=1"})
    term = int(a.wait_line(r"^up (\d+)")[0][1])
    b = world.stand("db", "b", "--ttl=1s", "--grace=200ms", command=(*ALONE, lock))
    assert int(b.wait_line(r"^up (\d+)")[0][1]) > term
    assert "CONTENDED" not in b.seen


@pytest.mark.parametrize("faults", ["lose=0.4,seed=1", "drop=0.4,seed=2", "lose=0.3,drop=0.3,delay=5,jitter=20,seed=3"])
def test_writes_and_answers_that_are_lost_cost_time_only(world, faults):
    lock = os.path.join(world.folder, "lock")
    watch = world.watch("db")
    instances = {name: world.stand("db", name, "--ttl=5s", "--grace=300ms", command=(*ALONE, lock),
                                   env={"BATON_FAULTS": faults}) for name in "abcdef"}
    terms = []
    while len(instances) > 2:
        lead = watch.wait_object(change="lead", limit=40)
        terms.append(lead["term"])
        if lead["id"] in instances:
            leader = instances.pop(lead["id"])
            leader.wait_line(f"^up {lead['term']}$")
            leader.signal(signal.SIGKILL)
    assert terms == sorted(set(terms))
    assert not any("CONTENDED" in process.seen for process in world.processes)


def test_a_delay_delays(world):
    told = world.run("run", "--id", "a", "db", "--", "true", env={"BATON_FAULTS": "delay=40", "BATON_TRACE": "engine"})
    assert told.code == 0
    times = [float(line.split(", after ")[1].split()[0]) for line in told.err.splitlines() if ", after " in line]
    assert times and min(times) >= 40, told


@pytest.mark.parametrize("faults,words", [("noise=1", "'noise=1' is no fault"), ("lose", "'lose' is no fault"),
                                          ("lose=2", "lose is a number from 0 to 1"),
                                          ("delay=-1", "delay is a number from 0 to 600000"),
                                          ("delay=nan", "delay is a number"), ("lose=0.1,,", "'' is no fault")])
def test_faults_that_cannot_be(world, faults, words):
    told = world.run("status", env={"BATON_FAULTS": faults})
    assert told.code == 64 and words in told.err, told


def test_a_state_directory_is_never_left_half_made(world):
    """Whoever makes it is killed at each of its writes in turn; the next one finds all of it, or nothing."""
    if "asan" in BATON or "tsan" in BATON:
        pytest.skip("a sanitizer must come first")
    killed, number = -signal.SIGKILL, 0
    while killed != 0:
        number += 1
        env = {"BATON_URL": f"local:{world.folder}/state-{number}"}
        killed = world.run("hold", "db", env={**env, "LD_PRELOAD": DIE, "DIE_AT": str(number)}).code
        assert killed in (0, -signal.SIGKILL)
        told = world.run("history" if killed == 0 else "hold", "db", env=env)
        assert told.code == 0 or "on hold already" in told.err, (number, told, os.listdir(env["BATON_URL"][6:]))
    assert number > 10
