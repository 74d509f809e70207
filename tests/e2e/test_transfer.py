"""`baton transfer`: an operator asks for a handover."""

import re

import pytest

# A command that does not heed SIGTERM, and says when it is so.
DEAF = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")


def leader(world):
    return world.run("status", "--json", "db").objects[0]["leader"]


def test_the_place_passes_to_the_next(led):
    told = led.run("transfer", "db")
    assert told.code == 0 and told.err == ""
    assert re.match(r"db: beta leads, term \d+, since .*\n$", told.out)
    assert leader(led) == "beta"


def test_the_place_passes_to_the_one_that_is_named(led):
    led.stand("db", "gamma")
    led.changes.wait_object(change="join", id="gamma")
    told = led.run("transfer", "--to", "gamma", "db")
    assert told.code == 0 and told.out.startswith("db: gamma leads, term ")
    assert led.run("transfer", "--to=alpha", "db").out.startswith("db: alpha leads, term ")


def test_the_old_command_has_ended_before_the_new_one_begins(led):
    """Each command notes its begin and its end; a transfer must not let them overlap."""
    log = f"{led.folder}/log"
    # Only what the shell does itself: a signal to the group does not end that in the middle.
    script = (f"trap 'stop=1' TERM; echo begin $BATON_ID >>{log}; echo begin $BATON_ID; "
              f"while [ -z \"$stop\" ]; do sleep 0.05; done; echo end $BATON_ID >>{log}")
    changes = led.watch("work")
    one = led.stand("work", "one", command=("sh", "-c", script))
    one.wait_line("^begin one")
    led.stand("work", "two", command=("sh", "-c", script))
    changes.wait_object(change="join", id="two")
    for _ in range(4):
        assert led.run("transfer", "work").code == 0
        changes.wait_object(change="lead")
    with open(log, encoding="utf-8") as file:
        lines = file.read().split("\n")[:-1]
    running = 0
    for line in lines:
        running += 1 if line.startswith("begin") else -1
        assert running in (0, 1), lines


def test_a_transfer_to_the_present_leader_has_nothing_to_do(led):
    before = led.run("history", "--json", "db").objects
    told = led.run("transfer", "--to", "alpha", "db")
    assert (told.code, told.err) == (0, "")
    assert told.out == f"db: alpha leads already, term {before[0]['term']}; nothing to do\n"
    assert led.run("history", "--json", "db").objects == before


def test_a_transfer_to_an_absent_id_lists_those_that_stand(led):
    told = led.run("transfer", "--to", "gamma", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == "baton: 'gamma' does not stand in the election 'db'; these do: alpha, beta\n"
    assert leader(led) == "alpha"


def test_a_transfer_to_nobody_is_refused(world):
    changes = world.watch("db")
    world.stand("db", "alpha")
    changes.wait_object(change="lead")
    told = world.run("transfer", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == "baton: nobody but the leader 'alpha' stands in the election 'db'\n"
    assert leader(world) == "alpha"


def test_a_transfer_where_nobody_leads_is_refused(world):
    changes = world.watch("db")
    alpha = world.stand("db", "alpha")
    changes.wait_object(change="lead")
    alpha.stop()
    changes.wait_object(change="leave", id="alpha")
    told = world.run("transfer", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == "baton: nobody leads the election 'db': there is nothing to transfer\n"


def test_a_transfer_of_an_election_that_never_was_is_refused(world):
    told = world.run("transfer", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err.startswith("baton: there is no election 'db' in ")


def test_a_transfer_during_a_hold_is_refused(led):
    assert led.run("hold", "db").code == 0
    told = led.run("transfer", "db")
    assert (told.code, told.out) == (75, "")
    assert told.err == "baton: the election 'db' is on hold: nobody can lead before its release\n"


def test_a_leader_that_does_not_stop_in_time_is_told_and_the_request_taken_back(world):
    """The command ignores SIGTERM, and its grace is longer than the transfer may take."""
    changes = world.watch("db")
    alpha = world.stand("db", "alpha", "--grace", "4s", command=DEAF)
    changes.wait_object(change="lead", id="alpha")
    alpha.wait_line("^deaf$")
    world.stand("db", "beta")
    changes.wait_object(change="join", id="beta")
    told = world.run("transfer", "--engine-timeout", "500ms", "db")
    assert (told.code, told.out) == (75, "")
    assert told.err == "baton: in the time given, the leader has not handed over\n"


def test_a_leader_whose_session_ends_instead_of_an_answer_has_not_transferred(place):
    """Its hook is killed at the end of its time: another one leads, but what was to be taken down may be up."""
    changes = place.watch("db")
    place.start("elect", "--ttl", "2s", "--id", "alpha", "--on-follow", "exec sleep 1000", "db")
    changes.wait_object(change="lead", id="alpha")
    place.stand("db", "beta")
    changes.wait_object(change="join", id="beta")
    told = place.run("transfer", "db")
    assert (told.code, told.out) == (1, "")
    assert told.err == ("baton: 'beta' leads the election 'db' now, but 'alpha' has not handed over: its session is "
                        "over, and whether it has stopped is not known\n")


def test_a_leader_whose_session_ends_instead_of_an_answer_has_not_stopped_for_a_hold(place):
    changes = place.watch("db")
    place.start("elect", "--ttl", "2s", "--id", "alpha", "--on-follow", "exec sleep 1000", "db")
    changes.wait_object(change="lead", id="alpha")
    told = place.run("hold", "db")
    assert (told.code, told.out) == (1, "")
    assert told.err == ("baton: the election 'db' is on hold and nobody leads, but the session of 'alpha' has ended "
                        "without its answer, and whether it has stopped is not known\n")


@pytest.mark.parametrize("wrong", ["-x", "a b", "a/b", "x" * 129])
def test_an_id_that_cannot_be_is_refused(led, wrong):
    told = led.run("transfer", f"--to={wrong}", "db")
    assert told.code == 64 and told.err.startswith("baton transfer: --to ")
