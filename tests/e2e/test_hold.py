"""`baton hold` and `baton release`: nobody leads while something is maintained."""

import os
import signal

# A command that does not heed SIGTERM, and says when it is so.
DEAF = ("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")


def test_a_hold_stops_the_leader_until_the_release(led):
    told = led.run("hold", "--why", "new disks", "db")
    assert (told.code, told.err) == (0, "")
    assert told.out == "db: on hold, nobody leads; baton release db ends it\n"
    status = led.run("status", "db")
    assert status.code == 1
    assert status.lines[0].startswith("db: nobody leads, last term ")
    assert status.lines[1].startswith("db: on hold by ") and status.lines[1].endswith(
        ": new disks; baton release db ends it")
    [json] = led.run("status", "--json", "db").objects
    assert json["held"] and json["held_why"] == "new disks" and json["leader"] is None
    told = led.run("release", "db")
    assert (told.code, told.out, told.err) == (0, "db: released\n", "")
    led.changes.wait_object(change="release")
    led.changes.wait_object(change="lead")


def test_the_command_of_the_leader_has_ended_when_a_hold_is_there(led):
    changes = led.watch("job")
    one = led.stand("job", "one", command=("sh", "-c", "echo $$; exec sleep 1000"))
    changes.wait_object(change="lead", id="one")
    match, _ = one.wait_line(r"^(\d+)$")
    pid = int(match[1])
    os.kill(pid, 0)
    assert led.run("hold", "job").code == 0
    try:
        os.kill(pid, 0)
        alive = True
    except ProcessLookupError:
        alive = False
    assert not alive


def test_a_second_hold_says_who_was_first(led):
    assert led.run("hold", "db").code == 0
    told = led.run("hold", "db", env={"USER": "bob"})
    assert (told.code, told.out) == (75, "")
    assert told.err.startswith("baton: the election 'db' is on hold already, by ")


def test_who_holds_is_named(led):
    assert led.run("hold", "db", env={"USER": "alice"}).code == 0
    assert led.run("status", "--json", "db").objects[0]["held_by"].startswith("alice@")
    assert led.run("release", "db").code == 0
    assert led.run("hold", "db", env={"USER": "root", "SUDO_USER": "bob"}).code == 0
    assert led.run("status", "--json", "db").objects[0]["held_by"].startswith("bob@")


def test_a_user_name_that_no_id_can_hold_is_no_trouble(led):
    assert led.run("hold", "db", env={"USER": "dömäne\\alice"}).code == 0


def test_a_release_without_a_hold_has_nothing_to_do(led):
    told = led.run("release", "db")
    assert (told.code, told.out, told.err) == (0, "db: not on hold; nothing to do\n", "")


def test_a_hold_may_come_before_anybody_stands(world):
    assert world.run("hold", "db").code == 0
    changes = world.watch("db")
    changes.wait_object(change="hold")
    world.stand("db", "alpha")
    changes.wait_object(change="join", id="alpha")
    assert world.run("status", "db").code == 1
    assert world.run("release", "db").code == 0
    changes.wait_object(change="lead", id="alpha")


def test_a_hold_outlives_everybody(led):
    assert led.run("hold", "db").code == 0
    for each in (led.alpha, led.beta):
        each.signal(signal.SIGKILL)
        each.wait_exit()
    led.changes.wait_object(change="leave", id="alpha")
    assert led.run("status", "--json", "db").objects[0]["held"]


def test_a_leader_that_does_not_stop_in_time_is_named_and_the_hold_stays(world):
    changes = world.watch("db")
    alpha = world.stand("db", "alpha", "--grace", "4s", command=DEAF)
    changes.wait_object(change="lead", id="alpha")
    alpha.wait_line("^deaf$")
    told = world.run("hold", "--engine-timeout", "500ms", "db")
    assert (told.code, told.out) == (75, "")
    assert told.err == ("baton: the election 'db' is on hold, but its leader 'alpha' has not stopped yet; see baton "
                        "status db\n")
    changes.wait_object(change="vacant")
    assert world.run("status", "--json", "db").objects[0]["held"]


def test_a_release_of_what_never_was_is_refused(world):
    told = world.run("release", "db")
    assert (told.code, told.out) == (66, "")
