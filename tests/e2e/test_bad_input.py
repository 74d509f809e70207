"""What can be wrong, and the exact words and exit code that it gets.

Where a case needs another user or a file system of its own, it runs in namespaces that the test makes (as root: mounts
and setpriv; otherwise in a user namespace of its own).
"""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import time

import pytest

from conftest import BATON, LIMIT_S
from fuse import FuseMount

ROOT = os.geteuid() == 0
NEED_ROOT = pytest.mark.skipif(not ROOT, reason="needs root: another user, or a mount")
NO_SCHEME = "is not legal: it must begin with an engine and a colon, as in local:/var/lib/baton"
NAME_WORDS = "is not one of A-Z a-z 0-9 . _ - : @ +"


def usage(command, words):
    return f"baton {command}: {words}; see baton {command} --help\n"


# ---- the engine ----

@pytest.mark.parametrize("args", [
    "run db -- true", "elect db", "lock db -- true", "once db -- true", "status", "watch db", "hold db", "release db",
    "transfer db", "history db", "once list", "lock --describe db", "gate --listen 127.0.0.1:0 db"])
def test_the_engine_of_one_process_is_for_no_command(world, args):
    """Two would hold one lock at once."""
    words = "the engine 'memory' is within one process, so nobody else would know of this command"
    for told in (world.run(args.split()[0], "--url", "memory:x", *args.split()[1:]),
                 world.run(*args.split(), env={"BATON_URL": "memory:x"})):
        assert told.code == 64 and told.out == "" and words in told.err, told
    assert world.run("version", env={"BATON_URL": "memory:x"}).code == 0


def test_an_engine_that_does_not_exist_is_told_which_do(world):
    told = world.run("status", "--url", "etdc://h/x")
    assert told.code == 78 and "this baton knows: local, etcd" in told.err and "memory" not in told.err, told


# ---- the command line ----

@pytest.mark.parametrize("args, words", [
    (["db"], "there is no command, as in baton run db -- ./job"),
    (["db", "--"], "there is no command, as in baton run db -- ./job"),
    (["--"], "NAME is missing"),
    ([], "NAME is missing"),
    (["--", "true"], "NAME is missing"),
    (["--foo", "db", "--", "true"], "unknown option '--foo'"),
    (["db", "--foo", "--", "true"], "unknown option '--foo'"),
    (["--restart", "sometimes", "db", "--", "true"],
     "--restart: 'sometimes' is none of never|on-failure|always"),
    (["--priority", "1001", "db", "--", "true"],
     "--priority: '1001' is no whole number from -1000 to 1000"),
    (["--priority", "high", "db", "--", "true"],
     "--priority: 'high' is no whole number from -1000 to 1000"),
    (["--ttl", "soon", "db", "--", "true"],
     "--ttl: 'soon' is no duration; write it like 500ms, 10s, 1.5m, 2h or 30d"),
])
def test_run_without_what_it_needs(world, args, words):
    told = world.run("run", *args)
    assert (told.code, told.out, told.err) == (64, "", usage("run", words))
    assert os.listdir(world.state) == []


NAMES = [
    ("", "is empty; it needs 1 to 128 characters"),
    ("x" * 129, "is too long: 129 bytes, at most 128 are allowed"),
    ("a b", f"'a b' is not legal: character 2 {NAME_WORDS}"),
    ("a/b", f"'a/b' is not legal: character 2 {NAME_WORDS}"),
    ("dömäne", f"'dömäne' is not legal: character 2 {NAME_WORDS}"),
    (".a", "'.a' is not legal: it must begin with a letter or a digit"),
    ("a\nb", f"'a?b' is not legal: character 2 {NAME_WORDS}"),
]


@pytest.mark.parametrize("command", ["run", "elect", "status", "watch", "history", "transfer", "hold", "release",
                                     "lock", "gate"])
@pytest.mark.parametrize("name, words", NAMES)
def test_a_name_that_cannot_be(world, command, name, words):
    more = {"run": ["--", "true"], "lock": ["true"], "gate": ["--listen", "127.0.0.1:0"]}
    told = world.run(command, name, *more.get(command, []))
    if command == "lock" and "/" in name:  # of a file, as for flock(1); its folder is not there
        assert told.code == 66 and "the lock's file 'a/b'" in told.err, told
        return
    if command == "lock" and name.startswith("."):
        assert told.code == 0, told
        return
    if command == "lock" and "not legal" in words:
        words += "; a file's path has a slash, as in ./FILE"
    assert (told.code, told.out, told.err) == (64, "", usage(command, f"the name {words}"))


