"""What is printed delays nothing: a full pipe, Ctrl-S, a reader that is gone, a full disk."""

import fcntl
import json
import os
import pty
import select
import signal
import socket
import time

import pytest

from cluster import free_ports
from conftest import BATON, LIMIT_S

CTRL_S, CTRL_Q = b"\x13", b"\x11"


class Unread:
    """A pipe that nobody reads; when it is full, who writes to it waits."""

    def __init__(self, folder):
        path = os.path.join(folder, "unread")
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)  # a description of its own
        self.writer = os.open(path, os.O_WRONLY)
        os.set_blocking(self.reader, True)

    def fill(self):
        try:
            while True:
                os.write(self.filler, b"\n")
        except BlockingIOError:
            return self

    def wait_read(self, words, limit=LIMIT_S):
        """Read until there are these words; what was read."""
        seen, deadline = b"", time.monotonic() + limit
        while words not in seen:
            assert select.select([self.reader], [], [], max(0, deadline - time.monotonic()))[0], seen.strip()[-2000:]
            seen += os.read(self.reader, 65536)
        return seen.decode().strip()

    def close(self):
        for fd in (self.reader, self.filler, self.writer):
            os.close(fd)


@pytest.fixture
def unread(world):
    pipe = Unread(world.folder)
    yield pipe
    pipe.close()


class Terminal:
    """The other end of a terminal."""

    def __init__(self):
        self.screen, self.writer = pty.openpty()

    def close(self):
        os.close(self.screen)
        os.close(self.writer)


def started(world, command, stdout=None, stderr=None, env=None):
    """A command with other outputs than those that the tests read."""
    shell = ["bash", "-c", 'exec "$@"', "sh", *command]
    if stdout is not None:
        shell[2] += f" >&{stdout}"
    if stderr is not None:
        shell[2] += f" 2>&{stderr}"
    fds = [fd for fd in (stdout, stderr) if fd is not None]
    return world.start_command(shell, pass_fds=fds, env=env)


def elect(instance, *options):
    return [BATON, "elect", "--ttl", "6s", "--id", instance, "--on-lead", f"echo {instance} up >>log",
            "--on-follow", f"echo {instance} down >>log", *options, "vip"]


