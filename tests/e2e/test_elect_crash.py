"""`baton elect` that is killed, stands still, or cannot end: what its hooks have set up is taken down all the same."""

import os
import signal
import sys

import pytest

from conftest import LIMIT_S, TOP, freeze, guard_of, state_of, wait_dead
from test_elect import elect, hook, log_of

sys.path.insert(0, os.path.join(TOP, "tests", "etcd"))
from cluster import Cluster  # noqa: E402 pylint: disable=wrong-import-position

HOOKS = ("--on-lead", hook("lead"), "--on-follow", hook("follow"))


def words(world):
    """What the hooks have said: `lead:a`, ..."""
    return [":".join(entry.split(":")[:2]) for entry in log_of(world)]


def wait_word(world, word):
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line(f"^{word}:")


def lead_and_stand(place, ttl="20s", hooks=HOOKS):
    """`a` leads, its hook has run, and `b` stands."""
    changes = place.watch("db")
    a = elect(place, "a", "--ttl", ttl, *hooks)
    term = a.wait_object(event="lead")["term"]
    if hooks == HOOKS:
        wait_word(place, "lead:a")
    b = elect(place, "b", "--ttl", ttl, "--on-lead", hook("lead"))
    changes.wait_object(change="join", id="b")
    return a, b, term


def test_what_a_killed_instance_has_set_up_is_taken_down_before_the_next_leads(place):
    a, b, term = lead_and_stand(place)
    a.signal(signal.SIGKILL)
    b.wait_object(event="lead", id="b")
    assert b.stop() == 0
    assert log_of(place)[:2] == [f"lead:a:{term}:lead:db", f"follow:a:{term}:follow:db"]
    assert words(place)[2:] == ["lead:b"]


def test_a_hook_of_a_killed_instance_is_over_before_on_follow_begins(place):
    """--on-lead would go on for ever, beside what takes down what it sets up."""
    follow = "case $(ps -o stat= -p $(cat hook)) in ''|Z*) ;; *) echo alive >>log;; esac; " + hook("follow")
    a, b, _ = lead_and_stand(place, hooks=("--on-lead", "echo $$ >hook; echo begun; exec sleep 1000",
                                           "--on-follow", follow))
    a.wait_line("^begun$")
    a.signal(signal.SIGKILL)
    b.wait_object(event="lead", id="b")
    assert b.stop() == 0
    assert words(place) == ["follow:a", "lead:b"]


def test_an_instance_that_follows_has_nothing_to_take_down(place):
    changes = place.watch("db")
    a = elect(place, "a", *HOOKS)
    changes.wait_object(change="lead", id="a")
    b = elect(place, "b", *HOOKS)
    b.wait_object(event="leader", id="a")
    changes.wait_object(change="join", id="b")
    b.signal(signal.SIGKILL)
    changes.wait_object(change="leave", id="b")
    assert a.stop() == 0
    assert words(place) == ["lead:a", "follow:a"]


def test_an_instance_that_stands_still_is_taken_down_and_does_it_not_again(place):
    a, b, _ = lead_and_stand(place, ttl="3s")
    freeze(a.pid)
    b.wait_object(event="lead", id="b")
    assert words(place)[:2] == ["lead:a", "follow:a"]
    a.signal(signal.SIGCONT)
    a.wait_object(event="follow")
    assert a.stop() == 0 and b.stop() == 0
    assert words(place) == ["lead:a", "follow:a", "lead:b"]
    assert "did not renew in time, and its guard has ended the session, after the hook for 'follow'" in a.stderr


