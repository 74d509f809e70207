"""The example programs, as a reader of them would try them: several at once, one is ended, another goes on."""

import os
import signal
import time

import pytest

from conftest import BATON, LIMIT_S

EXAMPLES = os.path.join(os.path.dirname(BATON), "examples")


@pytest.fixture
def start(world):
    def start_example(name, *args):
        path = os.path.join(EXAMPLES, name)
        if not os.access(path, os.X_OK):
            pytest.fail(f"there is no {path}; run: make build")
        process = world.start_command([path, *args])
        process.wait_line(" stands in | wants ")
        return process

    return start_example


def term_of(process, after=0):
    """The term of the next row, and the place after it."""
    match, place = process.wait_line(r"^row \d+, written with term (\d+)$", after=after)
    return int(match[1]), place


def test_who_asks_before_it_writes_takes_over_from_one_that_crashed(start):
    first = start("ask_before_write")
    term, _ = term_of(first)
    second = start("ask_before_write")
    killed = time.monotonic()
    first.signal(signal.SIGKILL)
    first.wait_exit()
    later, _ = term_of(second)
    assert later > term and time.monotonic() - killed < 5  # of a lease of 10 s
    assert all(not line.startswith("row") or f"term {later}" in line for line in second.seen)
    assert second.stop() == 0


def test_leader_with_poll_finishes_before_the_next_one_begins(start):
    first = start("lead_with_poll")
    first.wait_line("^leads with term")
    second = start("lead_with_poll")
    term, _ = term_of(first)
    first.signal(signal.SIGTERM)
    assert first.wait_exit() == 0
    match, _ = second.wait_line(r"^leads with term (\d+)$")
    assert int(match[1]) > term
    kinds = [line.split()[0].rstrip(":") for line in first.seen]
    assert [kind for kind in kinds if kind != "row"][1:] == ["leads", "stops", "follows", "has"]
    assert kinds.index("stops") > max(place for place, kind in enumerate(kinds) if kind == "row")
    assert second.stop() == 0


def test_leader_with_poll_gives_way_to_a_transfer_and_leads_again(world, start):
    first = start("lead_with_poll", "db")
    first.wait_line("^leads with term")
    changes = world.watch("db")
    second = start("lead_with_poll", "db")
    changes.wait_object(change="join", id=second.seen[0].split()[0])
    assert world.run("transfer", "db").code == 0
    first.wait_line("^stops: a transfer was asked for$")
    _, place = first.wait_line("^follows$")
    second.wait_line("^leads with term")
    second.signal(signal.SIGKILL)
    second.wait_exit()
    first.wait_line("^leads with term", after=place)
    assert first.stop() == 0


def step_of(process, after=0):
    match, place = process.wait_line(r"^step \d+.*, done with token (\d+)$", after=after)
    return int(match[1]), place


def wait_queue(world, count):
    deadline = time.monotonic() + LIMIT_S
    while (told := world.run("lock", "--describe", "--json", "job")).out.count('"id":') < count:
        assert time.monotonic() < deadline, told


def test_who_holds_a_lock_works_and_the_next_one_when_it_is_killed(world, start):
    first = start("hold_a_lock", "job", "1000")
    token, _ = step_of(first)
    second = start("hold_a_lock", "job", "3")
    wait_queue(world, 2)
    third = start("hold_a_lock", "job", "1000")
    wait_queue(world, 3)
    first.signal(signal.SIGKILL)
    first.wait_exit()
    later, _ = step_of(second)
    assert later > token
    assert second.wait_exit() == 0 and second.seen[-1] == "has done its work"
    assert [line.split(",")[0] for line in second.seen[1:-1]] == ["step 1", "step 2", "step 3"]
    last, _ = step_of(third)
    assert last > later and third.stop() == 0


def test_one_does_it_once_and_all_say_how_it_ended(start):
    programs = [start("do_once", "migrate") for _ in range(4)]
    assert [program.wait_exit() for program in programs] == [0] * 4
    steps = [line for program in programs for line in program.seen if line.startswith("step ")]
    assert len(steps) == 5
    late = start("do_once", "migrate")
    assert late.wait_exit() == 0
    told = {program.seen[-1] for program in (*programs, late)}
    assert len(told) == 1 and told.pop().endswith(": migrated to version 7")


def test_of_what_was_lost_all_say_so(world, start):
    first = start("do_once", "migrate")
    step_of(first)
    second = start("do_once", "migrate")
    first.signal(signal.SIGKILL)
    assert second.wait_exit() == 1 and second.seen[-1].startswith("lost, by ")
    assert not any(line.startswith("step ") for line in second.seen)
    assert world.run("once", "forget", "migrate").code == 0
    assert start("do_once", "migrate").wait_exit() == 0
    told = world.run("once", "migrate", "--", "true")
    assert told.code == 64 and "migrate 7" in told.err, told  # something else is meant


def test_examples_say_what_is_wrong(world):
    path = os.path.join(EXAMPLES, "do_once")
    told = world.run_command([path, "a\nb"])
    assert told.code == 1 and told.err.startswith("do_once: the key of the task is not legal"), told
    for name in ("ask_before_write", "hold_a_lock", "lead_with_poll"):
        path = os.path.join(EXAMPLES, name)
        result = world.run_command([path], env={"BATON_URL": "nowhere"})
        assert result.code == 1
        assert result.err.startswith(f"{name}: URL 'nowhere' is not legal")
        result = world.run_command([path, "no/name"])
        assert result.code == 1
        assert result.err.startswith(f"{name}: name 'no/name' is not legal")


def test_of_many_that_die_at_once_the_last_takes_over_without_waiting_for_a_lease(start):
    programs = [start("ask_before_write")]
    term, _ = term_of(programs[0])
    programs += [start("ask_before_write") for _ in range(13)]
    killed = time.monotonic()
    for program in programs[:-1]:
        program.signal(signal.SIGKILL)
    later, _ = term_of(programs[-1])
    assert later > term and time.monotonic() - killed < 5  # of a lease of 10 s
