"""`baton gate`: a plain client reaches the leader, and nobody who was."""

import hashlib
import os
import re
import signal
import socket
import sys
import threading
import time

import pytest

from cluster import free_ports
from conftest import BATON, LIMIT_S

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")


class Client:
    """A plain client that knows of one address."""

    def __init__(self, address, limit=LIMIT_S):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        family = socket.AF_UNIX if isinstance(address, str) else family
        self.socket = socket.socket(family)
        self.socket.settimeout(limit)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def ask(self, text):
        try:
            self.socket.sendall(text.encode() + b"\n")
        except ConnectionError:
            return None
        return self.read()

    def read(self):
        """A line; None at the end, however it comes."""
        try:
            return self.file.readline().decode().rstrip("\n") or None
        except ConnectionError:
            return None

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def with_ports(world):
    world.ports = free_ports(4)
    world.door = ("127.0.0.1", world.ports[3])
    return world


@pytest.fixture
def gated(world):
    return with_ports(world)


@pytest.fixture
def gates(place):
    """The same on each engine."""
    return with_ports(place)


def open_gate(world, *options, listen=None):
    listen = listen or f"127.0.0.1:{world.ports[3]}"
    gate = world.start("gate", "--listen", listen, *options, "db")
    wait_said(world, gate, "listens at")
    return gate


def wait_said(world, process, words, limit=LIMIT_S):
    """Its stderr says so."""
    return world.start_command(["tail", "-n", "+1", "-F", process.errors]).wait_line(words, limit=limit)[0]


def serve(world, number, *options, address=None):
    """A candidate whose command is a server while it leads."""
    port = world.ports[number]
    return world.start("run", "--id", f"s{number}", "--ttl=2s", "--grace=300ms", "--address",
                       address or f"127.0.0.1:{port}", *options, "db", "--", sys.executable, SERVER, str(port))


def wait_serves(process, limit=LIMIT_S):
    match, process.place = process.wait_line(r"^serves (\d+)$", limit=limit, after=getattr(process, "place", 0))
    return int(match[1])


def wait_candidate(world, instance):
    world.watch("db").wait_object(change="join", id=instance)


