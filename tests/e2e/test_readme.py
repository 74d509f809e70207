"""The README's blocks, as somebody would paste them."""

import os
import re

from conftest import BATON, TOP


def blocks(heading):
    """The shell blocks below a heading."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        text = file.read()
    section = re.search(rf"^## {heading}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [block.replace("build/baton", BATON) for block in found]


def paste(world, block):
    return world.run_command(["sh", "-ec", block])


def test_the_first_example(world):
    run, look = blocks("A first example")
    leader = world.start_command(["sh", "-c", run])
    leader.wait_line("^backing up with term [0-9]+$")
    other = world.start_command(["sh", "-c", run.replace("--id a", "--id b")])
    world.wait_error(other, "stands as b")
    told = paste(world, look)
    assert told.code == 0, told
    assert "backup: a leads, term " in told.out and "backup: on hold, nobody leads" in told.out, told
    assert ": an operator asked for it" in told.out, told


def test_the_locks_and_the_tasks(world):
    lock, once = blocks("More to try")[:2]
    told = paste(world, lock.replace("sleep 10", "true"))
    assert (told.code, told.lines) == (1, ["nightly-report: free"]), told
    told = paste(world, once)
    assert told.code == 0 and told.lines[0] == "done" and "migrate-v7" in told.out, told


def test_what_stands_for_a_program_is_there(world):
    """But in the block that says whose programs those are."""
    words = [word for block in blocks("More to try") for word in re.findall(r" -- (\S+)", block)]
    assert len(words) > 4
    for word in words:
        assert word == "./writer" or world.run_command(["sh", "-c", f"command -v {word}"]).code == 0, word
