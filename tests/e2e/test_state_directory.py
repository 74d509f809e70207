"""The state directory of the local engine becomes another one while it is used: whoever has it open finds that out when
its session is renewed, and stops; so that there is no second leader in the new one for longer than that."""

import fcntl
import os
import re
import shutil
import signal
import sqlite3
import time

import pytest

from conftest import BATON, dead, guard_of, wait_dead

ROOT = os.geteuid() == 0

WORDS = {
    "moved": r"local: the state directory \S+ was moved away; restart what uses it",
    "another": r"local: the path \S+ leads to another directory than before \(it was moved, something was mounted over "
               r"it, or a link was changed\); restart what uses it",
    "removed": r"local: the state directory \S+ was removed; restart what uses it",
    "file": r"local: the file %s of the state directory \S+ was %s; restart what uses it",
}


def lead(world, *options):
    """An instance whose command says its process."""
    leader = world.stand("db", "old", "--ttl=2s", *options, command=("sh", "-c", "echo $$; exec sleep 1000"))
    leader.command_pid = int(leader.wait_line(r"^(\d+)$")[0][1])
    return leader


def moved(world):
    os.rename(world.state, world.state + ".old")


def replaced(world):
    moved(world)
    os.mkdir(world.state)


def removed_and_made(world):
    shutil.rmtree(world.state)
    os.mkdir(world.state)


def restored(world):
    """As from a backup."""
    moved(world)
    shutil.copytree(world.state + ".old", world.state)


def above_moved(world):
    os.rename(os.path.dirname(world.state), os.path.dirname(world.state) + ".old")


@pytest.mark.parametrize("what, words", [(moved, "moved"), (replaced, "another"), (restored, "another"),
                                         (removed_and_made, "another")])
def test_a_leader_stops_when_its_directory_is_another_one(world, what, words):
    leader = lead(world)
    what(world)
    wait_dead(leader.command_pid)
    world.wait_error(leader, WORDS["removed" if what is removed_and_made else words])
    if what is not moved:
        other = world.stand("db", "new", command=("sh", "-c", "echo new leads; exec sleep 1000"))
        other.wait_line("new leads")
    leader.stop()


def test_a_leader_stops_when_a_directory_above_is_moved(world):
    above = os.path.join(world.folder, "above")
    os.mkdir(above)
    world.env["BATON_URL"] = f"local:{above}/state"
    leader = lead(world)
    os.rename(above, above + ".old")
    wait_dead(leader.command_pid)
    world.wait_error(leader, WORDS["moved"])


def test_a_leader_stops_when_the_link_leads_elsewhere(world):
    link = os.path.join(world.folder, "link")
    os.symlink(world.state, link)
    os.mkdir(os.path.join(world.folder, "elsewhere"))
    world.env["BATON_URL"] = f"local:{link}"
    leader = lead(world)
    os.symlink(os.path.join(world.folder, "elsewhere"), link + ".new")
    os.rename(link + ".new", link)
    wait_dead(leader.command_pid)
    world.wait_error(leader, WORDS["another"])


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_a_leader_stops_when_something_is_mounted_over_its_directory(world):
    script = (f"{BATON} run --id old --ttl 2s db -- sh -c 'echo $$; exec sleep 1000' & "
              f"read go && mount -t tmpfs -o mode=700 none {world.state}; wait")
    read, write = os.pipe()
    leader = world.start_command(["unshare", "--mount", "bash", "-c", script], stdin=read)
    os.close(read)
    command = int(leader.wait_line(r"^(\d+)$")[0][1])
    os.write(write, b"go\n")
    wait_dead(command)
    world.wait_error(leader, WORDS["another"])
    os.close(write)


@pytest.mark.parametrize("name", ["baton.db", "baton.db-wal", "baton.db-shm", "sessions", "writer", "heartbeats"])
@pytest.mark.parametrize("how", ["removed", "replaced by another one"])
def test_a_leader_stops_when_a_file_is_another_one(world, name, how):
    leader = lead(world)
    [path] = [entry.path for entry in os.scandir(world.state) if entry.name.split(".0")[0] == name
              or name == "heartbeats" and entry.name.startswith(name)]
    if how == "removed":
        os.unlink(path)
    else:
        shutil.copy(path, path + ".new")
        os.rename(path + ".new", path)
    wait_dead(leader.command_pid)
    world.wait_error(leader, WORDS["file"] % (re.escape(os.path.basename(path)), how))


def test_a_mapping_that_is_shortened_ends_leadership_not_processes(world):
    leader = lead(world)
    follower = world.stand("db", "second", "--ttl=2s")
    changes = world.watch("db")
    changes.wait_object(change="join", id="second")
    [path] = [entry.path for entry in os.scandir(world.state) if entry.name.startswith("heartbeats")]
    os.truncate(path, 0)  # as cp(1) over it begins
    wait_dead(leader.command_pid)
    for process in (leader, follower):
        world.wait_error(process, WORDS["file"] % (re.escape(os.path.basename(path)), "overwritten"))
        assert not dead(process.pid)
        process.stop()
    told = world.run("status")
    assert told.code == 65 and "is damaged, or is not baton's" in told.err


