"""The hostile neighbour: who may write the state directory, or is just another user of the machine, tries to make baton
do for him what he may not do himself. docs/security.md says what is promised."""

import os
import shutil
import socket
import sqlite3
import stat
import struct

import pytest

ROOT = os.geteuid() == 0
NEED_ROOT = pytest.mark.skipif(not ROOT, reason="needs root: other users")
MEMBER, GROUP, STRANGER = 23001, 23000, 23002
FILES = ["heartbeats", "sessions", "writer", "baton.db", "baton.db-wal", "baton.db-shm"]


def share(world):
    """root's directory, which a group may write, and which has been used."""
    if ROOT:
        os.chown(world.state, 0, GROUP)
        os.chmod(world.state, 0o2770)
    assert world.run("hold", "other").code == 0
    world.victim = os.path.join(world.folder, "victim")
    with open(world.victim, "w", encoding="utf-8") as file:
        file.write("root:secret\n")
    os.chmod(world.victim, 0o600)
    return world


@pytest.fixture
def shared(world):
    return share(world)


def as_user(world, uid, *args):
    return world.run_command(["setpriv", f"--reuid={uid}", f"--regid={GROUP if uid == MEMBER else uid}",
                              "--clear-groups", *args])


def path_of(world, name):
    """Of one that is there, or would be."""
    if name == "heartbeats":
        [name] = [entry for entry in os.listdir(world.state) if entry.startswith("heartbeats.")]
    return os.path.join(world.state, name)


def fingerprint(path):
    about = os.lstat(path)
    with open(path, "rb") as file:
        return about.st_mode, about.st_uid, about.st_gid, about.st_size, about.st_mtime_ns, file.read()


def replace(path, what, victim):
    if os.path.lexists(path):
        os.unlink(path)
    if what == "link":
        os.symlink(victim, path)
    elif what == "link to nothing":
        os.symlink(victim + ".new", path)
    elif what == "hard link":  # as an old kernel, or fs.protected_hardlinks=0, lets anybody do
        os.link(victim, path)
    elif what == "directory":
        os.mkdir(path)
    elif what == "pipe":
        os.mkfifo(path, 0o660)
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind(path)
    else:
        os.mknod(path, 0o660 | stat.S_IFCHR, os.makedev(1, 3))


KINDS = {"link": "is a symbolic link", "link to nothing": "is a symbolic link", "hard link": "has another name, too",
         "directory": "is a directory", "pipe": "is a FIFO", "socket": "is a socket", "device": "is a device"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", KINDS)
def test_nothing_but_a_file_of_its_own_is_opened(shared, name, what):
    if what == "device" and not ROOT:
        pytest.skip("needs root")
    path = path_of(shared, name)
    before = fingerprint(shared.victim)
    replace(path, what, shared.victim)
    for command in (["run", "x", "--", "true"], ["status"], ["lock", "l", "--", "true"], ["once", "k", "--", "true"]):
        told = shared.run(*command, limit=10)
        assert told.code == 77, told
        assert f"local: {path} {KINDS[what]}" in told.err and "it was not touched" in told.err
    assert fingerprint(shared.victim) == before
    assert not os.path.lexists(shared.victim + ".new")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["link", "link to nothing", "hard link", "pipe"])
def test_a_leader_does_not_follow_what_is_put_there_while_it_leads(shared, name, what):
    before = fingerprint(shared.victim)
    leader = shared.stand("db", "a", "--ttl=1s", command=("sh", "-c", "echo up; exec sleep 1000"))
    leader.wait_line("up")
    replace(path_of(shared, name), what, shared.victim)
    shared.wait_error(leader, "restart what uses it")
    leader.stop()
    assert fingerprint(shared.victim) == before
    assert not os.path.lexists(shared.victim + ".new")


@pytest.mark.parametrize("name", ["baton.db.new", "baton.db.new-wal", "baton.db.new-journal", "heartbeats.new"])
@pytest.mark.parametrize("what", ["link", "link to nothing", "hard link", "pipe", "socket"])
def test_what_lies_in_the_way_of_a_new_file_is_removed_not_written(world, name, what):
    victim = os.path.join(world.folder, "victim")
    with open(victim, "w", encoding="utf-8") as file:
        file.write("root:secret\n")
    before = fingerprint(victim)
    replace(os.path.join(world.state, name), what, victim)
    assert world.run("run", "x", "--", "true").code == 0
    assert fingerprint(victim) == before and not os.path.lexists(victim + ".new")
    assert not os.path.lexists(os.path.join(world.state, name))


@pytest.mark.parametrize("name", ["baton.db.new", "heartbeats.new"])
def test_a_directory_in_the_way_is_told(world, name):
    os.mkdir(os.path.join(world.state, name))
    told = world.run("run", "x", "--", "true")
    assert told.code == 71 and f"local: cannot make {world.state}/{name}: " in told.err, told


