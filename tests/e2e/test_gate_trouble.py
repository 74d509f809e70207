"""`baton gate` when something is not as it should be: names, descriptors, networks, the engine."""

import os
import re
import resource
import socket
import sys
import time

import pytest

from cluster import Cluster, free_ports
from conftest import BATON, LIMIT_S
# pylint: disable-next=unused-import
from test_gate import SERVER, Client, gated, open_gate, serve, wait_said, wait_serves  # noqa: F401

NAMES = os.path.join(os.path.dirname(BATON), "tests", "e2e", "names.so")


@pytest.fixture
def named(gated):  # noqa: F811 pylint: disable=redefined-outer-name
    """A world in which names that end with .test are looked up in a file."""
    if "asan" in BATON or "tsan" in BATON:
        pytest.skip("a sanitizer must come first")
    gated.names = os.path.join(gated.folder, "names")
    gated.env.update({"LD_PRELOAD": NAMES, "TEST_NAMES": gated.names})
    return gated


def set_name(world, *words):
    with open(world.names + ".new", "w", encoding="ascii") as file:
        file.write(" ".join(words) + "\n")
    os.rename(world.names + ".new", world.names)


def stand_by_name(world, name, number=0):
    """A leader with this name as its host, and a server behind it."""
    world.start_command([sys.executable, SERVER, str(world.ports[number]), "word"]).wait_line("^serves")
    world.start("elect", "--id", "a", "--address", f"{name}:{world.ports[number]}", "db").wait_line("lead")


def test_a_name_that_cannot_be_looked_up_is_tried_again_while_somebody_waits(named):
    gate = open_gate(named, "--hold=60s")
    stand_by_name(named, "db.test")
    wait_said(named, gate, "'db.test:[0-9]+' cannot be looked up: .*; it is tried again while connections wait")
    with Client(named.door) as client:
        client.socket.sendall(b"x\n")
        set_name(named, "db.test", "127.0.0.1")
        assert client.read() == "word x"
    wait_said(named, gate, "'db.test:[0-9]+' was looked up")


def test_all_addresses_of_a_name_are_tried(named):
    set_name(named, "db.test", "127.0.0.2", "127.0.0.3", "127.0.0.1")  # only at the last one is somebody
    stand_by_name(named, "db.test")
    open_gate(named)
    for _ in range(5):
        with Client(named.door) as client:
            assert client.ask("x") == "word x"


def test_an_address_that_does_not_answer_costs_no_more_than_the_limit(named):
    """A listener whose queue is full lets who connects wait for minutes."""
    set_name(named, "db.test", "127.0.0.2", "127.0.0.1")
    stand_by_name(named, "db.test")
    with socket.create_server(("127.0.0.2", named.ports[0]), backlog=0):
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.2", named.ports[0]))
        open_gate(named, "--connect-timeout=300ms")
        with Client(named.door) as client:
            assert client.ask("x") == "word x"
        for one in waiting:
            one.close()


def test_one_address_that_does_not_answer_is_tried_until_the_connection_may_be_held_no_more(gated):  # noqa: F811
    with socket.create_server(("127.0.0.1", gated.ports[0]), backlog=0):
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", gated.ports[0]))
        gated.start("elect", "--id", "a", "--address", f"127.0.0.1:{gated.ports[0]}", "db").wait_line("lead")
        open_gate(gated, "--connect-timeout=100ms", "--hold=1s")
        begun = time.monotonic()
        with Client(gated.door) as client:
            assert client.read() is None
        assert 0.9 < time.monotonic() - begun < LIMIT_S / 2
        for one in waiting:
            one.close()


# ---- descriptors


def fds(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def cpu_s(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_it_waits_and_does_not_spin(gated):  # noqa: F811
    term = wait_serves(serve(gated, 0))
    gate = open_gate(gated)
    with Client(gated.door) as first:
        assert first.ask("x") == f"{term} x"
        resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (fds(gate), fds(gate)))
        before = cpu_s(gate)
        with Client(gated.door, limit=2) as second:
            second.socket.sendall(b"y\n")
            with pytest.raises(TimeoutError):
                second.file.readline()
        assert cpu_s(gate) - before < 1
        assert first.ask("z") == f"{term} z"
    with Client(gated.door) as third:  # now there are some
        assert third.ask("x") == f"{term} x"


def test_it_takes_no_more_than_there_are_descriptors_for(gated):  # noqa: F811
    term = wait_serves(serve(gated, 0))
    gate = gated.start("gate", "--listen", f"127.0.0.1:{gated.ports[3]}", "db", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (64, 64)))
    wait_said(gated, gate, r"4 connections at once, not 10000: 64 files may be open")
    wait_said(gated, gate, "listens at")
    clients = [Client(gated.door, limit=LIMIT_S) for _ in range(12)]
    for client in clients:
        client.socket.sendall(b"x\n")
    for client in clients:  # those that wait are served when others end
        assert client.read() == f"{term} x"
        client.close()


