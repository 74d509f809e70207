"""`baton lock`: one command at a time, on the local engine and on a real etcd."""

import json
import os
import re
import shutil
import signal
import time

import pytest

from conftest import LIMIT_S, freeze, guard_of, wait_dead

# Says so when another one runs beside it that should not.
ALONE = ("sh", "-c", 'exec 9>"$0"; flock -n 9 || echo CONTENDED; echo "up $BATON_TOKEN"; exec sleep 1000')


def lock(world, *options, name="report", command=None, **kwargs):
    command = command or (*ALONE, os.path.join(world.folder, "alone"))
    return world.start("lock", *options, name, "--", *command, **kwargs)


def wait_up(process, limit=LIMIT_S):
    match, _ = process.wait_line(r"^(CONTENDED|up (\d+))$", limit=limit)
    assert match[1] != "CONTENDED"
    return int(match[2])


def queue(world, name="report"):
    return json.loads(world.run("lock", "--describe", "--json", name).out)


def wait_queue(world, waiting, name="report"):
    """So many wait."""
    deadline = time.monotonic() + LIMIT_S
    while queue(world, name)["waiting"] != waiting:
        assert time.monotonic() < deadline, queue(world, name)


def test_one_at_a_time_in_the_order_of_asking(place):
    first = lock(place, "--id", "a")
    token = wait_up(first)
    others = []
    for name in "bcd":
        others.append(lock(place, "--id", name))
        wait_queue(place, len(others))
    assert [entry["id"] for entry in queue(place)["entries"]] == ["a", "b", "c", "d"]
    assert first.stop() == 128 + signal.SIGTERM
    for process in others:
        following = wait_up(process)
        assert following > token
        token = following
        process.stop()


@pytest.mark.parametrize("who", ["supervisor", "command"])
def test_a_holder_that_is_killed_is_followed_long_before_its_lease_ends(place, who):
    first = lock(place, "--ttl=60s")
    token = wait_up(first)
    second = lock(place, "--ttl=60s")
    wait_queue(place, 1)
    if who == "supervisor":
        first.signal(signal.SIGKILL)
    else:
        pids = place.run_command(["pgrep", "-f", "^sleep 1000"]).lines
        for pid in set(map(int, pids)) & set(place.marked()):
            os.kill(pid, signal.SIGKILL)
    assert wait_up(second) > token


@pytest.mark.parametrize("how", ["term", "lost"])
def test_a_holder_whose_guard_hangs_is_over_all_the_same(world, how):
    first = lock(world, "--ttl=3s", "--grace=300ms", command=("sh", "-c", "echo $$; exec sleep 1000"))
    pid = int(first.wait_line(r"^(\d+)$")[0][1])
    freeze(guard_of(first))
    if how == "term":
        first.signal(signal.SIGTERM)
    else:
        shutil.rmtree(world.state)
    wait_dead(pid)
    assert first.wait_exit() == 70
    assert "baton: report: the guard hangs: it is killed, and the command with it\n" in first.stderr


def test_a_holder_that_stands_still_is_over_before_the_next_begins(place):
    first = lock(place, "--ttl=2s", "--grace=300ms", env=place.traced("a"))
    token = wait_up(first)
    second = lock(place, "--ttl=2s", "--grace=300ms")
    wait_queue(place, 1)
    place.wait_renewed("a")
    first.signal(signal.SIGSTOP)
    assert wait_up(second) > token
    first.signal(signal.SIGCONT)
    assert first.wait_exit() == 75 and "the lock is lost" in first.stderr


def test_as_many_as_there_are_slots(world):
    command = ("sh", "-c", "echo up; exec sleep 1000")
    running = [lock(world, "--slots=2", command=command) for _ in range(2)]
    for process in running:
        process.wait_line("^up$")
    third = lock(world, "--slots=2", command=command)
    wait_queue(world, 1)
    running[0].stop()
    third.wait_line("^up$")
    told = world.run("lock", "--slots=3", "report", "--", "true")
    assert told.code == 64 and "is of 2 slots for " in told.err and "and of 3 slots here" in told.err, told


def test_readers_beside_each_other_and_never_beside_a_writer(world):
    command = ("sh", "-c", "echo up; exec sleep 1000")
    readers = [lock(world, "-s", command=command) for _ in range(3)]
    for process in readers:
        process.wait_line("^up$")
    writer = lock(world, "-x")
    wait_queue(world, 1)
    late = lock(world, "-s", command=command)
    wait_queue(world, 2)
    for process in readers:
        process.stop()
    wait_up(writer)
    assert queue(world)["holders"] == 1
    writer.stop()
    late.wait_line("^up$")


@pytest.mark.parametrize("options,code", [(("-n",), 1), (("--nonblock", "-E", "9"), 9), (("-w", "0.1"), 1),
                                          (("--wait=100ms", "--conflict-exit-code=0"), 0), (("-w", "0"), 1)])
