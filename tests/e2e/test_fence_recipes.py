"""The recipes in examples/fence, on a real Redis, a real WebDAV server and a real proxy."""

import http.server
import os
import queue
import signal
import subprocess
import tempfile
import threading

import pytest

from conftest import LIMIT_S, TOP

RECIPES = os.path.join(TOP, "examples", "fence")


class Frozen:
    """A writer of term 7 that has looked, and stands still before it writes."""

    def __init__(self, world, look, write, env=None):
        self.orders = f"{world.folder}/orders"
        os.mkfifo(self.orders)
        self.process = world.start_command(
            ["sh", "-c", f'{look}; echo looked; read -r go <"$0"; {write}; echo "wrote $?"', self.orders],
            env={"BATON_TERM": "7", **(env or {})})
        self.process.wait_line("^looked$")
        self.process.signal(signal.SIGSTOP)

    def wake(self):
        """What it prints when it writes."""
        self.process.signal(signal.SIGCONT)
        with open_when_read(self.orders) as orders:
            orders.write("go\n")
        self.process.wait_exit()
        return "\n".join(self.process.seen)


def open_when_read(pipe):
    """The pipe, for writing, when somebody has opened it to read; not longer than the limit."""
    opened = queue.Queue()
    threading.Thread(target=lambda: opened.put(open(pipe, "w", encoding="utf-8")), daemon=True).start()
    return opened.get(timeout=LIMIT_S)


# ---- Redis


@pytest.fixture
def redis(world):
    socket = f"{world.folder}/redis.sock"
    server = world.start_command(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir",
                                  world.folder])
    server.wait_line("[Rr]eady to accept connections")

    def cli(*args):
        return world.run_command(["redis-cli", "-s", socket, *args]).out.strip()

    yield cli
    server.stop()


def put_redis(redis, term, value):
    return redis("--eval", f"{RECIPES}/redis.lua", "{w}:state", "{w}:term", ",", str(term), value)


def test_redis_refuses_an_older_term(redis):
    assert put_redis(redis, 7, "a") == "OK"
    assert put_redis(redis, 7, "b") == "OK"
    assert put_redis(redis, 9, "c") == "OK"
    assert "FENCED term 7 is over: a writer of term 9 was here" in put_redis(redis, 7, "stale")
    assert redis("GET", "{w}:state") == "c" and redis("GET", "{w}:term") == "9"
    assert put_redis(redis, 2**53 - 1, "d") == "OK"
    assert redis("GET", "{w}:term") == str(2**53 - 1)


def test_redis_refuses_a_writer_that_stood_still(world, redis):
    assert put_redis(redis, 7, "a") == "OK"
    cli = f"redis-cli -s {world.folder}/redis.sock"
    old = Frozen(world, f"{cli} GET {{w}}:term", f"{cli} --eval {RECIPES}/redis.lua {{w}}:state {{w}}:term , "
                                                 "$BATON_TERM stale")
    assert put_redis(redis, 8, "b") == "OK"
    assert "FENCED term 7 is over: a writer of term 8 was here" in old.wake()
    assert redis("GET", "{w}:state") == "b"


@pytest.mark.parametrize("term", ["0", "-1", "x", "", "1.5", str(2**53)])
def test_redis_refuses_what_is_no_term(redis, term):
    assert "is no term" in put_redis(redis, term, "x")
    assert redis("EXISTS", "{w}:state", "{w}:term") == "0"


# ---- an object store


APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
Mutex file:{folder} default
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
ErrorLog /dev/stdout
ServerName localhost
Listen 127.0.0.1:{port}
{user}
DavLockDB {folder}/locks
DocumentRoot {folder}/store
<Directory {folder}/store>
    Dav On
    FileETag Digest
    Require all granted