@pytest.mark.parametrize("name, words", NAMES)
def test_an_id_that_cannot_be(world, name, words):
    told = world.run("run", "--id", name, "db", "--", "true")
    assert (told.code, told.out, told.err) == (64, "", usage("run", f"--id {words}"))


def test_the_longest_name_and_id_are_taken(world):
    name = "n" * 128
    world.watch(name)
    changes = world.watch(name)
    world.stand(name, "i" * 128)
    changes.wait_object(change="lead", id="i" * 128)


@pytest.mark.parametrize("url, code, words", [
    ("nonsense", 64, f"URL 'nonsense' {NO_SCHEME}"),
    (":x", 64, f"URL ':x' {NO_SCHEME}"),
    ("local:x", 64, "URL 'local:x' is not legal: after local: comes nothing, or an absolute path"),
    ("local:/dev/null", 64, "local: /dev/null is not a directory"),
])
@pytest.mark.parametrize("command", [["status"], ["watch"], ["run", "db", "--", "true"]])
def test_a_url_that_cannot_be(world, command, url, code, words):
    for told in (world.run(*command, env={"BATON_URL": url}), world.run(command[0], "--url", url, *command[1:])):
        assert (told.code, told.out, told.err) == (code, "", f"baton: {words}\n")


def url_of_length(world, length):
    """A legal one: slashes may be repeated."""
    return "local:" + "/" * (length - len("local:") - len(world.state) + 1) + world.state[1:]


def test_a_url_that_is_too_long(world):
    for command in (["status"], ["run", "db", "--", "true"], ["lock", "x", "--", "true"]):
        told = world.run(*command, env={"BATON_URL": url_of_length(world, 961)})
        assert (told.code, told.out) == (64, ""), told
        assert told.err == "baton: the URL is too long: 961 bytes, at most 960 are allowed\n"


@pytest.mark.parametrize("command", [["run"], ["lock"], ["once"], ["elect", "--on-lead"]])
def test_a_command_gets_the_longest_url_whole(world, command):
    url = url_of_length(world, 960)
    say = 'echo "URL $BATON_URL"'
    rest = [say, "db"] if command[0] == "elect" else ["db", "--", "sh", "-c", say]
    process = world.start(*command, *rest, env={"BATON_URL": url})
    process.wait_line(f"^URL {re.escape(url)}$")


def test_an_empty_url_is_not_taken_for_the_default(world):
    told = world.run("status", "--url", "")
    assert (told.code, told.out) == (64, "")
    assert told.err == usage("status", "--url is empty; without it, it is $BATON_URL, else local:")


@pytest.mark.parametrize("command", [
    ["status"], ["watch"], ["run", "db", "--", "true"], ["lock", "x", "--", "true"], ["once", "x", "--", "true"],
    ["elect", "--on-lead", "true", "db"], ["hold", "db"], ["gate", "--listen", "127.0.0.1:0", "db"],
], ids=lambda command: command[0])
def test_an_empty_variable_is_not_taken_for_the_default(world, command):
    told = world.run(*command, env={"BATON_URL": ""})
    assert (told.code, told.out) == (64, "")
    assert told.err.splitlines()[-1] == "baton: BATON_URL is set, and empty; name an engine, or unset it for local:"


def test_an_unknown_scheme(world):
    told = world.run("status", "--url", "foo://h/x")
    assert (told.code, told.out) == (78, "")
    assert re.fullmatch(r"baton: there is no engine 'foo' \(no file \S+/libbaton-foo\.so\); "
                        r"this baton knows: [a-z, ]+\n", told.err)


def test_an_engine_that_was_not_built(world):
    told = world.run("status", "--url", "etcd://h/x", env={"BATON_ENGINE_DIR": world.folder})
    assert told.code == 78 and "-Detcd=enabled" in told.err, told


@pytest.mark.parametrize("code,word", [
    (None, "cannot be loaded: "),
    ("int baton_engine_other;",
     "is not an engine of this version of baton (it needs baton_engine_my_store with ABI 1)"),
    ("unsigned baton_engine_my_store[64] = {99};", "with ABI 1)")])
