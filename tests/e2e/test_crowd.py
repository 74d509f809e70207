"""Many instances: those far down the line are not woken by each change, and are there when it is their turn. Leases are
long here, so that whoever is forgotten misses every limit."""

import json
import os
import signal
import time

import pytest

from conftest import LIMIT_S

CROWD = 16
TTL = "--ttl=10m"
# Says so when another one runs beside it.
ALONE = 'exec 9>"$0"; flock -n 9 || echo CONTENDED; echo "up $BATON_TERM$BATON_TOKEN"; exec sleep 1000'


@pytest.fixture(params=["local", "etcd"])
def place(request, world):
    """A namespace on each engine."""
    return world if request.param == "local" else request.getfixturevalue("etcd_world")


def alone(world):
    return ("sh", "-c", ALONE, os.path.join(world.folder, "alone"))


def wait_entries(world, count):
    deadline = time.monotonic() + LIMIT_S
    while len(json.loads(world.run("lock", "--describe", "--json", "l").out)["entries"]) != count:
        assert time.monotonic() < deadline


def wait_up(process):
    match, _ = process.wait_line(r"^(CONTENDED|up (\d+))$", limit=LIMIT_S)
    assert match[1] != "CONTENDED"
    return int(match[2])


@pytest.fixture
def crowd(place):
    """Candidates in the order of their names, of which the first leads."""
    watch = place.watch("db")
    place.all = []
    for i in range(CROWD):
        place.all.append(place.stand("db", f"c{i}", TTL, "--grace=300ms", command=alone(place)))
        watch.wait_object(change="join", id=f"c{i}")
    place.term = wait_up(place.all[0])
    return place


def test_the_place_goes_down_the_line_when_leaders_are_killed(crowd):
    for before, after in zip(crowd.all, crowd.all[1:]):
        before.signal(signal.SIGKILL)
        term = wait_up(after)
        assert term > crowd.term
        crowd.term = term


def test_the_last_in_the_line_leads_when_a_transfer_names_it(crowd):
    for instance in (CROWD - 1, 0, CROWD - 2):
        told = crowd.run("transfer", "--to", f"c{instance}", "db")
        assert told.code == 0 and told.out.startswith(f"db: c{instance} leads, term ")


def test_the_last_in_the_line_leads_when_all_others_are_killed_at_once(crowd):
    for process in crowd.all[:-1]:
        process.signal(signal.SIGKILL)
    assert wait_up(crowd.all[-1]) > crowd.term


def test_one_that_waits_far_down_the_line_resigns_at_once(crowd):
    assert crowd.all[-1].stop() == 0 or crowd.all[-1].popen.returncode == 143
    told = crowd.run("status", "--json", "db")
    assert f"c{CROWD - 1}" not in [candidate["id"] for candidate in told.objects[0]["candidates"]]
    assert told.objects[0]["leader"] == "c0"


def test_a_lock_goes_down_its_queue_when_holders_are_killed(place):
    holders = []
    for i in range(CROWD):
        holders.append(place.start("lock", TTL, "--grace=300ms", "--id", f"c{i}", "l", "--", *alone(place)))
        wait_entries(place, i + 1)
    token = 0
    for holder in holders:
        following = wait_up(holder)
        assert following > token
        token = following
        holder.signal(signal.SIGKILL)


def test_all_readers_of_a_crowd_hold_when_the_writer_goes(place):
    reader = ("sh", "-c", "echo up 1; exec sleep 1000")
    writer = place.start("lock", TTL, "--grace=300ms", "l", "--", *alone(place))
    wait_up(writer)
    readers = []
    for i in range(CROWD):
        readers.append(place.start("lock", "--shared", TTL, "--grace=300ms", "--id", f"c{i}", "l", "--", *reader))
        wait_entries(place, i + 2)
    writer.stop()
    for process in readers:
        wait_up(process)
