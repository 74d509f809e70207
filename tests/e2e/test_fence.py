"""A fence that a real PostgreSQL enforces (fence/postgresql.sql), also against a program that knows nothing of it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import LIMIT_S, TOP

sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from server import Server  # noqa: E402 pylint: disable=wrong-import-position

FENCE = os.path.join(TOP, "fence", "postgresql.sql")


@pytest.fixture(scope="module")
def postgres():
    with Server() as server:
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

    def wait_waiting(self):
        """Until a session waits for another one's lock."""
        deadline = time.monotonic() + LIMIT_S
        while self.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "0":
            assert time.monotonic() < deadline, "nobody waits"

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


@pytest.mark.parametrize("change", ["UPDATE baton.terms SET term = 9", "DELETE FROM baton.terms",
                                    "INSERT INTO baton.terms VALUES ('other', 3)", "SELECT baton.reset('db')",
                                    "SELECT baton.fence('db', 9)", "INSERT INTO rows (text) VALUES ('newer')"])
@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
def test_a_session_that_has_passed_looks_again_when_a_term_has_changed(database, tmp_path, change, ends):
    """However it has changed, and by whom. What was taken back has changed nothing."""
    session, other = database.session(7, tmp_path), database.session(9, tmp_path)
    for _ in range(3):  # the first is let through by the long way, the next by a shorter one
        session.do("INSERT INTO rows (text) VALUES ('x')")
    other.do("BEGIN")
    other.do(change)
    other.do(ends)
    refused = ends == "COMMIT" and "other" not in change and "DELETE" not in change and "reset" not in change
    for _ in range(2):
        told = session.do("INSERT INTO rows (text) VALUES ('y')")
        assert ("BT001" in told) == refused, told
    session.close()
    other.close()


@pytest.mark.parametrize("change", ["UPDATE rows SET text = 'y'", "DELETE FROM rows", "TRUNCATE rows",
                                    "INSERT INTO rows (text) VALUES ('y')", "COPY rows (text) FROM STDIN"])
def test_every_kind_of_change_is_guarded(database, change):
    database.write(7)
    told = database.psql(change, options="-c baton.term=6", check=False)
    assert told.returncode != 0 and "BT001" in told.stderr, told
    assert database.psql("SELECT count(*), min(text) FROM rows") == "1|x"


# What the guarded table is, and by which other table its rows are reached.
PARTED = ["CREATE TABLE parts (id int, text text) PARTITION BY LIST (id)",
          "CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1)",
          "CREATE TABLE part2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (text)",
          "CREATE TABLE part2x PARTITION OF part2 FOR VALUES IN ('x', 'y')"]
INHERITED = ["CREATE TABLE parts (id int, text text)", "CREATE TABLE part1 () INHERITS (parts)"]
CHANGES = ["INSERT INTO {0} VALUES ({1}, 'y')", "UPDATE {0} SET text = 'y' WHERE id = {1}", "DELETE FROM {0}",
           "TRUNCATE {0}", "SET session_replication_role = replica; DELETE FROM {0}",
           "MERGE INTO {0} USING (VALUES ({1})) AS v(n) ON id = n WHEN MATCHED THEN DELETE"]


@pytest.mark.parametrize("tables,guarded,named,row", [
    (PARTED, "parts", "part1", 1), (PARTED, "parts", "part2", 2), (PARTED, "parts", "part2x", 2),
    (PARTED, "part1", "parts", 1), (PARTED, "part2", "parts", 2), (PARTED, "part2x", "parts", 2),
    (PARTED, "part2x", "part2", 2), (PARTED, "part2", "part2x", 2), (INHERITED, "parts", "part1", 1)])