def test_a_file_that_is_not_an_engine(world, code, word):
    path = os.path.join(world.folder, "libbaton-my-store.so")
    with open(path + ".c", "w", encoding="ascii") as file:
        file.write(code or "")
    if code is None:
        with open(path, "wb") as file:
            file.write(b"no shared object at all")
    else:
        assert world.run_command(["gcc", "-shared", "-fPIC", "-o", path, path + ".c"]).code == 0
    told = world.run("status", "--url", "my-store://h/x", env={"BATON_ENGINE_DIR": world.folder})
    assert told.code == 78 and word in told.err and path in told.err, told


@pytest.mark.parametrize("url,word", [
    ("etcd:", "two slashes"),
    ("etcd://", "a host name or address is missing"),
    ("etcd://h:0/x", "a port is a number"),
    ("etcd://h:x/x", "a port is a number"),
    ("etcd://h,,i/x", "a host name or address is missing"),
    ("etcd://h/a b", "a namespace has letters"),
    ("etcd://h/" + "n" * 200, "more than 128 bytes"),
    ("etcd://" + ",".join(["h"] * 17), "more than 16 endpoints"),
    ("etcd://h/x?ca", "NAME=VALUE"),
    ("etcd://h/x?ca=", "empty"),
    ("etcd://h/x?ca=%zz", "wrong % sequence"),
    ("etcd://h/x?ca=%00", "wrong % sequence"),
    ("etcd://h/x?colour=red", "the parameters are"),
    ("etcd://h/x?ca=/a&ca=/b", "twice"),
    ("etcd://h/x?tls=maybe", "tls is yes or no"),
    ("etcd://h/x?cert=/a", "cert and key belong together"),
    ("etcd://h/x?user=u", "user and password-file belong together"),
    ("etcd://h/x?user=u&password=s3cret-word", "does not belong into a URL"),
    ("etcd://u:s3cret-word@h/x", "user=NAME")])
def test_a_url_of_etcd_that_is_not_legal(world, url, word):
    told = world.run("status", "--url", url)
    assert (told.code, told.out) == (64, "") and word in told.err and "as in etcd://" in told.err, told
    assert "s3cret-word" not in told.err


@pytest.mark.parametrize("url,shown", [
    ("etcd://u:s3cret-word@h/x", "etcd://...@h/x"),
    ("etcd://u:s3cret-w@ord@h/x", "etcd://...@h/x"),
    ("etcd://u:s3cret-word?more@h/x", "etcd://..."),
    ("etcd://u:p?s3cret-word@h/x", "etcd://..."),
    ("etcd://h/x?password=s3cret-word", "etcd://h/x..."),
    ("etcd://h/x?user=a@b&password=s3cret-word", "etcd://..."),
    (":u:s3cret-word@h", "...@h"),
    ("U://u:s3cret-word@h", "U://...@h"),
    ("U?s3cret-word", "U...")])
def test_a_password_in_a_url_is_shown_nowhere(world, url, shown):
    told = world.run("status", "--url", url, env={"BATON_TRACE": "engine"})
    assert told.code == 64 and f"URL '{shown}' is not legal" in told.err, told
    assert "> open" not in told.err or f"> open {shown}\n" in told.err, told
    for secret in ("s3cret", "u:p"):
        assert secret not in told.out + told.err, told


def test_files_of_an_etcd_url_that_cannot_be_read(world):
    with open(os.path.join(world.folder, "empty"), "w", encoding="ascii"):
        pass
    for query, code, word in ((f"ca={world.folder}/none", 66, "ca="), (f"user=u&password-file={world.folder}/none", 66,
                                                                       "password file"),
                              (f"user=u&password-file={world.folder}/empty", 64, "no password in its first line")):
        told = world.run("status", "--url", f"etcd://127.0.0.1:1/x?{query}")
        assert told.code == code and word in told.err and world.folder in told.err, told


def test_a_ttl_below_the_minimum_of_the_engine(world):
    told = world.run("run", "--ttl", "1ms", "--grace", "0", "db", "--", "true")
    assert (told.code, told.out) == (64, "")
    assert re.fullmatch(r"baton: a ttl of 1 ms is too short for the engine 'local': it can do \d+ ms to \d+ ms\n",
                        told.err)


