"""What the end-to-end tests stand on: the built command, a state directory, processes that are surely ended.

Nothing here sleeps: a test waits for a line, for a leader, or for the end of a process, always with a limit. Every
process that a test starts, and everything that those start, carries the test's mark in its environment; at the end of
the test whoever still carries it is killed.

BATON_BIN names another build of the command (build-asan/baton).
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "etcd"))
from cluster import Cluster, make_certificates  # noqa: E402 pylint: disable=wrong-import-position

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BATON = os.path.abspath(os.environ.get("BATON_BIN", os.path.join(TOP, "build", "baton")))
# A shell ignores these for what it runs in the background, as nohup(1) does, and so would all that the tests start.
# What is caught here is not ignored there.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

LIMIT_S = 20  # for anything that should happen at once; machines are noisy


class Result:
    """What a command that has ended said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def objects(self):
        """The JSON objects of its output, one a line."""
        return [json.loads(line) for line in self.lines]

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class Process:
    """A command that runs, and what it has said so far. stderr is in a file of its own."""

    def __init__(self, command, errors, **kwargs):
        self.command = command
        self.errors = errors
        self.seen = []  # every line of stdout
        self.rest = b""
        self.open = True
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with open(errors, "wb") as file:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, **kwargs)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def stderr(self):
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __repr__(self):
        out = "\n".join(self.seen)
        return f"{self.command}, status {self.popen.poll()}\n--- stdout\n{out}\n--- stderr\n{self.stderr}"

    def _read(self, deadline):
        """Read some output; False at its end or at the deadline."""
        if not self.open:
            return False
        ready, _, _ = select.select([self.popen.stdout], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        data = os.read(self.popen.stdout.fileno(), 65536)
        if not data:
            self.open = False
            return False
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.seen += [line.decode("utf-8", "replace") for line in lines]
        return True

    def drain(self):
        """Take what it has said, without waiting."""
        while self._read(time.monotonic()):
            pass

    def wait_line(self, pattern, limit=LIMIT_S, after=0):
        """The first line from the place `after` on that has the pattern. Returns its match and the place after it."""
        deadline = time.monotonic() + limit
        place = after
        while True:
            for place in range(place, len(self.seen)):
                match = re.search(pattern, self.seen[place])
                if match:
                    return match, place + 1
            place = len(self.seen)
            if not self._read(deadline):
                pytest.fail(f"no line with {pattern!r} within {limit} s from {self!r}")

    def wait_object(self, limit=LIMIT_S, **fields):
        """The first JSON line, from the last one that was waited for on, that has these fields."""
        deadline = time.monotonic() + limit
        place = getattr(self, "place", 0)
        while True:
            for place in range(place, len(self.seen)):
                if not self.seen[place].startswith("{"):
                    continue
                value = json.loads(self.seen[place])
                if all(value.get(name) == field for name, field in fields.items()):
                    self.place = place + 1
                    return value
            place = len(self.seen)
            if not self._read(deadline):
                pytest.fail(f"no object with {fields} within {limit} s from {self!r}")

    def wait_exit(self, limit=LIMIT_S):
        """Its exit status, after all of its output was read."""
        deadline = time.monotonic() + limit
        while self.open and time.monotonic() < deadline:
            self._read(deadline)
        try:
            return self.popen.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"did not end within {limit} s: {self!r}")

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self, limit=LIMIT_S):
        """A polite end."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(limit)


def state_of(pid):
    """A letter (proc(5)): R runs, S sleeps, T is stopped, Z is dead; X: it is not there any more."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def dead(pid):
    return state_of(pid) in "ZX"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as listed:
        return [int(child) for child in listed.read().split()]


def child_named(process, name):
    for child in children(process.pid):
        with open(f"/proc/{child}/comm", encoding="utf-8") as comm:
            if comm.read().strip() == name:
                return child
    pytest.fail(f"there is no {name}")