def test_a_log_that_is_shortened_while_it_is_used_is_told_in_words(world):
    world.stand("db", "a")
    world.watch("db").wait_object(change="lead", id="a")
    os.truncate(f"{world.state}/baton.db-wal", 0)
    for command in (["status"], ["lock", "-n", "-E", "0", "l", "true"]):
        told = world.run(*command)
        assert told.code == 65 and "or the log beside it, was shortened while it is used; end what uses" in told.err


def test_who_looks_is_told_too(world):
    lead(world)
    watching = world.watch("db")
    watching.wait_object(change="lead", id="old")
    replaced(world)
    world.wait_error(watching, WORDS["another"])


def test_a_directory_that_is_moved_back_is_used_again(world):
    leader = lead(world)
    moved(world)
    wait_dead(leader.command_pid)
    world.wait_error(leader, WORDS["moved"])
    os.rename(world.state + ".old", world.state)
    leader.wait_line(r"^\d+$", after=1)
    leader.stop()


def test_nobody_is_taken_for_dead_because_a_file_is_missing(world):
    lead(world)
    os.unlink(f"{world.state}/sessions")
    told = world.run("run", "--id", "new", "db", "--", "echo", "new leads")
    assert (told.code, told.out) == (69, "")
    assert re.match(rf"baton: local: {world.state}/sessions was removed, by which it is told who is alive; end what "
                    r"uses the directory, then remove heartbeats\.\S+, too\n", told.err)


# ---- others hold it up ----

def test_who_holds_a_lock_on_the_database_is_named(world):
    """A person with sqlite3 in the middle of a transaction."""
    leader = lead(world)
    other = world.stand("db", "second", "--ttl=2s", command=("sh", "-c", "echo second leads; exec sleep 1000"))
    world.watch("db").wait_object(change="join", id="second")
    person = sqlite3.connect(f"{world.state}/baton.db", isolation_level=None)
    person.execute("BEGIN IMMEDIATE")
    told = world.run("status", "db")  # to look needs no lock
    assert (told.code, told.err) == (0, ""), told
    os.kill(leader.pid, signal.SIGKILL)
    words = (rf"local: nothing can be written in {world.state}: process {os.getpid()} \(\S+\) holds a lock on the "
             r"database; end it, or let it go on")
    world.wait_error(other, words)
    with open(BATON, "rb") as file:
        sanitized = b"__asan_init" in file.read()
    # AddressSanitizer does not know of stack frames that pthread_cancel(3) has left, which ends the wait for the lock.
    for command in ([] if sanitized else ["status", "hold"]):
        told = world.run(command, "--engine-timeout=3s", "db")  # a view that names the dead leader is not shown
        assert told.code == 69 and re.search(words, told.err), told
    person.execute("ROLLBACK")
    other.wait_line("second leads")
    world.wait_error(other, "can be used again")


def watched_by(pid):
    """The processes that it has a pidfd of."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as info:
                found |= {int(line.split()[1]) for line in info if line.startswith("Pid:")}
        except FileNotFoundError:
            pass
    return found


@pytest.mark.skipif(not ROOT, reason="needs root: another user, and a mount")
def test_a_process_that_is_hidden_is_watched_all_the_same(open_world):
    """proc(5), hidepid: nobody sees the start time of a process of another user."""
    world = open_world
    os.chown(world.state, 0, 23000)
    os.chmod(world.state, 0o2770)
    instances = []
    for uid in ("23001", "23002"):
        script = ("mount -t proc -o hidepid=invisible proc /proc && exec setpriv --reuid=$0 --regid=23000 "
                  f"--clear-groups {world.baton} run --ttl 60s --id $0 db -- sh -c 'echo $0 leads; exec sleep 1000' $0")
        instances.append(world.start_command(["unshare", "--mount", "sh", "-c", script, uid]))
        if uid == "23001":
            instances[0].wait_line("^23001 leads")
    deadline = time.monotonic() + 20
    while instances[0].pid not in watched_by(instances[1].pid):
        assert time.monotonic() < deadline, "it is not watched"
    for pid in (guard_of(instances[0]), instances[0].pid):  # at once: nobody writes a testament
        os.kill(pid, signal.SIGKILL)
    instances[1].wait_line("^23002 leads")


def test_another_layout_of_the_shared_memory_is_refused(world):
    """As the rolling update of one machine would bring it about: the other version has the directory open."""
    lead(world)
    [name] = [name for name in os.listdir(world.state) if name.startswith("heartbeats.")]
    other = int(name.split(".")[1], 16) ^ 1  # its number for this boot
    with open(f"{world.state}/sessions", "r+b") as sessions:
        os.rename(f"{world.state}/{name}", f"{world.state}/{name}.away")
        fcntl.lockf(sessions, fcntl.LOCK_SH, 1, 2**62 + other)
        told = world.run("run", "x", "--", "true")
    assert (told.code, told.out) == (78, "")
    assert "or of a version of baton that shares memory in another way" in told.err
