"""`baton fence` on a real PostgreSQL and on SQLite."""

import os
import re
import sqlite3
import sys

import pytest

from conftest import BATON, TOP

sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from server import Server  # noqa: E402 pylint: disable=wrong-import-position

EXTENSION = os.path.join(os.path.dirname(BATON), "fence", "baton-fence-sqlite")


@pytest.fixture(scope="module")
def postgres():
    with Server() as server:
        yield server


class OnPostgres:
    """A database with a table, and how a writer writes to it."""

    def __init__(self, server):
        self.server = server
        server.psql("DROP DATABASE IF EXISTS test WITH (FORCE)", "CREATE DATABASE test")
        self.url = f"postgresql:///test?host={server.env['PGHOST']}&user={server.env['PGUSER']}"
        self.sql("CREATE TABLE orders (id serial PRIMARY KEY, text text NOT NULL)")

    def sql(self, *statements, **kwargs):
        return self.server.psql(*statements, database="test", **kwargs)

    def write(self, term):
        """Whether it was let in."""
        return self.sql("INSERT INTO orders (text) VALUES ('x')", options=f"-c baton.term={term}" if term else "",
                        check=False).returncode == 0

    def rows(self):
        return int(self.sql("SELECT count(*) FROM orders"))


class OnSqlite:
    def __init__(self, folder):
        self.path = os.path.join(folder, "data.db")
        self.url = f"sqlite:{self.path}"
        self.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def sql(self, statement):
        with sqlite3.connect(self.path) as database:
            return database.execute(statement).fetchall()

    def write(self, term):
        database = sqlite3.connect(self.path)
        database.enable_load_extension(True)
        database.load_extension(EXTENSION)
        before = os.environ.pop("BATON_TERM", None)
        if term:
            os.environ["BATON_TERM"] = str(term)
        try:
            with database:
                database.execute("INSERT INTO orders (text) VALUES ('x')")
            return True
        except sqlite3.Error:
            return False
        finally:
            os.environ.pop("BATON_TERM", None)
            if before is not None:
                os.environ["BATON_TERM"] = before
            database.close()

    def rows(self):
        return self.sql("SELECT count(*) FROM orders")[0][0]


@pytest.fixture(params=["postgresql", "sqlite"])
def database(request, tmp_path):
    if request.param == "sqlite" and ("asan" in BATON or "tsan" in BATON):
        pytest.skip("a sanitizer must be in the program that loads the extension, too")
    if request.param == "sqlite":
        return OnSqlite(str(tmp_path))
    return OnPostgres(request.getfixturevalue("postgres"))


def fence(world, *args):
    return world.run("fence", *args)


def test_a_fence_from_its_beginning_to_its_end(world, database):
    url = database.url
    told = fence(world, "status", url)
    assert told.code == 66 and "baton fence install puts one up" in told.err
    assert fence(world, "install", url).code == 0
    assert "no table is guarded" in fence(world, "status", url).out
    assert database.write(None)
    assert fence(world, "guard", url, "orders", "db-writer").code == 0
    assert fence(world, "status", "--json", url).objects == [
        {"table": "orders", "election": "db-writer", "term": None, "since": None}]
    assert not database.write(None)
    assert database.write(7) and not database.write(6) and database.write(8) and not database.write(7)
    assert fence(world, "status", "--json", url).objects[0]["term"] == 8
    assert re.search(r"^orders +db-writer +8 ", fence(world, "status", url).out, re.M)
    told = fence(world, "install", url)  # again: nothing is forgotten
    assert told.code == 0 and "was there, version 2" in told.out
    assert not database.write(7)
    assert fence(world, "unguard", url, "orders").code == 0
    assert database.write(None)
    assert fence(world, "guard", url, "orders", "other").code == 0
    assert fence(world, "guard", url, "orders", "db-writer").code == 0  # another election: the last one counts
    assert not database.write(7) and database.write(8)
    assert fence(world, "remove", url).code == 0
    assert database.write(None) and database.rows() == 6
    assert fence(world, "status", url).code == 66


def test_it_is_proved_on_the_users_own_table_and_nothing_is_left(world, database):
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db-writer").code == 0
    for term in (None, 41):
        if term:
            assert database.write(term)
        told = fence(world, "test", database.url, "orders")
        assert told.code == 0 and "an older one is refused: yes" in told.out and "is over" in told.out, told
        proofs = fence(world, "test", "--json", database.url, "orders").objects
        assert len(proofs) == (1 if isinstance(database, OnSqlite) else 3)
        assert all(proof[name] for proof in proofs
                   for name in ("newest_passes", "older_is_refused", "no_term_is_refused", "is_whole"))
        assert fence(world, "status", "--json", database.url).objects[0]["term"] == term
    assert database.rows() == 1 and database.write(41)


