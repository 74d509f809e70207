"""BATON_TRACE: what passes between a command and its engine."""

import os
import re
import subprocess
import threading

from conftest import BATON, LIMIT_S


def test_a_trace_tells_requests_answers_and_views(world):
    told = world.run("run", "--id", "a", "db", "--", "true", env={"BATON_TRACE": "engine"})
    assert told.code == 0
    lines = [line for line in told.err.splitlines() if re.match(r"^\d+ \+\d+\.\d{3} [<>] ", line)]
    for pattern in (
            r"> open local:", r"> session_open #\w+ ttl 10000 ms", r"> write #\w+ put elections/db/leader if 0 {",
            r"< write #\w+ done at \d+, after \d+\.\d+ ms", r"< watch \w+ begins at \d+, [01] changes:",
            r"< watch \w+ goes on at \d+, 1 changes: elections/db/leader@\d+", r"> session_end", r"< closed$"):
        assert any(re.search(pattern, line) for line in lines), (pattern, told)


def test_a_trace_goes_to_a_file_that_processes_share(world):
    path = os.path.join(world.folder, "trace")
    for name in ("a", "b"):
        assert world.run("run", "--id", name, "db", "--", "true", env={"BATON_TRACE": f"engine:{path}"}).code == 0
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert len({line.split()[0] for line in lines}) == 2
    assert all(re.match(r"^\d+ \+\d+\.\d{3} [<>] ", line) for line in lines)


def test_a_trace_shows_no_parameters_of_a_url(world):
    password = os.path.join(world.folder, "password")
    with open(password, "w", encoding="ascii") as file:
        file.write("s3cret-word\n")
    told = world.run("status", "--engine-timeout", "1s", "--url",
                     f"etcd://127.0.0.1:1/x?user=u&password-file={password}",
                     env={"BATON_TRACE": "engine"})
    assert "> open etcd://127.0.0.1:1/x...\n" in told.err and "s3cret-word" not in told.err, told
    assert "password-file" not in told.err.split("trouble")[0]


def test_nobody_waits_for_who_reads_a_trace(world):
    """Stderr is a pipe that is full; when it is read again, what was dropped is counted."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    script = "echo held; read line; read line"
    with subprocess.Popen([BATON, "lock", "--ttl=1s", "--grace=100ms", "x", "--", "sh", "-c", script],
                          env={**world.env, "BATON_TRACE": "engine"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=write, bufsize=0) as process:
        os.close(write)
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        assert process.stdout.readline() == b"held\n"
        process.stdin.write(b"1\n")
        other = world.start("lock", "x", "--", "echo", "held too", env={"BATON_TRACE": ""})
        assert re.search(rb"x{4096}", os.read(read, 1 << 20))
        said = b""
        while not re.search(rb"^\d+ \(\d+ lines were left out: nobody read them\)$", said, re.MULTILINE):
            said += os.read(read, 4096)
            assert process.poll() is None, said
        process.stdin.write(b"2\n")
        assert process.wait(LIMIT_S) == 0
        limit.cancel()
    os.close(read)
    assert other.wait_exit() == 0


def test_a_trace_to_a_pipe_without_a_reader_is_refused(world):
    fifo = os.path.join(world.folder, "fifo")
    os.mkfifo(fifo)
    told = world.run("status", env={"BATON_TRACE": f"engine:{fifo}"})
    assert told.code != 0 and "cannot be opened: No such device or address" in told.err, told


def test_a_trace_that_cannot_be(world):
    told = world.run("status", env={"BATON_TRACE": "everything"})
    assert told.code == 64 and "'engine' or 'engine:FILE'" in told.err
    told = world.run("status", env={"BATON_TRACE": f"engine:{world.folder}/none/trace"})
    assert told.code == 66 and "cannot be opened" in told.err
