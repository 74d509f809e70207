"""`baton once`: a command that runs once, on the local engine and on a real etcd."""

import base64
import datetime
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest

from conftest import BATON, LIMIT_S


def log_of(world):
    """What the commands have written to the log."""
    try:
        with open(os.path.join(world.folder, "log"), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def once(world, *options, key="migrate", script="echo run >>log", **kwargs):
    return world.start("once", *options, key, "--", "sh", "-c", script, **kwargs)


def show(world, key="migrate"):
    told = world.run("once", "show", "--json", key)
    return told.objects[0] if told.code == 0 else {"state": "none", "waiting": 0, "attempt": 0}


def wait_show(world, key="migrate", **fields):
    deadline = time.monotonic() + LIMIT_S
    while True:
        seen = show(world, key)
        if all(seen[name] == value for name, value in fields.items()):
            return seen
        assert time.monotonic() < deadline, (fields, seen)


UP = "echo run >>log; echo up; exec sleep 1000"


# ---- once


def test_of_many_instances_one_runs_it_and_all_end_as_it_did(place):
    script = "echo run >>log; echo migrated; echo careful >&2; exit 3"
    processes = [once(place, "--output", script=script) for _ in range(12)]
    assert [process.wait_exit() for process in processes] == [3] * 12
    assert log_of(place) == ["run"]
    for process in processes:
        assert process.seen == ["migrated"] and process.stderr == "careful\n", process
    late = place.run("once", "--output", "migrate", "--", "sh", "-c", script)
    assert (late.code, late.out, late.err) == (3, "migrated\n", "careful\n")
    assert log_of(place) == ["run"]


def test_fifty_instances_start_at_once_and_one_runs_it(place):
    processes = [once(place, "-o", script="echo run >>log; echo done; exit 3") for _ in range(50)]
    assert [process.wait_exit(limit=3 * LIMIT_S) for process in processes] == [3] * 50
    assert log_of(place) == ["run"] and all(process.seen == ["done"] for process in processes)


def test_of_what_is_done_nothing_is_written_and_no_session_is_opened(place):
    assert once(place).wait_exit() == 0
    revision = show(place)["revision"]
    env = place.traced("late")
    told = place.run("once", "migrate", "--", "sh", "-c", "echo run >>log", env=env)
    assert told.code == 0
    with open(f"{place.folder}/trace-late", encoding="utf-8") as file:
        trace = file.read()
    asked = re.findall(r"> (\w+)", trace)
    assert asked.count("watch") == 1 and not {"write", "session_open"} & set(asked), trace
    assert show(place)["revision"] == revision


def test_a_worker_that_is_killed_leaves_it_lost(place):
    first = once(place, "--ttl=60s", script=UP)
    first.wait_line("^up$")
    second = once(place, "--ttl=60s", script=UP)
    wait_show(place, waiting=1)
    first.signal(signal.SIGKILL)
    assert second.wait_exit() == 125
    assert "nobody knows how far it came" in second.stderr
    assert show(place)["state"] == "lost" and log_of(place) == ["run"]
    late = place.run("once", "--any-command", "migrate", "--", "sh", "-c", "echo run >>log")
    assert late.code == 125 and log_of(place) == ["run"]


def test_at_least_once_another_runs_it_when_its_worker_is_killed(place):
    # What the first one has started is over before the second begins.
    script = 'flock -n alone -c true || echo CONTENDED; echo "up $BATON_TOKEN"; exec flock alone sleep 1000'
    first = once(place, "--at-least-once", "--ttl=60s", script=script)
    token = int(first.wait_line(r"^up (\d+)$")[0][1])
    second = once(place, "--at-least-once", "--ttl=60s", script=script)
    wait_show(place, waiting=1)
    first.signal(signal.SIGKILL)
    assert int(second.wait_line(r"^up (\d+)$")[0][1]) > token
    assert second.seen == [f"up {show_token(second)}"]
    assert show(place)["attempt"] == 2
    second.stop()


def show_token(process):
    return re.search(r"up (\d+)", process.seen[-1])[1]


def test_it_is_begun_again_only_if_both_say_so(world):
    first = once(world, "--ttl=60s", script=UP)
    first.wait_line("^up$")
    second = once(world, "--at-least-once", script=UP)
    wait_show(world, waiting=1)
    first.signal(signal.SIGKILL)
    assert second.wait_exit() == 125 and log_of(world) == ["run"]


def test_a_worker_that_stands_still_is_over_before_it_is_lost(place):
    script = 'echo up; trap "" TERM; while true; do date +%s%N >beat; sleep 0.05; done'
    first = once(place, "--ttl=2s", "--grace=300ms", script=script, env=place.traced("a"))
    first.wait_line("^up$")
    second = once(place, "--ttl=2s", "--grace=300ms", script=script)
    wait_show(place, waiting=1)
    place.wait_renewed("a")
    first.signal(signal.SIGSTOP)
    assert second.wait_exit() == 125
    lost_ns = time.time_ns()
    first.signal(signal.SIGCONT)
    assert first.wait_exit() == 125 and "the task is lost" in first.stderr
    with open(f"{place.folder}/beat", encoding="utf-8") as file:
        assert int(file.read() or 0) < lost_ns


def test_a_failure_is_taken_up_again(place):
    script = 'echo "$BATON_ATTEMPT $BATON_ID" >>log; test "$BATON_ATTEMPT" = 3'
    processes = [once(place, "--id", name, "--retries=5", "--retry-after=100ms", script=script) for name in "abc"]
    assert [process.wait_exit() for process in processes] == [0, 0, 0]
    assert [line.split()[0] for line in log_of(place)] == ["1", "2", "3"]
    assert show(place)["attempt"] == 3


def test_a_failure_is_not_taken_up_again_before_its_time(place):
    script = 'date +%s%N >>log; test "$BATON_ATTEMPT" = 3'
    processes = [once(place, "--retries=5", "--retry-after=700ms", script=script) for _ in range(2)]
    assert [process.wait_exit() for process in processes] == [0, 0]
    begun = [int(line) / 1e9 for line in log_of(place)]
    assert len(begun) == 3 and all(later - earlier > 0.69 for earlier, later in zip(begun, begun[1:])), begun


def test_a_failure_is_final_when_the_retries_are_used_up(world):
    assert once(world, "--retries=2", script="echo run >>log; exit 9").wait_exit() == 9
    assert log_of(world) == ["run"] * 3
    assert once(world, "--retries=2", script="echo run >>log; exit 9").wait_exit() == 9
    assert log_of(world) == ["run"] * 3


def test_a_result_expires(world):
    assert once(world, "--expire=50ms").wait_exit() == 0
    wait_show(world, expired=True)
    assert once(world, "--expire=50ms").wait_exit() == 0
    assert log_of(world) == ["run"] * 2
    wait_show(world, expired=True)
    assert "expired" in world.run("once", "list").out
    assert world.run("once", "forget", "--expired").code == 0
    assert world.run("once", "list").out.startswith("no tasks in ")


@pytest.mark.parametrize("options,code", [(("-n",), 75), (("--no-wait", "-E", "9"), 9), (("-w", "0.1"), 75),
                                          (("--wait=100ms", "--conflict-exit-code=0"), 0), (("-w", "0"), 75)])
def test_who_does_not_want_to_wait(world, options, code):
    once(world, "--id", "worker", script=UP).wait_line("^up$")
    told = world.run("once", *options, "migrate", "--", "sh", "-c", UP)
    assert told.code == code and "being done by worker on " in told.err and told.out == "", told


def test_signals(world):
    first, second = once(world, script=UP), None
    first.wait_line("^up$")
    second = once(world, script=UP)
    wait_show(world, waiting=1)
    assert second.stop() == 128 + signal.SIGTERM  # who waits goes
    wait_show(world, waiting=0)
    assert first.stop() == 128 + signal.SIGTERM  # the command has failed, by the same signal
    assert show(world)["state"] == "failed" and show(world)["status"] == 143
    assert once(world, script=UP).wait_exit() == 143
    assert log_of(world) == ["run"]


def test_a_command_that_cannot_run_leaves_it_to_the_next(world):
    for command, code, words in (("./none", 127, "cannot run './none': No such file"), ("/", 126, "Permission denied")):
        told = world.run("once", "--any-command", "migrate", "--", command)
        assert told.code == code and words in told.err, told
    assert show(world)["state"] == "none"
    assert once(world, "--any-command").wait_exit() == 0 and log_of(world) == ["run"]


def test_the_environment_of_the_command(world):
    script = 'echo "$BATON_NAME|$BATON_ID|$BATON_TOKEN|$BATON_ATTEMPT|$BATON_URL|${BATON_TERM-none}"'
    told = world.run("once", "--id", "a", "2026-11-23/invoices", "--", "sh", "-c", script)
    name, instance, token, attempt, url, term = told.out.strip().split("|")
    assert (name, instance, attempt, url, term) == ("2026-11-23/invoices", "a", "1", world.url, "none")
    assert int(token) > 0


# ---- applications, as in the docs


def test_migrations_at_the_start_of_every_instance(place):
    script = f"{BATON} once --output migrate-v7 -- sh -c 'echo migrated >>log' && echo serving"
    instances = [place.start_command(["sh", "-c", script]) for _ in range(10)]
    for instance in instances:
        assert instance.wait_exit() == 0 and instance.seen == ["serving"], instance
    assert log_of(place) == ["migrated"]


def test_a_batch_of_files_each_by_one_worker(place):
    os.mkdir(f"{place.folder}/in")
    names = [f"part {i:02}.csv" for i in range(25)]
    for name in names:
        with open(f"{place.folder}/in/{name}", "w", encoding="utf-8") as file:
            file.write(name)
    process = 'sh -c \'echo "$1" >>log\' sh'
    worker = f'for file in in/*; do {BATON} once -n -E 0 "$file" -- {process} "$file" || exit; done'
    workers = [place.start_command(["sh", "-c", worker]) for _ in range(4)]
    assert [process.wait_exit(60) for process in workers] == [0] * 4
    assert sorted(log_of(place)) == [f"in/{name}" for name in names]
    tasks = place.run("once", "list", "--json").objects
    assert [task["task"] for task in tasks] == [f"in/{name}" for name in names]
    assert {task["state"] for task in tasks} == {"done"}


# ---- output


def test_outputs_over_the_limit_are_passed_on_whole_and_kept_at_their_end(world):
    script = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo end; echo oops >&2"
    told = world.run("once", "-o", "migrate", "--", "sh", "-c", script)
    assert told.code == 0 and len(told.out) == 300005 and told.err == "oops\n"
    late = world.run("once", "-o", "migrate", "--", "sh", "-c", script)
    assert len(late.out) == 16384 and late.out.endswith("x\nend\n")
    assert "the first 283621 bytes of what it printed were not kept" in late.err and late.err.endswith("oops\n")


def test_any_bytes_are_kept(world):
    script = r"printf '\377\000\001\376'"
    done = world.run_command(["sh", "-c", f'{BATON} once -o b -- sh -c "{script}" | od -An -tx1'])
    late = world.run_command(["sh", "-c", f'{BATON} once -o b -- sh -c "{script}" | od -An -tx1'])
    assert done.out.split() == late.out.split() == ["ff", "00", "01", "fe"]
    shown = world.run_command(["sh", "-c", f"{BATON} once show -o b | od -An -tx1"])
    assert shown.out.split() == ["ff", "00", "01", "fe"]


def test_a_reader_that_does_not_read_does_not_stop_the_supervisor(world):
    first = once(world, "-o", "--ttl=1s", "--grace=200ms", script="head -c 300000 /dev/zero | tr '\\0' x; echo; exit 4",
                 env=world.traced("a"))
    world.wait_renewed("a")
    assert show(world)["state"] == "running"  # it has filled the pipe, and waits
    assert first.wait_exit() == 4 and len(first.seen[0]) == 300000
    assert show(world)["state"] == "failed"


def test_a_reader_that_is_gone(world):
    told = world.run_command(["sh", "-c", f"({BATON} once -o gone -- sh -c 'for i in 1 2 3; do echo $i; done; exit 5'; "
                                          "echo $? >&2) | true"])
    assert told.err.endswith("5\n")
    assert world.run("once", "show", "-o", "gone").out == "1\n2\n3\n"


def test_an_output_that_cannot_be_written_is_told(world):
    for _ in range(2):  # by who runs it, and by who comes later
        told = world.run_command(["sh", "-c", f"{BATON} once -o full -- sh -c 'echo run >>log; echo some' >/dev/full"])
        assert told.code == 74 and "the output could not be written: No space left on device" in told.err, told
    assert log_of(world) == ["run"]
    assert show(world, "full")["state"] == "done" and show(world, "full")["out"] == "some\n"


def test_a_signal_ends_who_waits_for_a_reader_only(world):
    size = 400000
    first = once(world, "-o", script=f"head -c {size} /dev/zero | tr '\\0' x")
    wait_show(world, state="running")
    # Its command is over when the rest fits into the pipes; then only the reader is missing.
    reader = 0
    while show(world)["state"] == "running":
        reader += len(os.read(first.popen.stdout.fileno(), 4096))
    first.signal(signal.SIGTERM)
    assert first.popen.wait(LIMIT_S) == -signal.SIGTERM
    assert show(world)["state"] == "done" and reader < size


def test_output_that_is_no_text_is_shown_in_base64(world):
    assert once(world, "-o", script=r"printf '\377\000\001\376'; printf 'a\000b\n' >&2").wait_exit() == 0
    assert show(world)["out"] == {"base64": "/wAB/g=="}
    assert show(world)["err"] == "a\0b\n"


@pytest.mark.parametrize("script", [r"printf '%0300d\0abc\n' 1", r"printf '\0'", r"head -c 16384 /dev/zero; echo x >&2",
                                    r"printf '%016000d\0' 1", r"printf '\\u0000 \042 \033[1m\0'"])
def test_output_with_a_nul_is_kept(world, script):
    printed = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    for _ in range(2):  # it does it, and is told how it was
        told = world.run("once", "--output", "migrate", "--", "sh", "-c", script)
        assert told.code == 0, told
    shown = show(world)["out"]
    got = shown.encode() if isinstance(shown, str) else base64.b64decode(shown["base64"])
    assert got == printed[-16384:]
    assert world.run("once", "list").lines[1].split()[:2] == ["migrate", "done"]


@pytest.mark.parametrize("name", [b"caf\xe9", "n\u00e4me".encode(), "\u00e4".encode() * 125,
                                  b"x" * 199 + "\u00e4".encode()])
def test_a_command_of_any_name(world, name):
    """What is stored of its name is text; the next who asks for the same command means the same."""
    command = os.path.join(os.fsencode(world.folder), name)
    with open(command, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\necho run >>log\nexit $1\n")
    os.chmod(command, 0o755)
    for _ in range(2):
        told = world.run_command([BATON, "once", "--retries=1", "named", "--", command, "3"])
        assert told.code == 3 and told.err == "", told
    assert log_of(world) == ["run", "run"]
    assert re.fullmatch("[^\ufffd]+ [0-9a-f]{16}", show(world, "named")["what"])


# ---- list, show, forget


def test_what_people_are_shown(world):
    assert once(world, "--id", "a", "--expire=30d", "-o", script="echo hello; exit 3").wait_exit() == 3
    listed = world.run("once", "list")
    assert re.search(r"^migrate +failed \(3\) +1 +0 +20\S+ \S+ +20\S+ \S+ +a$", listed.out, re.M), listed
    shown = world.run("once", "show", "migrate").out
    for words in ("migrate: failed (3)", "attempt:  1, at most once", "worker:   a on ", "command:  sh ", "expires:  ",
                  "output:   6 bytes, errors: 0 bytes"):
        assert words in shown, shown
    told = show(world)
    assert told["out"] == "hello\n" and told["err"] == "" and told["expires"] > told["ended"] >= told["since"]
    nothing = world.run("once", "show", "other")
    assert nothing.code == 66 and "nothing is known of a task 'other'" in nothing.err


def test_forget(place):
    assert once(place).wait_exit() == 0
    told = place.run("once", "forget", "migrate", "none")
    assert told.code == 66 and "nothing is known of a task 'none'" in told.err
    worker = once(place, script=UP)
    worker.wait_line("^up$")
    assert log_of(place) == ["run"] * 2
    told = place.run("once", "forget", "migrate")
    assert told.code == 75 and "is being done by " in told.err and "--force" in told.err
    assert place.run("once", "forget", "--force", "migrate").code == 0
    assert worker.wait_exit() == 125 and "removed" in worker.stderr
    assert show(place)["state"] == "none"


# ---- bad input


def test_a_key_that_begins_with_a_dash(world):
    assert world.run("once", "-o", "--", "-key", "echo", "done").out == "done\n"
    assert world.run("once", "-o", "--", "-key", "--", "echo", "done").out == "done\n"
    assert world.run("once", "--", "show", "-key").out.startswith("-key: done\n")
    assert world.run("once", "--", "forget", "-key").code == 0
    told = world.run("once", "--", "./job")
    assert told.code == 64 and "there is no command, as in baton once ./job -- ./migrate" in told.err


@pytest.mark.parametrize("args,code,words", [
    ((), 64, "KEY"),
    (("migrate",), 64, "there is no command"),
    (("list", "b", "--", "true"), 64, "one key, and a command, as in"),
    (("", "--", "true"), 64, "the key of the task is empty"),
    (("k" * 129, "--", "true"), 64, "too long: 129 bytes"),
    (("tab\there", "--", "true"), 64, "byte 4 is a control character"),
    (("-n", "-w", "1", "k", "--", "true"), 64, "--no-wait and --wait"),
    (("--retry-after=1s", "k", "--", "true"), 64, "--retry-after without --retries"),
    (("--retries=-1", "k", "--", "true"), 64, "no whole number from 0"),
    (("--force", "k", "--", "true"), 64, "--force is for baton once forget"),
    (("--expired", "k", "--", "true"), 64, "--expired is for baton once forget"),
    (("--expire=soon", "k", "--", "true"), 64, "'soon' is no duration"),
    (("--grace=9s", "--ttl=10s", "k", "--", "true"), 64, "choose a longer --ttl"),
    (("forget",), 64, "there is no command"),
    (("show",), 64, "there is no command"),
])
def test_bad_arguments(world, args, code, words):
    told = world.run("once", *args)
    assert told.code == code and words in told.err and told.out == "", told


def test_a_key_that_is_a_verb_and_one_of_any_text(world):
    for key in ("list", "show", "50% of Straße/№ 7"):
        assert world.run("once", key, "--", "sh", "-c", "echo $BATON_NAME").out == f"{key}\n"
    assert world.run("once", "show", "list").code == 0
    told = world.run_command([BATON.encode(), b"once", b"Stra\xdfe", b"--", b"true"])
    assert told.code == 64 and "byte 5 is not UTF-8" in told.err


def test_two_commands_under_one_key(world):
    assert once(world, "--id", "a").wait_exit() == 0
    told = world.run("once", "migrate", "--", "./other", "--password=secret")
    assert told.code == 64 and "is 'sh " in told.err and "for a, and 'other " in told.err, told
    assert "secret" not in told.err
    assert world.run("once", "--any-command", "migrate", "--", "./other").code == 0


@pytest.mark.parametrize("value,code,words", [
    ("nonsense", 65, "is not JSON"),
    ('{"v":1,"state":"sideways"}', 65, "is not the claim of a task"),
    ('{"v":2,"state":"done"}', 76, "written by a newer baton"),
])
def test_a_record_of_somebody_else_is_not_touched(world, value, code, words):
    assert once(world).wait_exit() == 0
    [store] = [os.path.join(folder, name) for folder, _, names in os.walk(world.state) for name in names
               if name.endswith(".db")]
    with sqlite3.connect(store) as database:
        database.execute("UPDATE records SET value = ? WHERE key = 'tasks/migrate/claim'", (value,))
    told = world.run("once", "migrate", "--", "sh", "-c", "echo run >>log")
    assert told.code == code and words in told.err and log_of(world) == ["run"], told
    assert words in world.run("once", "show", "migrate").out
    assert world.run("once", "list", "--json").objects[0]["trouble"] is not None
    with sqlite3.connect(store) as database:
        assert database.execute("SELECT value FROM records WHERE key = 'tasks/migrate/claim'").fetchone() == (value,)
    assert world.run("once", "forget", "migrate").code == 0  # the way out
    assert world.run("once", "migrate", "--", "true").code == 0


def test_unknown_fields_of_a_claim_are_kept(etcd_world):
    first = once(etcd_world, script="echo up; read line <fifo")
    os.mkfifo(f"{etcd_world.folder}/fifo")
    key = etcd_world.url.rsplit("/", 1)[1] + "/tasks/migrate/claim"
    wait_show(etcd_world, state="running")
    claim = json.loads(etcd_world.etcd.ctl("get", "--print-value-only", key))
    claim["colour"] = "green"
    etcd_world.etcd.ctl("put", key, json.dumps(claim))
    first.stop()
    claim = json.loads(etcd_world.etcd.ctl("get", "--print-value-only", key))
    assert claim["colour"] == "green" and claim["state"] == "failed"


# ---- an engine that loses writes and answers

@pytest.mark.parametrize("faults", ["lose=0.4", "drop=0.4", "lose=0.3,drop=0.3,delay=5,jitter=20"])
def test_at_most_once_whatever_is_lost(place, faults):
    """Instances that are killed in between, and an engine that loses what it is told and what it answers."""
    script = 'echo "$BATON_NAME" >>log; exit 3'
    processes = []
    for number in range(6):
        for name in range(4):
            env = {"BATON_FAULTS": f"{faults},seed={10 * number + name + 1}"}
            processes.append((number, once(place, "--ttl=2s", "--grace=200ms", key=f"t{number}", script=script,
                                           env=env)))
        if number % 2 == 0:
            processes[-4][1].signal(signal.SIGKILL)
            del processes[-4]
    ends = {}
    for number, process in processes:
        ends.setdefault(number, set()).add(process.wait_exit(60))
    assert len(log_of(place)) == len(set(log_of(place))), log_of(place)  # none ran twice
    for number, told in ends.items():
        # All of one task were told the same; but who has lost its session at the end says so (125).
        assert told <= {3, 125}, (number, told)
        state = show(place, f"t{number}")
        assert state["state"] in ("failed", "lost"), state
        if state["state"] == "lost":
            assert told == {125}, (state, told)


# ---- how long a result is kept ----

def kept_ms(world, key):
    told = world.run("once", "show", "--json", key).objects[0]
    if told["expires"] is None:
        return None
    ended, expires = (datetime.datetime.fromisoformat(told[name].replace("Z", "+00:00"))
                      for name in ("ended", "expires"))
    return round((expires - ended).total_seconds() * 1000)


@pytest.mark.parametrize("options, ms", [((), 400 * 86400 * 1000), (("--expire=never",), None), (("--expire=0",), None),
                                         (("--expire=1.5s",), 1500), (("--expire=2h",), 7200 * 1000)])
def test_a_result_is_kept_for_a_month_unless_told_otherwise(world, options, ms):
    assert world.run("once", *options, "k", "--", "true").code == 0
    assert kept_ms(world, "k") == ms


def wait_expired(world, key):
    deadline = time.monotonic() + LIMIT_S
    while not world.run("once", "show", "--json", key).objects[0]["expired"]:
        assert time.monotonic() < deadline


def test_what_has_expired_is_removed_by_who_claims_next(place):
    for key in ("a", "b", "c/d e"):
        assert place.run("once", "--expire=400ms", key, "--", "false").code == 1
    wait_expired(place, "c/d e")
    assert place.run("once", "kept", "--", "true").code == 0
    states = {task["task"]: task["state"] for task in place.run("once", "list", "--json").objects}
    if place.url.startswith("local:"):  # etcd's revisions are those of all its users: there it is now and then
        assert states == {"kept": "done"}
    assert states["kept"] == "done"


def test_only_what_has_expired_is_removed(world):
    """Of a task that was taken up once more meanwhile, the new result stays."""
    assert world.run("once", "--expire=400ms", "a", "--", "false").code == 1
    wait_expired(world, "a")
    again = world.start("once", "--any-command", "a", "--", "sh", "-c", "echo up; exec sleep 1000")
    again.wait_line("up")
    assert world.run("once", "forget", "--expired").code == 0
    assert [task["state"] for task in world.run("once", "list", "--json").objects] == ["running"]
    again.stop()
