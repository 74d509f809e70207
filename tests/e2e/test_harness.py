"""What the tests themselves promise: nothing is left behind, whatever happens."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import TOP, World, dead, wait_dead

SERVER = """
import signal, sys
sys.path[:0] = ["{top}/tests/etcd", "{top}/tests/postgresql"]
import cluster, server
with {make} as made:
    print(made.{process}.pid, made.{folder}, flush=True)
    signal.pause()
"""


def test_a_server_that_hides_its_mark_is_ended_too(tmp_path):
    """Redis writes its title over its environment."""
    made = World(str(tmp_path))
    server = made.start_command(["env", "-i", "sh", "-c", "echo up; exec sleep 1000"])
    server.wait_line("up")
    assert server.pid not in made.marked()
    made.close()
    assert dead(server.pid)


@pytest.mark.parametrize("make,process,folder", [
    ("cluster.Cluster('.')", "members[0].process", "members[0].data"), ("server.Server()", "process", "folder")],
    ids=["etcd", "postgresql"])
def test_a_server_ends_with_who_has_started_it(world, make, process, folder):
    """As when a step takes too long, and is killed."""
    script = SERVER.format(top=TOP, make=make, process=process, folder=folder)
    starter = world.start_command([sys.executable, "-c", script])
    pid, folder = starter.wait_line(r"^(\d+) (.*)$")[0].groups()
    starter.popen.kill()
    wait_dead(int(pid))
    shutil.rmtree(os.path.join(world.folder, folder))


def test_a_run_that_has_passed_leaves_no_files(tmp_path):
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/e2e/test_hold.py",
                           f"--basetemp={tmp_path}/base"], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.listdir(tmp_path) == []
