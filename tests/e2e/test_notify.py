"""The notify socket of `baton run`: who is heard on it, and what it changes. A stranger must not be able to depose a
leader, nor to make one that hangs look well."""

import json
import os
import select
import signal
import socket
import time

import pytest

from conftest import LIMIT_S, Systemd, children, dead, guard_of

SAY = ('import os,socket,sys,time;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);'
       's.connect("\\0"+os.environ["NOTIFY_SOCKET"][1:]);'
       '[(s.send(word.encode()),time.sleep(0.01)) for word in sys.argv[1:]];print("said",flush=True);time.sleep(1000)')
# Ends at once, so that it may be gone before it is heard.
SAY_AND_GO = ('import os,socket,sys;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);'
              's.sendto(sys.argv[1].encode(),"\\0"+os.environ["NOTIFY_SOCKET"][1:])')
PYTHON = "/usr/bin/python3"
UP = 'echo "up $NOTIFY_SOCKET"; '


def up(world, *options, script=UP + "exec sleep 1000", **kwargs):
    """A leader whose command runs. Returns it and the name of its notify socket."""
    process = world.stand("db", "a", *options, command=("sh", "-c", script), **kwargs)
    name = process.wait_line("^up @(.*)$")[0].group(1)
    return process, name


def send(name, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), "\0" + name)


def events(process):
    return [json.loads(line) for line in process.stderr.splitlines()]


def test_a_silent_watchdog_loses_the_place(world):
    talk = ('import os,socket;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);a=os.environ["NOTIFY_SOCKET"];'
            's.connect("\\0"+a[1:]);s.send(b"WATCHDOG=1");print("said",os.environ["WATCHDOG_USEC"],flush=True);'
            'import time;time.sleep(1000)')
    process = world.stand("db", "a", "--watchdog", "1s", command=(PYTHON, "-c", talk))
    process.wait_line("^said 1000000$")
    assert process.wait_exit() == 124
    assert "has not said WATCHDOG=1 in time: it loses its place" in process.stderr


def test_what_the_command_says_of_itself_is_passed_on(world):
    systemd = Systemd(world.folder)
    process = world.stand("db", "a", "--json", command=(PYTHON, "-c", SAY, "READY=1\nSTATUS=warm"),
                          env={"NOTIFY_SOCKET": systemd.path})
    systemd.wait("STATUS=leads (term 3): warm")
    process.stop()
    assert [event["event"] for event in events(process)] == ["stand", "lead", "ready"]
    systemd.socket.close()


def test_a_command_that_says_that_it_stops_is_not_watched_any_more(world):
    process = world.stand("db", "a", "--json", "--watchdog", "300ms", command=(PYTHON, "-c", SAY, "STOPPING=1"))
    process.wait_line("^said$")
    assert not select.select([process.popen.stdout], [], [], 1)[0]  # three times as long: it would have been killed
    assert process.stop() == 143
    assert "stopping" in [event["event"] for event in events(process)]


@pytest.mark.parametrize("how", ["{0}", "sh -c '{0} & exit'; ", "setsid sh -c '{0} & exit'; "])
def test_whoever_the_command_has_started_is_heard(world, how):
    """Also one that has left its process group, has lost its parents, or is gone when it is heard."""
    say = how.format(f"{PYTHON} -c \"$SAY\" READY=1")
    process, _ = up(world, script=UP + say + "\nexec sleep 1000", env={"SAY": SAY_AND_GO})
    world.wait_error(process, "the command is ready")


def test_a_descriptor_that_came_along_is_closed_when_the_words_were_read(world):
    """systemd-notify(1) waits for that (BARRIER=1), so that it is not gone when it is asked who it is."""
    barrier = ('import array,os,socket;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);r,w=os.pipe();'
               's.connect("\\0"+os.environ["NOTIFY_SOCKET"][1:]);s.sendmsg([b"READY=1"],[(socket.SOL_SOCKET,'
               'socket.SCM_RIGHTS,array.array("i",[w]))]);os.close(w);print("closed",os.read(r,1),flush=True)')
    process = world.stand("db", "a", command=(PYTHON, "-c", barrier))
    process.wait_line("^closed b''$")
    assert process.wait_exit() == 0
    assert "the command is ready" in process.stderr