def who_serves(servers, term):
    """The place of the one whose command has this term."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for number, server in enumerate(servers):
            server.drain()
            if f"serves {term}" in server.seen:
                return number
    pytest.fail(f"nobody serves with term {term}")


def test_a_client_reaches_whoever_leads_and_nobody_who_did(gates):
    servers = [serve(gates, number) for number in range(2)]
    open_gate(gates)
    highest = 0
    for _ in range(20):
        with Client(gates.door) as client:
            term = int(client.ask("one").split()[0])
            assert term > highest
            highest = term
            number = who_serves(servers, term)
            wait_candidate(gates, f"s{1 - number}")
            servers[number].signal(signal.SIGKILL)
            assert client.ask("two") in (None, f"{term} two")  # in time, or not at all
            assert client.read() is None
        servers[number].wait_exit()
        servers[number] = serve(gates, number)


def test_a_connection_waits_for_a_leader(gates):
    open_gate(gates)
    with Client(gates.door) as client:
        client.socket.sendall(b"early\n")
        server = serve(gates, 0)
        assert client.read() == f"{wait_serves(server)} early"


def test_a_connection_does_not_wait_for_ever(gated):
    gate = open_gate(gated, "--hold=300ms")
    with Client(gated.door) as client:
        assert client.read() is None
    gate.signal(signal.SIGUSR1)
    wait_said(gated, gate, "0 open, 0 held, 1 accepted, 0 cut, 1 refused")


def test_a_leader_that_resigns_is_cut_off_before_the_next_serves(gates):
    first = serve(gates, 0)
    wait_serves(first)
    serve(gates, 1)
    wait_candidate(gates, "s1")
    open_gate(gates)
    with Client(gates.door) as client:
        term = client.ask("x").split()[0]
        assert gates.run("transfer", "--to", "s1", "db").code == 0
        assert client.read() is None
    with Client(gates.door) as client:
        assert int(client.ask("x").split()[0]) > int(term)


def test_an_end_of_one_direction_is_passed_on(gated):
    server = serve(gated, 0)
    term = wait_serves(server)
    open_gate(gated)
    with Client(gated.door) as client:
        client.socket.sendall(b"a\nb\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.read() for _ in range(4)] == [f"{term} a", f"{term} b", f"end {term}", None]


def test_much_goes_both_ways_and_arrives_as_it_was(gated):
    with socket.create_server(("127.0.0.1", gated.ports[0])) as listener:
        gated.start("elect", "--id", "a", "--address", f"127.0.0.1:{gated.ports[0]}", "db").wait_line("lead")
        open_gate(gated)
        block, count = os.urandom(1 << 20), 40
        with Client(gated.door) as client:
            server, _ = listener.accept()

            def echo():
                with server:
                    while data := server.recv(1 << 16):
                        server.sendall(data)

            def send():
                for _ in range(count):
                    client.socket.sendall(block)
                client.socket.shutdown(socket.SHUT_WR)

            threads = [threading.Thread(target=target) for target in (echo, send)]
            for thread in threads:
                thread.start()
            got, want = hashlib.sha256(), hashlib.sha256()
            for _ in range(count):
                want.update(block)
            while data := client.file.read(1 << 16):
                got.update(data)
            for thread in threads:
                thread.join(LIMIT_S)
            assert got.digest() == want.digest()


def test_unix_sockets_on_both_sides(gated):
    inside, door = os.path.join(gated.folder, "inside"), os.path.join(gated.folder, "door")
    server = gated.start("run", "--id", "a", "--address", f"unix:{inside}", "db", "--", sys.executable, SERVER, inside)
    term = wait_serves(server)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(door)  # left behind by one that was killed
    gate = open_gate(gated, listen=door)
    with Client(door) as client:
        assert client.ask("x") == f"{term} x"
    assert gate.stop() == 0
    assert not os.path.exists(door)


def test_followers_take_turns_and_never_the_leader(gates):
    for number in range(3):
        gates.start_command([sys.executable, SERVER, str(gates.ports[number]), f"w{number}"]).wait_line("^serves")
        gates.start("elect", "--id", f"s{number}", "--address", f"localhost:{gates.ports[number]}", "db").wait_line(
            "lead" if number == 0 else "stand")
    open_gate(gates, "--to=followers")
    seen, clients = set(), []
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < 2 and time.monotonic() < deadline:  # names are looked up first
        clients.append(Client(gates.door))
        seen.add(clients[-1].ask("x"))
    assert seen == {"w1 x", "w2 x"}
    with Client(gates.door) as first, Client(gates.door) as second:
        reader = {first.ask("x"): first, second.ask("x"): second}
        assert gates.run("transfer", "--to", "s1", "db").code == 0
        assert reader["w1 x"].read() is None
        assert reader["w2 x"].ask("y") == "w2 y"
    for client in clients:
        client.close()


def test_a_leader_that_cannot_be_reached(gated):
    gate = open_gate(gated, "--hold=1s")
    first = gated.stand("db", "nowhere")
    wait_said(gated, gate, "nowhere has no address: start it with --address")
    with Client(gated.door) as client:
        assert client.read() is None
    first.stop()
    second = gated.stand("db", "wrong", "--address", "::::")
    wait_said(gated, gate, "wrong: '::::' is no address")
    second.stop()
    # Nothing listens there yet: it is tried again while the connection is held.
    gated.stand("db", "late", "--address", f"127.0.0.1:{gated.ports[0]}")
    wait_said(gated, gate, "to late")
    with Client(gated.door) as client:
        gated.start_command([sys.executable, SERVER, str(gated.ports[0]), "word"]).wait_line("^serves")
        assert client.ask("x") == "word x"


def test_no_more_connections_than_allowed(gated):
    term = wait_serves(serve(gated, 0))
    open_gate(gated, "--max-connections=2")
    with Client(gated.door) as first, Client(gated.door) as second:
        assert first.ask("x") == second.ask("x") == f"{term} x"
        third = Client(gated.door, limit=0.5)
        third.socket.sendall(b"x\n")
        with pytest.raises(TimeoutError):
            third.file.readline()
        third.close()
        first.close()
        with Client(gated.door) as fourth:
            assert fourth.ask("x") == f"{term} x"


def test_an_idle_connection_is_cut(gated):
    term = wait_serves(serve(gated, 0))
    open_gate(gated, "--idle-timeout=500ms")
    with Client(gated.door) as client:
        assert client.ask("x") == f"{term} x"
        assert client.read() is None


def test_a_leader_that_changes_often(gates):
    for number in range(2):
        gates.start_command([sys.executable, SERVER, str(gates.ports[number]), f"w{number}"]).wait_line("^serves")
        gates.start("elect", "--id", f"s{number}", "--address", f"127.0.0.1:{gates.ports[number]}", "db").wait_line(
            "lead" if number == 0 else "stand")
    open_gate(gates)
    for turn in range(30):
        assert gates.run("transfer", "--to", f"s{(turn + 1) % 2}", "db").code == 0
    deadline = time.monotonic() + LIMIT_S
    with Client(gates.door) as client:
        answer = client.ask("x")
    while answer != "w0 x" and time.monotonic() < deadline:
        with Client(gates.door) as client:
            answer = client.ask("x")
    assert answer == "w0 x"


@pytest.mark.parametrize("args,code,words", [
    (("db",), 64, "--listen is missing"), (("--listen", "nonsense", "db"), 64, "'nonsense' is no address"),
    (("--listen", "127.0.0.1:99999", "db"), 64, "is no address"), (("-l", "1:2:3", "db"), 64, "is no address"),
    (("--listen", "/no/such/folder/x", "db"), 66, "cannot listen at /no/such/folder/x"),
    (("--listen", "192.0.2.77:1", "db"), 71, "cannot listen at 192.0.2.77:1"), (("-l", ":0"), 64, "NAME is missing"),
    (("-l", ":0", "--to=nobody", "db"), 64, "--to: 'nobody' is none of leader|followers")])
def test_a_wrong_use(world, args, code, words):
    told = world.run("gate", *args)
    assert told.code == code and words in told.err, told


def test_a_port_in_use(gated):
    with socket.create_server(gated.door):
        told = gated.run("gate", "--listen", f"127.0.0.1:{gated.ports[3]}", "db")
    assert told.code != 0 and "Address already in use" in told.err, told


def test_events_as_json(gated):
    gate = gated.start("gate", "--json", "--listen", f"127.0.0.1:{gated.ports[3]}", "db")
    server = serve(gated, 0)
    match = wait_said(gated, gate, r'^\{.*"event":"leader".*\}$')
    assert re.search(rf'"term":{wait_serves(server)}\b', match[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_its_socket_goes_with_it(gated, number):
    door = f"{gated.folder}/door"
    gate = open_gate(gated, listen=door)
    assert os.path.exists(door)
    gate.signal(number)
    assert gate.wait_exit() == 0
    assert not os.path.exists(door)


def test_what_is_wrong_with_an_address_comes_before_a_warning(gated):
    command = ["bash", "-c", f"ulimit -n 64; exec {BATON} gate --listen nonsense db"]
    told = gated.run_command(command)
    assert told.code == 64
    assert told.err == ("baton: 'nonsense' is no address: write HOST:PORT, [IPV6]:PORT, or a path of a Unix socket\n")


def test_a_socket_at_which_somebody_hangs_is_left_alone(gated):
    """It listens, and its queue is full: to ask it must not wait."""
    door = f"{gated.folder}/door"
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as first, \
            socket.socket(socket.AF_UNIX) as second:
        hung.bind(door)
        hung.listen(0)
        first.connect(door)
        second.setblocking(False)
        second.connect_ex(door)
        told = gated.run("gate", "--listen", door, "db")
        assert told.code != 0 and "Address already in use" in told.err
    assert os.path.exists(door)
