"""bench/gate.py: `baton gate` next to HAProxy in TCP mode, between the same two processes, in turns.

  bulk     one connection, as many bytes as go through in a given time
  turns    one connection, a byte there and a byte back, as often as it goes
  connect  connections a second, each with a byte there and back
  idle     private memory of the gate with 1,000 idle connections

Prints what is asked of it ("kept", "MISSED").
"""

import argparse
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "etcd"))
from cluster import free_ports  # noqa: E402 pylint: disable=wrong-import-position

BLOCK = bytes(1 << 20)
LIMIT_S = 30

HAPROXY = """
global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen relay
    bind 127.0.0.1:{door}
    server only 127.0.0.1:{server}
"""


def serve(listener):
    """Each connection says by its first byte what it wants: bulk, or the byte back."""
    def one(connection):
        with connection, contextlib.suppress(ConnectionError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := connection.recv(1):
                if data == b"b":
                    while True:
                        connection.sendall(BLOCK)
                connection.sendall(data)

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(connection,), daemon=True).start()


def connect(port):
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise


def bulk(port, seconds):
    """MiB a second."""
    buffer, total = bytearray(1 << 20), 0
    with connect(port) as client:
        client.sendall(b"b")
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            total += client.recv_into(buffer)
        return total / (time.perf_counter() - begin) / (1 << 20)


def turns(port, seconds):
    """Round trips a second."""
    count = 0
    with connect(port) as client:
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            client.sendall(b"x")
            client.recv(1)
            count += 1
        return count / (time.perf_counter() - begin)


def connects(port, seconds):
    """Connections a second."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        with connect(port) as client:
            client.sendall(b"x")
            client.recv(1)
        count += 1
    return count / (time.perf_counter() - begin)


def private_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        sizes = re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", file.read(), re.MULTILINE)
    return sum(map(int, sizes)) / 1024


def tell(what, measured, kept=None):
    print(f"{what:<52} {measured:>20}  {'' if kept is None else 'kept' if kept else 'MISSED'}".rstrip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--baton", default=os.path.join(TOP, "build", "baton"))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=1000)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * options.idle), hard), hard))
    server_port, gate_port, haproxy_port = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder, contextlib.ExitStack() as stack:
        # The server is a process of its own, as the client is.
        listener = socket.create_server(("127.0.0.1", server_port), backlog=4000)
        pid = os.fork()
        if pid == 0:
            serve(listener)
            os._exit(0)
        stack.callback(os.kill, pid, 9)
        listener.close()
        with open(f"{folder}/haproxy.cfg", "w", encoding="ascii") as file:
            file.write(HAPROXY.format(door=haproxy_port, server=server_port))
        env = {**os.environ, "BATON_URL": f"local:{folder}/state"}
        started = [[options.baton, "elect", "--address", f"127.0.0.1:{server_port}", "bench"],
                   [options.baton, "gate", "--listen", f"127.0.0.1:{gate_port}", "bench"],
                   ["haproxy", "-db", "-q", "-f", f"{folder}/haproxy.cfg"]]
        processes = []
        for command in started:
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        for measure, unit, bound in ((bulk, "MiB/s", 0.7), (turns, "a second", None), (connects, "a second", None)):
            rates = {gate_port: [], haproxy_port: []}
            for _ in range(options.rounds):
                for port, seen in rates.items():
                    seen.append(measure(port, options.seconds))
            gate, haproxy = (sorted(seen)[len(seen) // 2] for seen in rates.values())
            tell(f"{measure.__name__}: gate, HAProxy ({unit}, medians)", f"{gate:.0f}, {haproxy:.0f}")
            tell("    the first divided by the second", f"{gate / haproxy:.2f}",
                 None if bound is None else gate >= bound * haproxy)
        empty = private_mib(processes[1].pid)
        idle = [connect(gate_port) for _ in range(options.idle)]
        for one in idle:
            one.sendall(b"x")
            one.recv(1)
        full = private_mib(processes[1].pid)
        tell(f"idle: private memory with {options.idle} connections (none)", f"{full:.1f} ({empty:.1f}) MiB",
             full <= 20)


if __name__ == "__main__":
    main()