def test_an_instance_that_goes_on_leaves_to_its_guard_what_that_has_begun(world):
    """Two at once, the later of which would take down what the next leader has set up on the same host."""
    follow = "echo begins:a: >>log; until [ -e go ]; do sleep .02; done; " + hook("follow")
    a, b, _ = lead_and_stand(world, ttl="8s", hooks=("--grace", "3s", "--on-lead", hook("lead"), "--on-follow", follow))
    wait_word(world, "lead:a")
    freeze(a.pid)
    wait_word(world, "begins:a")
    a.signal(signal.SIGCONT)
    a.wait_object(event="stop")
    with open(os.path.join(world.folder, "go"), "w", encoding="utf-8"):
        pass
    b.wait_object(event="lead", id="b")
    a.wait_object(event="follow")
    assert a.stop() == 0 and b.stop() == 0
    assert words(world) == ["lead:a", "begins:a", "follow:a", "lead:b"]


def test_a_guard_that_is_killed_ends_the_instance_with_its_hook(place):
    a, b, _ = lead_and_stand(place)
    os.kill(guard_of(a), signal.SIGKILL)
    b.wait_object(event="lead", id="b")
    assert a.wait_exit() == 70
    assert b.stop() == 0
    assert words(place) == ["lead:a", "follow:a", "lead:b"]
    assert "the guard is gone: the place is given up" in a.stderr


def test_what_nobody_could_take_down_is_taken_down_at_the_next_start(world):
    """The instance and its guard were killed at once, and nobody may lead now."""
    changes = world.watch("db")
    a = elect(world, "a", "--ttl", "1s", *HOOKS)
    wait_word(world, "lead:a")
    changes.wait_object(change="lead", id="a")
    guard = guard_of(a)
    freeze(a.pid)
    for pid in (guard, a.pid):
        os.kill(pid, signal.SIGKILL)
    changes.wait_object(change="vacant")
    assert words(world) == ["lead:a"]
    assert world.run("hold", "db").code == 0
    again = elect(world, "a", *HOOKS)
    wait_word(world, "follow:a")
    assert again.stop() == 0
    assert words(world) == ["lead:a", "follow:a"]


def test_a_first_start_takes_nothing_down(world):
    assert world.run("hold", "db").code == 0
    a = elect(world, "a", *HOOKS)
    a.wait_object(event="stand")
    assert a.stop() == 0
    assert not os.path.exists(f"{world.folder}/log")


def test_what_hooks_leave_behind_becomes_no_zombie(world):
    a = elect(world, "a", "--on-lead", "for n in 1 2 3; do (exec sh -c 'echo $$ >>left; read line <fifo') & done")
    os.mkfifo(f"{world.folder}/fifo")
    a.wait_object(event="lead")
    tail = world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/left"])
    pids = []
    for _ in range(3):
        match, tail.place = tail.wait_line(r"^\d+$", after=getattr(tail, "place", 0))
        pids.append(int(match[0]))
    fds = [os.pidfd_open(pid) for pid in pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_dead(pid)
    for fd in fds:
        os.close(fd)
    assert a.stop() == 0
    assert [state_of(pid) for pid in pids] == ["X"] * 3


def test_a_second_signal_ends_it_at_once_and_the_guard_takes_down(tmp_path, world):
    """etcd is away, so the first one waits for its answer."""
    with Cluster(str(tmp_path)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a = elect(world, "a", "--ttl", "6s", *HOOKS)
        wait_word(world, "lead:a")
        etcd.members[0].kill()
        a.signal(signal.SIGTERM)
        a.wait_object(event="stop")
        a.signal(signal.SIGTERM)
        assert a.wait_exit() == 128 + signal.SIGTERM
        # The guard runs it again when it was cut short.
        assert words(world)[:2] == ["lead:a", "follow:a"] and set(words(world)[2:]) <= {"follow:a"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_engine_that_does_not_answer_is_not_waited_for_for_ever(tmp_path, world, number):
    with Cluster(str(tmp_path)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a = elect(world, "a", "--ttl", "60s", *HOOKS)
        wait_word(world, "lead:a")
        etcd.members[0].kill()
        a.signal(number)
        assert a.popen.wait(LIMIT_S) == 0  # (its output is its guard's, too, which goes on trying)
        assert "has not answered: the guard ends the session" in a.stderr
        assert words(world) == ["lead:a", "follow:a"]
