""""Somebody else has it" is not "nobody answers": an engine that is away is 69, whatever was said about the conflict.
"""

import json
import os
import re
import signal
import sys
import time

import pytest

from conftest import LIMIT_S, TOP

sys.path.insert(0, os.path.join(TOP, "tests", "etcd"))
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position

NOBODY = "etcd://127.0.0.1:1/x"
AT_ONCE_S = 8  # less than an engine that is silent may take; nobody waits for one that has refused


@pytest.fixture
def own_etcd(world, tmp_path):
    """An etcd that may be broken."""
    with Cluster(str(tmp_path)) as cluster:
        world.env["BATON_URL"] = cluster.url("x")
        world.etcd = cluster
        yield world


@pytest.mark.parametrize("options", [("-n",), ("-n", "-E", "0"), ("-w", "0.3"), ("-w", "0.3", "-E", "0"), ("-w", "0"),
                                     ("-nE9",)], ids=str)
@pytest.mark.parametrize("command", ["lock", "once"])
def test_who_cannot_ask_does_not_say_that_others_have_it(world, command, options):
    told = world.run(command, *options, "nightly", "--", "echo", "RUN", env={"BATON_URL": NOBODY}, limit=AT_ONCE_S)
    assert told.code == 69 and told.out == "", told
    assert f"the {'lock' if command == 'lock' else 'task'} 'nightly'" in told.err and "127.0.0.1:1" in told.err, told


@pytest.mark.parametrize("command", ["status x", "status", "history x", "transfer x", "hold x", "release x",
                                     "lock --describe x", "once list", "once show x", "once forget x"])
def test_every_question_that_nobody_answers_is_unavailable(world, command):
    told = world.run(*command.split(), "--engine-timeout", "300ms", env={"BATON_URL": NOBODY})
    assert told.code == 69 and told.out == "", told


@pytest.mark.parametrize("command", ["status x", "history x", "transfer x", "hold x", "release x", "lock --describe x",
                                     "once list", "once forget x"])
def test_an_engine_that_hangs_is_unavailable(own_etcd, command):
    own_etcd.etcd.members[0].freeze()
    told = own_etcd.run(*command.split(), "--engine-timeout", "300ms")
    own_etcd.etcd.members[0].thaw()
    assert told.code == 69 and told.out == "", told


@pytest.mark.parametrize("command, options", [("lock", ("-n", "-E0")), ("lock", ("-w", "0.2", "-E0")),
                                              ("once", ("-n", "-E0")), ("once", ("-w", "0.2", "-E0"))])
def test_an_engine_that_hangs_is_no_conflict(own_etcd, command, options):
    own_etcd.etcd.members[0].freeze()
    told = own_etcd.run(command, *options, "x", "--", "echo", "RUN")
    own_etcd.etcd.members[0].thaw()
    assert told.code == 69 and told.out == "", told


@pytest.mark.parametrize("command", ["lock", "once"])
def test_a_holder_that_was_seen_before_the_engine_went_is_no_conflict(own_etcd, command):
    """What was true before the engine went away may be so no more."""
    deadline = time.monotonic() + LIMIT_S
    holder = own_etcd.start(command, "--ttl=60s", "x", "--", "sh", "-c", "echo up; exec sleep 1000")
    holder.wait_line("^up$")
    waiter = own_etcd.start(command, "--ttl=60s", "-w", "8", "-E", "0", "x", "--", *holder.command[5:])
    while (json.loads(own_etcd.run("lock", "--describe", "--json", "x").out)["waiting"] if command == "lock"
           else own_etcd.run("once", "show", "--json", "x").objects[0]["waiting"]) != 1:
        assert time.monotonic() < deadline
    own_etcd.etcd.members[0].kill()
    assert waiter.wait_exit() == 69 and waiter.seen == [], waiter


@pytest.mark.parametrize("command", ["lock", "once"])
def test_an_engine_that_is_full_is_no_conflict(world, tmp_path, command):
    with Cluster(str(tmp_path), options=("--quota-backend-bytes", str(16 * 1024 * 1024))) as etcd:
        world.env["BATON_URL"] = etcd.url("x")
        with pytest.raises(RuntimeError):
            for n in range(30):
                etcd.ctl("put", f"fill{n}", stdin="x" * 1024 * 1024)
        for options in (("-n",), ("-w", "0.5")):
            told = world.run(command, *options, "-E", "0", "x", "--", "echo", "RUN")
            assert told.code == 73 and told.out == "" and "space exceeded" in told.err, told


def test_a_conflict_is_a_conflict_on_an_engine_that_is_there(own_etcd):
    for command in ("lock", "once"):
        holder = own_etcd.start(command, command, "--", "sh", "-c", "echo up; exec sleep 1000")
        holder.wait_line("^up$")
        for options in (("-n",), ("-w", "0.1"), ("-w", "0.001")):
            assert own_etcd.run(command, *options, "-E", "3", command, "--", *holder.command[4:]).code == 3


@pytest.mark.parametrize("command", ["lock", "once"])
def test_a_short_wait_does_not_fail_a_free_lock(place, command):
    """The time that was given is for others; what the engine itself takes to answer is no conflict."""
    told = place.run(command, "-w", "1ms", "x", "--", "echo", "RUN")
    assert told.code == 0 and told.out == "RUN\n", told


def test_a_local_engine_that_cannot_be_read_is_no_conflict(world):
    assert world.run("lock", "x", "--", "true").code == 0
    os.remove(os.path.join(world.state, "baton.db"))
    told = world.run("lock", "-n", "-E", "0", "x", "--", "echo", "RUN")
    assert told.code not in (0, 1) and told.out == "" and "baton.db-wal, is there" in told.err, told
    assert not os.path.exists(os.path.join(world.state, "baton.db"))  # and nothing was made


def test_what_ends_without_an_answer_asks_for_nothing_more(own_etcd):
    """Nobody waits for what has expired to be forgotten when the engine has not even heard of the end."""
    task = own_etcd.start("once", "x", "--", "sh", "-c", "echo runs; exec sleep 1000", env={"BATON_TRACE": "engine"})
    task.wait_line("runs")
    own_etcd.etcd.members[0].freeze()
    task.signal(signal.SIGTERM)
    own_etcd.wait_error(task, "put tasks/x/claim .*failed")
    task.signal(signal.SIGTERM)
    assert task.wait_exit() == 69
    own_etcd.etcd.members[0].thaw()
    assert "is not recorded" in task.stderr and not re.search(r"> watch \d+ tasks/$", task.stderr, re.M), task.stderr
