"""Containers that share a state directory: they may see another boot, another clock, other processes than the host."""

import os
import shlex
import signal
import subprocess

import pytest

from conftest import BATON, children, wait_dead

STRANGER = ("local: {} is in use by processes with another boot id or boot clock than here (a container may have its "
            "own), or of a version of baton that shares memory in another way, so nobody could tell who is alive; "
            "nothing was changed; give each side a directory of its own, or use an engine such as etcd\n")
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def can(*namespaces):
    return subprocess.run(["unshare", *namespaces, "true"], check=False, capture_output=True).returncode == 0


NEED_MOUNTS = pytest.mark.skipif(os.geteuid() != 0 or not can("--mount"), reason="needs root and a mount namespace")
CLOCK = ("--time", "--boottime", "86400", "--fork", "--kill-child")
PIDS = ("--pid", "--fork", "--kill-child", "--mount-proc")
NEED_PIDS = pytest.mark.skipif(not can(*PIDS), reason="needs a PID namespace")
# Says so when another one runs beside it that should not.
ALONE = ("sh", "-c", 'exec 9>"$0/alone"; flock -n 9 || echo CONTENDED; echo "up $BATON_TERM"; exec sleep 1000')
NEED_CLOCK = pytest.mark.skipif(not can(*CLOCK), reason="needs a time namespace with an offset")


def other_boot(world, text="5dc3ba12-0b0f-4cf0-9d5e-3c1d1e6d6b1a\n"):
    """What to put before a command that is to see this boot_id."""
    path = os.path.join(world.folder, "boot_id")
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {path} {BOOT_ID} && exec "$0" "$@"']


def listing(folder):
    """What is in the directory, and whether it is the same file still."""
    return {name: os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)}


def leader(world):
    return world.run("status", "--json", "db").objects[0]["leader"]


def expect_refused(world, inside):
    before = listing(world.state)
    for command in (["status"], ["run", "--id", "b", "db", "--", "true"]):
        told = world.run_command([*inside, BATON, *command])
        assert (told.code, told.out, told.err) == (78, "", "baton: " + STRANGER.format(world.state))
    assert listing(world.state) == before


def expect_taken_over(world, inside):
    """Nobody of the other side is alive: it is as after a boot."""
    before = world.run("history", "--json", "db").objects[0]["term"]
    told = world.run_command([*inside, BATON, "run", "--id", "b", "db", "--", "sh", "-c", "echo led $BATON_TERM"])
    assert told.code == 0, told
    assert int(told.lines[0].split()[1]) > before


@pytest.mark.parametrize("kind", [pytest.param("boot", marks=NEED_MOUNTS), pytest.param("clock", marks=NEED_CLOCK)])
def test_who_sees_another_boot_or_clock_does_not_come_to_those_who_live(world, kind):
    inside = other_boot(world) if kind == "boot" else ["unshare", *CLOCK]
    changes = world.watch("db")
    alpha = world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    expect_refused(world, inside)
    assert leader(world) == "alpha" and alpha.popen.poll() is None
    # Who only looks would look at a clock, and hear a bell, that are not the others' any more.
    alpha.stop()
    changes.wait_object(change="leave", id="alpha")
    expect_refused(world, inside)
    changes.stop()
    expect_taken_over(world, inside)
    beta = world.start_command([*inside, BATON, "watch", "--json", "db"])
    beta.wait_object(change="vacant")
    told = world.run("status")
    assert (told.code, told.err) == (78, "baton: " + STRANGER.format(world.state))


@NEED_MOUNTS
def test_a_container_with_the_hosts_boot_id_and_clock_is_one_of_them(world):
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    world.start_command(["unshare", "--mount", "--fork", "--kill-child", BATON, "run", "--id", "beta", "db", "--",
                         "sleep", "1000"])
    changes.wait_object(change="join", id="beta")
    assert world.run("transfer", "db").code == 0
    assert leader(world) == "beta"


@pytest.fixture
def inside_and_outside(world):
    """`a` leads in a PID namespace, under a process that is its init; `b` waits outside of it."""
    def start(ttl):
        changes = world.watch("db")
        command = [BATON, "run", "--id", "a", "--ttl", ttl, "db", "--", *ALONE, world.folder]
        world.a = world.start_command(["unshare", *PIDS, "sh", "-c", f"{shlex.join(command)} & exec sleep 1000"])
        match, _ = world.a.wait_line(r"^(CONTENDED|up (\d+))$")
        world.term = int(match[2])
        [world.init] = children(world.a.pid)
        [world.supervisor] = children(world.init)
        world.b = world.stand("db", "b", "--ttl", ttl, command=(*ALONE, world.folder))
        changes.wait_object(change="join", id="b")
        changes.stop()
        return world

    return start


def expect_b(world):
    match, _ = world.b.wait_line(r"^(CONTENDED|up (\d+))$")
    assert match[1] != "CONTENDED" and int(match[2]) > world.term


@NEED_PIDS
def test_a_supervisor_that_dies_in_a_container_is_followed_without_waiting_for_its_lease(inside_and_outside):
    world = inside_and_outside("60s")
    os.kill(world.supervisor, signal.SIGKILL)
    expect_b(world)


@NEED_PIDS
def test_a_container_that_dies_is_followed_with_the_next_change(inside_and_outside):
    world = inside_and_outside("60s")
    os.kill(world.init, signal.SIGKILL)
    wait_dead(world.init)
    assert world.run("hold", "another").code == 0
    expect_b(world)


@NEED_PIDS
def test_a_container_that_dies_is_followed_at_the_ttl_at_the_latest(inside_and_outside):
    world = inside_and_outside("2s")
    os.kill(world.init, signal.SIGKILL)
    expect_b(world)


@NEED_MOUNTS
def test_without_a_boot_id_nothing_is_opened(world):
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    before = listing(world.state)
    told = world.run_command([*other_boot(world, ""), BATON, "status"])
    assert (told.code, told.out) == (78, "")
    assert told.err == (f"baton: local: cannot read {BOOT_ID}, without which nobody can tell whether the machine was "
                        "booted since the last use; is /proc mounted?\n")
    assert listing(world.state) == before
    assert leader(world) == "alpha"
