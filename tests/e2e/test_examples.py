"""The example programs, as a reader of them would try them: several at once, one is ended, another goes on."""

import os
import signal
import time

import pytest

from conftest import BATON

EXAMPLES = os.path.join(os.path.dirname(BATON), "examples")


@pytest.fixture
def start(world):
    def start_example(name, *args):
        path = os.path.join(EXAMPLES, name)
        if not os.access(path, os.X_OK):
            pytest.fail(f"there is no {path}; run: make build")
        process = world.start_command([path, *args])
        process.wait_line(" stands in ")
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


def test_examples_say_what_is_wrong(world):
    for name in ("ask_before_write", "lead_with_poll"):
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
