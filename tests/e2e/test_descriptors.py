"""What a command is started with: closed descriptors, and very few of them."""

import resource

import pytest

from cluster import free_ports
from conftest import BATON

COMMANDS = {
    "status": ("status", "x"),
    "history": ("history", "x"),
    "hold": ("hold", "y"),
    "release": ("release", "x"),
    "transfer": ("transfer", "x"),
    "lock": ("lock", "l", "--", "true"),
    "lock --describe": ("lock", "--describe", "l"),
    "once": ("once", "k", "--", "true"),
    "once list": ("once", "list"),
    "run": ("run", "w", "--", "true"),
    "run --follow": ("run", "--follow", "true", "w", "--", "true"),
    "help": ("--help",),
    "version": ("--version",),
    "no command": ("nonsense",),
    "no option": ("status", "--nonsense"),
}
CLOSED = "<&- >&- 2>&-"


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_descriptors_are_as_good_as_dev_null(world, command):
    words = " ".join(COMMANDS[command])
    world.run("hold", "x")
    codes = []
    for url, redirected in (("a", "</dev/null >/dev/null 2>/dev/null"), ("b", CLOSED)):
        told = world.run_command(["sh", "-c", f"{BATON} hold x >/dev/null; {BATON} {words} {redirected}"],
                                 env={"BATON_URL": f"{world.url}-{url}"})
        codes.append(told.code)
    assert codes[0] == codes[1] < 128


@pytest.mark.parametrize("command", ["watch x", "elect x", "gate x --listen 127.0.0.1:{port}"])
def test_closed_descriptors_do_not_end_what_goes_on(world, command):
    changes = world.watch("x")
    world.stand("x", "a", "--address", "127.0.0.1:1")
    changes.wait_object(change="lead", id="a")
    words = command.format(port=free_ports(1)[0])
    process = world.start_command(["sh", "-c", f"exec {BATON} {words} {CLOSED}"], env=world.traced("closed"))
    world._wait_traced("closed", "< watch .* begins")  # pylint: disable=protected-access
    assert process.stop() in (0, -15)


@pytest.mark.parametrize("command", [("run",), ("lock",), ("once",)])
def test_the_command_finds_closed_what_was_closed(world, command):
    script = 'for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo $fd is open >>seen; done; echo ran >>seen'
    told = world.run_command(["sh", "-c", f"{BATON} {command[0]} n -- sh -c '{script}' {CLOSED}"])
    assert told.code == 0
    with open(f"{world.folder}/seen", encoding="utf-8") as seen:
        assert seen.read() == "ran\n"


@pytest.mark.parametrize("command", ["status", "lock --describe", "lock", "once", "run", "run --follow"])
def test_few_descriptors_give_words_and_no_abort(world, command):
    world.run("hold", "x")
    codes = set()
    for limit in range(8, 44, 2):
        def few(limit=limit):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        told = world.run(*COMMANDS[command], preexec_fn=few)
        assert told.code == 73 or told.code < 2, (limit, told)
        if told.code == 73:
            assert told.err.startswith(f"baton: too few files may be open: {limit} (ulimit -n), and "), (limit, told)
        codes.add(told.code)
    assert len(codes) == 2  # there is a limit with which it works
