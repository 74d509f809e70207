"""`make demo`, as a person would run it: to its end, or not so far. Whatever happens, nothing is left running."""

import os
import signal
import time

import pytest

from conftest import BATON, TOP

BUILD = os.path.dirname(BATON)


def demo(world):
    return world.start_command(["/usr/bin/python3", os.path.join(TOP, "demo", "demo.py"), BUILD],
                               env={"TMPDIR": world.folder})


def expect_nothing_left(world):
    assert world.marked() == []
    assert [name for name in os.listdir(world.folder) if name.startswith("baton-demo-")] == []


def test_a_whole_demo_takes_less_than_a_minute_and_leaves_nothing_running(world):
    begin = time.monotonic()
    process = demo(world)
    assert process.wait_exit(60) == 0, process
    assert time.monotonic() - begin < 60
    assert any("0 with an older term after a newer one; 0 by a second writer of a term" in line
               for line in process.seen), process
    expect_nothing_left(world)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demo_that_is_ended_leaves_nothing_running(world, number):
    process = demo(world)
    process.wait_line("leads with term")
    process.signal(number)
    assert process.wait_exit(60) == 128 + number, process
    expect_nothing_left(world)


def test_a_demo_that_is_ended_at_its_very_beginning_leaves_nothing_running(world):
    process = demo(world)
    process.wait_line("Three instances of a writer")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGHUP)
    assert process.wait_exit(60) in (128 + signal.SIGTERM, 128 + signal.SIGHUP), process
    expect_nothing_left(world)


def test_a_demo_that_is_ended_while_its_leader_is_frozen_leaves_nothing_running(world):
    process = demo(world)
    process.wait_line("3. The leader freezes", limit=60)
    process.signal(signal.SIGTERM)
    assert process.wait_exit(60) == 128 + signal.SIGTERM, process
    expect_nothing_left(world)