def log_of(world):
    try:
        with open(f"{world.folder}/log", encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def hands_over_in_order(world, a):
    """`a` leads, and hands over to `b`: its hook comes before that of `b`."""
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line("^a up$")
    b = started(world, elect("b"))
    changes = world.watch("vip")
    changes.wait_object(change="join", id="b")
    assert world.run("transfer", "--to", "b", "vip").code == 0
    changes.wait_object(change="lead", id="b")
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line("^b up$")
    b.stop()
    assert log_of(world)[:3] == ["a up", "a down", "b up"], a


def test_hooks_run_in_order_when_nobody_reads_the_output(world, unread):
    a = started(world, elect("a"), stdout=unread.writer)
    unread.wait_read(b"this instance leads")
    unread.fill()
    hands_over_in_order(world, a)
    assert "this instance stops" in unread.wait_read(b"this instance follows")  # what was said is not lost
    unread.fill()
    a.signal(signal.SIGTERM)
    assert a.wait_exit() == 0


def test_hooks_run_in_order_when_nobody_reads_the_errors(world, unread):
    unread.fill()
    a = started(world, elect("a", "--on-lead", "echo a up >>log; exit 1"), stderr=unread.writer)
    a.wait_line("this instance leads")
    hands_over_in_order(world, a)


def test_hooks_run_in_order_under_ctrl_s(world):
    terminal = Terminal()
    os.write(terminal.screen, CTRL_S)
    a = started(world, elect("a"), stdout=terminal.writer, stderr=terminal.writer)
    world.watch("vip").wait_object(change="lead", id="a")
    hands_over_in_order(world, a)
    os.write(terminal.screen, CTRL_Q)
    assert b"this instance stands" in os.read(terminal.screen, 65536)
    a.signal(signal.SIGTERM)
    assert a.wait_exit() == 0
    terminal.close()


def test_elect_ends_when_its_reader_is_gone(world):
    """It gives its place up first, with its hook."""
    told = world.run_command(["bash", "-c", f"{' '.join(elect_words())} | head -2; echo ${{PIPESTATUS[*]}}"])
    assert told.err == ""
    assert told.lines[-1] == "0 0"
    assert log_of(world) == ["up", "down"]


def elect_words():
    return [BATON, "elect", "--on-lead", "'echo up >>log'", "--on-follow", "'echo down >>log'", "vip"]


def test_elect_ends_when_its_output_cannot_be_written(world):
    with open("/dev/full", "w", encoding="utf-8") as full:
        told = world.run_command(["sh", "-c", " ".join(elect_words())], stdout=full)
    assert (told.code, told.err) == (74, "baton: the output could not be written: No space left on device\n")
    assert log_of(world) in ([], ["up", "down"])  # it may have noticed before it led


def run_of(instance, *options):
    return [BATON, "run", "--ttl", "2s", "--id", instance, *options, "web", "--", "sh", "-c",
            "echo $0 runs >>log; echo $0 runs; exec sleep 1000", instance]


@pytest.mark.parametrize("dies", (False, True), ids=["the instance", "its guard for a dead one"])
def test_hooks_that_print_much_are_over_when_nobody_reads_it(world, unread, dies):
    """A hook that waits for the reader would be killed: what it takes down would stay up beside the next one."""
    much = "head -c 200000 /dev/zero | tr '\\0' x; echo done >&2"
    a = started(world, elect("a", "--on-lead", f"{much}; echo a up >>log", "--on-follow", f"{much}; echo a down >>log"),
                stdout=unread.writer, stderr=unread.writer)
    unread.fill()
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line("^a up$")
    b = started(world, elect("b"))
    b.wait_line("this instance stands")
    a.signal(signal.SIGKILL if dies else signal.SIGTERM)
    b.wait_line("this instance leads")
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line("^b up$")
    assert log_of(world)[:3] == ["a up", "a down", "b up"]
    b.stop()


def test_what_hooks_print_is_printed_and_what_is_left_out_is_counted(world, unread):
    a = started(world, elect("a", "--on-lead", "echo hello; seq 100000 >&2; echo a up >>log",
                             "--on-follow", "echo farewell; echo far >&2"), stderr=unread.writer)
    a.wait_line("^hello$")
    world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/log"]).wait_line("^a up$")
    unread.wait_read(b"baton: output of hooks or health checks was dropped")
    a.signal(signal.SIGTERM)
    a.wait_line("^farewell$")
    unread.wait_read(b"far")
    assert a.wait_exit() == 0


def test_a_health_check_that_prints_is_over_when_nobody_reads_it(world, unread):
    unread.fill()
    a = started(world, run_of("a", "--health", "echo well; echo well >&2; echo $$ >>checks", "--health-every", "200ms"),
                stdout=unread.writer, stderr=unread.writer)
    checks = world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/checks"])
    place = 0
    for _ in range(5):
        _, place = checks.wait_line("^[0-9]+$", after=place)
    a.signal(signal.SIGTERM)
    assert a.wait_exit() == 143


def test_run_starts_and_stops_when_nobody_reads_its_messages(world, unread):
    unread.fill()
    changes = world.watch("web")
    a = started(world, run_of("a"), stderr=unread.writer)
    a.wait_line("a runs")
    started(world, run_of("b"))
    changes.wait_object(change="join", id="b")
    a.signal(signal.SIGTERM)
    changes.wait_object(change="lead", id="b")
    assert a.wait_exit() == 143
    assert log_of(world)[0] == "a runs"


def test_a_follower_leads_later_though_nobody_reads_its_messages(world, unread):
    unread.fill()
    changes = world.watch("web")
    a = started(world, run_of("a"))
    changes.wait_object(change="lead", id="a")
    started(world, run_of("b", "--json"), stderr=unread.writer)
    changes.wait_object(change="join", id="b")
    a.signal(signal.SIGKILL)
    changes.wait_object(change="lead", id="b")


@pytest.mark.parametrize("command", ["lock", "once"])
def test_what_nobody_reads_is_no_reason_not_to_end(world, unread, command):
    """Somebody else has it: that is told, and the command is over."""
    holder = world.start(command, "job", "--", "sh", "-c", "echo holds; exec sleep 1000")
    holder.wait_line("holds")
    unread.fill()
    options = ["-n", "-E", "9"] + (["--any-command"] if command == "once" else [])
    told = started(world, [BATON, command, *options, "job", "--", "true"], stderr=unread.writer)
    assert told.wait_exit() == 9


@pytest.mark.parametrize("command", ["lock", "once", "run"])
def test_a_command_that_cannot_be_run_is_over_though_nobody_reads_it(world, unread, command):
    unread.fill()
    told = started(world, [BATON, command, "job", "--", "./none"], stderr=unread.writer)
    assert told.wait_exit() == 127


def test_the_background_of_a_terminal_is_no_reason_to_stop(world):
    """stty tostop: whoever writes to a terminal from its background is stopped by SIGTTOU."""
    script = (f"stty tostop; set -m; {BATON} elect --id a vip & "
              f"{BATON} watch --json vip | grep -m 1 '\"lead\"' >seen; kill %1; wait %1; echo ended $?")
    told = world.run_command(["script", "--quiet", "--return", "--command", f"bash -c '{script}'", "/dev/null"])
    assert "this instance leads" in told.out and "ended 0" in told.out, told


def test_clients_of_a_gate_are_served_when_nobody_reads_its_messages(world, unread):
    port, door = free_ports(2)
    server = socket.create_server(("127.0.0.1", port))
    changes = world.watch("db")
    world.stand("db", "a", "--address", f"127.0.0.1:{port}")
    changes.wait_object(change="lead", id="a")
    gate = started(world, [BATON, "gate", "--listen", f"127.0.0.1:{door}", "db"], stderr=unread.writer)
    unread.wait_read(b"listens at")
    unread.fill()
    gate.signal(signal.SIGUSR1)  # it tells its counts
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", door), LIMIT_S)
        server.settimeout(LIMIT_S)
        served, _ = server.accept()
        served.sendall(b"hello")
        assert client.recv(5) == b"hello"
        gate.signal(signal.SIGUSR1)
        client.close()
        served.close()
    assert "open" in unread.wait_read(b"accepted")
    gate.signal(signal.SIGTERM)
    assert gate.wait_exit() == 0


def test_the_descriptor_of_others_still_waits(world, unread):
    """O_NONBLOCK belongs to all who have the description: the command's own output would be lost."""
    a = started(world, run_of("a"), stderr=unread.writer)
    a.wait_line("a runs")
    assert not fcntl.fcntl(unread.writer, fcntl.F_GETFL) & os.O_NONBLOCK
    a.signal(signal.SIGTERM)
    assert a.wait_exit() == 143


def test_a_trace_that_nobody_reads_delays_nothing(world, unread):
    unread.fill()
    changes = world.watch("web")
    a = started(world, run_of("a"), stderr=unread.writer, env={"BATON_TRACE": "engine"})
    a.wait_line("a runs")
    assert "lines were left out: nobody read them" in unread.wait_read(b"left out")
    a.signal(signal.SIGTERM)
    assert a.wait_exit() == 143
    changes.wait_object(change="leave", id="a")


def test_with_json_errors_are_objects_too(world):
    told = world.run("run", "--json", "web", "--", "./none")
    said = [json.loads(line) for line in told.err.splitlines()]
    assert told.code == 127 and said[-1]["event"] == "error"
    assert said[-1]["text"] == "web: cannot run './none': No such file or directory"


def wait_full(fd):
    """Whoever writes there has to wait now. (Nothing tells of that.)"""
    deadline = time.monotonic() + LIMIT_S
    while select.select([], [fd], [], 0)[1]:
        assert time.monotonic() < deadline, "it does not become full"
        time.sleep(0.01)


def test_a_terminal_that_is_full_does_not_keep_a_task_from_being_stopped(world):
    """What the command prints is kept and passed on; a part of a line may have room."""
    terminal = Terminal()
    once = started(world, [BATON, "once", "--output", "job", "--", "sh", "-c",
                           "echo $$ >pid; while echo some words; do :; done"], stdout=terminal.writer)
    wait_full(terminal.writer)
    with open(f"{world.folder}/pid", encoding="utf-8") as file:
        command = os.pidfd_open(int(file.read()))
    once.signal(signal.SIGTERM)
    assert select.select([command], [], [], LIMIT_S)[0], "the command is not stopped"
    os.close(command)
    once.signal(signal.SIGTERM)  # it waits for its reader only, who does not read
    assert once.wait_exit() != 0
    terminal.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody with few processes")
@pytest.mark.parametrize("processes", range(1, 9))
def test_why_it_cannot_be_is_told_where_few_processes_may_be(open_world, processes):
    """No thread can be had then, which otherwise writes what is said."""
    user, place = 100000 + os.getpid(), f"{open_world.folder}/place"
    os.mkdir(place)
    os.chown(place, user, user)
    result = open_world.run_command(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "prlimit",
                                     f"--nproc={processes}", open_world.baton, "run", "--url", f"local:{place}",
                                     "web", "--", "sh", "-c", "exit 7"])
    assert result.code == 7 or (result.code != 0 and result.err != ""), result
