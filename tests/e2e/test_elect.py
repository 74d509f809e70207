"""`baton elect`: a candidacy that prints each change and runs hooks, with real processes."""

import os
import signal
import time


def elect(world, instance, *options, **kwargs):
    return world.start("elect", "--json", "--id", instance, *options, "db", **kwargs)


def log_of(world):
    with open(os.path.join(world.folder, "log"), encoding="utf-8") as file:
        return file.read().split()


def hook(word):
    """A hook that writes one word and its environment into the log."""
    return f'echo "{word}:$BATON_ID:$BATON_TERM:$BATON_STATE:$BATON_NAME" >>log'


def test_the_changes_of_two_instances(place):
    a = elect(place, "a")
    first = a.wait_object(event="lead", id="a")
    b = elect(place, "b")
    b.wait_object(event="leader", id="a", term=first["term"])
    assert a.stop() == 0
    a.wait_object(event="stop")
    a.wait_object(event="follow")
    second = b.wait_object(event="lead", id="b")
    # One more, or two when `a` had not seen yet that `b` stands: then it named nobody, and `b` claimed.
    assert second["term"] in (first["term"] + 1, first["term"] + 2)
    assert b.stop() == 0


def test_without_json_it_is_a_line_for_each_change(world):
    a = world.start("elect", "--id", "a", "db")
    a.wait_line(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  db  this instance leads, term \d+$")
    assert a.stop() == 0


def test_hooks_have_their_environment_and_run_in_order(place):
    a = elect(place, "a", "--on-lead", hook("lead"), "--on-follow", hook("follow"))
    term = a.wait_object(event="lead")["term"]
    b = elect(place, "b")
    b.wait_object(event="stand")
    assert place.run("transfer", "db").code == 0
    b.wait_object(event="lead")
    assert log_of(place) == [f"lead:a:{term}:lead:db", f"follow:a:{term}:follow:db"]


def test_the_next_one_leads_only_when_on_follow_has_ended(place):
    """--on-follow waits until it is let go; nobody leads meanwhile, and the other --on-lead comes after its end."""
    fifo = os.path.join(place.folder, "fifo")
    os.mkfifo(fifo)
    a = elect(place, "a", "--ttl", "20s", "--grace", "9s", "--on-lead", hook("lead"),
              "--on-follow", f"read line <{fifo}; {hook('follow')}")
    a.wait_object(event="lead")
    b = elect(place, "b", "--on-lead", hook("lead"))
    b.wait_object(event="stand")
    a.signal(signal.SIGTERM)
    a.wait_object(event="stop")
    assert not any('"event":"lead"' in line for line in b.seen)
    with open(fifo, "w", encoding="utf-8") as file:
        file.write("go\n")
    b.wait_object(event="lead", id="b")
    assert a.wait_exit() == 0
    assert [entry.split(":")[:2] for entry in log_of(place)[:2]] == [["lead", "a"], ["follow", "a"]]


def test_an_on_follow_that_overruns_is_killed_and_the_session_ends(world):
    a = elect(world, "a", "--ttl", "3s", "--grace", "500ms", "--on-follow", "echo $$ >hook; exec sleep 1000")
    a.wait_object(event="lead")
    b = elect(world, "b", "--ttl", "3s", "--on-lead", "kill -0 $(cat hook) 2>kill && echo alive >>log; echo lead >>log")
    b.wait_object(event="stand")
    begin = time.monotonic()
    a.signal(signal.SIGTERM)
    b.wait_object(event="lead", id="b")
    assert time.monotonic() - begin > 0.3  # not before the time that the hook was given
    assert a.wait_exit() == 0
    assert "the hook for 'follow' has not ended in time: it is killed, and the session ends" in a.stderr
    assert b.stop() == 0  # when its hook has ended
    assert log_of(world) == ["lead"]


def test_the_last_state_is_never_skipped(place):
    """While --on-lead runs, the place is lost: --on-follow comes after it."""
    fifo = os.path.join(place.folder, "fifo")
    os.mkfifo(fifo)
    # The end takes its time: a hook that ran beside it would be seen.
    a = elect(place, "a", "--ttl", "20s", "--grace", "9s", "--on-follow", hook("follow"), "--on-lead",
              f"{hook('lead')}; read line <{fifo}; sleep 0.5; {hook('lead-end')}")
    a.wait_object(event="lead")
    b = elect(place, "b")
    b.wait_object(event="stand")
    transfer = place.start("transfer", "db")
    a.wait_object(event="stop")
    with open(fifo, "w", encoding="utf-8") as file:
        file.write("go\n")
    assert transfer.wait_exit() == 0
    assert [entry.split(":")[0] for entry in log_of(place)] == ["lead", "lead-end", "follow"]


def test_a_hook_that_fails_is_told(world):
    a = elect(world, "a", "--on-lead", "exit 3", "--on-follow", "true")
    a.wait_object(event="lead")
    assert a.stop() == 0
    assert "baton: db: the hook for 'lead' has ended with status 3\n" in a.stderr


def test_a_grace_that_does_not_fit_the_ttl_is_refused(world):
    told = world.run("elect", "--ttl", "2s", "--grace", "3s", "--on-lead", "true", "db")
    assert (told.code, told.out) == (64, "")
    assert told.err == ("baton elect: --grace 3s and 200ms for the kill make 3200ms; --ttl 2s leaves 1s for a stop: "
                        "choose a longer --ttl or a shorter --grace; see baton elect --help\n")


def test_a_killed_instance_passes_its_place_on(place):
    a = elect(place, "a", "--ttl", "60s")
    a.wait_object(event="lead")
    b = elect(place, "b", "--ttl", "60s")
    b.wait_object(event="stand")
    a.signal(signal.SIGKILL)
    b.wait_object(event="lead", id="b")


def test_on_follow_runs_also_after_the_session_was_lost(world):
    """The machine stood still: it is too late to hand over, but what the hooks have set up must be taken down."""
    a = elect(world, "a", "--ttl", "1s", "--grace", "300ms", "--on-lead", hook("lead"), "--on-follow", hook("follow"))
    a.wait_object(event="lead")
    b = elect(world, "b", "--ttl", "1s")
    b.wait_object(event="stand")
    a.signal(signal.SIGSTOP)
    b.wait_object(event="lead", id="b")
    a.signal(signal.SIGCONT)
    a.wait_object(event="follow")
    assert [entry.split(":")[0] for entry in log_of(world)] == ["lead", "follow"]
    b.signal(signal.SIGTERM)
    a.wait_object(event="lead")  # it stands again


def test_an_on_lead_that_overruns_is_killed_and_on_follow_comes_after_it(world):
    a = elect(world, "a", "--ttl", "3s", "--grace", "500ms", "--on-lead", f"{hook('lead')}; exec sleep 1000",
              "--on-follow", hook("follow"))
    a.wait_object(event="lead")
    b = elect(world, "b", "--ttl", "3s")
    b.wait_object(event="stand")
    a.signal(signal.SIGTERM)
    b.wait_object(event="lead", id="b")
    assert a.wait_exit() == 0
    assert [entry.split(":")[0] for entry in log_of(world)] == ["lead", "follow"]


def test_an_on_follow_that_overruns_after_the_session_was_lost_does_not_end_the_candidacy(world):
    a = elect(world, "a", "--ttl", "1s", "--grace", "300ms", "--on-follow", "exec sleep 1000")
    a.wait_object(event="lead")
    b = elect(world, "b", "--ttl", "1s")
    b.wait_object(event="stand")
    a.signal(signal.SIGSTOP)
    b.wait_object(event="lead", id="b")
    a.signal(signal.SIGCONT)
    a.wait_object(event="follow")
    b.signal(signal.SIGTERM)
    a.wait_object(event="lead")


def test_a_short_ttl_shortens_the_grace_that_was_not_given(world):
    a = elect(world, "a", "--ttl", "1s", "--on-lead", "true", "--on-follow", hook("follow"))
    a.wait_object(event="lead")
    assert a.stop() == 0
    assert len(log_of(world)) == 1


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_leader_that_has_seen_nobody_lead_before_sleeps(world):
    """It begins where there is no leader, so it gives others a second to lead before it would follow."""
    a = elect(world, "a", "--on-lead", "true")
    a.wait_object(event="lead")
    b = elect(world, "b")
    b.wait_object(event="leader", id="a")
    time.sleep(1.5)  # longer than that second
    began, used = time.monotonic(), cpu_s(a.pid)
    time.sleep(1)
    assert cpu_s(a.pid) - used < 0.1 * (time.monotonic() - began)
