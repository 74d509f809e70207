"""The commands on a real etcd: what is promised there, and what goes wrong with it."""

import base64
import json
import os
import re
import select
import signal
import socket
import subprocess
import time

import pytest

from cluster import Cluster, Relay
from conftest import BATON, LIMIT_S, children, freeze, guard_of

PROGRAM = os.path.join(os.path.dirname(BATON), "tests", "e2e", "program")
TTL = "--ttl=2s"
UP = ("sh", "-c", 'echo "up $BATON_TERM"; exec sleep 1000')
# Each holds a lock while it lives; two at once would say so.
ALONE = ("sh", "-c", 'exec 9>"$0"; flock -n 9 || echo CONTENDED; echo "up $BATON_TERM"; exec sleep 1000')


def stand(world, instance, *options, command=UP, **kwargs):
    return world.stand("db", instance, TTL, "--grace=300ms", *options, command=command, **kwargs)


def wait_up(process, limit=LIMIT_S):
    """Its command runs; the term."""
    match, process.place = process.wait_line(r"^up (\d+)$", limit=limit, after=getattr(process, "place", 0))
    return int(match[1])


def wait_stands(world, *instances):
    """They are candidates."""
    watch = world.watch("db")
    for instance in instances:
        watch.place = 0
        watch.wait_object(change="join", id=instance)
    return watch


def stand_both(world):
    """a, which leads, and b, with leases that nobody waits for; and a's term."""
    a = world.stand("db", "a", "--ttl=60s", command=UP)
    term = wait_up(a)
    b = world.stand("db", "b", "--ttl=60s", command=UP)
    wait_stands(world, "a", "b")
    return a, b, term


@pytest.fixture
def pair(etcd_world):
    """`a` leads, `b` stands."""
    etcd_world.a = stand(etcd_world, "a", env=etcd_world.traced("a"))
    etcd_world.term = wait_up(etcd_world.a)
    etcd_world.b = stand(etcd_world, "b")
    etcd_world.watch_db = wait_stands(etcd_world, "a", "b")
    return etcd_world


def command_of(process):
    """The command that runs; not the one that was forked for the next time. (In an exec it has no name yet.)"""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        commands = [pid for pid in children(guard_of(process)) if b"sleep" in read(f"/proc/{pid}/cmdline")]
        if commands:
            return commands[0]
    raise AssertionError(f"no command of {process!r}")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def is_instrumented():
    return b"__asan_init" in read(BATON)


# ---- what is promised ----

def test_a_leader_that_ends_passes_its_place_on(pair):
    assert pair.a.stop() == 128 + signal.SIGTERM
    assert wait_up(pair.b) > pair.term


@pytest.mark.parametrize("who", ["supervisor", "command"])
def test_a_killed_leader_is_followed_long_before_its_lease_ends(etcd_world, who):
    # With a lease of 60 s, and a limit of 20 s: nobody waits for a lease.
    a = etcd_world.stand("db", "a", "--ttl=60s", command=UP)
    term = wait_up(a)
    b = etcd_world.stand("db", "b", "--ttl=60s", command=UP)
    wait_stands(etcd_world, "a", "b")
    if who == "supervisor":
        a.signal(signal.SIGKILL)
    else:
        os.kill(command_of(a), signal.SIGKILL)
    assert wait_up(b) > term


def test_the_guard_and_the_supervisor_killed_at_once_cost_a_lease(etcd_world):
    command = (*ALONE, os.path.join(etcd_world.folder, "lock"))
    a = stand(etcd_world, "a", command=command)
    term = wait_up(a)
    b = stand(etcd_world, "b", command=command)
    wait_stands(etcd_world, "a", "b")
    guard = guard_of(a)
    with os.fdopen(os.pidfd_open(command_of(a))) as killed:
        for pid in (guard, a.pid):
            os.kill(pid, signal.SIGKILL)
        # The kernel has killed the command; the lease ends by itself; only then comes the next.
        assert wait_up(b) > term
        assert is_over(killed.fileno(), limit=0)
    assert "CONTENDED" not in b.seen  # the first one had let go of its lock before


def connections(pid):
    """The TCP connections of a process: inode to remote port."""
    own = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    lines = [line.split() for line in read(f"/proc/{pid}/net/tcp").decode().splitlines()[1:]]
    return {line[9]: int(line[2].split(":")[1], 16) for line in lines if f"socket:[{line[9]}]" in own}


