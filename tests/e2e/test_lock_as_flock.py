"""A script that says flock may say baton lock: the same command line, by util-linux's flock and by `baton lock`, ends
with the same status and the same output. Most cases are those of util-linux's own test of flock (tests/ts/misc/flock).
"""

import contextlib
import os
import pty
import select
import shutil
import signal
import time

import pytest

from conftest import BATON, LIMIT_S

FLOCK = shutil.which("flock")
HOLD = ("sh", "-c", "echo up; exec sleep 1000")


@pytest.fixture(params=["flock", "baton lock"])
def program(request):
    return [FLOCK] if request.param == "flock" else [BATON, "lock"]


def path_of(world):
    return os.path.join(world.folder, "a lock.file")


def hold(world, program, *options):
    """A process that holds the lock."""
    process = world.start_command([*program, *options, path_of(world), *HOLD])
    process.wait_line("^up$")
    return process


def both(world, args, holder=None):
    """What flock says, and what baton says; `holder`: the options by which somebody holds the lock meanwhile."""
    told = []
    for program in ([FLOCK], [BATON, "lock"]):
        process = hold(world, program, *holder) if holder is not None else None
        told.append(world.run_command([*program, *(path_of(world) if arg is None else arg for arg in args)]))
        if process is not None:
            process.signal(signal.SIGKILL)  # flock leaves its command behind: it has the descriptor
            for pid in world.marked():
                with contextlib.suppress(ProcessLookupError):  # baton's guard was quicker
                    os.kill(pid, signal.SIGKILL)
            process.wait_exit()
    return told


def assert_same(told):
    """Where flock complains, so does baton, in its own words."""
    flock, baton = told
    assert (baton.code, baton.out, bool(baton.err)) == (flock.code, flock.out, bool(flock.err)), told


# None stands for the lock's file.
FREE = [
    [None, "echo", "have it"],
    [None, "echo", "-n", "-x", "--wait", "are the command's"],
    ["--", None, "echo", "have it"],
    ["-x", None, "echo", "have it"],
    ["-e", None, "echo", "have it"],
    ["--exclusive", None, "echo", "have it"],
    ["-s", None, "echo", "have it"],
    ["--shared", None, "echo", "have it"],
    ["-s", "-x", None, "echo", "have it"],
    ["-xs", None, "echo", "have it"],
    ["-n", None, "echo", "have it"],
    ["--nonblock", None, "echo", "have it"],
    ["--nonblocking", None, "echo", "have it"],
    ["--nb", None, "echo", "have it"],
    ["-w", "1", None, "echo", "have it"],
    ["-w10", None, "echo", "have it"],
    ["--wait", "0.5", None, "echo", "have it"],
    ["--wait=.5", None, "echo", "have it"],
    ["--timeout", "1e1", None, "echo", "have it"],
    ["--timeout=99999999", None, "echo", "have it"],
    ["-w", "0", None, "echo", "have it"],
    ["-n", "-w", "5", None, "echo", "have it"],
    ["-E", "123", None, "echo", "have it"],
    ["--conflict-exit-code=0", None, "false"],
    ["-o", None, "echo", "have it"],
    ["--close", None, "echo", "have it"],
    ["-F", None, "echo", "have it"],
    ["--no-fork", None, "echo", "have it"],
    ["-xnE5", None, "echo", "have it"],
    [None, "-c", "echo have it; exit 3"],
    [None, "--command", "echo have it | tr a-z A-Z"],
    ["-n", None, "-c", ""],
    [None, "sh", "-c", "echo out; echo err >&2; exit 7"],
    [None, "sh", "-c", "kill -KILL $$"],
    [None, "sh", "-c", "kill -TERM $$"],
    [None, "false"],
    ["-n", "/", "echo", "a folder"],
    ["-n", ".", "echo", "a folder"],
    [".a.lock", "echo", "have it"],
    ["-n", "..", "-c", "echo a folder"],
    ["--", None, "-c", "echo have it; exit 3"],
    ["-n", "--", None, "--command", "echo have it"],
    ["-xn", "--", ".a.lock", "-c", ""],
]


@pytest.mark.parametrize("args", FREE, ids=str)
def test_a_free_lock(world, args):
    assert_same(both(world, args))


HELD = [
    ([], ["-n", None, "echo", "never"]),
    ([], ["--nonblock", "--conflict-exit-code", "123", None, "echo", "never"]),
    ([], ["-nE0", None, "echo", "never"]),
    ([], ["-n", "-E255", None, "echo", "never"]),
    ([], ["-s", "-n", None, "echo", "never"]),
    ([], ["-w", "0.1", None, "echo", "never"]),
    ([], ["--timeout", "0.1", "-E", "7", None, "echo", "never"]),
    ([], ["-w", "1e-6", None, "echo", "never"]),
    ([], ["-w", "0", None, "echo", "never"]),
    ([], ["-n", "-w", "1000", None, "echo", "never"]),
    ([], ["-s", "-w", ".1", None, "-c", "echo never"]),
    (["-s"], ["-x", "-n", None, "echo", "never"]),
    (["-s"], ["-n", None, "echo", "never"]),
    (["-s"], ["-n", "-s", None, "echo", "beside it"]),
    (["-s"], ["-w", "10", "-xs", None, "echo", "beside it"]),
    (["-s"], ["-w", "0.1", "-sx", None, "echo", "never"]),
]