def test_a_ttl_that_does_not_fit_the_grace_shows_the_sum(world):
    told = world.run("run", "--ttl", "4s", "--grace", "3s", "db", "--", "true")
    assert (told.code, told.out) == (64, "")
    assert told.err == usage("run", "--grace 3s and 200ms for the kill make 3200ms; --ttl 4s leaves 2s for a stop: "
                             "choose a longer --ttl or a shorter --grace")
    assert os.listdir(world.state) == []


# ---- the command that is run ----

def test_a_command_that_is_not_there(world):
    changes = world.watch("db")
    told = world.run("run", "db", "--", "/no/such/command")
    assert (told.code, told.out) == (127, "")
    assert "/no/such/command" in told.err and told.err.startswith("baton: ")
    world.stand("db", "next")
    changes.wait_object(change="lead", id="next")


def test_a_command_that_is_not_executable(world):
    path = f"{world.folder}/command"
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    told = world.run("run", "db", "--", path)
    assert (told.code, told.out) == (126, "")
    assert path in told.err and told.err.startswith("baton: ")
    assert world.run("status", "db").code in (1, 66)


# ---- the state directory ----

def test_a_state_directory_whose_parent_is_missing(world):
    told = world.run("hold", "--url", f"local:{world.folder}/a/b", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == (f"baton: local: the state directory {world.folder}/a/b does not exist, nor does the one above "
                        "it; create it\n")


def test_a_state_directory_is_made_with_a_mode_that_keeps_others_out(world):
    os.rmdir(world.state)
    assert world.run("hold", "db").code == 0
    assert stat.S_IMODE(os.stat(world.state).st_mode) & 0o007 == 0


READERS = (["status"], ["status", "db"], ["watch"], ["history", "db"], ["transfer", "db"], ["release", "db"],
           ["lock", "--describe", "l"], ["once", "list"], ["once", "show", "k"], ["once", "forget", "k"])


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_who_only_looks_does_not_make_a_mistyped_directory(world, command):
    for path in (f"{world.folder}/mistyped", f"{world.folder}/a/b"):
        told = world.run(*command, env={"BATON_URL": f"local:{path}"})
        assert (told.code, told.out) == (66, "")
        assert told.err == (f"baton: local: there is no state directory {path}; is the path right? It is made when "
                            "the first instance begins\n")
    assert not {"mistyped", "a"} & set(os.listdir(world.folder))


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_who_only_looks_makes_no_files_among_others(world, command):
    with open(f"{world.state}/notes.txt", "w", encoding="utf-8") as file:
        file.write("not of baton")
    told = world.run(*command)
    assert (told.code, told.out) == (66, "")
    assert told.err == (f"baton: local: there is nothing of baton's in the directory {world.state}; is the path right? "
                        "No instance has used it yet\n")
    assert os.listdir(world.state) == ["notes.txt"]


def as_nobody(world, *args):
    """Run baton as a user who owns nothing."""
    return world.run_command(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", world.baton, *args])


@NEED_ROOT
def test_a_state_directory_without_permission(open_world):
    os.chmod(open_world.state, 0o755)
    told = as_nobody(open_world, "status")
    assert (told.code, told.out) == (77, "")
    assert re.fullmatch(rf"baton: local: cannot open {open_world.state}/\S+ for writing: Permission denied\n", told.err)
    assert os.listdir(open_world.state) == []


@NEED_ROOT
def test_a_state_directory_that_cannot_be_made(open_world):
    os.rmdir(open_world.state)
    told = as_nobody(open_world, "hold", "db")
    assert (told.code, told.out) == (77, "")
    assert told.err == f"baton: local: cannot create the state directory {open_world.state}: Permission denied\n"


def in_mount(world, options, script):
    """Run a shell script where the state directory is a file system of its own."""
    namespaces = ["--mount"] if ROOT else ["--mount", "--map-root-user"]
    return world.run_command(["unshare", *namespaces, "sh", "-c",
                              f"mount -t tmpfs -o mode=700,{options} none {world.state} && {script}"])


def test_a_read_only_state_directory(world):
    told = in_mount(world, "ro", f"{BATON} status")
    assert (told.code, told.out) == (77, "")
    assert re.fullmatch(rf"baton: local: cannot open {world.state}/\S+ for writing: Read-only file system\n", told.err)


def test_a_full_disk_before_the_first_use(world):
    told = in_mount(world, "size=64k", f"{{ dd if=/dev/zero of={world.state}/fill status=none; {BATON} hold db; }}")
    assert (told.code, told.out) == (73, "")
    assert "No space left on device" in told.err and told.err.count("baton: ") == 1
    assert f"local: cannot make {world.state}/heartbeats." in told.err


def test_a_full_disk_later(world):
    told = in_mount(world, "size=1m", f"{BATON} status && {{ dd if=/dev/zero of={world.state}/fill status=none; "
                    f"{BATON} hold --engine-timeout 5s db; }}")
    assert told.code == 73
    assert told.err == (f"dd: writing to '{world.state}/fill': No space left on device\n"
                        f"baton: local: cannot write in {world.state}/baton.db: the disk is full; free some space\n")


@pytest.mark.skipif(not ROOT or not os.path.exists("/dev/fuse"), reason="needs root and /dev/fuse")
def test_a_network_file_system(world):
    with FuseMount(world.state):
        told = world.run("status")
    assert (told.code, told.out) == (78, "")
    assert told.err == (f"baton: local: {world.state} is on a network file system (FUSE), where locks and shared "
                        "memory do not hold between machines; use a directory on a local disk, or an engine such as "
                        "etcd\n")


# ---- what is stored ----

def contents(folder):
    """Every file, to the byte; of SQLite's shared memory only that it is there."""
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read() if not name.endswith("-shm") else None
    return found


def quiet(world):
    """An election that was led once, and now nobody uses; all of it in the database itself."""
    changes = world.watch("db")
    alpha = world.stand("db", "alpha")
    changes.wait_object(change="lead")
    alpha.stop()
    changes.wait_object(change="leave")
    changes.stop()
    with sqlite3.connect(f"{world.state}/baton.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_database_that_is_something_else(world):
    path = f"{world.state}/baton.db"
    with open(path, "w", encoding="utf-8") as file:
        file.write("shopping list\n" * 100)
    before = contents(world.state)
    for command in (["status"], ["run", "db", "--", "true"]):
        told = world.run(*command)
        assert (told.code, told.out) == (65, "")
        assert told.err == (f"baton: local: {path} is damaged, or is not baton's; nothing was changed; move it "
                            "away, or restore it from a copy\n")
    assert contents(world.state) == before


def test_a_damaged_database(world):
    quiet(world)
    path = f"{world.state}/baton.db"
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(4096, size, 4096):
            file.seek(place)
            file.write(b"\xa5" * 512)
    before = contents(world.state)
    told = world.run("status")
    assert (told.code, told.out) == (65, "")
    assert re.fullmatch(rf"baton: local: {path} is damaged \(.*\); nothing was changed; move it away, or restore it "
                        r"from a copy\n", told.err)
    assert contents(world.state) == before


def test_a_database_of_a_newer_version(world):
    quiet(world)
    path = f"{world.state}/baton.db"
    with sqlite3.connect(path) as db:
        [[version]] = db.execute("PRAGMA user_version").fetchall()
        db.execute(f"PRAGMA user_version = {version + 1}")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = contents(world.state)
    told = world.run("run", "db", "--", "true")
    assert (told.code, told.out) == (76, "")
    assert told.err == (f"baton: local: {path} was written by a newer baton (its version is {version + 1}, this one "
                        f"knows {version}); nothing was changed; use that one\n")
    assert contents(world.state) == before


def write_by_hand(world, key, value):
    """What a person with sqlite3 might do to a record that exists."""
    with sqlite3.connect(f"{world.state}/baton.db") as db:
        assert db.execute("UPDATE records SET value = ? WHERE key = ?", (value, key)).rowcount == 1


def stored(world, key):
    with sqlite3.connect(f"{world.state}/baton.db") as db:
        return db.execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()[0]


def put_by_hand(world, key, value):
    """The same for one that does not exist; nobody uses the directory."""
    with sqlite3.connect(f"{world.state}/baton.db") as db:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'")
        db.execute("INSERT INTO records SELECT ?, ?, value, value, 0 FROM meta WHERE name = 'revision'", (key, value))


NOT_JSON = "is not JSON ('[' or '{' expected near 'nonsense')"
NO_RECORD = 'is not a record of baton (no version "v")'
NEWER = "is of version 2, written by a newer baton; this one knows version 1"
NO_DECISION = 'is not a decision ("cid" or "term" is not right)'
NO_CANDIDATE = 'is not the record of a candidate ("id", "address" or "host" is not right)'
NO_HOLD = 'is not a hold ("by", "why" or "nonce" is not right)'
NO_TRANSFER = 'is not a transfer ("to", "by", "nonce" or "term" is not right)'


def trouble_of(world, key, words):
    """The election is in trouble for this record, and everybody says so in the same words."""
    told = world.run("status", "db")
    assert [line for line in told.lines if line.startswith("trouble: ")] == [f"trouble: {key} {words}"], told
    assert world.run("status", "--json", "db").objects[0]["trouble"] == f"{key} {words}"
    assert re.search("^db +(trouble|on hold) ", world.run("status").lines[1])
    watch = world.watch("db")
    assert watch.wait_object(change="trouble")["reason"] == f"{key} {words}"
    watch.stop()
    assert watch.stderr == ""
    return told


@pytest.mark.parametrize("value, words", [
    ("nonsense", NOT_JSON),
    ("[]", NO_RECORD),
    ('{"cid":"","term":9}', NO_RECORD),
    ('{"v":2,"cid":"","id":"","term":9,"terms":[]}', NEWER),
    ('{"v":1,"cid":"x","id":"y","term":-1,"terms":[]}', NO_DECISION),
    ('{"v":1,"cid":7,"term":9}', NO_DECISION),
])
def test_a_decision_written_by_hand_is_told_and_left_alone(world, value, words):
    quiet(world)
    write_by_hand(world, "elections/db/leader", value)
    alpha = world.stand("db", "alpha")
    changes = world.watch("db")
    changes.wait_object(change="join", id="alpha")
    assert trouble_of(world, "elections/db/leader", words).code == 1
    assert stored(world, "elections/db/leader") == value
    alpha.stop()
    assert stored(world, "elections/db/leader") == value


@pytest.mark.parametrize("command, key", [
    (("run", "db", "true"), "elections/db/leader"), (("elect", "db"), "elections/db/leader"),
    (("elect", "db"), "elections/db/hold"), (("lock", "l", "true"), "locks/l/ff-1"),
    (("once", "k", "true"), "tasks/k/queue/ff-1")], ids=str)
def test_who_waits_because_a_record_cannot_be_read_says_so(world, command, key):
    quiet(world)
    if key.endswith("leader"):
        write_by_hand(world, key, "nonsense")
    else:
        put_by_hand(world, key, "nonsense")
    waiting = world.start(*command)
    world.wait_error(waiting, re.escape(f"{key} {NOT_JSON}"))
    if command[0] == "elect":
        waiting.stop()


@pytest.mark.parametrize("value, words", [
    ("nonsense", NOT_JSON), ("[]", NO_RECORD), ('{"v":2,"id":"ghost"}', NEWER), ('{"v":1,"host":"x"}', NO_CANDIDATE)])
def test_a_candidate_written_by_hand_is_told_and_left_alone(world, value, words):
    quiet(world)
    put_by_hand(world, "elections/db/candidates/ff-1", value)
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")  # it is no reason that nobody leads
    assert trouble_of(world, "elections/db/candidates/ff-1", words).code == 0
    assert stored(world, "elections/db/candidates/ff-1") == value


@pytest.mark.parametrize("value, words", [
    ("nonsense", NOT_JSON), ("[]", NO_RECORD), ('{"v":2,"by":"x"}', NEWER), ('{"v":1,"by":7}', NO_HOLD)])
def test_a_hold_written_by_hand_holds_until_the_release(world, value, words):
    quiet(world)
    put_by_hand(world, "elections/db/hold", value)
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="join", id="alpha")
    assert trouble_of(world, "elections/db/hold", words).code == 1
    told = world.run("hold", "db")
    assert (told.code, told.err) == (75, "baton: the election 'db' is on hold already\n")
    assert stored(world, "elections/db/hold") == value
    assert world.run("release", "db").code == 0
    changes.wait_object(change="lead", id="alpha")


@pytest.mark.parametrize("value, words, code", [
    ("nonsense", NOT_JSON, 65), ("[]", NO_RECORD, 65), ('{"v":2,"to":"beta"}', NEWER, 76),
    ('{"v":1,"to":"beta","term":0}', NO_TRANSFER, 65)])
def test_a_transfer_written_by_hand_is_told_and_left_alone(world, value, words, code):
    quiet(world)
    put_by_hand(world, "elections/db/transfer", value)
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    world.stand("db", "beta")
    changes.wait_object(change="join", id="beta")
    assert trouble_of(world, "elections/db/transfer", words).code == 0
    told = world.run("transfer", "db")
    assert (told.code, told.out, told.err) == (code, "", f"baton: elections/db/transfer {words}\n")
    assert stored(world, "elections/db/transfer") == value
    assert world.run("status", "--json", "db").objects[0]["leader"] == "alpha"


def test_a_decision_that_names_a_candidate_that_never_was_is_a_vacancy(world):
    quiet(world)
    decision = json.loads(stored(world, "elections/db/leader"))
    decision.update(cid="dead-1", id="ghost", term=decision["term"] + 5)
    write_by_hand(world, "elections/db/leader", json.dumps(decision))
    assert world.run("status", "db").code == 1
    changes = world.watch("db")
    world.stand("db", "alpha")
    assert changes.wait_object(change="lead", id="alpha")["term"] == decision["term"] + 1


def test_fields_of_a_newer_version_are_kept(world):
    quiet(world)
    decision = json.loads(stored(world, "elections/db/leader"))
    decision["colour"] = {"of": "tomorrow"}
    write_by_hand(world, "elections/db/leader", json.dumps(decision))
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    assert json.loads(stored(world, "elections/db/leader"))["colour"] == {"of": "tomorrow"}


# ---- identities ----

def wait_stderr(process, *lines):
    """It has said this, and nothing else so far."""
    deadline = time.monotonic() + LIMIT_S
    while set(process.stderr.splitlines()) != set(lines):
        assert time.monotonic() < deadline, process


def test_two_instances_with_one_id_the_younger_waits_and_says_so(world):
    changes = world.watch("db")
    elder = world.stand("db", "same")
    changes.wait_object(change="lead", id="same")
    younger = world.stand("db", "same")
    changes.wait_object(change="join", id="same")
    [told] = world.run("status", "--json", "db").objects
    assert [(each["id"], each["leads"]) for each in told["candidates"]] == [("same", True), ("same", False)]
    transfer = world.run("transfer", "db")
    assert (transfer.code, transfer.out) == (66, "")
    assert transfer.err == "baton: nobody but the leader 'same' stands in the election 'db'\n"
    wait_stderr(younger, "baton: db: stands as same", "baton: db: another live candidate of 'db' has the id 'same' "
                f"(host {socket.gethostname()}): this one waits until it is gone")
    elder.signal(signal.SIGKILL)
    changes.wait_object(change="lead", id="same")
    assert younger.popen.poll() is None


# Runs as the first process of its own pid namespace.
REUSE = """
import json, os, select, signal, subprocess, sys
baton = sys.argv[1]

def wait_for(change):
    watch = subprocess.Popen([baton, "watch", "--json", "db"], stdout=subprocess.PIPE, text=True)
    while json.loads(watch.stdout.readline())["change"] != change:
        pass
    watch.kill()
    watch.wait()

alpha = subprocess.Popen([baton, "run", "--id", "alpha", "db", "--", "sleep", "1000"])
wait_for("lead")

# Everything dies while nobody looks, the guard too.
pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
fds = [os.pidfd_open(pid) for pid in pids]
for fd in fds:
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the death of one that was before it in the list has taken it along
for fd in fds:
    assert select.select([fd], [], [], 10)[0]
try:
    while True:
        os.waitpid(-1, os.WNOHANG) != (0, 0) or sys.exit("a zombie is left")
except ChildProcessError:
    pass

# Then its process id is given to somebody else.
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(alpha.pid - 1))
other = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
assert other == alpha.pid, (other, alpha.pid)

wait_for("vacant")
told = subprocess.run([baton, "run", "--id", "beta", "db", "--", "echo", "beta leads"], capture_output=True, text=True,
                      timeout=20)
assert told.stdout == "beta leads\\n", told
os.kill(other, 0)  # and nobody did it any harm
print("done")
"""


@NEED_ROOT
def test_a_process_id_that_is_used_again_is_not_taken_for_the_dead_leader(world):
    told = world.run_command(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3", "-c",
                              REUSE, BATON], limit=60)
    assert (told.code, told.out) == (0, "done\n"), told
