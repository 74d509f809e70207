"""The scripts behind `make`: what is missing is installed, nothing is silent for long, no failure is hidden."""

import os
import pty
import re
import shutil
import signal

import pytest

from conftest import TOP

INSTALL = os.path.join(TOP, "scripts", "install-packages")
PROGRESS = os.path.join(TOP, "scripts", "progress")


def machine(world, missing, apt_get, **others):
    """An environment with a dpkg and an apt-get that know of one package that is missing."""
    tools = f"{world.folder}/tools"
    os.mkdir(tools)
    query = f'for last; do :; done; if [ "$last" = {missing} ]; then cat {tools}/there; else printf installed; fi'
    for name, script in {"dpkg-query": query, "apt-get": f'echo "$@" >>{tools}/log\n{apt_get}', **others}.items():
        with open(f"{tools}/{name}", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        os.chmod(f"{tools}/{name}", 0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": world.folder}


def asked(world):
    """What apt-get was asked for."""
    with open(f"{world.folder}/tools/log", encoding="ascii") as file:
        return file.read().splitlines()


def test_what_is_missing_is_installed_and_nothing_is_said_the_second_time(world):
    env = machine(world, "meson", f"printf installed >{world.folder}/tools/there", id="echo 0")
    first = world.run_command([INSTALL, "check"], env=env)
    assert (first.code, first.out, first.err) == (0, "installing: meson\n", "")
    assert asked(world) == ["install -y -q --no-install-recommends meson"]
    second = world.run_command([INSTALL, "check"], env=env)
    assert (second.code, second.out, second.err) == (0, "", "")
    assert len(asked(world)) == 1


def test_the_lists_of_packages_are_read_when_they_are_old(world):
    there = f"{world.folder}/tools/updated"
    env = machine(world, "meson", f'[ "$1" = install ] || touch {there}\n[ -f {there} ] || {{ echo 404; exit 100; }}',
                  id="echo 0")
    told = world.run_command([INSTALL, "demo"], env=env)
    assert (told.code, told.err) == (0, ""), told
    assert [line.split()[0] for line in asked(world)] == ["install", "update", "install"]


def test_what_cannot_be_installed_is_told_with_the_words_of_apt(world):
    env = machine(world, "meson", "echo E: no space left; exit 100", id="echo 0")
    told = world.run_command([INSTALL, "demo"], env=env)
    assert told.code == 69
    assert "E: no space left\n" in told.err and told.err.endswith("could not install: meson\n"), told


def test_a_user_installs_by_sudo_and_no_question_is_asked(world):
    """sudo does not hand on what is exported."""
    env = machine(world, "meson", 'echo "frontend $DEBIAN_FRONTEND" >&2; exit 1', id="echo 1000",
                  sudo='exec env -i PATH="$PATH" "$@"')
    told = world.run_command([INSTALL, "demo"], env=env)
    assert "frontend noninteractive\n" in told.err, told


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/sbin/invoke-rc.d"),
                    reason="needs root and Debian's invoke-rc.d")
def test_the_services_of_servers_are_not_started(world):
    """As their packages would: by invoke-rc.d or deb-systemd-invoke. What is no start goes through, and fails here."""
    unknown = "unknown initscript, /etc/init.d/no-such-service"
    env = machine(world, "redis-server", """
        invoke-rc.d no-such-service start && deb-systemd-invoke start no-such.service && echo "not started" >&2
        invoke-rc.d no-such-service stop
        exit 1""")
    told = world.run_command([INSTALL, "check"], env=env)
    if "no mount namespace" in told.err:
        pytest.skip("no mount namespace")
    assert "not started\n" in told.err and told.err.count(unknown) == 1, told
    outside = world.run_command(["/usr/sbin/invoke-rc.d", "no-such-service", "start"])
    assert unknown in outside.err, "it was done to the machine, not in a namespace"


def test_progress_shows_a_line_in_time_also_when_the_command_is_silent(world):
    process = world.start_command([PROGRESS, "waiting", "sleep", "1000"])
    process.wait_line(r"^ +waiting, \d+ s$", limit=10)
    process.signal(signal.SIGTERM)
    assert process.wait_exit() == 128 + signal.SIGTERM


def test_progress_keeps_what_was_said_for_a_failure(world):
    good = world.run_command([PROGRESS, "x", "sh", "-c", "echo fine; echo too >&2"])
    assert (good.code, good.out, good.err) == (0, "", "")
    bad = world.run_command([PROGRESS, "x", "sh", "-c", "echo one; echo two >&2; printf three; exit 7"])
    assert (bad.code, bad.out, bad.err) == (7, "", "one\ntwo\nthree")


def test_progress_rewrites_one_line_on_a_terminal(world):
    near, far = pty.openpty()
    told = world.run_command([PROGRESS, "x", "sh", "-c", "echo one; echo two"], stdout=far)
    os.close(far)
    said = os.read(near, 4096)
    os.close(near)
    assert told.code == 0
    assert b"\n" not in said and b"x, 0 s: one" in said and said.endswith(b"\r\x1b[K"), said


def little_checkout(world, **tools):
    """A check on a folder that is no repository, with these tools."""
    for folder in ("scripts", "tools", "build-old"):
        os.mkdir(f"{world.folder}/{folder}")
    shutil.copy(os.path.join(TOP, "scripts", "check"), f"{world.folder}/scripts/check")
    for path in ("a.c", "build-old/generated.c"):
        with open(f"{world.folder}/{path}", "w", encoding="ascii") as file:
            file.write("int a; \n\nstatic void f(int b,\n              int c)\n{\n" + 68 * "    a++;\n" + "}\n")
    for name, script in tools.items():
        with open(f"{world.folder}/tools/{name}", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        os.chmod(f"{world.folder}/tools/{name}", 0o755)
    return world.run_command(["/usr/bin/python3", "scripts/check", "lint"], env={"PATH": f"{world.folder}/tools"})


def test_a_check_without_git_and_without_meson_goes_on_to_its_summary(world):
    """In a tarball: what a step lacks is a failure of it."""
    told = little_checkout(world)
    assert told.code == 1 and re.fullmatch(r"0 passed, \d+ failed, 0 skipped", told.lines[-1]), told
    assert "a.c:1: white space at the end" in told.out and "generated" not in told.out, told
    assert "a.c:3: 72 lines; a function has at most 70" in told.out, told


def test_what_a_step_leaves_running_is_a_failure_and_is_ended(world):
    told = little_checkout(world, meson="setsid sh -c 'sleep 1000 & exec sleep 1000' >&- 2>&- & exit 1")
    assert told.code == 1
    assert len(re.findall(r"left running: \d+ sleep 1000", told.out)) == 2, told
    assert world.marked() == []
