"""Deletion of child and IKE SAs, liveness, and what is done about a peer that is gone."""

import pytest

from tests.support.ike_pair import Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildRetired, IkeDown, IkeUp
from vcstack.ikev2.iana import ExchangeType


def established(**changes: object) -> Pair:
    """A tunnel."""
    pair = Pair(initiator_config(**changes), responder_config(**changes)).establish()
    pair.assert_one_tunnel()
    return pair


def expire_child(pair: Pair, name: str) -> None:
    """Let the child of an end reach its hard limit."""
    node = pair.a if name == "a" else pair.b
    child = node.data.outbound
    assert child is not None
    pair.act(node, lambda endpoint: endpoint.child_hard_expired(child.spi_in, "expired", pair.now))


@pytest.mark.parametrize("node", ["a", "b"])
def test_child_delete_regular(node: str) -> None:
    """The child goes on both ends, and a new one comes."""
    pair = established()
    old = pair.assert_one_tunnel()
    # -> INFORMATIONAL {D(spi_in)}   <- INFORMATIONAL {D(spi_out)}, then CREATE_CHILD_SA
    expire_child(pair, node)
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in
    assert pair.a.saw(ChildRetired) == pair.b.saw(ChildRetired) == 1


def test_child_delete_collision() -> None:
    """RFC 7296 1.4.1: the DELETEs cross, and no answer names an SPI again."""
    pair = established()
    expire_child(pair, "a")
    expire_child(pair, "b")
    pair.run(10.0)
    pair.assert_one_tunnel()
    for node in pair.nodes:
        assert node.endpoint.counters["rx delete of an unknown child"] == 0


def test_child_delete_collision_drop() -> None:
    """As before, and one of them is lost."""
    pair = established()
    expire_child(pair, "a")
    expire_child(pair, "b")
    pair.drop("b", "INFORMATIONAL request")
    pair.run(10.0)
    pair.assert_one_tunnel()


def test_child_delete_collision_ike_rekey() -> None:
    """RFC 7296 2.25.1: an IKE SA is not rekeyed while a child is being deleted."""
    pair = established()
    expire_child(pair, "a")
    pair.rekey_ike(pair.b)
    # b -> a  CREATE_CHILD_SA {SA, Ni, KEi}     b <- a  {N(TEMPORARY_FAILURE)}
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.run(30.0)
    assert pair.a.endpoint.counters["IKE SA rekeyed"] == 1
    pair.assert_one_tunnel()


def test_child_delete_collision_ike_delete() -> None:
    """The IKE SA goes while its child does."""
    pair = established()
    expire_child(pair, "a")
    pair.act(pair.b, lambda endpoint: endpoint.reinitiate(pair.now, "test"))
    pair.run(20.0)
    pair.assert_one_tunnel()


def test_ike_delete_regular() -> None:
    """close: DELETE, everything retired at once, the answer, then quiet for good."""
    pair = established()
    pair.act(pair.a, lambda endpoint: endpoint.close(pair.now))
    assert pair.a.data.outbound is None
    assert isinstance(pair.a.events[-1], IkeDown)
    # a -> b  INFORMATIONAL {D(IKE)}    a <- b  INFORMATIONAL {}
    pair.pass_on("b", "INFORMATIONAL request")
    assert pair.b.events[-1] == IkeDown("the peer deleted the IKE SA", None)
    pair.run(200.0)
    assert pair.a.endpoint.next_timeout() is None
    assert pair.a.endpoint.snapshot(pair.now).state == "closed"
    assert pair.b.endpoint.snapshot(pair.now).state == "idle"
    assert not pair.a.data.inbound
    assert not pair.b.data.inbound


def test_ike_delete_is_best_effort() -> None:
    """A peer that is gone does not keep this end waiting."""
    pair = established()
    pair.filter = lambda _: False
    pair.act(pair.a, lambda endpoint: endpoint.close(pair.now))
    pair.run(5.0)
    assert not pair.a.endpoint.snapshot(pair.now).ike_sas


def test_ike_delete_collision() -> None:
    """RFC 7296 2.25.2: the DELETEs cross; both are answered."""
    pair = established()
    for node in pair.nodes:
        pair.act(node, lambda endpoint: endpoint.close(pair.now))
    pair.run(200.0)
    assert [node.endpoint.next_timeout() for node in pair.nodes] == [None, None]


def test_close_while_a_request_is_unanswered() -> None:
    """The DELETE waits for the window; the late answer changes nothing any more."""
    pair = established()
    pair.rekey_child(pair.a)
    pair.act(pair.a, lambda endpoint: endpoint.close(pair.now))
    pair.run(1.0)
    assert not pair.a.data.inbound
    assert not pair.b.data.inbound


def test_the_initiator_comes_back_after_the_peer_deleted() -> None:
    """A peer that restarts says goodbye; the branch calls again."""
    pair = established()
    pair.act(pair.b, lambda endpoint: endpoint.reinitiate(pair.now, "restart"))
    pair.run(10.0)
    assert pair.a.saw(IkeUp) == 2
    pair.assert_one_tunnel()


def test_liveness_only_when_idle_and_one_at_a_time() -> None:
    """libreswan issue 524: no check while traffic is seen, and never two of them."""
    pair = established(dpd_interval_s=10.0)
    for _ in range(60):
        pair.run(1.0)
        for node in pair.nodes:
            node.endpoint.traffic_seen(pair.now)
    assert pair.a.endpoint.counters["tx request INFORMATIONAL"] == 0
    pair.run(100.0)
    checks = sum(node.endpoint.counters["tx request INFORMATIONAL"] for node in pair.nodes)
    assert 9 <= checks <= 20


def test_the_responders_first_request_has_message_id_zero() -> None:
    """Openswan issue 195: a CSR1000v asks for life with message ID 0, and must be answered."""
    pair = established(dpd_interval_s=0.0)
    object.__setattr__(pair.b.endpoint.config, "dpd_interval_s", 10.0)
    seen = pair.record()
    pair.run(11.0)
    assert [(item.to, item.header.message_id, item.header.exchange) for item in seen] == [
        ("a", 0, ExchangeType.INFORMATIONAL),
        ("b", 0, ExchangeType.INFORMATIONAL),
    ]


def test_dead_peer() -> None:
    """Retransmissions are exhausted: down with a reason, then attempts for ever, with back-off."""
    pair = established()
    pair.filter = lambda _: False
    pair.run(60.0)
    assert pair.a.data.outbound is None
    snapshot = pair.a.endpoint.snapshot(pair.now)
    downs = [event for event in pair.a.events if isinstance(event, IkeDown)]
    assert downs[0].reason == "the peer does not answer the liveness check"
    pair.run(3600.0)
    waits = [event.retry_in_s for event in pair.a.events if isinstance(event, IkeDown)]
    assert all(wait is not None and wait <= 75.0 for wait in waits)
    assert snapshot.state in ("waiting", "connecting")
    assert pair.a.endpoint.snapshot(pair.now).attempts > 20
    pair.filter = lambda _: True
    pair.run(120.0)
    pair.assert_one_tunnel()


def test_peer_restarts_without_a_word() -> None:
    """INITIAL_CONTACT: the responder forgets what it had; the reborn initiator is up without waiting."""
    pair = established()
    reborn = Pair(seed=2).a
    reborn.name = "a"
    pair.a = reborn
    pair.act(pair.a, lambda endpoint: endpoint.start(pair.now))
    pair.run(2.0)
    pair.assert_one_tunnel()
    assert pair.b.saw(ChildRetired) == 1
    assert pair.b.saw(IkeDown) == 0