@pytest.mark.parametrize("words", ["WATCHDOG=trigger", "STOPPING=1", "READY=1", "STATUS=hacked"])
def test_a_stranger_is_not_heard(world, words):
    """Not even one of the same user, who is no descendant of the guard; it is told once, with who it was."""
    process, name = up(world, "--watchdog", "1000s")
    for _ in range(3):
        send(name, words)
    world.wait_error(process, rf"baton: db: a message to the command's notify socket is dropped: process {os.getpid()} "
                              rf"\(uid {os.geteuid()}\) was not started by the command")
    process.signal(signal.SIGTERM)
    assert process.wait_exit() == 143
    assert process.stderr.count("notify socket") == 1
    for word in ("loses its place", "says that it stops", "is ready"):
        assert word not in process.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_another_user_who_is_gone_at_once_is_not_heard_by_roots_leader(world):
    process, name = up(world, "--watchdog", "1000s")
    for _ in range(20):
        done = world.run_command(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PYTHON, "-c",
                                  SAY_AND_GO, "WATCHDOG=trigger"], env={"NOTIFY_SOCKET": "@" + name})
        assert done.code == 0, done
    world.wait_error(process, r"notify socket is dropped: process \d+ \(uid 65534\)")
    assert process.stop() == 143
    assert "loses its place" not in process.stderr


def test_a_strangers_watchdog_does_not_keep_a_leader_that_hangs(world):
    process, name = up(world, "--watchdog", "500ms")
    deadline = time.monotonic() + LIMIT_S
    while process.popen.poll() is None:
        assert time.monotonic() < deadline, "it goes on"
        try:
            send(name, "WATCHDOG=1")
        except OSError:  # its socket is closed
            break
        select.select([process.popen.stdout], [], [], 0.05)
    assert process.wait_exit() == 124


def test_a_flood_of_messages_does_not_keep_a_leader_from_anything(world):
    process, name = up(world)
    flood = world.start_command([PYTHON, "-c", 'import os,socket,sys\n'
                                 's=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n'
                                 's.connect("\\0"+sys.argv[1])\n'
                                 'print("begun",flush=True)\n'
                                 'while True: s.send(b"READY=1")', name])
    flood.wait_line("begun")
    world.wait_error(process, "is dropped")
    assert process.stop() == 143
    flood.wait_exit()


def test_trigger_counts_with_a_watchdog_only(world):
    process = world.stand("db", "a", "--json", command=(PYTHON, "-c", SAY, "WATCHDOG=trigger", "READY=1"))
    world.wait_error(process, '"event":"ready"')
    assert process.stop() == 143
    assert "unhealthy" not in [event["event"] for event in events(process)]
    process = world.stand("db", "a", "--watchdog", "1000s", command=(PYTHON, "-c", SAY, "WATCHDOG=trigger"))
    assert process.wait_exit() == 124
    assert "has said WATCHDOG=trigger: it loses its place" in process.stderr


def test_a_command_of_a_follower_is_not_heard(world):
    """It has no notify socket; one who was told its name elsewhere says nothing of the leader's command."""
    process, name = up(world)
    say = SAY_AND_GO.replace('os.environ["NOTIFY_SOCKET"]', f'"@{name}"')
    follower = world.start("run", "--id", "b", "--follow", f"{PYTHON} -c \"$SAY\" STOPPING=1; echo sent; sleep 1000",
                           "db", "--", "true", env={"SAY": say})
    follower.wait_line("^sent$")
    world.wait_error(process, "is dropped")
    assert not dead(children(guard_of(process))[0])


def test_a_start_period_ends_with_ready(world):
    """Before that, neither silence nor a health check counts; it begins anew with each start."""
    script = "sleep .5; test ! -e asked && echo quiet; " + PYTHON + " -c \"$SAY\" READY=1; exec sleep 1000"
    process, _ = up(world, "--start-period", "1000s", "--health", "echo >asked; false", "--health-every", "50ms",
                    script=UP + script, env={"SAY": SAY_AND_GO})
    process.wait_line("^quiet$")
    assert process.wait_exit() == 124
    assert "has failed its health check 3 times in a row" in process.stderr
    process, _ = up(world, "--start-period", "1000s", "--watchdog", "100ms", script=UP + script,
                    env={"SAY": SAY_AND_GO})
    assert process.wait_exit() == 124
    assert "the command is ready" in process.stderr and "has not said WATCHDOG=1 in time" in process.stderr


def test_a_start_period_ends_when_it_is_over(world):
    began = time.monotonic()
    process, _ = up(world, "--start-period", "600ms", "--watchdog", "100ms")
    assert process.wait_exit() == 124
    assert time.monotonic() - began >= 0.7


def test_a_start_period_begins_with_each_start(world):
    script = ("echo >>starts; test $(wc -l <starts) = 1 || { sleep .5; echo slow; }; " + PYTHON +
              " -c \"$SAY\" READY=1;"
              "test $(wc -l <starts) = 2 && exec sleep 1000")
    process, _ = up(world, "--restart", "always", "--start-period", "1000s", "--watchdog", "200ms", "--json",
                    script=UP + script, env={"SAY": SAY_AND_GO})
    process.wait_line("^slow$")
    world.wait_error(process, "has not said WATCHDOG=1 in time")
    assert "ready" in [event["event"] for event in events(process)]  # (the first may be over before that is heard)
