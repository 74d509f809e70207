"""etcd that is away, full, not etcd at all, or does not accept who asks: what is told, and that everything ends."""

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from cluster import Cluster, make_certificates
from conftest import BATON, guard_of
from test_etcd import stand, wait_stands, wait_up


def test_nothing_listens(world):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"etcd://127.0.0.1:{unused.getsockname()[1]}/x"
        told = world.run("status", "--engine-timeout", "2s", "--url", url)
    assert told.code == 69 and "connect" in told.err and "check that it runs there" in told.err, told


# A world of its own, in which port 53 is heard by nobody who answers, and then the command.
SILENT_NAMES = """mount --bind "$0" /etc/resolv.conf && ip link set lo up && exec /usr/bin/python3 -c '
import os, socket, sys
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
names.set_inheritable(True)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
"""
OWN = ("--map-root-user", "--mount", "--net")


def can(*command):
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can("unshare", *OWN, "mount", "--bind", "/dev/null", "/etc/resolv.conf"),
                    reason="needs namespaces")
def test_a_name_server_that_does_not_answer_is_not_waited_for(world, tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    told = world.run_command(["unshare", *OWN, "sh", "-c", SILENT_NAMES, str(tmp_path / "resolv.conf"), BATON, "status",
                              "--engine-timeout", "2s", "--url", "etcd://some.where.example/x", "db"])
    assert told.code == 69 and "Resolving timed out" in told.err, told


class Listener:
    """Something that is no etcd: it does with each connection what `serve` does."""

    def __init__(self, serve):
        self.server, self.serve = socket.create_server(("127.0.0.1", 0)), serve
        self.endpoint = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            try:
                with connection:
                    self.serve(connection)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def status_of(world, url, *options):
    return world.run("status", "--engine-timeout", "2s", "--url", url, *options)


TLS_ALERT = b"\x15\x03\x03\x00\x02\x02"  # what follows is its number


@pytest.mark.parametrize("answer", [b"", b"220 smtp.example ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n",
                                    TLS_ALERT + b"\x46"])
@pytest.mark.parametrize("parameters", ["", "?tls=yes"])
def test_something_else_listens(world, answer, parameters):
    def serve(connection):
        connection.recv(100)
        connection.sendall(answer)
    with Listener(serve) as listener:
        told = status_of(world, f"etcd://{listener.endpoint}/x{parameters}")
    assert told.code == 69 and f"etcd at {listener.endpoint}" in told.err, told
    assert "certificate" not in told.err and "check user" not in told.err, told
    if answer[:5] != b"HTTP/" and not (answer[:1] == b"\x15" and parameters):
        assert ("it may not want TLS" if parameters else "it may want TLS") in told.err, told


@pytest.mark.parametrize("number", [40, 42, 48, 116])  # of those that say that a certificate is not accepted
def test_a_server_that_refuses_a_certificate_during_the_handshake(world, number):
    def serve(connection):
        connection.recv(1000)
        connection.sendall(TLS_ALERT + bytes([number]))
    with Listener(serve) as listener:
        told = status_of(world, f"etcd://{listener.endpoint}/x?tls=yes")
    assert told.code == 77 and "certificates" in told.err, told


def test_plain_and_tls_mixed_up(world, etcd, secured):
    told = status_of(world, f"etcd://{secured.endpoints}/x")
    assert told.code == 69 and "it may want TLS" in told.err, told
    told = status_of(world, f"etcd://{etcd.endpoints}/x?tls=yes")
    assert told.code == 69 and "it may not want TLS" in told.err, told


def test_a_server_that_hangs_up_after_the_handshake(world, secured):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{secured.tls}/server.pem", f"{secured.tls}/server.key")

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)  # the client has begun, so it has the server's tickets
    with Listener(serve) as listener:
        told = status_of(world, secured.url("x").replace(secured.endpoints, listener.endpoint))
    assert told.code == 69 and "certificate" not in told.err, told


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_guard_ends_although_etcd_is_away(tmp_path, world, how):
    with Cluster(str(tmp_path)) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a = stand(world, "a")
        wait_up(a)
        guard = os.pidfd_open(guard_of(a))
        getattr(etcd.members[0], how)()
        a.signal(signal.SIGKILL)
        assert select.select([guard], [], [], 20)[0], "the guard goes on"
        os.close(guard)


def test_the_store_is_full(tmp_path, world):
    with Cluster(str(tmp_path), options=("--quota-backend-bytes", str(16 * 1024 * 1024))) as etcd:
        world.env["BATON_URL"] = etcd.url()
        a = stand(world, "a")
        term = wait_up(a)
        with pytest.raises(RuntimeError):
            for n in range(30):
                etcd.ctl("put", f"fill{n}", stdin="x" * 1024 * 1024)
        assert "NOSPACE" in etcd.ctl("alarm", "list")
        # The leader renews and goes on; nobody new can stand, and is told why.
        b = stand(world, "b")
        errors = world.start_command(["tail", "-n", "+1", "-F", b.errors])
        errors.wait_line(r"space exceeded; compact and defragment")
        assert json.loads(world.run("status", "--json", "db").out)["term"] == term
        etcd.ctl("del", "--prefix", "fill")
        revision = json.loads(etcd.ctl("get", "-w", "json", "x"))["header"]["revision"]
        etcd.ctl("compact", str(revision))
        etcd.ctl("defrag")
        etcd.ctl("alarm", "disarm")
        wait_stands(world, "a", "b")
        a.stop()
        assert wait_up(b) > term


def test_a_server_that_is_not_trusted(world, secured, tmp_path):
    make_certificates(str(tmp_path), "other")
    told = world.run("status", "--engine-timeout", "2s", "--url", secured.url("x", ca=f"{tmp_path}/other.pem"))
    assert told.code == 77 and "certificate" in told.err, told


def test_a_client_that_is_not_trusted(world, secured, tmp_path):
    make_certificates(str(tmp_path), "other")
    told = world.run("status", "--engine-timeout", "2s", "--url",
                     secured.url("x", cert=f"{tmp_path}/client.pem", key=f"{tmp_path}/client.key"))
    # In words of OpenSSL's if its alert comes in time, else in baton's own.
    assert told.code == 77 and "certificate" in told.err and "etcd at" in told.err, told


def test_a_key_that_is_not_the_certificates(world, secured, tmp_path):
    make_certificates(str(tmp_path), "other")
    told = status_of(world, secured.url("x", key=f"{tmp_path}/client.key"))
    assert told.code == 77 and "private key" in told.err and "check user" in told.err, told