@pytest.mark.parametrize("holder, args", HELD, ids=str)
def test_a_lock_that_others_have(world, holder, args):
    assert_same(both(world, args, holder))


WRONG = [
    ["-q", None, "true"], ["--frobnicate", None, "true"], ["-w"], ["-w", "soon", None, "true"],
    ["--wait=", None, "true"], ["-E", "256", None, "true"], ["-E", "-1", None, "true"], ["-E", "x", None, "true"],
    [None, "-c", "true", "more"], ["--", None, "-c", "true", "more"], ["--", None, "-c"],
    [None], [], ["-n"], ["-c", "true"], ["-Fo", None, "true"],
    ["--exclusive=yes", None, "true"], ["/nowhere/lock", "true"],
]


@pytest.mark.parametrize("args", WRONG, ids=str)
def test_a_wrong_use(world, args):
    assert_same(both(world, args))


def test_the_next_one_has_it_when_the_holder_has_ended(world, program):
    first = world.start_command([*program, path_of(world), "sh", "-c", "echo up; read line; exit 4"],
                                stdin=-1)
    first.wait_line("^up$")
    second = world.start_command([*program, "--wait", str(LIMIT_S), path_of(world), "echo", "have it"])
    first.popen.stdin.close()
    assert first.wait_exit() == 4
    assert second.wait_exit() == 0 and second.seen == ["have it"]


def test_the_shell_is_the_users(world, program):
    shell = os.path.join(world.folder, "shell")
    with open(shell, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\necho "mine: $*"\n')
    os.chmod(shell, 0o755)
    for said, out in ((shell, "mine: -c echo $0\n"), ("", "/bin/sh\n"), (None, "/bin/sh\n")):
        told = world.run_command([*program, path_of(world), "-c", "echo $0"], env={"SHELL": said})
        assert (told.code, told.out, told.err) == (0, out, "")


def test_one_file_is_one_lock_by_whatever_path(world, program):
    os.makedirs(f"{world.folder}/a/b")
    os.symlink("a/b", f"{world.folder}/link")
    holder = world.start_command([*program, f"{world.folder}/link/../b/lock", *HOLD])
    holder.wait_line("^up$")
    for path, code in (("a/b/lock", 1), ("./link/lock", 1), (f"{world.folder}//a/./b/lock", 1), ("a/lock", 0),
                       ("a/b/lock2", 0), ("a/b/l ck", 0), ("a/b/l+20ck", 0)):
        told = world.run_command([*program, "-n", path, "true"])
        assert (told.code, told.out, told.err) == (code, "", ""), path


def test_the_name_of_a_file(world):
    told = world.run("lock", "/tmp/a b:c", "-c", 'echo "$BATON_NAME"')
    assert told.out == "file:tmp:a+20b+3Ac\n", told
    assert world.run("lock", "-n", "file:tmp:a+20b+3Ac", "true").code == 0
    assert world.run("lock", ".x", "-c", 'echo "$BATON_NAME"').out == world.run(
        "lock", "./.x", "-c", 'echo "$BATON_NAME"').out
    told = world.run("lock", "a b", "true")
    assert told.code == 64 and "a file's path has a slash, as in ./FILE" in told.err, told
    long = "/tmp/" + "x" * 120
    told = world.run("lock", long, "true")
    assert told.code == 64 and "is too long for the name of a lock" in told.err, told


def test_a_script_that_locks_itself(world, program):
    """The boilerplate of flock(1), by whatever path the script is called."""
    script = os.path.join(world.folder, "script")
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'''#!/bin/sh
[ "$FLOCKER" != "$0" ] && exec env FLOCKER="$0" {" ".join(program)} -en "$0" "$0" "$@" || :
echo "up $*"
read line
''')
    os.chmod(script, 0o755)
    first = world.start_command([script, "a", "b c"], stdin=-1)
    first.wait_line("^up a b c$")
    told = world.run_command(["./script", "x"])
    assert (told.code, told.out, told.err) == (1, "", "")
    first.popen.stdin.close()
    first.wait_exit()
    assert world.run_command(["./script", "x"]).out == "up x\n"


def test_what_the_caller_has_open_and_set_is_the_commands(world, program):
    script = 'cat <&7; echo "$(umask) $(ulimit -n) $(pwd) $MINE"; cat'
    line = f'umask 027; ulimit -n 300; exec 7<<-end\nseven\nend\necho in | MINE=x "$@" sh -c \'{script}\''
    told = world.run_command(["bash", "-c", line, "bash", *program, path_of(world)])
    assert (told.code, told.out, told.err) == (0, f"seven\n0027 300 {world.folder} x\nin\n", ""), told


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, world, command):
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(world.folder)
            os.execvpe(command[0], command, world.env)

    def wait(self, words):
        deadline = time.monotonic() + LIMIT_S
        while words not in self.seen:
            ready = select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]
            assert ready, f"no {words!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 4096).decode()
            except OSError:  # nobody has it open any more
                pytest.fail(f"no {words!r} in {self.seen!r}")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """How it ended, as waitpid(2) says it."""
        deadline = time.monotonic() + LIMIT_S
        fd = os.pidfd_open(self.pid)
        assert select.select([fd], [], [], deadline - time.monotonic())[0], self.seen
        os.close(fd)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.master)
        return status