def test_a_guard_that_does_not_do_what_it_should_is_found(world, database):
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db-writer").code == 0
    if isinstance(database, OnSqlite):
        trigger = database.sql("SELECT sql FROM sqlite_schema WHERE name = 'baton_guard_orders_INSERT'")[0][0]
        database.sql("DROP TRIGGER baton_guard_orders_INSERT")
        database.sql(trigger.replace("term > baton_term()", "term < 0"))
    else:
        database.sql("CREATE OR REPLACE FUNCTION baton.fence(of_election text, with_term bigint) RETURNS void "
                     "LANGUAGE sql AS ''")
    told = fence(world, "test", database.url, "orders")
    assert told.code == 1 and "an older one is refused: NO" in told.out and "does not do what it should" in told.err


def test_bad_input(world, database):
    url = database.url
    assert fence(world, "install", url).code == 0
    for args, code, words in (
            (("guard", url, "none", "db"), 66, "none"),
            (("test", url, "none"), 66, "none"),
            (("test", url, "orders"), 66, "is not guarded"),
            (("unguard", url, "orders"), 66, "is not guarded"),
            (("guard", url, "orders", "no name!"), 64, "is not legal"),
            (("guard", url, "orders"), 64, "baton fence guard URL TABLE ELECTION"),
            (("status", url, "orders"), 64, "that is too much; it is baton fence status URL"),
            (("reset", url, "no name!"), 64, "is not legal"),
            (("reset", url), 64, "baton fence reset URL ELECTION"),
            (("sabre", url), 64, "there is no 'sabre'"),
            (("status", "mysql://x/y"), 64, "this URL begins otherwise"),
            ((), 64, "VERB and URL are missing"), (("status",), 64, "missing: URL; it is"),
            (("guard", url), 64, "missing: TABLE ELECTION; it is")):
        told = fence(world, *args)
        assert told.code == code and words in told.err and told.out == "", (args, told)


def test_databases_that_cannot_be_used(world, tmp_path, postgres):
    there = OnPostgres(postgres)
    for url, code, words in (
            ("sqlite:", 64, "needs the path"),
            (f"sqlite:{tmp_path}/none.db", 66, "there is no database"),
            (f"sqlite:{BATON}", 65, "file is not a database"),
            ("postgresql://127.0.0.1:1/x", 69, "Connection refused"),
            ("postgresql://127.0.0.1:1/x?nonsense=1", 64, "nonsense"),
            (there.url.replace("/test?", "/none?"), 66, 'database "none" does not exist'),
            # Its code counts, not its words.
            (there.url.replace("/test?", "/authentication?"), 66, "SQLSTATE 3D000"),
            (re.sub("user=.*", "user=stranger", there.url), 77, "SQLSTATE 28000")):
        told = fence(world, "status", "--engine-timeout=2s", url)
        assert told.code == code and words in told.err, told
    there.sql("DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody LOGIN")
    told = fence(world, "install", re.sub("user=.*", "user=nobody", there.url))
    assert told.code == 77 and "permission denied" in told.err, told
    assert fence(world, "install", there.url).code == 0
    told = fence(world, "guard", re.sub("user=.*", "user=nobody", there.url), "orders", "db")
    assert told.code == 77 and "permission denied" in told.err, told
    assert fence(world, "guard", there.url, "orders", "db").code == 0
    told = fence(world, "test", re.sub("user=.*", "user=nobody", there.url), "orders")
    assert told.code == 77 and "permission denied for table orders" in told.err, told


class Version:
    """What is installed there says that it is of another version."""

    def __init__(self, database):
        self.database = database

    def set(self, number):
        if isinstance(self.database, OnSqlite):
            self.database.sql("DROP VIEW baton_version")
            self.database.sql(f"CREATE VIEW baton_version AS SELECT {number} AS version")
        else:
            self.database.sql("CREATE OR REPLACE FUNCTION baton.version() RETURNS integer LANGUAGE sql IMMUTABLE "
                              f"AS 'SELECT {number}'")


VERBS = (("status",), ("guard", "orders", "db"), ("unguard", "orders"), ("test", "orders"), ("reset", "db"),
         ("remove",))


def test_a_newer_version_is_left_alone(world, database):
    assert fence(world, "install", database.url).code == 0
    Version(database).set(3)
    for verb, *operands in (*VERBS, ("install",)):
        told = fence(world, verb, database.url, *operands)
        assert told.code == 76 and "is of version 3, of a newer baton; this one knows version 2" in told.err, told


def test_an_older_version_is_made_this_one(world, database):
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    assert database.write(3)
    Version(database).set(1)
    for verb, *operands in VERBS:
        told = fence(world, verb, database.url, *operands)
        assert told.code == 75 and "is of version 1; baton fence install makes it version 2" in told.err, told
    assert not database.write(2)
    told = fence(world, "install", database.url)
    assert told.code == 0 and "was there, version 1; it is of version 2" in told.out
    assert fence(world, "status", "--json", database.url).objects[0]["term"] == 3
    assert not database.write(2) and database.write(3)


