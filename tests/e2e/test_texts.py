"""What other instances say of themselves is shown, and steers no terminal."""

import pytest

from conftest import BATON

# ESC, CSI in two bytes, from right to left, an isolate, a separator of lines, nothing to see; and what may stay.
HOSTILE = "a\x1b[2J\u009b5n\u202egnp\u2066x\u2028y\u200bz grün"
HARMFUL = "\x1b\u009b\u202e\u2066\u2028\u200b\x07"
SHOWN = "a?[2J?5n?gnp?x?y?z grün"


def has_harm(text):
    return any(character in text for character in HARMFUL)


@pytest.fixture
def hostile(world):
    changes = world.watch()
    world.stand("db", "alpha", "--address", HOSTILE)
    changes.wait_object(change="lead", id="alpha")
    return world


def on_terminal(world, words):
    """As on a terminal that colours nothing."""
    return world.run_command(["script", "--quiet", "--return", "--command", f"{BATON} {words}", "/dev/null"],
                             env={"TERM": "dumb"}).out


@pytest.mark.parametrize("words", ["status", "status db", "watch db", "history db", "lock --describe work",
                                   "once list", "once show task", "status --json db", "once show --json task"])
def test_no_view_passes_on_what_a_terminal_obeys(hostile, words):
    hostile.run("once", "task", "--", "sh", "-c", f"exit 0 # {HOSTILE}")
    holder = hostile.start("lock", "--id", "alpha", "work", "--", "sh", "-c", "echo holds; sleep 1000")
    holder.wait_line("holds")
    hostile.run("hold", "--why", HOSTILE, "db")
    command = words if not words.startswith("watch") else f"{words} | head -2"
    for text in (on_terminal(hostile, f"{command}"), hostile.run_command(["sh", "-c", f"{BATON} {command}"]).out):
        assert text and not has_harm(text), repr(text)


def test_what_can_be_shown_is_shown(hostile):
    assert SHOWN in hostile.run("status", "db").out
    assert hostile.run("status", "--json", "db").objects[0]["candidates"][0]["address"] == HOSTILE  # but escaped
    hostile.run("hold", "--why", HOSTILE, "db")
    assert SHOWN in hostile.run("status", "db").out


@pytest.mark.parametrize("words", ["show --output task", "--output task -- true"])
def test_what_a_task_printed_is_as_it_was_but_for_a_terminal(world, words):
    printed = "one\ttwo\n\x1b[31mred\u009b0m\n"
    world.run("once", "--any-command", "--output", "task", "--", "printf", "%s", printed)
    words = words.replace("--output task", "--any-command --output task") if "true" in words else words
    assert world.run("once", *words.split()).out == printed
    assert on_terminal(world, f"once {words}").replace("\r\n", "\n") == "one\ttwo\n?[31mred?0m\n"