def test_the_command_has_the_terminal(world, program):
    """ssh, sudo, less and the like ask there, whatever their input and output are."""
    script = 'echo "ask >"/dev/tty >/dev/tty; read word </dev/tty; echo "got $word"; exit 5'
    terminal = Terminal(world, [*program, path_of(world), "sh", "-c", script])
    terminal.wait("ask >")
    terminal.type("an answer\n")
    terminal.wait("got an answer")
    assert os.WEXITSTATUS(terminal.end()) == 5


@pytest.mark.parametrize("key, number", [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT)], ids=["Ctrl-C", "Ctrl-\\"])
def test_a_key_that_ends_the_command_ends_all(world, program, key, number):
    """... by that signal, so that a shell knows that its script is to end, too."""
    terminal = Terminal(world, [*program, path_of(world), *HOLD])
    terminal.wait("up")
    terminal.type(key)
    status = terminal.end()
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == number
    wait = ["-n"] if program[0] == BATON else ["-w", "20"]  # flock(1) may be gone a moment before its command
    assert world.run_command([*program, *wait, path_of(world), "true"]).code == 0


# A shell that gets a signal just before it reads heeds it after the line.
TAKES_A_KEY = """
import os, select, signal, sys
near, far = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(far)
signal.signal(signal.SIGINT, lambda *_: None)
print("up", flush=True)
while 0 not in select.select([0, near], [], [])[0]:
    os.read(near, 100)
    print("taken", flush=True)
print("got", os.read(0, 100).decode().strip())
sys.exit(6)
"""


def test_a_key_that_the_command_takes_is_its_own(world):
    """As a debugger or a shell does. (flock(1) dies of it, and leaves its command behind.)"""
    terminal = Terminal(world, [BATON, "lock", path_of(world), "/usr/bin/python3", "-c", TAKES_A_KEY])
    terminal.wait("up")
    for _ in range(3):
        terminal.seen = ""
        terminal.type("\x03")
        terminal.wait("taken")
    assert world.run("lock", "-n", path_of(world), "true").code == 1
    terminal.type("an answer\n")
    terminal.wait("got an answer")
    assert os.WEXITSTATUS(terminal.end()) == 6


def test_ctrl_z_suspends_nothing(world):
    """A command that stands still would lose the lock."""
    terminal = Terminal(world, ["bash", "--norc", "--noprofile", "-i"])
    terminal.type(f"{BATON} lock --ttl=2s x sh -c 'echo u''p; read word; echo \"got $word\"'\n")
    terminal.wait("up\r\n")
    terminal.type("\x1a")
    terminal.wait("^Z")
    terminal.type("an answer\n")
    terminal.wait("got an answer")
    terminal.type("exit 3\n")
    assert os.WEXITSTATUS(terminal.end()) == 3


def test_a_key_ends_the_wait(world):
    hold(world, [BATON, "lock"])
    terminal = Terminal(world, [BATON, "lock", path_of(world), "echo", "never"])
    deadline = time.monotonic() + LIMIT_S
    while '"waiting":1' not in world.run("lock", "--describe", "--json", path_of(world)).out:
        assert time.monotonic() < deadline
    terminal.type("\x03")
    assert os.WTERMSIG(terminal.end()) == signal.SIGINT


# What is not the same, and why; baton-lock(1) says so.
@pytest.mark.parametrize("args, flock, baton, words", [
    (["-u", "a/lock", "true"], 66, 64, "no descriptor holds it"),
    (["--fcntl", "a/lock", "true"], None, 64, "no file is locked"),
    (["9"], 65, 64, "'9' is no descriptor here"),
    (["-n", "9"], 65, 64, "baton lock NAME -c '...'"),
    (["lock", "./none"], 69, 127, "cannot run './none': No such file or directory"),
    (["lock", "/"], 69, 126, "Permission denied"),
    (["lock", "--", "true"], 69, 0, ""),
    (["lock", "-n", "true"], 69, 0, ""),
])
def test_what_is_not_the_same(world, args, flock, baton, words):
    if flock is not None:
        assert world.run_command([FLOCK, *args]).code == flock
    told = world.run("lock", *args)
    assert told.code == baton and words in told.err, told


def test_verbose(world):
    told = world.run("lock", "--verbose", "report", "echo", "have it")
    assert told.code == 0 and told.out == "have it\n"
    took, executing = told.err.splitlines()
    assert took.startswith("baton: report: getting the lock took ") and took.endswith(" s")
    assert executing == "baton: report: executing echo"


def test_the_version(world):
    for option in ("-V", "--version"):
        assert world.run("lock", option).out == world.run("version").out
