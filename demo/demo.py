"""The demo: three instances of a small writer elect a leader, and the leader goes in four ways.

Everything is real: three processes of `baton run` on the local engine in a temporary directory, each of which would run
demo/writer.c; only the leader's runs. The writer puts numbered rows with its term into a SQLite file. At the end the
file is read: if two writers had ever worked at once, or a term had gone back, it would show.
"""

import contextlib
import os
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

LIMIT_S = 20  # for each thing that is waited for
WORK_S = 1.5  # how long each leader is left to work
TTL_S = 3
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
BATON = os.path.join(BUILD, "baton")
WRITER = os.path.join(BUILD, "demo", "writer")
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text=""):
    print(text, flush=True)


def title(text):
    say()
    say(f"\033[1m{text}\033[0m" if COLOUR else text)


class Instance:
    """One `baton run`, and what its command last said."""

    def __init__(self, demo, name):
        self.demo, self.name = demo, name
        self.process = subprocess.Popen(
            [BATON, "run", "--url", demo.url, "--id", name, "--ttl", f"{TTL_S}s", "--grace", "1s",
             "db-writer", "--", WRITER, demo.rows, "5"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = b""
        demo.selector.register(self.process.stdout, selectors.EVENT_READ, self)


class Demo:
    def __init__(self, folder):
        self.url = f"local:{folder}/state"
        self.rows = f"{folder}/rows.db"
        self.selector = selectors.DefaultSelector()
        self.instances = {}
        self.leader = self.term = self.pid = None
        self.took = []
        self.busy, self.ended_by = False, None

    @contextlib.contextmanager
    def whole(self):
        """What is begun here is not cut off by a signal: a process that was just started would be forgotten."""
        self.busy = True
        yield
        self.busy = False
        if self.ended_by is not None:
            sys.exit(128 + self.ended_by)

    def start(self, name):
        with self.whole():
            self.instances[name] = Instance(self, name)

    def on_signal(self, number, _):
        """Ctrl-C, a closed terminal, kill(1): leave by the way on which everything is ended."""
        ignore_ends()
        self.ended_by = number
        if not self.busy:
            sys.exit(128 + number)

    def wait_for_leader(self):
        """Read what the commands print until one says that it writes with a new term."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            for key, _ in self.selector.select(end - time.monotonic()):
                instance = key.data
                part = instance.process.stdout.read()
                if not part:
                    self.selector.unregister(key.fileobj)
                    continue
                instance.text += part
                while b"\n" in instance.text:
                    line, instance.text = instance.text.split(b"\n", 1)
                    word, name, term, pid, at_us = line.decode().split()
                    if word == "writing" and (self.term is None or int(term) > self.term):
                        self.leader, self.term, self.pid = name, int(term), int(pid)
                        return int(at_us)
        raise SystemExit(f"demo: nobody took over within {LIMIT_S} s")

    def let_it_work(self):
        """The pace of the demo. Only those that have ended say something meanwhile: nothing."""
        end = time.monotonic() + WORK_S
        while time.monotonic() < end:
            for key, _ in self.selector.select(max(0, end - time.monotonic())):
                part = key.data.process.stdout.read()
                if part:
                    key.data.text += part
                else:
                    self.selector.unregister(key.fileobj)

    def last_row_us(self, term):
        with sqlite3.connect(self.rows) as db:
            return db.execute("SELECT max(at_us) FROM rows WHERE term = ?", (term,)).fetchone()[0]

    def way(self, text, act, expected):
        self.let_it_work()
        title(text)
        old, term = self.leader, self.term
        act(self.instances[old], self.pid)
        first_us = self.wait_for_leader()
        gone_ms = (first_us - self.last_row_us(term)) / 1000
        say(f"   {old} is gone; {self.leader} leads with term {self.term}, "
            f"{gone_ms:.1f} ms after the last row of term {term} {expected}")
        self.took.append((text, gone_ms))
        return old

    def bring_back(self, name):
        instance = self.instances[name]
        try:
            instance.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"demo: {name} did not end within {LIMIT_S} s") from None
        self.start(name)

    def show(self, command):
        with self.whole():
            shown = subprocess.run([BATON, command, "--url", self.url, "db-writer"], capture_output=True, text=True,
                                   timeout=LIMIT_S, check=False)
        for line in shown.stdout.splitlines():
            say("   " + line)

    def stop(self):
        for instance in self.instances.values():
            if instance.process.poll() is None:
                for number in (signal.SIGTERM, signal.SIGCONT):
                    instance.process.send_signal(number)
        for instance in self.instances.values():
            try:
                instance.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                instance.process.kill()
                instance.process.wait()


def ignore_ends():
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)


def kill_command(instance, pid):
    os.kill(pid, signal.SIGKILL)


def kill_supervisor(instance, pid):
    instance.process.kill()


def freeze(instance, pid):
    instance.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)


def polite(instance, pid):
    instance.process.terminate()


def judge(demo):
    title("What the rows say")
    with sqlite3.connect(demo.rows) as db:
        rows = db.execute("SELECT n, id, term, pid FROM rows ORDER BY n").fetchall()
    writers, backward, mixed = {}, 0, 0
    newest = 0
    for _, name, term, pid in rows:
        backward += term < newest
        newest = max(newest, term)
        mixed += writers.setdefault(term, (name, pid)) != (name, pid)
    for term, (name, _) in sorted(writers.items()):
        count = sum(1 for row in rows if row[2] == term)
        say(f"   term {term}: {count:5} rows by {name}")
    say(f"   {len(rows)} rows; {backward} with an older term after a newer one; {mixed} by a second writer of a term")
    return backward == 0 and mixed == 0


def main():
    folder = tempfile.mkdtemp(prefix="baton-demo-")
    demo = Demo(folder)
    try:
        for number in ENDS:
            signal.signal(number, demo.on_signal)
        title("Three instances of a writer, one leader")
        say(f"   baton run --ttl {TTL_S}s db-writer -- writer rows.db      (as a, b and c; engine {demo.url})")
        for name in ("a", "b", "c"):
            demo.start(name)
        demo.wait_for_leader()
        say(f"   {demo.leader} leads with term {demo.term}   (a term counts what was stored: it grows, and jumps)")
        demo.show("status")
        demo.bring_back(demo.way("1. The leader's command is killed (SIGKILL)", kill_command, ""))
        demo.bring_back(demo.way("2. The leader's supervisor is killed: its guard kills the command", kill_supervisor,
                                 ""))
        frozen = demo.way("3. The leader freezes, supervisor and command (SIGSTOP)", freeze,
                          f"(the lease is {TTL_S} s, and the old command is dead)")
        demo.instances[frozen].process.send_signal(signal.SIGCONT)
        say(f"   {frozen} wakes up: its command is gone, and it follows")
        demo.bring_back(demo.way("4. The leader is asked to stop (SIGTERM): it hands over", polite, ""))
        title("baton history db-writer")
        demo.show("history")
        demo.let_it_work()
        demo.stop()
        good = judge(demo)
    finally:
        ignore_ends()  # it has to get through this
        demo.stop()
        shutil.rmtree(folder, ignore_errors=True)
    title("What to try next       (what the demo has stored is gone)")
    say("   build/baton run my-job -- sleep 1000       in two terminals; then kill one")
    say("   build/baton status; build/baton transfer my-job; build/baton history my-job")
    say("   README.md; man -l man/baton.1; make install; make build: also the engine etcd, and fences")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