def test_who_is_gone_without_a_word_is_found_out(gated):  # noqa: F811
    """Keepalive probes are on, on both sides: the timer of an idle connection is theirs (proc(5), net/tcp)."""
    term = wait_serves(serve(gated, 0))
    open_gate(gated)
    door, inside = f":{gated.ports[3]:04X}", f":{gated.ports[0]:04X}"
    with Client(gated.door) as client:
        assert client.ask("x") == f"{term} x"
        deadline = time.monotonic() + LIMIT_S
        wanted = {("local", door), ("remote", inside)}
        while wanted and time.monotonic() < deadline:
            with open("/proc/net/tcp", encoding="ascii") as file:
                for line in file.readlines()[1:]:
                    _, local, remote, state, _, timer = line.split()[:6]
                    if state == "01" and timer.startswith("02"):
                        wanted -= {("local", local[8:]), ("remote", remote[8:])}
        assert not wanted


# ---- many, and other kinds of addresses


def test_more_followers_than_it_can_use_are_told(gated):  # noqa: F811
    gate = open_gate(gated, "--to=followers")
    for number in range(258):
        gated.start("elect", "--id", f"s{number}", "--address", f"127.0.0.1:{gated.ports[0]}", "db")
    wait_said(gated, gate, "25[0-9] followers, and connections go to the first 256 only", limit=3 * LIMIT_S)


def test_ipv6_and_several_addresses_to_listen_at(gated):  # noqa: F811
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("there is no IPv6")
    port = free_ports(1)[0]
    server = gated.start("run", "--id", "a", "--address", f"[::1]:{gated.ports[0]}", "db", "--", sys.executable, SERVER,
                         f"[::1]:{gated.ports[0]}")
    term = wait_serves(server)
    path = os.path.join(gated.folder, "door")
    open_gate(gated, listen=f"[::1]:{gated.ports[3]},127.0.0.1:{port},{path}")
    for address in (("::1", gated.ports[3]), ("127.0.0.1", port), path):
        with Client(address) as client:
            assert client.ask("x") == f"{term} x"


# ---- the engine


@pytest.fixture
def led(world, tmp_path):
    """A leader with a server behind it, on an etcd that can be frozen."""
    ports = free_ports(2)
    world.door, world.ports = ("127.0.0.1", ports[1]), [ports[0], 0, 0, ports[1]]
    world.start_command([sys.executable, SERVER, str(ports[0]), "word"]).wait_line("^serves")
    folder = tmp_path / "etcd"
    folder.mkdir()
    with Cluster(str(folder)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        world.start("elect", "--ttl=60s", "--id", "a", "--address", f"127.0.0.1:{ports[0]}", "db").wait_line("lead")
        yield world, etcd


def test_without_the_engine_it_believes_its_last_word_for_a_while_only(led):
    """Nobody knows any more who leads: another one may, by now."""
    world, etcd = led
    gate = open_gate(world, "--blind=2s", "--hold=60s")
    with Client(world.door) as client:
        assert client.ask("x") == "word x"
        etcd.members[0].freeze()
        assert client.ask("y") == "word y"  # not at once
        assert client.read() is None
    wait_said(world, gate, "could not be asked for 2s: nobody knows who leads; connections are cut and held")
    with Client(world.door) as client:  # it is held
        client.socket.sendall(b"z\n")
        etcd.members[0].thaw()
        assert client.read() == "word z"
    wait_said(world, gate, "can be used again, after ")


def test_it_can_be_told_to_believe_it_for_ever(led):
    world, etcd = led
    gates = [open_gate(world, "--blind=0"),
             open_gate(world, "--blind=100ms", listen=f"127.0.0.1:{free_ports(1)[0]}")]
    with Client(world.door) as client:
        etcd.members[0].freeze()
        wait_said(world, gates[1], "nobody knows who leads")
        assert client.ask("y") == "word y"
    assert not re.search("nobody knows", gates[0].stderr)