def test_there_is_no_way_around_by_the_name_of_a_partition_or_of_its_parent(database, tables, guarded, named, row):
    database.psql(*tables, f"INSERT INTO {named} VALUES ({row}, 'x')", f"SELECT baton.guard('{guarded}', 'db')")
    database.write(7)
    for change in CHANGES:
        told = database.psql(*change.format(named, row).split("; "), options="-c baton.term=6", check=False)
        assert told.returncode != 0 and "BT001" in told.stderr, (change, told)
        told = database.psql(*change.format(named, row).split("; "), check=False)
        assert told.returncode != 0 and "BT002" in told.stderr, (change, told)
    assert database.psql("SELECT * FROM parts") == f"{row}|x"
    for change in CHANGES:
        database.psql(*change.format(named, row).split("; "), options="-c baton.term=7")


@pytest.mark.parametrize("change", CHANGES[1:5])
def test_there_is_no_way_around_by_the_name_of_what_a_table_inherits_from(database, change):
    database.psql(*INHERITED, "INSERT INTO part1 VALUES (1, 'x')", "SELECT baton.guard('part1', 'db')")
    database.write(7)
    told = database.psql(*change.format("parts", 1).split("; "), options="-c baton.term=6", check=False)
    assert told.returncode != 0 and "BT001" in told.stderr, (change, told)
    database.psql("INSERT INTO parts VALUES (1, 'free')")  # it is not guarded itself
    assert database.psql("SELECT count(*) FROM parts") == "2"


def test_a_partition_that_comes_later_is_guarded_too(database):
    database.psql(*PARTED, "SELECT baton.guard('parts', 'db')",
                  "CREATE TABLE part3 PARTITION OF parts FOR VALUES IN (3)", "CREATE TABLE part4 (id int, text text)",
                  "ALTER TABLE parts ATTACH PARTITION part4 FOR VALUES IN (4)")
    database.write(7)
    for part in (3, 4):
        database.psql(f"INSERT INTO part{part} VALUES ({part}, 'x')", options="-c baton.term=7")
        for change in CHANGES[:3] + CHANGES[4:]:
            told = database.psql(*change.format(f"part{part}", part).split("; "), options="-c baton.term=6",
                                 check=False)
            assert told.returncode != 0 and "BT001" in told.stderr, (change, told)


def test_the_guard_of_a_whole_is_changed_and_taken_away_as_a_whole(database):
    database.psql(*PARTED, "SELECT baton.guard('parts', 'db')")
    told = database.psql("SELECT baton.unguard('part1')", check=False)
    assert "BT005" in told.stderr and "belongs to public.parts, which is guarded" in told.stderr, told
    told = database.psql("SELECT baton.guard('part2x', 'other')", check=False)
    assert "BT005" in told.stderr, told
    database.psql("SELECT baton.guard('parts', 'other')")
    assert database.psql("SELECT DISTINCT election FROM baton.status WHERE guarded <> 'rows'::regclass") == "other"
    database.psql("SELECT baton.unguard('parts')", "INSERT INTO parts VALUES (1, 'x')", "DELETE FROM part1")
    assert database.psql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'baton_guard%'") == "1"  # that of rows


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_rows_of_a_transaction_that_was_let_through_are_let_through(two, database, level):
    """And what was let through within a savepoint is over with it."""
    old, new = two
    database.psql(*PARTED, "SELECT baton.guard('part1', 'db')")
    old.do(f"BEGIN ISOLATION LEVEL {level}")
    old.do("SAVEPOINT before")
    assert old.do("INSERT INTO parts SELECT 1, 'x' FROM generate_series(1, 1000)") == ""
    assert old.do("INSERT INTO parts SELECT 1, 'x' FROM generate_series(1, 1000)") == ""
    new.send("INSERT INTO rows (text) VALUES ('new')")
    database.wait_waiting()
    old.do("ROLLBACK TO SAVEPOINT before")
    assert new.wait() == ""
    refused = old.do("INSERT INTO parts VALUES (1, 'late')")
    assert ("BT001" if level == "READ COMMITTED" else "40001") in refused, refused
    old.do("ROLLBACK")
    assert database.psql("SELECT count(*) FROM parts") == "0"


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


LEVELS = ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


