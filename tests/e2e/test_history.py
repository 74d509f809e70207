"""`baton history`: the last terms."""

import re

from conftest import LIMIT_S


def test_each_change_of_leader_is_one_term_with_its_reason(led):
    assert led.run("transfer", "db").code == 0
    assert led.run("hold", "db").code == 0
    assert led.run("release", "db").code == 0
    led.changes.wait_object(change="release")
    led.changes.wait_object(change="lead")
    told = led.run("history", "--json", "db").objects
    terms = [each["term"] for each in told]
    assert terms == sorted(set(terms), reverse=True)  # newest first, each once
    assert [(each["leader"], each["reason"]) for each in reversed(told)][:3] == [
        ("alpha", "claim"), ("beta", "transfer"), (None, "hold")]
    assert told[0]["reason"] == "claim" and told[0]["leader"] in ("alpha", "beta")
    assert {each["name"] for each in told} == {"db"}

    table = led.run("history", "db")
    assert table.code == 0
    assert table.lines[0].split() == ["TERM", "LEADER", "SINCE", "REASON"]
    assert [int(line.split()[0]) for line in table.lines[1:]] == terms
    assert table.lines[2].split()[1] == "-"
    for line, one in zip(table.lines[1:], told):
        assert re.search(rf" {one['reason']}: [a-z]", line), line


def test_the_last_16_terms_are_kept(led):
    for _ in range(17):
        assert led.run("transfer", "db", limit=LIMIT_S).code == 0
    assert len(led.run("history", "--json", "db").objects) == 16


def test_an_election_that_never_was_has_no_history(world):
    told = world.run("history", "db")
    assert (told.code, told.out) == (66, "")
    assert told.err == (f"baton: there is no election 'db' in {world.url}: nobody stands for it and nobody ever led "
                        "it\n")