def test_a_lock_that_cannot_be_had(world, options, code):
    wait_up(lock(world, "--id", "holder"))
    told = world.run("lock", *options, "report", "--", "echo", "never")
    assert (told.code, told.out, told.err) == (code, "", ""), told
    told = world.run("lock", "--verbose", *options, "report", "--", "echo", "never")
    assert told.code == code and "held by holder on " in told.err and told.out == "", told


@pytest.mark.parametrize("script,status", [("exit 7", 7), ("kill -KILL $$", 137), ("true", 0)])
def test_the_exit_status_is_that_of_the_command(world, script, status):
    assert world.run("lock", "report", "--", "sh", "-c", script).code == status


def test_a_command_that_cannot_run(world):
    for command, code, words in (("./none", 127, "cannot run './none': No such file"), ("/", 126, "Permission denied")):
        told = world.run("lock", "report", "--", command)
        assert told.code == code and words in told.err, told
    assert queue(world)["entries"] == []


def test_the_environment_of_the_command(world):
    script = 'echo "$BATON_NAME|$BATON_ID|$BATON_TOKEN|$BATON_URL|${BATON_TERM-none}|${NOTIFY_SOCKET-none}"'
    told = world.run("lock", "--id", "a", "report", "--", "sh", "-c", script, env={"NOTIFY_SOCKET": "@nobody"})
    assert re.match(rf"^report\|a\|\d+\|{world.url}\|none\|none$", told.out), told


def test_what_a_command_leaves_behind_is_over_before_the_lock_passes_on(world):
    path = os.path.join(world.folder, "alone")
    first = lock(world, command=("sh", "-c", 'exec 9>"$0"; flock 9; (sleep 1000) & echo "up $BATON_TOKEN"', path))
    wait_up(first)
    second = lock(world)
    wait_up(second)  # takes the file's lock, which the sleep had


def test_a_signal_ends_the_wait(world):
    wait_up(lock(world))
    second = lock(world)
    wait_queue(world, 1)
    assert second.stop() == 128 + signal.SIGTERM
    wait_queue(world, 0)


def test_signals_are_passed_to_the_command(world):
    process = lock(world, command=("sh", "-c", 'trap "echo hup" USR1; echo up 1; while :; do sleep 0.1; done'))
    wait_up(process)
    process.signal(signal.SIGUSR1)
    process.wait_line("^hup$")


def test_describe_and_status(world):
    assert world.run("lock", "--describe", "report").code == 1
    assert "report: free" in world.run("lock", "--describe", "report").out
    wait_up(lock(world, "--id", "holder"))
    second = lock(world, "--id", "waiter")
    wait_queue(world, 1)
    told = world.run("lock", "--describe", "report")
    assert told.code == 0 and "report: 1 holds, 1 waits" in told.out, told
    assert re.search(r"^holder +yes +exclusive", told.out, re.MULTILINE)
    assert re.search(r"^waiter +- +exclusive", told.out, re.MULTILINE)
    told = world.run("status")
    assert re.search(r"^LOCK +HELD BY +HOLDERS +WAITING\nreport +holder +1 +1$", told.out, re.MULTILINE), told
    [told] = [line for line in world.run("status", "--json").objects if "lock" in line]
    assert told["lock"] == "report" and told["holders"] == 1 and told["entries"][1]["id"] == "waiter"
    second.stop()


@pytest.mark.parametrize("args,words", [
    (("--slots=0", "x", "--", "true"), "--slots: '0' is no whole number from 1"),
    (("--slots=2", "-s", "x", "--", "true"), "--shared and --slots: only one of them"),
    (("x",), "there is no command"), (("--describe", "x", "--", "true"), "--describe takes no command"),
    (("--describe", "x", "-c", "true"), "--describe takes no command"),
    (("_x", "--", "true"), "the name '_x' is not legal"), ((), "NAME is missing"),
    (("-w-1", "x", "true"), "--wait: '-1' is no time to wait"),
    (("-w", "soon", "x", "true"), "--wait: 'soon' is no duration"),
    (("--ttl=1s", "--grace=1s", "x", "--", "true"), "choose a longer --ttl")])
def test_a_wrong_use(world, args, words):
    told = world.run("lock", *args)
    assert told.code == 64 and words in told.err, told


def test_a_record_that_is_not_ours_holds_its_place(etcd_world):
    key = etcd_world.url.rsplit("/", 1)[1] + "/locks/report/stranger"
    etcd_world.etcd.ctl("put", key, "not json")
    told = etcd_world.run("lock", "-n", "--verbose", "report", "--", "true")
    assert told.code == 1 and "held by an entry that cannot be read" in told.err, told
    assert "is not JSON" in etcd_world.run("lock", "--describe", "report").out
    etcd_world.etcd.ctl("del", key)
    assert etcd_world.run("lock", "-n", "report", "--", "true").code == 0
