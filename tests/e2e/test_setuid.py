"""A program with more rights than its caller believes nothing that the caller has put into the environment."""

import os
import pwd
import shutil
import subprocess
import tempfile

import pytest

from conftest import BATON, LIMIT_S, wait_dead

BUILD = os.path.dirname(BATON)
NOBODY = pwd.getpwnam("nobody")
DAEMON = pwd.getpwnam("daemon")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a set-uid program")


class Stage:
    """A folder that everybody can enter; the caller's own one in it, with what it would like to be loaded and run. (Not
    below $TMPDIR, and with the library in it: that one and the checkout may be in a closed home.)"""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="baton-setuid-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.evil = os.path.join(self.folder, "evil")
        self.mark = os.path.join(self.folder, "open", "mark")
        for name in ("evil", "evil/bin", "evil/baton", "state"):
            os.mkdir(os.path.join(self.folder, name), 0o755)
        os.mkdir(os.path.dirname(self.mark))
        os.chmod(os.path.dirname(self.mark), 0o777)
        module = os.path.join(BUILD, "tests", "e2e", "libbaton-evil.so")
        shutil.copy(module, self.evil)
        shutil.copy(module, os.path.join(self.evil, "baton"))
        self.guard = os.path.join(self.evil, "guard")
        with open(self.guard, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\n: >{self.mark}\n")
        os.chmod(self.guard, 0o755)
        self.url = f"local:{self.folder}/state"
        for part in ("client/libbaton.so.0", "client/baton-guard", "engine/etcd/libbaton-etcd.so"):
            if os.path.exists(os.path.join(BUILD, "src", part)):
                os.makedirs(os.path.dirname(os.path.join(self.folder, "src", part)), exist_ok=True)
                shutil.copy(os.path.join(BUILD, "src", part), os.path.join(self.folder, "src", part))

    def program(self, source, owner):
        path = os.path.join(self.folder, os.path.basename(source))
        with open(source, "rb") as file:
            data = file.read()
        # Where its loader looks for the library, which heeds neither the environment nor $ORIGIN now.
        built = f"$ORIGIN/../../src/client:{BUILD}/src/client".encode()
        here = f"{self.folder}/src/client".encode()
        with open(path, "wb") as file:
            file.write(data.replace(built, here.ljust(len(built), b"\0")))
        os.chown(path, owner.pw_uid, owner.pw_gid)
        os.chmod(path, 0o6755)
        return path

    def environment(self, **changes):
        return {"PATH": os.environ["PATH"], "MARK": self.mark, **changes}

    def start(self, path, *args, argv0=None, **env):
        return subprocess.Popen(
            [argv0 or path, *args],
            executable=path,
            env=self.environment(**env),
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def say(self, *args, **kwargs):
        """What a program says that ends by itself, or when its stdin does."""
        return self.start(*args, **kwargs).communicate(timeout=LIMIT_S)[0]

    def harmed(self):
        return os.path.exists(self.mark)


def guards_of(process):
    """The library's guards of this process: they have a pidfd of it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line, open(f"/proc/{pid}/fdinfo/4", encoding="ascii") as pidfd:
                if line.read().startswith(b"baton-guard\0") and f"Pid:\t{process.pid}\n" in pidfd.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


@pytest.fixture
def stage():
    if os.statvfs("/tmp").f_flag & os.ST_NOSUID:
        pytest.skip("/tmp is mounted with nosuid")
    made = Stage()
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def root_program(stage):
    return stage.program(os.path.join(BUILD, "tests", "e2e", "privileged"), pwd.getpwuid(0))


def test_no_engine_is_loaded_from_the_callers_folder(stage, root_program):
    said = stage.say(root_program, "evil:x", "off", BATON_ENGINE_DIR=stage.evil)
    assert "there is no engine 'evil'" in said and stage.evil not in said
    assert not stage.harmed()


def test_the_callers_folder_is_believed_where_nobody_has_more_rights(stage):
    """The same without set-uid: so the mark is a mark."""
    program = os.path.join(stage.folder, "plain")
    shutil.copy(os.path.join(BUILD, "tests", "e2e", "privileged"), program)
    subprocess.run(
        [program, "evil:x", "off"], env=stage.environment(BATON_ENGINE_DIR=stage.evil), timeout=LIMIT_S, check=False
    )
    assert stage.harmed()


def test_no_engine_is_loaded_from_beside_the_callers_name_of_the_program(stage, root_program):
    said = stage.say(root_program, "evil:x", "off", argv0=os.path.join(stage.evil, "x"))
    assert "there is no engine 'evil'" in said and stage.evil not in said
    assert not stage.harmed()


def test_no_guard_of_the_callers_is_run_and_its_own_has_an_empty_environment(stage, root_program):
    process = stage.start(root_program, stage.url, "on", "become", BATON_GUARD=stage.guard, BATON_ENGINE_DIR=stage.evil)
    assert process.stdout.readline() == f"url {stage.url}\n"
    assert process.stdout.readline() == "leads as 0\n"
    [guard] = guards_of(process)
    with open(f"/proc/{guard}/environ", "rb") as environment:
        assert environment.read() == b""
    process.communicate(timeout=LIMIT_S)
    wait_dead(guard)
    assert not stage.harmed()


def test_no_trace_is_written_where_the_caller_says(stage, root_program):
    said = stage.say(root_program, stage.url, "off", BATON_TRACE=f"engine:{stage.mark}", BATON_FAULTS="nonsense")
    assert said == f"url {stage.url}\nleads as 0\n"
    assert not stage.harmed()


def test_the_state_directory_is_not_the_callers(stage):
    program = stage.program(os.path.join(BUILD, "tests", "e2e", "privileged"), DAEMON)
    home = os.path.dirname(stage.mark)
    said = stage.say(program, "-", "off", BATON_URL=f"local:{home}/url", HOME=home, XDG_STATE_HOME=f"{home}/xdg")
    assert "more rights than its caller" in said
    assert os.listdir(home) == []


def test_the_keys_of_a_connection_are_not_written_for_the_caller(stage, root_program):
    if not os.path.exists(os.path.join(BUILD, "src", "engine", "etcd", "libbaton-etcd.so")):
        pytest.skip("without the engine etcd")
    said = stage.say(root_program, "etcd://127.0.0.1:9/x", "off", SSLKEYLOGFILE=stage.mark)
    assert "SSLKEYLOGFILE" in said and "unset it" in said
    assert not stage.harmed()


def test_the_command_itself_when_somebody_has_made_it_set_uid(stage):
    program = stage.program(BATON, pwd.getpwuid(0))
    said = stage.say(
        program,
        "status",
        "--url",
        "evil:x",
        "db",
        argv0=os.path.join(stage.evil, "baton"),
        BATON_ENGINE_DIR=stage.evil,
    )
    assert not stage.harmed()
    assert "libbaton" in said or "there is no engine" in said  # by $ORIGIN the loader finds no library for it