def wait_guard_connected(guard, other_than=()):
    """It has made its connection ahead, or another one than these; its connections."""
    deadline = time.monotonic() + LIMIT_S
    while not set(connections(guard)) - set(other_than):
        assert time.monotonic() < deadline, "the guard does not connect"
    return connections(guard)


def test_a_guard_whose_connection_has_broken_makes_a_new_one(etcd_world):
    with Relay(etcd_world.etcd.members[0].endpoint) as relay:
        namespace = etcd_world.url.rsplit("/", 1)[1]
        url = f"etcd://{relay.endpoint}/{namespace}"
        a = etcd_world.stand("db", "a", "--ttl=60s", command=UP, env={"BATON_URL": url})
        term = wait_up(a)
        b = etcd_world.stand("db", "b", "--ttl=60s", command=UP)
        wait_stands(etcd_world, "a", "b")
        wait_guard_connected(guard_of(a))
        relay.cut()
        a.signal(signal.SIGKILL)
        assert wait_up(b) > term
        assert {first[:14] for first in relay.began} == {b"PRI * HTTP/2.0"}, relay.began


def test_a_guard_makes_its_connection_good_again_when_its_leader_renews(etcd_world):
    with Relay(etcd_world.etcd.members[0].endpoint) as relay:
        url = f"etcd://{relay.endpoint}/{etcd_world.url.rsplit('/', 1)[1]}"
        a = etcd_world.stand("db", "a", "--ttl=2s", command=UP, env={"BATON_URL": url})
        term = wait_up(a)
        b = etcd_world.stand("db", "b", "--ttl=60s", command=UP)
        wait_stands(etcd_world, "a", "b")
        before = wait_guard_connected(guard_of(a))
        relay.cut()
        wait_guard_connected(guard_of(a), before)
        a.signal(signal.SIGKILL)
        assert wait_up(b) > term


