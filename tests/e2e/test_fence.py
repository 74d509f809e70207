"""A fence that a real PostgreSQL enforces (fence/postgresql.sql), also against a program that knows nothing of it."""

import os
import signal
import subprocess
import sys

import pytest

from conftest import LIMIT_S, TOP

sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from server import Server  # noqa: E402 pylint: disable=wrong-import-position

FENCE = os.path.join(TOP, "fence", "postgresql.sql")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Server(str(tmp_path_factory.mktemp("pg"))) as server:
        yield server


@pytest.fixture
def database(postgres):
    """A guarded table in a database of its own."""
    postgres.psql("DROP DATABASE IF EXISTS test WITH (FORCE)", "CREATE DATABASE test")
    made = Database(postgres)
    made.psql(file=FENCE)
    made.psql("CREATE TABLE rows (id serial, term bigint, text text)", "SELECT baton.guard('rows', 'db')")
    return made


class Database:
    def __init__(self, server):
        self.server, self.env = server, {**server.env, "PGDATABASE": "test"}

    def psql(self, *args, **kwargs):
        return self.server.psql(*args, database="test", **kwargs)

    def write(self, term, text="x", check=True, **kwargs):
        return self.psql(f"INSERT INTO rows (text) VALUES ('{text}')", options=f"-c baton.term={term}", check=check,
                         **kwargs)

    def session(self, term, folder):
        return Session(self, term, folder)


