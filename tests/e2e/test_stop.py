"""How a command ends, and what it had been given: under `baton run`, `lock` and `once` alike."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BATON, LIMIT_S, children, guard_of, state_of, wait_dead

COMMANDS = ["run", "lock", "once"]

SERVER = """#!/bin/sh
trap 'sleep 0.3; echo clean; exit' TERM
echo up
: >is-up
while :; do sleep 0.02; done
"""


def start(world, command, *options, script, **kwargs):
    return world.start(command, *options, "k", "--", "sh", "-c", script, world.folder, **kwargs)


def make_server(world):
    path = os.path.join(world.folder, "server")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SERVER)
    os.chmod(path, 0o755)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_start_script_has_started_has_the_whole_grace(world, command):
    make_server(world)
    process = start(world, command, "--ttl=60s", "--grace=20s", script="$0/server; echo after")
    process.wait_line("^up$")
    process.signal(signal.SIGTERM)
    process.wait_line("^clean$")
    assert process.wait_exit() == 128 + signal.SIGTERM


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_leaves_behind_is_told_and_has_the_grace(world, command):
    make_server(world)
    process = start(world, command, "--ttl=60s", "--grace=20s",
                    script="setsid $0/server & while ! [ -e is-up ]; do sleep 0.01; done; exit 3")
    process.wait_line("^clean$")
    assert process.wait_exit() == 3
    told = "baton: k: the command has ended and has left [12] process(es)? behind, which (is|are) ended, too"
    assert re.search(f"^{told}$", process.stderr, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_end_of_a_command_is_seen_where_sigchld_was_ignored(world, command):
    process = world.start_command(["env", "--ignore-signal=CHLD", BATON, command, "k", "--", "sh", "-c",
                                   "exit 7"])
    assert process.wait_exit() == 7


def test_ps_says_what_the_guard_and_the_prepared_command_are(world):
    first = start(world, "run", script="echo up; exec sleep 1000")
    first.wait_line("^up$")
    title = f"baton-guard: run k, of {first.pid}"
    assert command_line(guard_of(first)) == title
    second = start(world, "run", script="echo up; exec sleep 1000")
    deadline = time.monotonic() + LIMIT_S
    while [command_line(pid) for guard in children(second.pid) for pid in children(guard)] != ["baton-ready: run k"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    told = subprocess.run(["ps", "-o", "args=", "-p", str(guard_of(first))], stdout=subprocess.PIPE, check=True)
    assert told.stdout.decode().rstrip("\n") == title


def command_line(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().rstrip(b"\0").replace(b"\0", b" ").decode()


def test_what_a_health_check_leaves_behind_is_collected(world):
    health = f"touch {world.folder}/checked; (true &); exit 0"
    # Often, but not so often that a busy machine takes longer for one check: that would be a failure of it.
    process = start(world, "run", "--health", health, "--health-every", "300ms", script="echo up; exec sleep 1000")
    process.wait_line("^up$")
    for _ in range(8):
        deadline = time.monotonic() + LIMIT_S
        while not os.path.exists(f"{world.folder}/checked"):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.remove(f"{world.folder}/checked")
    deadline = time.monotonic() + LIMIT_S
    while sum(state_of(pid) == "Z" for pid in children(process.pid)) > 3:  # those of now
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stopped_command_ends_and_what_it_has_stopped(world):
    process = start(world, "run", "--grace=20s", "--ttl=60s",
                    script="setsid sh -c 'kill -STOP $$; sleep 1000' & echo $!; kill -STOP $$; sleep 1000")
    match, _ = process.wait_line(r"^(\d+)$")
    process.signal(signal.SIGTERM)
    assert process.wait_exit() == 128 + signal.SIGTERM
    wait_dead(int(match[1]))


# ---- what raises its privileges ----

USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def raising_world(open_world):
    """`raise COMMAND` is a set-uid program of root's there."""
    if os.geteuid() != 0 or os.statvfs(open_world.folder).f_flag & os.ST_NOSUID:
        pytest.skip("set-uid programs of root's are needed")
    open_world.raiser = os.path.join(open_world.folder, "raise")
    shutil.copy(os.path.join(os.path.dirname(BATON), "tests", "unit", "raise"), open_world.raiser)
    os.chmod(open_world.raiser, 0o4755)
    os.chmod(open_world.folder, 0o755)
    os.chown(open_world.state, 65534, 65534)
    return open_world


def run_as_user(world, instance, *options, script):
    return world.start_command([*USER, world.baton, "run", "--id", instance, "--ttl=2s", *options, "k", "--",
                                "sh", "-c", script])


def test_a_command_of_a_user_cannot_raise_its_privileges(raising_world):
    process = run_as_user(raising_world, "a", script=f"exec {raising_world.raiser} true")
    assert process.wait_exit() == 77
    assert "raise: Operation not permitted" in process.stderr


@pytest.mark.parametrize("dies", ["supervisor", "guard"])
def test_what_has_raised_its_privileges_keeps_the_place(raising_world, dies):
    first = run_as_user(raising_world, "a", "--allow-privileges",
                        script=f"exec {raising_world.raiser} sh -c 'echo $$; exec sleep 1000'")
    pid = int(first.wait_line(r"^(\d+)$")[0][1])
    second = run_as_user(raising_world, "b", script=f"[ -e /proc/{pid} ] && echo BESIDE; echo up")
    raising_world.wait_error(second, "stands as b")
    if dies == "supervisor":
        first.signal(signal.SIGKILL)
        time.sleep(5)  # more than two leases: nothing tells that nothing happens
    else:
        os.kill(guard_of(first), signal.SIGKILL)
        raising_world.wait_error(first, rf"cannot end process {pid} \(sleep\): Operation not permitted")
        time.sleep(5)
    second.drain()
    assert second.seen == []
    os.kill(pid, signal.SIGKILL)
    second.wait_line("^up$")
    assert "BESIDE" not in second.seen
    second.wait_exit()