def write_once(session, term, chance):
    """One transaction: its statements, up to the first that is refused. Under SERIALIZABLE the server may refuse any
    of them for what others wrote meanwhile (40001); only the insert is refused for its term."""
    if chance.random() < 0.3:
        yield session.do("SELECT count(*) FROM log"), ("40001",)
    if chance.random() < 0.3:
        yield session.do("SELECT pg_sleep(random() * 0.02)"), ("40001",)
    # Its number is taken after it was let through: in the order of commits, but for who shares a term.
    yield session.do(f"INSERT INTO log (term) VALUES ({term})"), ("BT001", "40001")
    if chance.random() < 0.3:
        yield session.do("SELECT pg_sleep(random() * 0.02)"), ("40001",)


def write_much(database, folder, seed):
    """A writer whose leader changes at times; it stands still here and there within a transaction."""
    chance = random.Random(seed)
    for _ in range(6):
        term = chance.randint(1, 12)
        session = database.session(term, folder)
        for _ in range(5):
            session.do(f"BEGIN ISOLATION LEVEL {chance.choice(LEVELS)}")
            for said, allowed in write_once(session, term, chance):
                if "ERROR" in said:
                    assert any(state in said for state in allowed), said
                    break
            session.do("COMMIT" if chance.random() < 0.8 else "ROLLBACK")
        session.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_terms_only_grow_in_the_order_of_commits(database, tmp_path, seed):
    """Many writers of any term under any isolation level, and a reader that sees each state of the log."""
    database.psql("CREATE TABLE log (id serial, term bigint)", "SELECT baton.guard('log', 'db')")
    failures = []

    def run(number):
        try:
            write_much(database, str(tmp_path), seed * 100 + number)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    reader = database.session(0, str(tmp_path))
    reader.do("SET statement_timeout = '20s'")
    seen, newest = set(), 0
    while any(thread.is_alive() for thread in threads):
        now = dict(line.split("|") for line in reader.do("SELECT id, term FROM log").split())
        # What was committed since it looked last is not older than what it saw then.
        assert all(int(now[number]) >= newest for number in now.keys() - seen), (seen, now)
        seen, newest = set(now), max(map(int, now.values()), default=0)
    reader.close()
    for thread in threads:
        thread.join()
    assert not failures, failures
    terms = [int(term) for term in database.psql("SELECT term FROM log ORDER BY id").split()]
    assert terms == sorted(terms) and len(terms) > 5


def test_readers_do_not_wait_for_writers_nor_for_leaders_that_wait(two, database, tmp_path):
    old, new = two
    old.do("BEGIN")
    assert old.do("INSERT INTO rows (text) VALUES ('old')") == ""
    for waits in (False, True):
        if waits:
            new.send("INSERT INTO rows (text) VALUES ('new')")
            database.wait_waiting()
        reader = database.session(0, str(tmp_path))
        reader.do("SET statement_timeout = '10s'")
        for level in LEVELS:
            reader.do(f"BEGIN ISOLATION LEVEL {level}")
            assert reader.do("SELECT text FROM rows") == "x"
            assert reader.do("SELECT term FROM baton.terms") == "5"
            reader.do("COMMIT")
        reader.close()
    old.do("COMMIT")
    assert new.wait() == ""


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


@pytest.fixture
def roles(database):
    """`app` may write to the guarded table; `stranger` may not."""
    database.psql("CREATE ROLE app LOGIN", "CREATE ROLE stranger LOGIN", "GRANT INSERT, SELECT ON rows TO app",
                  "GRANT USAGE ON SEQUENCE rows_id_seq TO app", "GRANT CREATE ON SCHEMA public TO stranger")
    yield database
    database.psql("DROP OWNED BY app, stranger", "DROP ROLE app, stranger")


def as_role(database, role, *statements, **kwargs):
    return database.psql(f"SET SESSION AUTHORIZATION {role}", *statements, check=False, **kwargs)