def hot_journal(victim):
    """An SQLite journal that names a "super-journal", which is removed when the journal has been rolled back
    (sqlite.org/fileformat2.html, section 3; tempfiles.html, 2.2)."""
    name = victim.encode()
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 0, 0, 512, 4096)
    end = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name))
    return head.ljust(512, b"\0") + end + bytes.fromhex("d9d505f920a163d7")


def test_a_journal_that_names_a_file_does_not_have_it_removed(shared):
    before = fingerprint(shared.victim)
    for name in ("baton.db-wal", "baton.db-shm"):
        os.unlink(path_of(shared, name))
    with open(path_of(shared, "baton.db-journal"), "wb") as file:
        file.write(hot_journal(shared.victim))
    assert shared.run("run", "x", "--", "true").code == 0
    assert fingerprint(shared.victim) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_everybody_may_write_is_refused(shared, name):
    path = path_of(shared, name)
    os.chmod(path, 0o666)
    told = shared.run("run", "x", "--", "true")
    assert told.code == 77 and f"local: {path} can be written by others than may write the directory" in told.err


@NEED_ROOT
@pytest.mark.parametrize("name", FILES)
def test_a_strangers_file_is_refused_where_no_group_may_write(shared, name):
    os.chmod(shared.state, 0o700)
    path = path_of(shared, name)
    os.chown(path, STRANGER, STRANGER)
    told = shared.run("run", "x", "--", "true")
    assert told.code == 77 and f"its owner is user {STRANGER}" in told.err


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o2772])
@pytest.mark.parametrize("command", [["run", "x", "--", "true"], ["status"], ["elect", "x"], ["hold", "x"]],
                         ids=" ".join)
def test_a_directory_that_everybody_may_write_is_refused(world, mode, command):
    os.chmod(world.state, mode)
    told = world.run(*command)
    assert (told.code, told.out) == (77, "")
    assert told.err.startswith(f"baton: local: everybody may write the directory {world.state}, so anybody could ")
    assert os.listdir(world.state) == []


@NEED_ROOT
@pytest.mark.parametrize("owner", [STRANGER, MEMBER])
def test_a_directory_of_a_stranger_is_refused(world, owner):
    os.chown(world.state, owner, GROUP)
    told = world.run("run", "x", "--", "true")
    assert (told.code, told.out) == (77, "")
    assert told.err.startswith(f"baton: local: {world.state} belongs to user {owner}, who could replace the files in ")
    assert os.listdir(world.state) == []


@NEED_ROOT
def test_a_link_of_a_stranger_is_refused(world):
    link = os.path.join(world.folder, "link")
    os.symlink(world.state, link)
    os.lchown(link, STRANGER, STRANGER)
    told = world.run("run", "x", "--", "true", env={"BATON_URL": f"local:{link}"})
    assert told.code == 77 and f"local: {link} is a symbolic link of user {STRANGER}" in told.err
    assert os.listdir(world.state) == []


@NEED_ROOT
def test_a_member_and_root_lead_in_turns(open_world):
    """What is allowed goes on: the owner of each file is whoever was first."""
    shared = share(open_world)
    for name in os.listdir(shared.state):
        os.unlink(os.path.join(shared.state, name))
    for _ in range(2):
        told = as_user(shared, MEMBER, shared.baton, "run", "x", "--", "echo", "member")
        assert (told.code, told.out) == (0, "member\n"), told
        told = shared.run("run", "x", "--", "echo", "root")
        assert (told.code, told.out) == (0, "root\n"), told
    assert as_user(shared, STRANGER, shared.baton, "run", "x", "--", "true").code == 77


@NEED_ROOT
def test_the_schema_of_a_member_runs_nothing(shared):
    """A trigger, a view: what SQLite would do by itself for whoever writes."""
    with sqlite3.connect(path_of(shared, "baton.db")) as db:
        db.execute("CREATE TABLE stolen(key)")
        db.execute("CREATE TRIGGER t AFTER INSERT ON records BEGIN INSERT INTO stolen VALUES (new.key); END")
    assert shared.run("run", "x", "--", "true").code == 0
    with sqlite3.connect(path_of(shared, "baton.db")) as db:
        assert db.execute("SELECT count(*) FROM stolen").fetchone() == (0,)


def test_a_copy_of_the_directory_is_usable(shared):
    """What is refused is refused for what it is, not for having been copied."""
    shutil.copytree(shared.state, shared.state + ".copy")
    told = shared.run("run", "x", "--", "echo", "leads", env={"BATON_URL": f"local:{shared.state}.copy"})
    assert (told.code, told.out) == (0, "leads\n"), told
