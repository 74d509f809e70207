"""`baton watch`: a line for each change."""

import signal


def test_it_begins_with_what_is(led):
    watch = led.watch("db")
    assert watch.wait_object(change="join")["id"] == "alpha"
    assert watch.wait_object(change="join")["id"] == "beta"
    lead = watch.wait_object(change="lead")
    assert lead["id"] == "alpha" and lead["term"] > 0 and lead["name"] == "db"


def test_every_change_of_leader_is_told_with_its_reason(led):
    watch = led.watch("db")
    terms = [watch.wait_object(change="lead")["term"]]
    for expected in ("beta", "alpha", "beta"):
        assert led.run("transfer", "db").code == 0
        lead = watch.wait_object(change="lead")
        assert (lead["id"], lead["reason"]) == (expected, "transfer")
        terms.append(lead["term"])
    assert terms == sorted(set(terms))


def test_a_death_is_told(led):
    watch = led.watch("db")
    watch.wait_object(change="lead", id="alpha")
    led.alpha.signal(signal.SIGKILL)
    watch.wait_object(change="leave", id="alpha")
    # Its guard names the next one if alpha has told it of that one before it was killed; else that one claims the
    # place.
    assert watch.wait_object(change="lead", id="beta")["reason"] in ("death", "claim")


def test_holds_and_releases_are_told(led):
    watch = led.watch("db")
    watch.wait_object(change="lead")
    assert led.run("hold", "--why", "disks", "db").code == 0
    assert watch.wait_object(change="hold")["reason"] == "disks"
    watch.wait_object(change="vacant")
    assert led.run("release", "db").code == 0
    watch.wait_object(change="release")
    watch.wait_object(change="lead")


def test_words_for_people(led):
    watch = led.start("watch", "db")
    watch.wait_line(r"^2\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d  db  alpha stands$")
    watch.wait_line(r"  db  beta stands$")
    watch.wait_line(r"  db  alpha leads, term \d+ \(claim\)$")
    assert led.run("hold", "--why", "disks", "db").code == 0
    watch.wait_line(r"  db  on hold by \S+ \(disks\)$")
    watch.wait_line(r"  db  nobody leads")
    assert led.run("release", "db").code == 0
    _, place = watch.wait_line(r"  db  released$")
    watch.wait_line(r"  db  \w+ leads, term \d+ \(claim\)$", after=0 * place)
    led.beta.stop()
    watch.wait_line(r"  db  beta stands no more$")


def test_an_election_that_is_not_there_yet(world):
    watch = world.watch("db")
    assert watch.wait_object(name="db")["change"] == "vacant"
    world.stand("db", "alpha")
    watch.wait_object(change="lead", id="alpha")


def test_all_elections(world):
    watch = world.watch()
    world.stand("a", "alpha")
    watch.wait_object(name="a", change="lead", id="alpha")
    world.stand("b", "beta")
    watch.wait_object(name="b", change="lead", id="beta")


def test_ctrl_c_ends_it(led):
    watch = led.start("watch", "db")
    watch.wait_line("leads")
    watch.signal(signal.SIGINT)
    assert watch.wait_exit() == -signal.SIGINT
    assert watch.stderr == ""