def test_a_guard_of_the_first_version_in_sqlite_is_made_this_ones(world, tmp_path):
    """It had a table of terms, and triggers that did not ask whose the term was."""
    database = OnSqlite(str(tmp_path))
    database.sql("CREATE TABLE baton_terms (election TEXT PRIMARY KEY NOT NULL, term INTEGER NOT NULL) WITHOUT ROWID")
    for change in ("INSERT", "UPDATE", "DELETE"):
        database.sql(f"""CREATE TRIGGER "baton_guard_orders_{change}" BEFORE {change} ON "orders" BEGIN
            INSERT INTO baton_terms (election, term) VALUES ('db', baton_term())
            ON CONFLICT (election) DO NOTHING; END""")
    assert fence(world, "status", database.url).code == 75
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "status", "--json", database.url).objects[0]["election"] == "db"
    triggers = database.sql("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")
    assert len(triggers) == 3 and all("baton_term('db')" in sql for (sql,) in triggers)


def test_a_guard_of_the_first_version_in_postgresql_is_made_whole(world, postgres):
    database = OnPostgres(postgres)
    assert fence(world, "install", database.url).code == 0
    database.sql("CREATE TABLE parts (id int) PARTITION BY LIST (id)",
                 "CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1)",
                 "CREATE TRIGGER baton_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON parts FOR EACH STATEMENT "
                 "EXECUTE FUNCTION baton.check_change('db')")
    database.sql("INSERT INTO part1 VALUES (1)")  # around it
    Version(database).set(1)
    assert fence(world, "install", database.url).code == 0
    told = database.sql("INSERT INTO part1 VALUES (1)", check=False)
    assert told.returncode != 0 and "BT002" in told.stderr
    assert fence(world, "test", database.url, "parts").code == 0


def test_a_way_around_a_guard_is_found(world, postgres):
    database = OnPostgres(postgres)
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    for make in ("CREATE TABLE newer () INHERITS (orders)",
                 "CREATE TABLE above (id int NOT NULL, text text NOT NULL); ALTER TABLE orders INHERIT above"):
        database.sql(*make.split("; "))
        told = fence(world, "test", database.url, "orders")
        assert told.code == 1 and "there is a way around the guard of 'orders'" in told.err, told
        proof = fence(world, "test", "--json", database.url, "orders").objects[0]
        assert not proof["is_whole"] and proof["hole"] == "newer", proof  # the first one
        assert fence(world, "guard", database.url, "orders", "db").code == 0
        assert fence(world, "test", database.url, "orders").code == 0
    told = fence(world, "unguard", database.url, "newer")
    assert told.code == 75 and "belongs to public.orders, which is guarded" in told.err, told
    assert fence(world, "unguard", database.url, "orders").code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    assert fence(world, "remove", database.url).code == 0  # with all parts at once
    assert database.write(None)


def test_the_terms_of_an_election_are_forgotten(world, database):
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    told = fence(world, "reset", database.url, "db")
    assert told.code == 66 and "no term of 'db' was seen" in told.err, told
    assert database.write(900) and not database.write(3)
    told = fence(world, "reset", database.url, "db")
    assert told.code == 0 and "the terms of db are forgotten" in told.out, told
    assert not database.write(None)
    assert database.write(3) and not database.write(2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_without_the_right_to_write_to_the_file(world):
    check_denied(world, BATON)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_another_user_without_the_right_to_write_to_the_file(open_world):
    check_denied(open_world, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", open_world.baton)


def check_denied(world, *command):
    """One that it may read; nothing is changed."""
    database = OnSqlite(world.folder)
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    os.chmod(database.path, 0o444)
    for verb, *operands in (("install",), ("guard", "orders", "other"), ("unguard", "orders"), ("test", "orders"),
                            ("remove",)):
        told = world.run_command([*command, "fence", verb, database.url, *operands])
        assert told.code == 77 and "attempt to write a readonly database" in told.err, (verb, told)
    told = world.run_command([*command, "fence", "status", "--json", database.url])
    assert told.code == 0 and told.objects[0]["election"] == "db", told


def test_what_others_have_built_upon_it_keeps_it(world, postgres):
    database = OnPostgres(postgres)
    assert fence(world, "install", database.url).code == 0
    assert fence(world, "guard", database.url, "orders", "db").code == 0
    database.sql("CREATE VIEW mine AS SELECT * FROM baton.terms")
    told = fence(world, "remove", database.url)
    assert told.code == 75 and "other objects depend on it" in told.err, told
    assert not database.write(None)  # nothing has changed


def test_a_password_is_not_told(world):
    told = fence(world, "status", "--engine-timeout=1s", "postgresql://me:secret@127.0.0.1:1/x")
    assert told.code == 69 and "secret" not in told.err
