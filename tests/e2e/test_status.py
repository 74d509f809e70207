"""`baton status`: who leads, in a table, in JSON, and in the exit code."""

import os
import re

from conftest import LIMIT_S


def test_the_exit_code_says_whether_there_is_a_leader(led):
    assert led.run("status", "db").code == 0
    assert led.run("hold", "db").code == 0
    assert led.run("status", "db").code == 1


def test_an_election_that_never_was_has_a_code_of_its_own(world):
    told = world.run("status", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == (f"baton: there is no election 'db' in {world.url}: nobody stands for it and nobody ever led "
                        "it\n")


def test_a_vacant_election_has_no_leader(world):
    changes = world.watch("db")
    alpha = world.stand("db", "alpha")
    changes.wait_object(change="lead", id="alpha")
    alpha.stop()
    changes.wait_object(change="leave", id="alpha")
    told = world.run("status", "db")
    assert told.code == 1
    assert re.match(r"db: nobody leads, last term \d+\nnobody stands\n$", told.out)


def test_one_election_in_words(led):
    told = led.run("status", "db")
    assert re.match(r"db: alpha leads, term \d+, since 2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d$", told.lines[0])
    assert told.lines[1].split() == ["CANDIDATE", "LEADS", "PRIORITY", "SINCE", "HOST", "ADDRESS"]
    assert told.lines[2].split()[:3] == ["alpha", "yes", "0"]
    assert told.lines[3].split()[:3] == ["beta", "-", "0"]
    assert len(told.lines) == 4


def test_one_election_in_json(led):
    changes = led.changes
    led.stand("db", "gamma", "--priority", "5", "--address", "10.0.0.3:99")
    changes.wait_object(change="join", id="gamma")
    [told] = led.run("status", "--json", "db").objects
    assert told["name"] == "db" and told["leader"] == "alpha" and told["term"] > 0
    assert told["held"] is False and told["held_by"] is None and told["trouble"] is None
    assert [each["id"] for each in told["candidates"]] == ["gamma", "alpha", "beta"]  # in the order of claims
    gamma = told["candidates"][0]
    assert gamma["priority"] == 5 and gamma["address"] == "10.0.0.3:99" and not gamma["leads"]
    assert gamma["host"] != ""
    assert re.fullmatch(r"2\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", gamma["since"])


def test_all_elections(world):
    assert world.run("status").out == f"no elections in {world.url}\n"
    assert world.run("status", "--json").out == ""
    changes = world.watch()
    for name in ("b", "a"):
        world.stand(name, "alpha", "--address", "here")
        changes.wait_object(name=name, change="lead")
    world.run("hold", "b")
    told = world.run("status")
    assert told.code == 0
    assert [line.split()[:3] for line in told.lines] == [
        ["NAME", "STATE", "LEADER"], ["a", "led", "alpha"], ["b", "on", "hold"]]
    assert told.lines[1].split()[-1] == "here"
    assert [(each["name"], each["leader"]) for each in world.run("status", "--json").objects] == [
        ("a", "alpha"), ("b", None)]


def test_addresses_of_others_cannot_steer_a_terminal(world):
    changes = world.watch("db")
    world.stand("db", "alpha", "--address", "x\033[2Jy")
    changes.wait_object(change="lead")
    told = world.run("status", "db")
    assert "\033" not in told.out and "x?[2Jy" in told.out
    assert world.run("status", "--json", "db").objects[0]["candidates"][0]["address"] == "x\033[2Jy"


def test_status_is_done_in_much_less_than_its_limit(led):
    assert led.run("status", "--engine-timeout", "2s", "db", limit=LIMIT_S).code == 0


def test_what_is_not_there_is_told_with_the_directory_in_which_it_was_looked_for(open_world):
    """`local:` is another one for each user: who looks at the wrong place sees it."""
    me = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    os.chmod(open_world.folder, 0o777)
    env = {"BATON_URL": None, "XDG_STATE_HOME": None}
    done = open_world.run_command([*me, open_world.baton, "run", "other", "--", "sh", "-c", "echo $BATON_URL"],
                                  env=env)
    where = f"local:{open_world.folder}/.local/state/baton"
    assert (done.code, done.out) == (0, where + "\n"), done
    for command, said in (("status", f"there is no election 'db' in {where}: "),
                          ("history", f"there is no election 'db' in {where}: "),
                          ("transfer", f"there is no election 'db' in {where}: ")):
        told = open_world.run_command([*me, open_world.baton, command, "db"], env=env)
        assert told.code == 66 and said in told.err, told