</Directory>
"""


def free_port():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_address[1]


class Store:
    """A WebDAV server with one object. (In a folder of its own: it gives root up, and must be able to get there.)"""

    def __init__(self, world, folder):
        port, user = free_port(), ""
        os.mkdir(f"{folder}/store")
        if os.geteuid() == 0:
            user = "User www-data\nGroup www-data"
            subprocess.run(["chown", "-R", "www-data", folder], check=True)
        with open(f"{folder}/apache.conf", "w", encoding="utf-8") as file:
            file.write(APACHE.format(folder=folder, port=port, user=user))
        self.server = world.start_command(["apache2", "-D", "FOREGROUND", "-f", f"{folder}/apache.conf"],
                                          env={"PATH": os.environ["PATH"] + ":/usr/sbin"})
        self.server.wait_line("resuming normal operations")
        self.url = f"http://127.0.0.1:{port}/state"


@pytest.fixture
def store(world):
    with tempfile.TemporaryDirectory(prefix="baton-store-") as folder:
        yield Store(world, folder)
        world.close()  # before the folder is gone


def put_object(world, store, term, text):
    path = f"{world.folder}/content-{term}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return world.run_command([f"{RECIPES}/object-store.sh", store.url, path], env={"BATON_TERM": str(term)})


def get(world, store):
    return world.run_command(["curl", "-sS", store.url]).out


def test_an_object_store_refuses_an_older_term(world, store):
    for term, text in ((7, "a"), (7, "b"), (9, "c")):
        told = put_object(world, store, term, text)
        assert told.code == 0, told
    told = put_object(world, store, 7, "stale")
    assert told.code == 75 and "term 7 is over: a writer of term 9 was here" in told.err, told
    assert get(world, store) == "baton-term: 9\nc"


@pytest.mark.parametrize("before", [True, False], ids=["of-an-object", "of-the-first-one"])
def test_a_writer_that_stood_still_between_its_look_and_its_write(world, store, before):
    if before:
        assert put_object(world, store, 7, "a").code == 0
    pipe = f"{world.folder}/pipe"
    os.mkfifo(pipe)
    old = world.start_command([f"{RECIPES}/object-store.sh", store.url, pipe], env={"BATON_TERM": "7"})
    with open_when_read(pipe) as content:  # it has looked, and waits for what it is to write
        assert put_object(world, store, 8, "b").code == 0
        content.write("stale")
    assert old.wait_exit() == 75
    assert "looking again" in old.stderr and "term 7 is over" in old.stderr
    assert get(world, store) == "baton-term: 8\nb"


def test_terms_that_write_the_same_are_told_apart(world, store):
    """What the condition is about, the ETag, is another one for each term."""
    tags = []
    for term in (7, 8):
        assert put_object(world, store, term, "same").code == 0
        headers = world.run_command(["curl", "-sS", "-I", store.url]).out
        tags.append(next(line for line in headers.splitlines() if line.lower().startswith("etag:")))
    assert tags[0] != tags[1]


@pytest.mark.parametrize("term,words", [("", "BATON_TERM"), ("x", "is no term"), (None, "BATON_TERM")])
def test_an_object_without_a_term(world, term, words):
    told = world.run_command([f"{RECIPES}/object-store.sh", "http://127.0.0.1:1/x", "/dev/null"],
                             env={"BATON_TERM": term})
    assert told.code != 0 and words in told.err


# ---- a proxy


class Service(http.server.BaseHTTPRequestHandler):
    """Knows nothing of terms."""

    written = []

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_PUT(self):
        self.written.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


@pytest.fixture
def proxy(world):
    """The URL of the proxy, and what the service behind it was told to write."""
    Service.written = []
    port = free_port()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        process = world.start_command(["haproxy", "-f", f"{RECIPES}/haproxy.cfg", "-d"], env={
            "PATH": os.environ["PATH"] + ":/usr/sbin", "LISTEN": f"127.0.0.1:{port}",
            "BACKEND": f"127.0.0.1:{service.server_address[1]}"})
        process.wait_line("Using epoll")
        yield f"http://127.0.0.1:{port}/x"
        service.shutdown()


def test_a_proxy_refuses_an_older_term(world, proxy):
    def ask(term, text, *options):
        header = ["-H", f"Baton-Term: {term}"] if term is not None else []
        return world.run_command(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *header, *options,
                                  *(["-X", "PUT", "-d", text] if text else []), proxy]).out

    assert [ask(term, f"{term}") for term in (7, 7, 9, 7, 10)] == ["204", "204", "204", "412", "204"]
    assert [ask(term, "none") for term in (None, "", "x", "-1", "0", "7x")] == ["428"] * 6
    assert ask(None, None) == "200"  # readers need no term
    assert Service.written == ["7", "7", "9", "10"]


def test_a_proxy_refuses_a_writer_that_stood_still(world, proxy):
    put = "curl -sS -o /dev/null -w '%{http_code}\\n' -X PUT -H \"Baton-Term: $BATON_TERM\" -d"
    old = Frozen(world, f"curl -sS -o /dev/null {proxy}", f"{put} stale {proxy}")
    assert world.run_command(["sh", "-c", f"{put} new {proxy}"], env={"BATON_TERM": "8"}).out == "204\n"
    assert "412" in old.wake()
    assert Service.written == ["new"]