def test_a_stranger_cannot_shut_the_leader_out(roles):
    roles.write(7)
    huge = "9007199254740991"
    for attempt in ((f"SELECT baton.fence('db', {huge})",), ("SELECT baton.fence('db')",),
                    ("SELECT baton.reset('db')",),
                    ("CREATE TEMP TABLE mine (x int)", "SELECT baton.guard('mine', 'db')",
                     "INSERT INTO mine VALUES (1)"),
                    ("CREATE TABLE mine (x int)", "CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT "
                     "EXECUTE FUNCTION baton.check_change('db')", "INSERT INTO mine VALUES (1)"),
                    ("INSERT INTO rows (text) VALUES ('x')",), ("DELETE FROM baton.terms",)):
        told = as_role(roles, "stranger", *attempt, options=f"-c baton.term={huge}")
        assert told.returncode != 0 and "permission denied" in told.stderr, (attempt, told)
    assert roles.psql("SELECT term FROM baton.terms WHERE election = 'db'") == "7"


def test_a_writer_needs_no_other_right_and_a_program_that_asks_itself_is_given_it(roles):
    assert as_role(roles, "app", "INSERT INTO rows (text) VALUES ('x')", options="-c baton.term=7").returncode == 0
    assert "BT001" in as_role(roles, "app", "INSERT INTO rows (text) VALUES ('x')", options="-c baton.term=6").stderr
    assert "permission denied" in as_role(roles, "app", "SELECT baton.fence('db', 8)").stderr
    roles.psql("GRANT EXECUTE ON FUNCTION baton.fence(text), baton.fence(text, bigint) TO app")
    assert as_role(roles, "app", "SELECT baton.fence('db', 8)").returncode == 0
    roles.psql(file=FENCE)  # to apply it again takes no right away
    assert as_role(roles, "app", "SELECT baton.fence('db')", options="-c baton.term=9").returncode == 0


def test_the_owner_of_a_table_guards_it_when_given_the_right(roles):
    make = ("CREATE TABLE mine (id int) PARTITION BY LIST (id)", "SELECT baton.guard('mine', 'my-own')",
            "CREATE TABLE mine1 PARTITION OF mine FOR VALUES IN (1)", "INSERT INTO mine1 VALUES (1)")
    told = as_role(roles, "stranger", *make, options="-c baton.term=7")
    assert "permission denied for function baton.check_change" in told.stderr, told
    roles.psql("DROP TABLE mine", "GRANT EXECUTE ON FUNCTION baton.check_change() TO stranger")
    assert as_role(roles, "stranger", *make, options="-c baton.term=7").returncode == 0
    assert "BT001" in as_role(roles, "stranger", "DELETE FROM mine1", options="-c baton.term=6").stderr


def test_a_writers_own_search_path_does_not_matter(roles):
    """The trigger has its owner's rights: nothing of the writer's may be called in it."""
    roles.psql("CREATE SCHEMA evil AUTHORIZATION app")
    told = as_role(roles, "app", "CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS "
                   "$$ BEGIN RAISE EXCEPTION 'called'; END $$", "SET search_path = evil, pg_catalog, public",
                   "INSERT INTO rows (text) VALUES ('x')", options="-c baton.term=7")
    assert told.returncode == 0, told


def test_a_term_is_forgotten_and_the_next_one_counts(database, tmp_path):
    database.write(900)
    holder = database.session(900, str(tmp_path))
    holder.do("BEGIN")
    assert holder.do("INSERT INTO rows (text) VALUES ('open')") == ""
    other = database.session(3, str(tmp_path))
    other.send("SELECT baton.reset('db')")
    database.wait_waiting()  # for who was let through
    holder.do("COMMIT")
    assert other.wait() == "t"
    assert other.do("INSERT INTO rows (text) VALUES ('three')") == ""
    assert other.do("SELECT baton.reset('none')") == "f"
    assert database.psql("SELECT term FROM baton.terms") == "3"
    holder.close()
    other.close()