def test_a_killed_leader_is_followed_long_before_its_lease_ends_after_a_restart_of_etcd(tmp_path, world):
    with Cluster(str(tmp_path)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a, b, term = stand_both(world)
        wait_guard_connected(guard_of(a))
        etcd.members[0].kill()
        etcd.members[0].start()
        etcd.members[0].wait_ready()
        a.signal(signal.SIGKILL)
        assert wait_up(b) > term


def test_a_guard_goes_on_trying_while_etcd_stands_still(tmp_path, world):
    with Cluster(str(tmp_path)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a, b, term = stand_both(world)
        guard = guard_of(a)
        ahead = wait_guard_connected(guard)
        etcd.members[0].freeze()
        a.signal(signal.SIGKILL)
        wait_guard_connected(guard, ahead)  # its first try has had no answer
        etcd.members[0].thaw()
        assert wait_up(b) > term


def test_a_guard_tries_every_endpoint(etcd_world):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        etcd_world.env["BATON_URL"] = etcd_world.url.replace("://", f"://127.0.0.1:{unused.getsockname()[1]},")
        a, b, term = stand_both(etcd_world)
        a.signal(signal.SIGKILL)
        assert wait_up(b) > term


def test_a_stopped_leader_is_over_before_the_next_begins(pair):
    pair.wait_renewed("a")  # so that the deadline is that of a renewal
    fd = os.pidfd_open(command_of(pair.a))
    pair.a.signal(signal.SIGSTOP)
    assert wait_up(pair.b) > pair.term
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(fd, 0)
    os.close(fd)
    pair.a.signal(signal.SIGCONT)
    assert pair.a.stop() in (0, 128 + signal.SIGTERM)


def test_transfer_hold_and_release(pair):
    assert pair.run("transfer", "--to", "b", "db").code == 0
    term = wait_up(pair.b)
    assert term > pair.term
    assert pair.run("hold", "--why", "disks", "db").code == 0
    pair.watch_db.wait_object(change="vacant")
    assert pair.run("release", "db").code == 0
    pair.watch_db.wait_object(change="lead")
    reasons = [line["reason"] for line in pair.run("history", "--json", "db").objects]
    assert sorted(reasons) == ["claim", "claim", "hold", "transfer"], reasons


def test_records_can_be_read_with_etcdctl(pair):
    namespace = pair.url.rsplit("/", 1)[1]
    out = pair.etcd.ctl("get", "--prefix", f"{namespace}/elections/db/leader")
    key, value = out.splitlines()
    assert key == f"{namespace}/elections/db/leader"
    record = json.loads(value)
    assert record["id"] == "a" and record["term"] == pair.term
    out = pair.etcd.ctl("get", "--prefix", "--keys-only", f"{namespace}/elections/db/candidates/")
    assert len(out.split()) == 2


def test_an_idle_guard_is_small(pair):
    if is_instrumented():
        pytest.skip("a sanitizer needs memory of its own")
    sizes = dict(re.findall(r"^(Private_\w+): +(\d+) kB", read(f"/proc/{guard_of(pair.a)}/smaps_rollup").decode(),
                            re.MULTILINE))
    assert int(sizes["Private_Clean"]) + int(sizes["Private_Dirty"]) < 3072, sizes


def test_fifty_instances_that_start_at_once_have_one_leader(etcd_world):
    lock = os.path.join(etcd_world.folder, "lock")
    watch = etcd_world.watch("db")
    instances = {f"i{n}": etcd_world.stand("db", f"i{n}", "--ttl=30s", command=(*ALONE, lock)) for n in range(50)}
    terms, killed = [], 0
    while killed < 4:
        lead = watch.wait_object(change="lead", limit=60)
        terms.append(lead["term"])
        if lead["id"] not in instances:
            # A leader that was killed at once had not seen yet that the one before it is gone, and has left its place
            # to that one: then it is vacant, and somebody claims it.
            continue
        leader = instances.pop(lead["id"])
        assert wait_up(leader) == lead["term"]
        leader.signal(signal.SIGKILL)
        killed += 1
    assert terms == sorted(set(terms))
    assert not any("CONTENDED" in line for one in instances.values() for line in one.seen)


# Moves the wall clock of a process, and no other clock, by the seconds that a file says.
SHIFT = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *ret)
{
    static int (*real)(clockid_t, struct timespec *);
    long shift = 0;
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, ret);
    if (clock != CLOCK_REALTIME)
        return result;
    FILE *file = fopen(getenv("SHIFT_FILE"), "r");
    if (file != NULL && fscanf(file, "%ld", &shift) == 1)
        ret->tv_sec += shift;
    if (file != NULL)
        fclose(file);
    return result;
}
"""


def test_the_wall_clock_does_not_matter(etcd_world):
    if is_instrumented():
        pytest.skip("a sanitizer must be the first library")
    library = os.path.join(etcd_world.folder, "shift.so")
    with open(library + ".c", "w", encoding="ascii") as file:
        file.write(SHIFT)
    built = etcd_world.run_command(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, library + ".c"])
    assert built.code == 0, built

    def shifted(instance, seconds):
        path = os.path.join(etcd_world.folder, "shift-" + instance)
        with open(path, "w", encoding="ascii") as file:
            file.write(str(seconds))
        return {"LD_PRELOAD": library, "SHIFT_FILE": path}

    a = stand(etcd_world, "a", command=UP, env=shifted("a", 3600))
    term = wait_up(a)
    b = stand(etcd_world, "b", command=UP, env=shifted("b", -3600))
    watch = wait_stands(etcd_world, "a", "b")
    record = etcd_world.etcd.ctl("get", "--print-value-only", etcd_world.url.rsplit("/", 1)[1] + "/elections/db/leader")
    since_s = json.loads(record)["terms"][0]["since"] / 1000
    assert since_s > time.time() + 3000  # it does see another time
    shifted("a", -3600)
    shifted("b", 3600)
    # Several renewals later the leader is the same, and a handover is as quick as ever.
    with pytest.raises(pytest.fail.Exception):
        watch.wait_object(change="lead", id="b", limit=5)
    assert json.loads(etcd_world.run("status", "--json", "db").out)["term"] == term
    a.signal(signal.SIGKILL)
    assert wait_up(b, limit=10) > term


# ---- what an operator does ----

# It ignores the polite signal: only SIGKILL ends it.
STUBBORN = ("sh", "-c", 'trap "" TERM; echo "up $BATON_TERM"; exec sleep 1000')


def end_by_hand(world, how, prefix="elections/db/candidates/"):
    """Revoke the lease of the first candidate, or delete its key."""
    namespace = world.url.rsplit("/", 1)[1]
    out = world.etcd.ctl("get", "--prefix", "-w", "json", f"{namespace}/{prefix}")
    first = min(json.loads(out)["kvs"], key=lambda kv: kv["create_revision"])
    if how == "revoke":
        world.etcd.ctl("lease", "revoke", f"{first['lease']:x}")
    else:
        world.etcd.ctl("del", base64.b64decode(first["key"]).decode())


def is_over(fd, limit=LIMIT_S):
    """The process of this pidfd ends, within the limit."""
    return bool(select.select([fd], [], [], limit)[0])


@pytest.mark.parametrize("how", ["revoke", "delete"])
def test_a_leader_whose_presence_is_taken_is_killed_at_once(etcd_world, how):
    # With a lease of 60 s and a grace of 20 s, both longer than the limit: neither is waited for. etcd's word comes
    # after the fact, so the next one may begin while the news is on its way (man baton-etcd).
    long = ("--ttl=60s", "--grace=20s")
    a = etcd_world.stand("db", "a", *long, command=STUBBORN)
    term = wait_up(a)
    b = etcd_world.stand("db", "b", *long, command=UP)
    wait_stands(etcd_world, "a", "b")
    with os.fdopen(os.pidfd_open(command_of(a))) as command:
        end_by_hand(etcd_world, how)
        assert is_over(command.fileno(), limit=15)
    assert wait_up(b, limit=15) > term
    wait_stands(etcd_world, "b", "a")  # and it stands again


def test_a_lock_whose_lease_is_revoked_is_lost_at_once(etcd_world):
    long = ("--ttl=60s", "--grace=20s")
    a = etcd_world.start("lock", "--id=a", *long, "report", "--", *STUBBORN)
    a.wait_line("^up ")
    b = etcd_world.start("lock", "--id=b", *long, "report", "--", *UP)
    with os.fdopen(os.pidfd_open(command_of(a))) as command:
        end_by_hand(etcd_world, "revoke", "locks/report/")
        assert is_over(command.fileno(), limit=15)
    b.wait_line("^up ", limit=15)
    assert a.wait_exit() == 75 and "is lost" in a.stderr, a


def test_compaction_and_defragmentation_disturb_nobody(pair):
    revision = json.loads(pair.etcd.ctl("get", "-w", "json", "x"))["header"]["revision"]
    pair.etcd.ctl("compact", str(revision))
    pair.etcd.ctl("defrag")
    assert json.loads(pair.run("status", "--json", "db").out)["term"] == pair.term


# ---- TLS and users ----

def test_tls_with_a_certificate_on_both_sides(world, secured):
    world.env["BATON_URL"] = secured.url("tls1")
    a, b = stand(world, "a"), None
    term = wait_up(a)
    b = stand(world, "b")
    wait_stands(world, "a", "b")
    a.signal(signal.SIGKILL)  # its guard needs the certificate, too
    assert wait_up(b) > term


def test_a_tls_connection_that_breaks_is_no_matter_of_certificates(world, secured):
    with Relay(secured.members[0].endpoint) as relay:
        url = secured.url("broken").replace(secured.members[0].endpoint, relay.endpoint)
        a = stand(world, "a", env={"BATON_URL": url, **world.traced("a")})
        wait_up(a)
        trace = world.start_command(["tail", "-n", "+1", "-F", f"{world.folder}/trace-a"])
        _, place = trace.wait_line("< session_renew .* done")
        relay.cut()
        _, place = trace.wait_line("< trouble: ", after=place)
        trace.wait_line("< no trouble any more", after=place)
        assert not any("certificate" in line for line in trace.seen if "trouble" in line), trace.seen


def effort(pid):
    """The CPU time that a process has taken, in ticks of 10 ms, and how often it has waited (not: was put aside)."""
    fields = read(f"/proc/{pid}/stat").decode().rsplit(") ", 1)[1].split()
    switches = re.findall(r"\nvoluntary_ctxt_switches:\s+(\d+)", read(f"/proc/{pid}/status").decode())
    return int(fields[11]) + int(fields[12]), sum(int(number) for number in switches)


@pytest.mark.parametrize("engine", ["etcd", "secured"])
def test_a_guard_sleeps_while_its_leader_renews(request, world, engine):
    world.env["BATON_URL"] = request.getfixturevalue(engine).url("idle")
    a = stand(world, "a", env=world.traced("a"))
    wait_up(a)
    guard = guard_of(a)
    wait_guard_connected(guard)
    trace = world.start_command(["tail", "-n", "0", "-F", f"{world.folder}/trace-a"])
    _, place = trace.wait_line("< session_renew .* done")
    ticks, switches = effort(guard)
    renewals = 6
    for _ in range(renewals):
        _, place = trace.wait_line("< session_renew .* done", after=place)
    # It is told of each renewal, and does nothing else: a loop that spins makes thousands, one that looks at its
    # connection every now and then dozens.
    assert effort(guard)[1] - switches <= 3 * renewals, effort(guard)
    assert effort(guard)[0] - ticks <= 2, effort(guard)


@pytest.fixture
def guarded(tmp_path):
    """An etcd that asks for a user and a password, and forgets a token that was not used for 2 s."""
    folder = tmp_path / "etcd"
    folder.mkdir()
    with Cluster(str(folder), options=("--auth-token-ttl", "2")) as cluster:
        cluster.ctl("user", "add", "root:rootpw")
        cluster.ctl("user", "grant-role", "root", "root")
        cluster.ctl("role", "add", "baton")
        cluster.ctl("role", "grant-permission", "baton", "--prefix=true", "readwrite", "team/")
        cluster.ctl("user", "add", "app:s3cret-word")
        cluster.ctl("user", "grant-role", "app", "baton")
        (tmp_path / "password").write_text("s3cret-word\n")
        (tmp_path / "wrong").write_text("wr0ng-word\n")
        cluster.password, cluster.wrong = str(tmp_path / "password"), str(tmp_path / "wrong")
        yield cluster


def enable_auth(cluster):
    cluster.ctl("auth", "enable")
    cluster.user = "root:rootpw"


def test_a_user_with_a_role_for_the_namespace(world, guarded):
    enable_auth(guarded)
    world.env["BATON_URL"] = guarded.url("team", user="app", password_file=guarded.password)
    a = stand(world, "a")
    term = wait_up(a)
    b = stand(world, "b")
    wait_stands(world, "a", "b")
    a.signal(signal.SIGKILL)
    assert wait_up(b) > term
    for process in (a, b):
        assert "s3cret-word" not in process.stderr


# Whoever asks for a member's status asks for the list of users here, which etcd gives to root only. So it is with the
# status from etcd 3.5.28 on.
STATUS_IS_FOR_ROOT = {"/etcdserverpb.Maintenance/": "/etcdserverpb.Auth/UserList"}
LOGIN = "/etcdserverpb.Auth/Authenticate"


@pytest.mark.parametrize("user", [True, False])
def test_nothing_is_called_that_needs_more_than_the_role_for_the_namespace(world, guarded, user):
    member = guarded.members[0]
    with Relay(member.endpoint, instead=STATUS_IS_FOR_ROOT) as relay, \
            Relay(member.endpoint, instead=STATUS_IS_FOR_ROOT) as quiet:
        if user:
            enable_auth(guarded)
        url = guarded.url("team", user="app", password_file=guarded.password) if user else guarded.url("team")
        world.env["BATON_URL"] = url.replace(member.endpoint, relay.endpoint)
        a = stand(world, "a")
        term = wait_up(a)
        b = stand(world, "b")
        wait_stands(world, "a", "b")
        watch = world.start("watch", "--json", "db", env={
            "BATON_URL": url.replace(member.endpoint, quiet.endpoint), **world.traced("watch")})
        watch.wait_object(change="lead", id="a")
        quiet.wait_calls(len(quiet.calls) + 1)  # it hears nothing for a while, and asks whether etcd is there
        a.signal(signal.SIGKILL)
        assert wait_up(b) > term
        watch.wait_object(change="lead", id="b")
        assert "trouble" not in read(f"{world.folder}/trace-watch").decode()
        calls = relay.calls + quiet.calls
    assert not [path for path, _ in calls if path.startswith("/etcdserverpb.Maintenance/")], calls
    # Nobody asks without saying who he is, the guard neither.
    assert all(has_token == (user and path != LOGIN) for path, has_token in calls), calls


def test_a_password_can_be_read_nowhere(world, guarded):
    enable_auth(guarded)
    world.env["BATON_URL"] = guarded.url("team", user="app", password_file=guarded.password)
    a = stand(world, "a", env=world.traced("a"))
    wait_up(a)
    program = world.start_command([PROGRAM, "on", "60000", "db"], env=world.traced("p"), stdin=subprocess.PIPE)
    program.wait_line("^candidates 2$")
    program.popen.stdin.write(b"sync\n")
    program.popen.stdin.flush()
    program.wait_line("^synced$")
    seen = {}
    for pid in world.marked():
        seen[pid] = read(f"/proc/{pid}/cmdline")
        assert b"s3cret-word" not in seen[pid] + read(f"/proc/{pid}/environ"), seen[pid]
    # The supervisor, its guard, its command; the program and its guard.
    assert {a.pid, guard_of(a), command_of(a), program.pid} <= set(seen)
    assert any(line.startswith(b"baton-guard\0") for line in seen.values())
    for name in "ap":
        trace = read(f"{world.folder}/trace-{name}").decode()
        assert "> open etcd://" in trace and " done at " in trace
        assert "s3cret-word" not in trace and not re.search(r"\b[A-Za-z]{16}\.\d+", trace), trace  # nor a token
    for process in (a, program):
        assert "s3cret-word" not in process.stderr + "".join(process.seen)


def test_a_wrong_password_a_wrong_namespace_and_no_user(world, guarded):
    enable_auth(guarded)
    for url, word in ((guarded.url("team", user="app", password_file=guarded.wrong), "invalid user ID or password"),
                      (guarded.url("other", user="app", password_file=guarded.password), "permission denied"),
                      (guarded.url("team"), "user name is empty")):
        told = world.run("status", "--engine-timeout", "3s", "--url", url)
        assert told.code == 77 and word in told.err and "check user" in told.err, (url, told)
        assert "wr0ng-word" not in told.err


def test_authentication_that_is_switched_on_while_a_leader_runs(world, guarded):
    world.env["BATON_URL"] = guarded.url("team", user="app", password_file=guarded.password)
    a = stand(world, "a")
    term = wait_up(a)
    enable_auth(guarded)
    b = stand(world, "b")
    wait_stands(world, "a", "b")
    a.stop()
    assert wait_up(b) > term


def wait_token_forgotten(world, name):
    """Renewals go on for 4 s and more, and nothing else is asked: renewals do not keep a token."""
    trace = world.start_command(["tail", "-n", "0", "-F", f"{world.folder}/trace-{name}"])
    place = 0
    for _ in range(8):  # one every 0.7 s
        _, place = trace.wait_line("< session_renew .* done", after=place)


def test_a_token_that_is_forgotten_is_renewed_unnoticed(world, guarded):
    enable_auth(guarded)
    world.env["BATON_URL"] = guarded.url("team", user="app", password_file=guarded.password)
    a = stand(world, "a", env=world.traced("a"))
    term = wait_up(a)
    b = stand(world, "b")
    wait_stands(world, "a", "b")
    wait_token_forgotten(world, "a")
    assert world.run("transfer", "--to", "b", "db").code == 0
    assert wait_up(b) > term
    trace = read(f"{world.folder}/trace-a").decode()
    assert len(re.findall("> write .* put elections/db/leader", trace)) >= 2  # it did hand over with that token
    assert " refused " not in trace and " unknown " not in trace and "trouble" not in trace, trace


def test_a_view_that_begins_when_the_token_is_forgotten(world, guarded):
    enable_auth(guarded)
    world.env["BATON_URL"] = guarded.url("team", user="app", password_file=guarded.password)
    program = world.start_command([PROGRAM, "off", "2000", "db"], env=world.traced("p"), stdin=subprocess.PIPE)
    _, place = program.wait_line("^lead ")
    wait_token_forgotten(world, "p")
    program.popen.stdin.write(b"stand other\n")
    program.popen.stdin.flush()
    program.wait_line("^lead ", after=place)
    trace = read(f"{world.folder}/trace-p").decode()
    assert "trouble" not in trace and " refused " not in trace, trace