class Session:
    """A connection that stays open."""

    def __init__(self, database, term, folder):
        self.errors = os.path.join(folder, f"psql-{term}-{id(self)}")
        # It is ended in close.
        # pylint: disable-next=consider-using-with
        self.psql = subprocess.Popen(["psql", "-XAtq", "-v", "VERBOSITY=sqlstate"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
                                     env={**os.environ, **database.env, "PGOPTIONS": f"-c baton.term={term}"})

    def send(self, statement):
        self.psql.stdin.write(statement + ";\n\\echo done\n")
        self.psql.stdin.flush()

    def wait(self):
        """What it has said to the last statement."""
        lines = []
        while (line := self.psql.stdout.readline()) not in ("done\n", ""):
            lines.append(line.strip())
        return "\n".join(lines)

    def do(self, statement):
        self.send(statement)
        return self.wait()

    def close(self):
        self.psql.stdin.close()
        self.psql.wait(LIMIT_S)
        self.psql.stdout.close()


@pytest.fixture
def two(database, tmp_path):
    """The sessions of an older and of a newer leader."""
    database.write(5)
    made = database.session(5, str(tmp_path)), database.session(6, str(tmp_path))
    yield made
    for session in made:
        session.close()


def test_an_older_term_is_refused_and_the_table_stays_as_it_was(database):
    database.write(5, "five")
    database.write(7, "seven")
    told = database.write(6, "six", check=False)
    assert told.returncode != 0 and "BT001" in told.stderr and "term 6 of the election db is over" in told.stderr, told
    database.write(7, "again")
    assert database.psql("SELECT text FROM rows ORDER BY id").split() == ["five", "seven", "again"]
    assert database.psql("SELECT guarded, election, term FROM baton.status") == "rows|db|7"


@pytest.mark.parametrize("change", ["UPDATE rows SET text = 'y'", "DELETE FROM rows", "TRUNCATE rows",
                                    "INSERT INTO rows (text) VALUES ('y')", "COPY rows (text) FROM STDIN"])
def test_every_kind_of_change_is_guarded(database, change):
    database.write(7)
    told = database.psql(change, options="-c baton.term=6", check=False)
    assert told.returncode != 0 and "BT001" in told.stderr, told
    assert database.psql("SELECT count(*), min(text) FROM rows") == "1|x"


def test_readers_need_no_term(database):
    database.write(7)
    assert database.psql("SELECT text FROM rows") == "x"


@pytest.mark.parametrize("options,state", [("", "BT002"), ("-c baton.term=", "BT002"), ("-c baton.term=abc", "BT003"),
                                           ("-c baton.term=-1", "BT003"), ("-c baton.term=0", "BT003"),
                                           ("-c baton.term=99999999999999999999", "BT003"),
                                           ("-c baton.term=9999999999999999", "BT003")])
def test_what_is_no_term(database, options, state):
    told = database.psql("INSERT INTO rows (text) VALUES ('x')", options=options, check=False)
    assert told.returncode != 0 and state in told.stderr, told


def test_a_program_that_knows_its_term_asks_itself(database):
    database.psql("CREATE TABLE free (text text)")
    database.psql("BEGIN", "SELECT baton.fence('other', 9)", "INSERT INTO free VALUES ('x')", "COMMIT")
    told = database.psql("SELECT baton.fence('other', 8)", check=False)
    assert told.returncode != 0 and "BT001" in told.stderr
    assert database.psql("SELECT term FROM baton.terms WHERE election = 'other'") == "9"


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("passed", [True, False])
def test_a_transaction_that_began_before_the_newer_leader_wrote_is_refused(two, level, passed):
    old, new = two
    if passed:
        assert old.do("INSERT INTO rows (text) VALUES ('earlier')") == ""
    old.do(f"BEGIN ISOLATION LEVEL {level}")
    old.do("SELECT count(*) FROM rows")  # its snapshot
    assert new.do("INSERT INTO rows (text) VALUES ('new')") == ""
    refused = old.do("INSERT INTO rows (text) VALUES ('old')")
    assert ("BT001" if level == "READ COMMITTED" else "40001") in refused, refused
    old.do("ROLLBACK")


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_newer_leader_waits_for_a_write_that_was_let_through(two, level):
    old, new = two
    old.do(f"BEGIN ISOLATION LEVEL {level}")
    assert old.do("INSERT INTO rows (text) VALUES ('old')") == ""
    new.send("INSERT INTO rows (text) VALUES ('new')")
    assert old.do("INSERT INTO rows (text) VALUES ('old too')") == ""  # it was let through, and goes on
    assert old.do("COMMIT") == ""
    assert new.wait() == ""
    assert "BT001" in old.do("INSERT INTO rows (text) VALUES ('late')")
    assert new.do("SELECT string_agg(text, ', ' ORDER BY text) FROM rows") == "new, old, old too, x"


def test_two_writers_with_one_term_do_not_wait_for_each_other(database, tmp_path):
    database.write(5)
    first, second = database.session(5, str(tmp_path)), database.session(5, str(tmp_path))
    first.do("BEGIN")
    assert first.do("INSERT INTO rows (text) VALUES ('a')") == ""
    assert second.do("SET statement_timeout = '5s'") == ""
    assert second.do("INSERT INTO rows (text) VALUES ('b')") == ""
    first.do("COMMIT")
    first.close()
    second.close()


def test_many_writers_with_a_new_term_at_once(database):
    database.write(5)
    writers = [database.session(6, "/tmp") for _ in range(8)]
    for writer in writers:
        writer.send("INSERT INTO rows (text) VALUES ('six')")
    assert [writer.wait() for writer in writers] == [""] * 8
    for writer in writers:
        writer.close()
    assert database.psql("SELECT count(*) FROM rows WHERE text = 'six'") == "8"


def test_to_apply_it_again_changes_nothing_and_a_guard_can_be_changed_and_removed(database):
    database.write(7)
    database.psql(file=FENCE)
    assert database.psql("SELECT guarded, election, term FROM baton.status") == "rows|db|7"
    database.psql("SELECT baton.guard('rows', 'other')")
    database.write(3)
    assert database.psql("SELECT guarded, election, term FROM baton.status") == "rows|other|3"
    database.psql("SELECT baton.unguard('rows')")
    database.psql("INSERT INTO rows (text) VALUES ('free')")
    told = database.psql("SELECT baton.guard('nothing', 'db')", check=False)
    assert told.returncode != 0 and 'relation "nothing" does not exist' in told.stderr
    told = database.psql("SELECT baton.guard('rows', 'no/name')", check=False)
    assert told.returncode != 0 and "is no name of an election" in told.stderr


def test_who_may_write_but_owns_nothing_is_guarded_too(database):
    database.psql("CREATE ROLE app LOGIN", "GRANT INSERT, SELECT ON rows TO app",
                  "GRANT USAGE ON SEQUENCE rows_id_seq TO app")
    try:
        change = "INSERT INTO rows (text) VALUES ('x')"
        assert database.psql("SET ROLE app", change, options="-c baton.term=5") == ""
        told = database.psql("SET ROLE app", change, options="-c baton.term=4", check=False)
        assert "BT001" in told.stderr
        told = database.psql("SET ROLE app", "UPDATE baton.terms SET term = 1", check=False)
        assert "permission denied" in told.stderr
    finally:
        database.psql("DROP OWNED BY app", "DROP ROLE app")


# Knows nothing of baton: it inserts what it reads.
WRITER = """while read text
do psql -Xq -c "INSERT INTO rows (text) VALUES ('$text')" 2>&1 && echo "wrote $text"
done"""


def test_an_unmodified_program_is_fenced(world, database):
    first, second = os.pipe(), os.pipe()
    programs = []
    for name, (read, _) in zip("ab", (first, second)):
        script = f'echo "up $PGOPTIONS"; exec < /proc/{os.getpid()}/fd/{read}; ' + WRITER
        programs.append(world.start("run", "--fence=pg", "--ttl=60s", "--id", name, "db", "--", "sh", "-c", script,
                                    env={**database.env, "PGOPTIONS": "-c work_mem=1MB"}))
        if name == "a":
            programs[0].wait_line(r"^up -c work_mem=1MB -c baton.term=\d+$")
    os.write(first[1], b"one\n")
    programs[0].wait_line("^wrote one$")
    programs[0].signal(signal.SIGKILL)
    programs[1].wait_line(r"^up -c work_mem=1MB -c baton.term=\d+$")
    os.write(second[1], b"two\n")
    programs[1].wait_line("^wrote two$")
    assert database.psql("SELECT string_agg(text, ' ' ORDER BY id) FROM rows") == "one two"
    for read, write in (first, second):
        os.close(read)
        os.close(write)


def test_a_leader_frozen_between_its_check_and_its_write_is_refused(world, database, tmp_path):
    """Frozen with all that could have ended it, as a machine that stands still is; woken when another has written."""
    a = world.start("run", "--fence=pg", "--ttl=2s", "--grace=300ms", "--id", "a", "db", "--", "sh", "-c",
                    "echo \"up $BATON_TERM\"; exec sleep 1000", env=database.env)
    term = int(a.wait_line(r"^up (\d+)$")[0][1])
    session = database.session(term, str(tmp_path))  # what its command has open
    assert session.do("INSERT INTO rows (text) VALUES ('before')") == ""
    session.do("BEGIN")
    session.do("SELECT count(*) FROM rows")  # it has looked whether it may
    for pid in [pid for pid in world.marked() if pid != a.pid] + [a.pid]:
        os.kill(pid, signal.SIGSTOP)
    b = world.start("run", "--fence=pg", "--ttl=2s", "--grace=300ms", "--id", "b", "db", "--", "sh", "-c",
                    "psql -Xq -c \"INSERT INTO rows (text) VALUES ('after')\" && echo wrote; exec sleep 1000",
                    env=database.env)
    b.wait_line("^wrote$")
    assert "BT001" in session.do("INSERT INTO rows (text) VALUES ('stale')")
    session.close()
    assert database.psql("SELECT string_agg(text, ' ' ORDER BY id) FROM rows") == "before after"
