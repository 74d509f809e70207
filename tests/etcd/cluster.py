"""Real etcd for tests and benchmarks: one member or several, on free ports, with data in a folder of the caller's.

Every member is a child of this process, is ended by its pid, whatever state it is in, and ends with this process,
whatever ends that. Nothing here sleeps: a member is up when it says so in its log.
"""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from calls import Calls

READY = b"serving client traffic"  # "... securely", or "... insecurely": what etcd 3.4 to 3.6 write then
LIMIT_S = 30


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Member:
    """One etcd process; it may be started again on its data."""

    def __init__(self, name, folder, ports, host):
        self.host = host
        self.name = name
        self.data = os.path.join(folder, name)
        self.log = os.path.join(folder, name + ".log")
        self.client, self.peer = ports
        self.process = None
        self.options = []
        self.inside = ()  # what to start it by
        self.is_ready = None

    @property
    def endpoint(self):
        return f"{self.host}:{self.client}"

    def start(self):
        """Start it, without waiting for it."""
        assert self.process is None or self.process.poll() is not None
        # Its pipe is read to the end by a thread, which ends with it.
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.inside, "etcd", *self.options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        start_new_session=True)
        self.is_ready = threading.Event()
        threading.Thread(target=self._read_log, args=(self.process, self.is_ready), daemon=True).start()

    def _read_log(self, process, is_ready):
        with open(self.log, "ab") as log:
            for line in process.stderr:
                log.write(line)
                log.flush()
                if READY in line:
                    is_ready.set()
        process.stderr.close()

    def wait_ready(self, limit=LIMIT_S):
        deadline = time.monotonic() + limit
        while not self.is_ready.wait(0.2):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"etcd {self.name} is not up: {log.read()[-2000:]}")

    def signal(self, number):
        os.kill(self.process.pid, number)

    def freeze(self):
        """When this returns, it stands still: until one of its threads takes the signal, the others go on."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    def stop(self):
        """A polite end."""
        self.process.terminate()
        self.process.wait(LIMIT_S)


class Relay:
    """Stands in front of a member, and knows the connections: how each began, and how to cut them. `late`: a type of
    HTTP/2 frames (RFC 9113, section 6) that reach clients a moment after what was sent before; they are counted.
    `instead`: the calls are read (see Calls), and some replaced."""

    def __init__(self, endpoint, late=None, instead=None):
        self.late, self.were_late = late, 0
        self.instead, self.calls, self.called = instead, [], threading.Condition()
        host, port = endpoint.rsplit(":", 1)
        self.to = (host, int(port))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.began = []  # the first bytes of each connection
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.server.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
                far = socket.create_connection(self.to)
            except OSError:
                return
            self.pairs.append((near, far))
            threading.Thread(target=self._move, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._move, args=(far, near, False), daemon=True).start()

    def _made(self, path, has_token):
        with self.called:
            self.calls.append((path, has_token))
            self.called.notify_all()

    def wait_calls(self, count, limit=LIMIT_S):
        """So many calls have been made."""
        with self.called:
            assert self.called.wait_for(lambda: len(self.calls) >= count, limit), self.calls

    def _move(self, source, target, is_near):
        is_first, rest = is_near, b""
        calls = Calls(self.instead, self._made) if is_near and self.instead is not None else None
        try:
            while data := source.recv(65536):
                if is_first:
                    self.began.append(data[:24])
                    is_first = False
                if calls is not None:
                    data = calls.feed(data)
                if self.late is not None and not is_near:
                    data, rest = self._send_frames(target, rest + data)
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _send_frames(self, target, data):
        """What of it is still to be sent, and the beginning of the next frame."""
        begin, at = 0, 0
        while len(data) - at >= 9 and len(data) - at >= (size := 9 + int.from_bytes(data[at:at + 3], "big")):
            if data[at + 3] == self.late:
                target.sendall(data[begin:at])
                time.sleep(0.1)  # it is a network that does this, not a test that waits
                self.were_late += 1
                begin = at
            at += size
        return data[begin:at], data[at:]

    def cut(self):
        """End all connections; new ones are taken."""
        for pair in self.pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.cut()
        for pair in self.pairs:
            for one in pair:
                one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Cluster:
    """A cluster of `count` members. `tls`: a folder with ca.pem, server.pem, server.key, client.pem, client.key (see
    make_certificates); then clients need a certificate, too. `options`: more of etcd's own. `hosts`: an address for
    each member, for its peers, too."""

    def __init__(self, folder, count=1, tls=None, options=(), host="127.0.0.1", hosts=None):
        self.tls = tls
        self.user = None  # "name:password", for ctl
        ports = free_ports(2 * count)
        self.members = [Member(f"m{n + 1}", folder, ports[2 * n:2 * n + 2], hosts[n] if hosts else host)
                        for n in range(count)]
        peers = {one: f"http://{one.host if hosts else '127.0.0.1'}:{one.peer}" for one in self.members}
        scheme = "https" if tls else "http"
        initial = ",".join(f"{one.name}={peers[one]}" for one in self.members)
        for one in self.members:
            one.options = [
                "--name", one.name, "--data-dir", one.data, "--logger", "zap", "--log-outputs", "stderr",
                "--listen-client-urls", f"{scheme}://{one.endpoint}",
                "--advertise-client-urls", f"{scheme}://{one.endpoint}",
                "--listen-peer-urls", peers[one], "--initial-advertise-peer-urls", peers[one],
                "--initial-cluster", initial, *options]
            if tls:
                one.options += ["--cert-file", f"{tls}/server.pem", "--key-file", f"{tls}/server.key",
                                "--trusted-ca-file", f"{tls}/ca.pem", "--client-cert-auth"]

    def __enter__(self):
        try:
            for one in self.members:
                one.start()
            for one in self.members:
                one.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for one in self.members:
            one.kill()
            shutil.rmtree(one.data, ignore_errors=True)

    @property
    def endpoints(self):
        return ",".join(one.endpoint for one in self.members)

    def url(self, namespace="test", **parameters):
        if self.tls:
            parameters = {"ca": f"{self.tls}/ca.pem", "cert": f"{self.tls}/client.pem",
                          "key": f"{self.tls}/client.key", **parameters}
        query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())
        return f"etcd://{self.endpoints}/{namespace}" + (f"?{query}" if query else "")

    def ctl(self, *args, check=True, stdin="", endpoint=None):
        """etcdctl; what it says. A put without its value takes it from `stdin`."""
        command = ["etcdctl", "--endpoints", endpoint or self.endpoints, "--command-timeout=10s"]
        if self.tls:
            command += ["--cacert", f"{self.tls}/ca.pem", "--cert", f"{self.tls}/client.pem",
                        "--key", f"{self.tls}/client.key"]
        if self.user:
            command += ["--user", self.user]
        done = subprocess.run([*command, *args], capture_output=True, text=True, timeout=LIMIT_S, check=False,
                              input=stdin, env={**os.environ, "ETCDCTL_API": "3"})
        if check and done.returncode != 0:
            raise RuntimeError(f"etcdctl {args}: {done.stdout}{done.stderr}")
        return done.stdout

    def leases(self):
        """The ids of all leases, in hexadecimal as etcdctl writes them."""
        return self.ctl("lease", "list").split("\n")[1:-1]

    def member_id(self, member):
        """In hexadecimal, as etcdctl wants it."""
        return next(line.split(",")[1].strip() for line in self.ctl("endpoint", "status").splitlines()
                    if line.split(",")[0].strip() == member.endpoint)

    def wait_leader(self):
        """A write goes through."""
        self.ctl("put", "wait", "x")

    def leader(self):
        """The member that leads the cluster."""
        for line in self.ctl("endpoint", "status").splitlines():
            fields = [field.strip() for field in line.split(",")]
            if fields[4] == "true":
                return next(one for one in self.members if one.endpoint == fields[0])
        raise RuntimeError("etcd has no leader")


def make_certificates(folder, name="ca"):
    """A CA, and with it a server's certificate for 127.0.0.1 and a client's."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(*new, "-x509", "-days", "2", "-subj", f"/CN=baton test {name}", "-keyout", f"{name}.key",
            "-out", f"{name}.pem")
    for who in ("server", "client"):
        with open(os.path.join(folder, f"{who}.ext"), "w", encoding="utf-8") as file:
            file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl(*new, "-subj", f"/CN={who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")
        openssl("x509", "-req", "-days", "2", "-in", f"{who}.csr", "-CA", f"{name}.pem", "-CAkey", f"{name}.key",
                "-CAcreateserial", "-extfile", f"{who}.ext", "-out", f"{who}.pem")
    return folder