def test_the_term_of_another_election_is_refused(database):
    database.write(7)
    told = database.psql("INSERT INTO rows (text) VALUES ('x')", check=False,
                         options="-c baton.term=900 -c baton.election=other")
    assert told.returncode != 0 and "BT004" in told.stderr and "of the election other, not of db" in told.stderr, told
    database.psql("INSERT INTO rows (text) VALUES ('x')", options="-c baton.term=8 -c baton.election=db")
    assert database.psql("SELECT term FROM baton.terms") == "8"
    told = database.psql("INSERT INTO rows (text) VALUES ('x')", "SET baton.election = 'other'",  # it has passed before
                         "INSERT INTO rows (text) VALUES ('x')", options="-c baton.term=8 -c baton.election=db",
                         check=False)
    assert told.returncode != 0 and "BT004" in told.stderr, told


def test_the_server_ends_a_transaction_that_stands_open_so_that_the_next_leader_goes_on(two):
    old, new = two
    old.do("SET idle_in_transaction_session_timeout = '1s'")
    old.do("BEGIN")
    assert old.do("INSERT INTO rows (text) VALUES ('old')") == ""  # and here it stands still
    assert new.do("SET lock_timeout = '20s'") == ""
    assert new.do("INSERT INTO rows (text) VALUES ('new')") == ""  # it has waited for that
    assert "57P05" in old.do("COMMIT") or old.psql.wait(LIMIT_S) != 0
    assert new.do("SELECT string_agg(text, ', ' ORDER BY text) FROM rows") == "new, x"


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
            programs[0].wait_line(r"^up -c work_mem=1MB -c baton.term=\d+ -c baton.election=db$")
    os.write(first[1], b"one\n")
    programs[0].wait_line("^wrote one$")
    programs[0].signal(signal.SIGKILL)
    programs[1].wait_line(r"^up -c work_mem=1MB -c baton.term=\d+ -c baton.election=db$")
    os.write(second[1], b"two\n")
    programs[1].wait_line("^wrote two$")
    assert database.psql("SELECT string_agg(text, ' ' ORDER BY id) FROM rows") == "one two"
    for read, write in (first, second):
        os.close(read)
        os.close(write)


def arguments(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read().split("\0")


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_leader_frozen_between_its_check_and_its_write_is_refused(world, database, level):
    """Its command opens the connection, and is frozen with all that could have ended it, as a machine that stands still
    is; woken when another one has written."""
    orders = os.path.join(world.folder, "orders")
    os.mkfifo(orders)
    script = f"""(echo "BEGIN ISOLATION LEVEL {level};"; echo "SELECT 'rows', count(*) FROM rows;"; cat {orders}) |
        psql -XAtq -v VERBOSITY=sqlstate 2>&1"""

    def stand(name, command):
        return world.start("run", "--fence=pg", "--ttl=2s", "--grace=300ms", "--id", name, "db", "--", "sh", "-c",
                           command, env=database.env)

    a = stand("a", script)
    a.wait_line(r"^rows\|0$")  # it has looked
    frozen = world.marked()
    for pid in [pid for pid in frozen if pid != a.pid] + [a.pid]:
        os.kill(pid, signal.SIGSTOP)
    b = stand("b", "psql -Xq -c \"INSERT INTO rows (text) VALUES ('after')\" && echo wrote; exec sleep 1000")
    b.wait_line("^wrote$")
    # Only the command is woken: nobody ends it.
    for pid in frozen:
        if arguments(pid)[0] in ("cat", "sh", "psql") or arguments(pid)[0].endswith("/psql"):
            os.kill(pid, signal.SIGCONT)
    with open(orders, "w", encoding="ascii") as file:
        file.write("INSERT INTO rows (text) VALUES ('stale');\nCOMMIT;\n")
    a.wait_line("BT001" if level == "READ COMMITTED" else "40001")
    assert database.psql("SELECT string_agg(text, ' ' ORDER BY id) FROM rows") == "after"
