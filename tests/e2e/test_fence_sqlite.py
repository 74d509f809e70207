"""A fence that SQLite enforces (fence/sqlite.c), with real processes."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from conftest import BATON, LIMIT_S

EXTENSION = os.path.join(os.path.dirname(BATON), "fence", "baton-fence-sqlite")

# Says what comes of each statement that it reads.
SHELL = f"""
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
if len(sys.argv) < 3:
    db.enable_load_extension(True)
    db.load_extension({EXTENSION!r})
print("up", flush=True)
for line in sys.stdin:
    try:
        print("ok", *db.execute(line).fetchall(), flush=True)
    except sqlite3.Error as error:
        print("error", error, flush=True)
"""


class Shell:
    """A process that has the database open, with a term."""

    def __init__(self, path, term=None, loaded=True, election=None):
        env = {name: value for name, value in os.environ.items() if name not in ("BATON_TERM", "BATON_NAME")}
        if election is not None:
            env["BATON_NAME"] = election
        if term is not None:
            env["BATON_TERM"] = str(term)
        # It is ended in close.
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([sys.executable, "-c", SHELL, path, *([] if loaded else ["plain"])], env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.process.stdout.readline() == "up\n"

    def do(self, statement):
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(LIMIT_S)
        self.process.stdout.close()


def arguments(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read().split("\0")


@pytest.fixture(params=["WAL", "DELETE"])
def shells(request, tmp_path):
    if "asan" in BATON or "tsan" in BATON:
        pytest.skip("a sanitizer must be in the program that loads the extension, too")
    path, made = str(tmp_path / "test.db"), []

    def start(*args, **kwargs):
        made.append(Shell(path, *args, **kwargs))
        return made[-1]

    first = start(1)
    assert first.do(f"PRAGMA journal_mode = {request.param}") == f"ok ('{request.param.lower()}',)"
    start.journal = request.param
    assert first.do("CREATE TABLE \"my rows\" (text)") == "ok"
    assert first.do("SELECT baton_guard('my rows', 'db')") == "ok (1,)"
    start.path = path
    yield start
    for shell in made:
        shell.close()


def test_an_older_term_is_refused(shells):
    old, new = shells(5), shells(6)
    assert old.do("INSERT INTO \"my rows\" VALUES ('five')") == "ok"
    assert new.do("INSERT INTO \"my rows\" VALUES ('six')") == "ok"
    for change in ("INSERT INTO \"my rows\" VALUES ('late')", "UPDATE \"my rows\" SET text = 'x'",
                   "DELETE FROM \"my rows\""):
        assert "term of this process is over" in old.do(change)
    assert old.do("SELECT text FROM \"my rows\"") == "ok ('five',) ('six',)"
    assert new.do("SELECT * FROM baton_terms") == "ok ('db', 6)"


def test_who_has_no_term_or_has_not_loaded_it(shells):
    assert "has no term" in shells().do("INSERT INTO \"my rows\" VALUES ('x')")
    assert "no such function: baton_term" in shells(7, loaded=False).do("INSERT INTO \"my rows\" VALUES ('x')")
    assert shells(loaded=False).do("SELECT count(*) FROM \"my rows\"") == "ok (0,)"
    for term in ("abc", "0", "-1", "99999999999999999999", "5x"):
        assert "is no term" in shells(term).do("INSERT INTO \"my rows\" VALUES ('x')")


def test_a_transaction_that_began_before_the_newer_leader_wrote_is_refused(shells):
    old, new = shells(5), shells(6)
    assert old.do("INSERT INTO \"my rows\" VALUES ('five')") == "ok"
    old.do("BEGIN")
    old.do("SELECT count(*) FROM \"my rows\"")
    if shells.journal == "WAL":
        assert new.do("INSERT INTO \"my rows\" VALUES ('six')") == "ok"
        assert "database is locked" in old.do("INSERT INTO \"my rows\" VALUES ('stale')")
        old.do("ROLLBACK")
    else:  # who reads keeps all others from writing, and is let in before them
        new.do("PRAGMA busy_timeout = 100")
        assert "database is locked" in new.do("INSERT INTO \"my rows\" VALUES ('six')")
        old.do("ROLLBACK")
        assert new.do("INSERT INTO \"my rows\" VALUES ('six')") == "ok"
    assert "is over" in old.do("INSERT INTO \"my rows\" VALUES ('stale')")


def test_a_program_that_knows_its_term_asks_itself(shells):
    shell = shells()
    assert shell.do("SELECT baton_fence('other', 9)") == "ok (1,)"
    assert "is over" in shell.do("SELECT baton_fence('other', 8)")
    assert "is no term" in shell.do("SELECT baton_fence('other', 'x')")


def test_a_guard_can_be_changed_and_removed(shells):
    shell = shells(7)
    assert shell.do("INSERT INTO \"my rows\" VALUES ('x')") == "ok"
    assert shells(3).do("SELECT baton_guard('my rows', 'other')") == "ok (1,)"
    assert shells(3).do("INSERT INTO \"my rows\" VALUES ('y')") == "ok"
    assert shell.do("SELECT baton_unguard('my rows')") == "ok (1,)"
    assert shells().do("INSERT INTO \"my rows\" VALUES ('z')") == "ok"
    assert "no such table" in shell.do("SELECT baton_guard('nothing', 'db')")
    assert "both are needed" in shell.do("SELECT baton_guard('my rows', NULL)")


def test_a_table_that_gets_another_name_stays_guarded(world, shells):
    shell, url = shells(7), f"sqlite:{shells.path}"
    assert shell.do("INSERT INTO \"my rows\" VALUES ('x')") == "ok"
    assert shell.do("ALTER TABLE \"my rows\" RENAME TO \"Other\"") == "ok"
    assert "is over" in shells(6).do("INSERT INTO Other VALUES ('late')")
    assert world.run("fence", "status", "--json", url).objects == [
        {"table": "Other", "election": "db", "term": 7, "since": None}]
    assert world.run("fence", "test", url, "other").code == 0
    # The old name is free for another table.
    assert shell.do("CREATE TABLE \"my rows\" (text)") == "ok"
    assert shell.do("SELECT baton_guard('my rows', 'second')") == "ok (1,)"
    assert shell.do("SELECT baton_guard('MY ROWS', 'third')") == "ok (1,)"
    assert [(table["table"], table["election"]) for table in world.run("fence", "status", "--json", url).objects] == [
        ("my rows", "third"), ("Other", "db")]
    assert "no term" in shells().do("INSERT INTO Other VALUES ('x')")
    assert world.run("fence", "unguard", url, "OTHER").code == 0
    assert shells().do("INSERT INTO Other VALUES ('x')") == "ok"
    assert "no term" in shells().do("INSERT INTO \"my rows\" VALUES ('x')")


def test_removed_it_leaves_nothing_behind(world, shells):
    shell, url = shells(7), f"sqlite:{shells.path}"
    assert shell.do("ALTER TABLE \"my rows\" RENAME TO other") == "ok"
    assert world.run("fence", "remove", url).code == 0
    assert shells(loaded=False).do("INSERT INTO other VALUES ('x')") == "ok"
    assert shell.do("SELECT name FROM sqlite_schema") == "ok ('other',)"


def test_there_is_no_moment_without_a_guard_while_it_is_changed(shells):
    """A guard that cannot be made takes none away; and within a transaction it is part of that."""
    shell = shells(7)
    shell.do("PRAGMA max_page_count = 1")  # as many as there are: there is no room for its triggers
    assert "full" in shell.do(f"SELECT baton_guard('my rows', '{'o' * 9000}')")
    shell.do("PRAGMA max_page_count = 1000")
    assert "no term" in shells().do("INSERT INTO \"my rows\" VALUES ('x')")
    assert shell.do("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'") == "ok (3,)"
    shell.do("BEGIN")
    assert shell.do("SELECT baton_guard('my rows', 'other')") == "ok (1,)"
    shell.do("ROLLBACK")
    assert shell.do("INSERT INTO \"my rows\" VALUES ('x')") == "ok"
    assert shell.do("SELECT * FROM baton_terms") == "ok ('db', 7)"


def test_the_term_of_another_election_is_refused(shells):
    assert shells(7, election="db").do("INSERT INTO \"my rows\" VALUES ('x')") == "ok"
    assert "is of another election: 'other'" in shells(900, election="other").do("INSERT INTO \"my rows\" VALUES ('x')")
    empty = shells(901, election="").do("INSERT INTO \"my rows\" VALUES ('x')")
    assert "BATON_NAME is set, and empty" in empty, empty
    assert shells(8, election="db").do("INSERT INTO \"my rows\" VALUES ('x')") == "ok"
    assert shells(8).do("SELECT * FROM baton_terms") == "ok ('db', 8)"


def test_a_leader_that_stands_still_in_a_transaction_makes_the_next_one_wait(shells):
    old, new = shells(5), shells(6)
    assert old.do("BEGIN") == "ok"
    assert old.do("INSERT INTO \"my rows\" VALUES ('old')") == "ok"
    new.do("PRAGMA busy_timeout = 100")
    assert "database is locked" in new.do("INSERT INTO \"my rows\" VALUES ('new')")
    old.process.kill()  # as who finds it does
    old.process.wait(LIMIT_S)
    new.do("PRAGMA busy_timeout = 20000")
    assert new.do("INSERT INTO \"my rows\" VALUES ('new')") == "ok"
    assert new.do("SELECT text FROM \"my rows\"") == "ok ('new',)"


def test_a_leader_frozen_between_its_check_and_its_write_is_refused(world, shells):
    """Frozen with all that could have ended it, as a machine that stands still is; woken when another has written.
    (With a rollback journal, a transaction that stands open keeps the other from writing: it has looked before one.)"""
    begin = "db.execute('BEGIN')\n" if shells.journal == "WAL" else ""
    script = os.path.join(world.folder, "shell.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SHELL.replace("for line in sys.stdin:", begin +
                                 "print(len(db.execute('SELECT * FROM \"my rows\"').fetchall()), flush=True)\n"
                                 "for line in open(sys.argv[1] + '.orders'):"))
    orders = shells.path + ".orders"
    os.mkfifo(orders)

    def stand(name, *command):
        return world.start("run", "--ttl=2s", "--grace=300ms", "--id", name, "db", "--", *command)

    a = stand("a", sys.executable, script, shells.path)
    a.wait_line("^0$")  # it has looked
    frozen = world.marked()
    for pid in [pid for pid in frozen if pid != a.pid] + [a.pid]:
        os.kill(pid, signal.SIGSTOP)
    write = f"""import sqlite3
db = sqlite3.connect({shells.path!r})
db.enable_load_extension(True)
db.load_extension({EXTENSION!r})
db.execute("INSERT INTO 'my rows' VALUES ('after')")
db.commit()
print("wrote", flush=True)
import time
time.sleep(1000)"""
    b = stand("b", sys.executable, "-c", write)
    b.wait_line("^wrote$")
    # Only the command is woken: nobody ends it.
    [command] = [pid for pid in frozen if arguments(pid)[1:2] == [script]]
    os.kill(command, signal.SIGCONT)
    with open(orders, "w", encoding="ascii") as file:
        file.write("INSERT INTO \"my rows\" VALUES ('stale')\n")
    a.wait_line("^error database is locked$" if shells.journal == "WAL" else "^error .*term of this process is over")
    with sqlite3.connect(shells.path) as db:
        assert db.execute('SELECT text FROM "my rows"').fetchall() == [("after",)]