def guard_of(process):
    return child_named(process, "baton-guard")


def freeze(pid):
    """Stop it, and come back when it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + LIMIT_S
    while state_of(pid) != "T":
        assert time.monotonic() < deadline, f"{pid} does not stop"


def wait_dead(pid, limit=LIMIT_S):
    """It is dead now, or becomes so."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], limit)[0], f"{pid} lives on"
    os.close(fd)


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def wait(self, line, limit=20):
        deadline = time.monotonic() + limit
        while select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
            if line in self.socket.recv(4096).decode().splitlines():
                return
        pytest.fail(f"systemd did not hear {line!r}")


class World:
    """One namespace and the processes of one test."""

    def __init__(self, folder):
        self.folder = folder
        self.state = os.path.join(folder, "state")
        os.mkdir(self.state, 0o700)  # who only looks does not make it
        self.mark = f"BATON_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.env = {key: os.environ[key] for key in ("PATH", "LANG", "USER", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                                     "TSAN_OPTIONS") if key in os.environ}
        self.env["BATON_ENGINE_DIR"] = os.path.join(os.path.dirname(BATON), "src", "engine", "etcd")
        self.env.update({"BATON_URL": f"local:{self.state}", "HOME": folder, "LC_ALL": "C.UTF-8", "TZ": "UTC",
                         name: value})
        self.processes = []

    @property
    def url(self):
        return self.env["BATON_URL"]

    def environment(self, changes):
        env = dict(self.env)
        for name, value in (changes or {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env

    def run(self, *args, env=None, limit=LIMIT_S, **kwargs):
        """Run `baton ARGS` to its end."""
        return self.run_command([BATON, *args], env=env, limit=limit, **kwargs)

    def run_command(self, command, env=None, limit=LIMIT_S, **kwargs):
        kwargs.setdefault("stdout", subprocess.PIPE)
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit,
                                  env=self.environment(env), check=False, cwd=self.folder, **kwargs)
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{command} did not end within {limit} s: {error.stdout} {error.stderr}")
        out = done.stdout.decode("utf-8", "replace") if done.stdout is not None else ""
        return Result(done.returncode, out, done.stderr.decode("utf-8", "replace"))

    def start(self, *args, env=None, **kwargs):
        """Start `baton ARGS`."""
        return self.start_command([BATON, *args], env=env, **kwargs)

    def start_command(self, command, env=None, **kwargs):
        errors = os.path.join(self.folder, f"stderr-{len(self.processes)}")
        kwargs.setdefault("cwd", self.folder)
        process = Process(command, errors, env=self.environment(env), **kwargs)
        self.processes.append(process)
        return process

    def watch(self, *names):
        """A `baton watch --json`: its wait_object waits for a change."""
        return self.start("watch", "--json", *names)

    def stand(self, name, instance, *options, command=("sleep", "1000"), **kwargs):
        """An instance under `baton run`."""
        return self.start("run", "--id", instance, *options, name, "--", *command, **kwargs)

    def traced(self, name):
        """What to add to the environment of a command of which something is waited for that it does not say."""
        return {"BATON_TRACE": f"engine:{self.folder}/trace-{name}"}

    def _wait_in(self, path, pattern):
        tail = self.start_command(["tail", "-n", "+1", "-F", path])
        tail.wait_line(pattern)
        tail.stop()

    def wait_error(self, process, pattern):
        """It has said so on stderr, or does so soon."""
        self._wait_in(process.errors, pattern)

    def _wait_traced(self, name, pattern):
        self._wait_in(f"{self.folder}/trace-{name}", pattern)

    def wait_renewed(self, name):
        """Its session's deadline is that of a renewal, not any more that of its opening."""
        self._wait_traced(name, "< session_renew .* done")

    def wait_other_seen(self, name):
        """Of one that stands: its own view has another candidate; each process has a view of its own."""
        with open(f"{self.folder}/trace-{name}", encoding="utf-8") as trace:
            own = re.search(r"> write \S+ put elections/\S+/candidates/(\S+) if", trace.read())[1]
        self._wait_traced(name, rf"< watch .* elections/\S+/candidates/(?!{own}@)")

    def marked(self):
        """The pids of everything that carries the mark."""
        pids = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if self.mark.encode() in file.read().split(b"\0"):
                        pids.append(int(entry))
            except OSError:
                pass
        return pids

    def close(self):
        """End everything, whatever state it is in. A process may be just about to start another one: look again. (A
        server may write its title over the environment with the mark; then it is known by its pid.)"""
        for _ in range(100):
            pids = {*self.marked(), *(process.pid for process in self.processes if process.popen.poll() is None)}
            if not pids:
                break
            for pid in pids:
                try:
                    fd = os.pidfd_open(pid)
                except OSError:
                    continue
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    select.select([fd], [], [], 5)
                except OSError:
                    pass
                finally:
                    os.close(fd)
        for process in self.processes:
            process.popen.wait(10)
            process.popen.stdout.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    item.has_failed = getattr(item, "has_failed", False) or report.failed


@pytest.fixture(scope="session", autouse=True)
def clean(request, tmp_path_factory):
    """A run without a failure leaves nothing behind. (SIGTERM ends it as Ctrl-C does: on the way that cleans up.)"""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM", 128 + signal.SIGTERM))
    yield
    if request.session.testsfailed == 0:
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


@pytest.fixture
def tmp_path(request, tmp_path):  # pylint: disable=redefined-outer-name
    """pytest's, but gone after a test that has passed: together they would be gigabytes."""
    yield tmp_path
    if not request.node.has_failed:
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def world(tmp_path):  # pylint: disable=redefined-outer-name
    """A namespace of the local engine in a directory of its own."""
    if not os.access(BATON, os.X_OK):
        pytest.fail(f"there is no {BATON}; run: make build")
    made = World(str(tmp_path))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def open_world():
    """A world in a folder that other users can reach, and `baton` there, a copy of the command with all its parts: the
    checkout may be in somebody's closed home, and so may $TMPDIR be."""
    with tempfile.TemporaryDirectory(prefix="baton-open-", dir="/tmp") as folder:
        build = os.path.dirname(BATON)
        copy = os.path.join(folder, "build")
        for path, _, files in os.walk(build):
            for name in files:
                if name == "baton" or re.search(r"\.so(\.\d+)*$", name) or name == "baton-guard":
                    there = os.path.join(copy, os.path.relpath(path, build))
                    os.makedirs(there, exist_ok=True)
                    shutil.copy2(os.path.join(path, name), there)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        made = World(folder)
        made.baton = os.path.join(copy, "baton")
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory):
    """One etcd for all tests that leave it as it was; each has a namespace of its own in it."""
    with Cluster(str(tmp_path_factory.mktemp("etcd"))) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secured(tmp_path_factory):
    """One that wants TLS, and a certificate from its clients."""
    folder = str(tmp_path_factory.mktemp("tls"))
    make_certificates(folder)
    with Cluster(str(tmp_path_factory.mktemp("etcd-tls")), tls=folder) as cluster:
        yield cluster


@pytest.fixture
def etcd_world(world, etcd):
    """A world on etcd, in a namespace of its own."""
    world.etcd = etcd
    world.env["BATON_URL"] = etcd.url(f"test-{uuid.uuid4().hex[:8]}")
    return world


@pytest.fixture(params=["local", "etcd"])
def place(request, world):
    """A namespace on each engine."""
    return world if request.param == "local" else request.getfixturevalue("etcd_world")


@pytest.fixture
def led(world):
    """A world in which `alpha` leads the election `db`, and `beta` stands."""
    changes = world.watch("db")
    world.alpha = world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    world.beta = world.stand("db", "beta")
    changes.wait_object(change="join", id="beta")
    world.changes = changes
    return world
