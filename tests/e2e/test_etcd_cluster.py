"""The commands on an etcd of three members: what becomes of a leader when members are gone, stand still, are cut off.

Times are asserted with room: what counts is what comes before what, and that a leader without a quorum is over by its
deadline.
"""

import os
import time

import pytest

import network
from cluster import Cluster, Relay
from conftest import BATON, LIMIT_S
from test_etcd import ALONE, command_of, connections, is_over, wait_stands, wait_up

TTL_S = 4
ALONE_S = 2  # until a leader of etcd's that is cut off notices: two election timeouts. Until then it renews leases
ROOM_S = 1  # to be noticed, on a busy machine


@pytest.fixture
def three(world, tmp_path):
    """A world on three members."""
    folder = tmp_path / "etcd"
    folder.mkdir()
    with Cluster(str(folder), 3) as cluster:
        world.etcd = cluster
        world.env["BATON_URL"] = cluster.url()
        yield world


def alone(world):
    """Says so when another one runs beside it that should not."""
    return (*ALONE, os.path.join(world.folder, "alone"))


def stand(world, instance, ttl_s, **kwargs):
    return world.stand("db", instance, f"--ttl={ttl_s}s", "--grace=300ms", command=alone(world), **kwargs)


def pair(world, ttl_s):
    """`a` leads, `b` stands; the term."""
    world.a = stand(world, "a", ttl_s, env=world.traced("a"))
    term = wait_up(world.a)
    world.b = stand(world, "b", ttl_s)
    wait_stands(world, "a", "b")
    return term


def renewals(world):
    """The trace of `a` from now on."""
    return world.start_command(["tail", "-n", "0", "-F", f"{world.folder}/trace-a"])


def changes(world):
    """How the leaders came, the newest first."""
    return [line["reason"] for line in world.run("history", "--json", "db").objects]


def end(world):
    assert not any("CONTENDED" in line for one in (world.a, world.b) for line in one.seen)


def member_of(world, process):
    """The member that it is connected to."""
    ports = connections(process.pid).values()
    [member] = [one for one in world.etcd.members if one.client in ports]
    return member


def test_the_leader_of_etcd_is_killed(three):
    term = pair(three, ttl_s=20)
    killed = three.etcd.leader()
    trace = renewals(three)
    killed.kill()
    trace.wait_line("< session_renew .* done")
    assert changes(three) == ["claim"]
    assert three.run("transfer", "--to", "b", "db").code == 0
    assert wait_up(three.b) > term
    end(three)


def test_the_member_in_use_stands_still(three):
    term = pair(three, ttl_s=20)
    member = member_of(three, three.a)
    member.freeze()
    trace = renewals(three)
    trace.wait_line("< session_renew .* done")
    assert member_of(three, three.a) is not member
    assert changes(three) == ["claim"]
    three.a.stop()
    assert wait_up(three.b) > term
    member.thaw()
    end(three)


def test_a_rolling_restart_changes_no_leader(three):
    term = pair(three, ttl_s=20)
    for member in three.etcd.members:
        member.stop()
        member.start()
        member.wait_ready()
        three.etcd.wait_leader()
    renewals(three).wait_line("< session_renew .* done")
    assert changes(three) == ["claim"]
    three.a.stop()
    assert wait_up(three.b) > term
    end(three)


def test_without_a_quorum_nobody_leads_past_the_deadline(three):
    term = pair(three, TTL_S)
    three.wait_renewed("a")  # so that the deadline is that of a renewal
    with os.fdopen(os.pidfd_open(command_of(three.a))) as command:
        leader = three.etcd.leader()
        frozen = [leader, next(one for one in three.etcd.members if one is not leader)]
        since = time.monotonic()
        for member in frozen:  # the leader first: it renews leases without asking the others
            member.freeze()
        # The last renewal that was answered had been sent before.
        assert is_over(command.fileno(), limit=TTL_S + ROOM_S)
    # And nobody follows, although the lease is over by any clock.
    for one, place in ((three.a, three.a.place), (three.b, 0)):
        with pytest.raises(pytest.fail.Exception):
            one.wait_line("^up ", limit=max(0.0, since + 2 * TTL_S - time.monotonic()), after=place)
    for member in frozen:
        member.thaw()
    three.etcd.wait_leader()
    watch = three.watch("db")
    while watch.wait_object(change="lead", limit=TTL_S + LIMIT_S)["term"] <= term:
        pass  # it begins with what was: etcd gives each lease its whole ttl again
    end(three)


RST_STREAM = 3


def test_a_stream_that_etcd_ends_is_noticed_by_its_trailers(three):
    pair(three, ttl_s=20)
    leader = three.etcd.leader()
    member = next(one for one in three.etcd.members if one is not leader)
    with Relay(member.endpoint, late=RST_STREAM) as relay:
        watch = three.start("watch", "--json", "--url", f"etcd://{relay.endpoint}/test", "db")
        watch.wait_object(change="join", id="b")
        others = [one for one in three.etcd.members if one is not member]
        for one in others:
            one.freeze()
        # Without a leader the member ends its streams after three election timeouts.
        deadline = time.monotonic() + LIMIT_S
        while relay.were_late == 0:
            assert time.monotonic() < deadline, "the stream is not ended"
        for one in others:
            one.thaw()
        three.a.stop()
        watch.wait_object(change="lead", id="b")
    end(three)


def test_who_is_cut_off_with_a_minority_is_over_before_the_next_begins(world, tmp_path):
    why = network.why_not()
    if why is not None:
        pytest.skip(f"no networks of their own: {why}")
    folder = tmp_path / "etcd"
    folder.mkdir()
    with network.Network(1) as net:
        cluster = Cluster(str(folder), 3, hosts=[net.far(0), net.etcd, net.etcd])
        cluster.members[0].inside = net.inside(0)
        with cluster:
            cut_off(world, net, cluster)


def cut_off(world, net, cluster):
    first, *others = [one.endpoint for one in cluster.members]
    world.env["BATON_URL"] = f"etcd://{','.join(others)}/test"
    world.a = world.start_command(
        [*net.inside(0), BATON, "run", f"--ttl={TTL_S}s", "--grace=300ms", "--id=a", "--url", f"etcd://{first}/test",
         "db", "--", *alone(world)], env=world.traced("a"))
    term = wait_up(world.a)
    world.b = stand(world, "b", TTL_S)
    watch = wait_stands(world, "a", "b")
    world.wait_renewed("a")
    with os.fdopen(os.pidfd_open(command_of(world.a))) as command:
        net.cut(0, True, True)
        assert is_over(command.fileno(), limit=ALONE_S + TTL_S + ROOM_S)
    # The others elect a leader of etcd's, if that one is gone, and the lease is over by its clock some time later.
    assert wait_up(world.b, limit=TTL_S + LIMIT_S) > term
    watch.wait_object(change="leave", id="a")
    net.mend(0, True, True)
    watch.wait_object(change="join", id="a", limit=60)  # TCP tries again after twice as long each time
    world.b.stop()
    assert wait_up(world.a) > term
    end(world)
