"""Rekeying of child SAs: the scenarios of strongSwan's test_child_rekey.c, between two of our own ends.

The comments show what is on the wire; {..} are payloads, (1) the old child, (2) that of `a`, (3) that of `b`.
"""

import pytest

from tests.support.ike_pair import ESP, ESP_PFS, Node, Pair, initiator_config, responder_config
from vcstack.ikev2.child_sa import ChildSa
from vcstack.ikev2.events import ChildFailed, ChildRetired, IkeDown, InboundReady, OutboundReady
from vcstack.ikev2.proposal import EspProposal


def events_of(node: Node, since: int) -> list[str]:
    """Names of the child events after the first `since` events."""
    kinds = (InboundReady, OutboundReady, ChildRetired)
    return [type(event).__name__ for event in node.events[since:] if isinstance(event, kinds)]


def established(**changes: object) -> tuple[Pair, ChildSa]:
    """A tunnel, and its first child as `a` has it."""
    pair = Pair(initiator_config(**changes), responder_config(**changes)).establish()
    if "initiate" in changes:
        pair.run(60.0)  # until both ends agree on one of the IKE SAs that they began at once
    return pair, pair.assert_one_tunnel()


def collide(pair: Pair, *, a_wins: bool) -> None:
    """Let both ends start to rekey the child, and see to it who has the lowest nonce."""
    lowest, other = (pair.b, pair.a) if a_wins else (pair.a, pair.b)
    random = lowest.endpoint.entropy
    lowest.endpoint.entropy = lambda length: bytes(length // 2) + random(length - length // 2)
    pair.rekey_child(lowest)
    lowest.endpoint.entropy = random
    pair.rekey_child(other)


@pytest.mark.parametrize("esp", [ESP, ESP_PFS])
@pytest.mark.parametrize("initiator", ["a", "b"])
def test_regular(initiator: str, esp: str) -> None:
    """Inbound first, outbound when the peer has it, the old one last; whichever end asks."""
    pair, old = established(esp_proposals=(EspProposal.parse(esp),))
    node = pair.a if initiator == "a" else pair.b
    peer = pair.other(node)
    marks = {end.name: len(end.events) for end in pair.nodes}
    # node -> peer  CREATE_CHILD_SA {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr}
    pair.rekey_child(node)
    pair.pass_on(peer.name, "CREATE_CHILD_SA request")
    assert events_of(peer, marks[peer.name]) == ["InboundReady"]
    # node <- peer  CREATE_CHILD_SA {SA, Nr, [KEr,] TSi, TSr}
    pair.pass_on(node.name, "CREATE_CHILD_SA response")
    assert events_of(node, marks[node.name]) == ["InboundReady", "OutboundReady"]
    # node -> peer  INFORMATIONAL {D(1)}
    pair.pass_on(peer.name, "INFORMATIONAL request")
    assert events_of(peer, marks[peer.name]) == ["InboundReady", "OutboundReady", "ChildRetired"]
    # node <- peer  INFORMATIONAL {D(1)}
    pair.pass_on(node.name, "INFORMATIONAL response")
    assert events_of(node, marks[node.name]) == ["InboundReady", "OutboundReady", "ChildRetired"]
    new = pair.assert_one_tunnel()
    assert new.spi_in != old.spi_in
    assert new.pfs_group == (31 if esp == ESP_PFS else None)


def test_ke_invalid() -> None:
    """The responder wants another group, and gets it."""
    pair = Pair(
        initiator_config(esp_proposals=(EspProposal.parse("aes256gcm16-ecp256-curve25519"),)),
        responder_config(),
    ).establish()
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA), SA, Ni, KEi(19), TSi, TSr}
    # a <- b  CREATE_CHILD_SA {N(INVALID_KE_PAYLOAD, 31)}
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA), SA, Ni, KEi(31), TSi, TSr}
    # a <- b  CREATE_CHILD_SA {SA, Nr, KEr(31), TSi, TSr}, then the old one is deleted
    pair.rekey_child(pair.a)
    pair.run(1.0)
    assert pair.assert_one_tunnel().pfs_group == 31
    # The next rekeying starts with the group that was agreed on: one request less.
    requests = pair.a.endpoint.counters["tx request CREATE_CHILD_SA"]
    pair.rekey_child(pair.a)
    pair.run(1.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == requests + 1


def test_pfs_mismatch_keeps_the_old_child_and_says_why() -> None:
    """opnsense issue 8631, libreswan 1234: a mismatch of PFS shows only at the first rekeying."""
    pair = Pair(initiator_config(), responder_config(esp_proposals=(EspProposal.parse(ESP),))).establish()
    old = pair.assert_one_tunnel()
    pair.rekey_child(pair.a)
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}
    # a <- b  CREATE_CHILD_SA {N(NO_PROPOSAL_CHOSEN)}
    pair.run(1.0)
    assert pair.a.data.outbound is old
    assert pair.a.endpoint.snapshot(pair.now).last_error == "peer said NO_PROPOSAL_CHOSEN to a child rekey"
    assert "DH group" in (pair.b.endpoint.snapshot(pair.now).last_error or "")
    assert pair.a.saw(ChildFailed) == pair.b.saw(ChildFailed) == 1
    attempts = pair.a.endpoint.counters["tx request CREATE_CHILD_SA"]
    pair.run(60.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] > attempts


def test_rekey_that_keeps_failing_starts_over_at_hard_expiry() -> None:
    """RFC 7296 2.8: when rekeying fails until the end, the IKE SA is closed and another one made."""
    pair = Pair(
        initiator_config(child_lifetime_s=100.0), responder_config(esp_proposals=(EspProposal.parse(ESP),))
    ).establish()
    pair.run(130.0)
    assert pair.a.saw(IkeDown) == 1
    assert pair.assert_one_tunnel() is not None


def test_peer_without_pfs_chooses_none() -> None:
    """Both with and without a group offered: NONE is agreed on, and the public value ignored."""
    pair = Pair(
        initiator_config(esp_proposals=(EspProposal.parse("aes256gcm16-curve25519-none"),)),
        responder_config(esp_proposals=(EspProposal.parse(ESP),)),
    ).establish()
    pair.rekey_child(pair.a)
    pair.run(1.0)
    assert pair.assert_one_tunnel().pfs_group is None


def test_responder_ignores_soft_expiry_of_a_rekeyed_child() -> None:
    """A child with a successor is not rekeyed again."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.act(pair.b, lambda endpoint: endpoint.child_soft_expired(old.spi_out, "test", pair.now))
    assert not [item for item in pair.wire if item.to == "a" and "request" in str(item)]
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_responder_handles_hard_expiry_of_a_rekeyed_child() -> None:
    """b deletes the old child itself while a does: the DELETEs cross, the new one stays (RFC 7296 1.4.1)."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    # b -> a  INFORMATIONAL {D(1)}
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(old.spi_out, "expired", pair.now))
    assert pair.b.data.outbound is not None
    assert pair.b.data.outbound.spi_in != old.spi_out
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_lost_response_is_repeated() -> None:
    """The responder sends on the old child until its answer has arrived, however long that takes."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.drop("a", "CREATE_CHILD_SA response")
    assert pair.b.data.outbound is not None
    assert pair.b.data.outbound.spi_in == old.spi_out
    pair.run(5.0)
    assert pair.b.endpoint.counters["rx request repeated"] == 1
    pair.assert_one_tunnel()


def test_responder_switches_when_the_peer_uses_the_new_child() -> None:
    """RFC 7296 2.8: a packet on the other half of the pair is proof as well."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.drop("b", "INFORMATIONAL request")
    new = next(spi for spi in pair.b.data.inbound if spi != old.spi_out)
    pair.act(pair.b, lambda endpoint: endpoint.inbound_used(new, pair.now))
    assert pair.b.data.outbound is not None
    assert pair.b.data.outbound.spi_in == new
    pair.run(3.0)
    pair.assert_one_tunnel()


def test_responder_switches_after_a_while_without_proof_and_deletes_what_the_peer_does_not() -> None:
    """A peer that neither sends nor deletes must not keep the old child for ever."""
    pair, _ = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.filter = lambda item: item.to != "b"
    pair.wire.clear()
    pair.b.endpoint.traffic_seen(pair.now)
    while pair.b.endpoint.counters["tx request INFORMATIONAL"] == 0 and pair.now < 1100:
        pair.b.endpoint.traffic_seen(pair.now)
        pair.run(1.0)
    assert pair.b.data.log[-1] == "OutboundReady"


def test_responder_lost_the_child() -> None:
    """RFC 7296 2.25: CHILD_SA_NOT_FOUND lets the initiator make a new child from scratch."""
    pair, old = established()
    # b -> a  INFORMATIONAL {D(1)}, whose loss leaves a with a child that b has forgotten.
    record = next(iter(pair.b.endpoint.children))
    pair.b.endpoint.children.retire(record, "forgotten")
    pair.flush(pair.b)
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA), ...}
    # a <- b  CREATE_CHILD_SA {N(CHILD_SA_NOT_FOUND)}
    # a -> b  CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr}
    # a <- b  CREATE_CHILD_SA {SA, Nr, KEr, TSi, TSr}
    pair.rekey_child(pair.a)
    pair.run(1.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_rekeying_twice_before_the_delete() -> None:
    """strongSwan issue 2945: the second request for one child gets TEMPORARY_FAILURE, and nothing breaks."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    # The DELETE that follows is on the wire; b, made to forget the first rekeying, asks for another.
    record = pair.b.endpoint.children.get(old.spi_out)
    assert record is not None
    record.successor = None
    # b -> a  CREATE_CHILD_SA {N(REKEY_SA, 1), ...}    b <- a  {N(TEMPORARY_FAILURE)}
    pair.rekey_child(pair.b)
    pair.pass_on("a", "CREATE_CHILD_SA request")
    assert pair.a.endpoint.counters["tx response CREATE_CHILD_SA"] == 1
    pair.run(1.0)
    pair.assert_one_tunnel()


@pytest.mark.parametrize("a_wins", [True, False])
def test_collision(a_wins: bool) -> None:
    """RFC 7296 2.8.1: the lowest nonce loses; its child is deleted by who asked for it."""
    pair, old = established()
    collide(pair, a_wins=a_wins)
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA, 1), SA, Ni2, ...}
    # b -> a  CREATE_CHILD_SA {N(REKEY_SA, 1), SA, Ni3, ...}
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    # b -> a  CREATE_CHILD_SA {SA, Nr2, ...}
    # a -> b  CREATE_CHILD_SA {SA, Nr3, ...}
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    assert all(len(node.data.inbound) == 3 for node in pair.nodes)
    winner, loser = pair.nodes if a_wins else (pair.b, pair.a)
    assert winner.endpoint.counters["child collision won"] == 1
    assert loser.endpoint.counters["child collision lost"] == 1
    assert loser.data.outbound is not None
    assert loser.data.outbound.spi_in in (old.spi_in, old.spi_out)
    # winner -> loser  INFORMATIONAL {D(1)}
    # loser -> winner  INFORMATIONAL {D(its own)}
    pair.run(1.0)
    new = pair.assert_one_tunnel()
    record = pair.a.endpoint.children.get(new.spi_in)
    assert record is not None
    assert record.is_initiator is a_wins


@pytest.mark.parametrize("a_wins", [True, False])
def test_collision_delayed_response(a_wins: bool) -> None:
    """b concludes before a has the answer to its own request."""
    pair, _ = established()
    collide(pair, a_wins=a_wins)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    delayed = pair.take("a")
    assert "CREATE_CHILD_SA response" in str(delayed)
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # b -> a  INFORMATIONAL {D(1)} if b has won, {D(3)} if it has lost: before a knows anything.
    pair.pass_on("a", "INFORMATIONAL request")
    assert pair.a.data.outbound is not None
    pair.deliver(delayed)
    pair.run(1.0)
    pair.assert_one_tunnel()


@pytest.mark.parametrize("a_wins", [True, False])
def test_collision_delayed_response_and_delete(a_wins: bool) -> None:
    """As before, and the DELETE is answered and done before the answer arrives (strongSwan issue 1458)."""
    pair, _ = established()
    collide(pair, a_wins=a_wins)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    delayed = pair.take("a")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    pair.pass_on("a", "INFORMATIONAL request")
    pair.pass_on("b", "INFORMATIONAL response")
    pair.deliver(delayed)
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_collision_delayed_request() -> None:
    """RFC 7296 2.8.1, second sequence: a's request arrives when b has finished; the error is ignored."""
    pair, _ = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    # b -> a  CREATE_CHILD_SA {N(REKEY_SA, 1), ...}, answered
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # b -> a  INFORMATIONAL {D(1)}, answered
    pair.pass_on("a", "INFORMATIONAL request")
    pair.pass_on("b", "INFORMATIONAL response")
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA, 1), ...}   a <- b  {N(CHILD_SA_NOT_FOUND)}
    pair.deliver(delayed)
    pair.pass_on("a", "CREATE_CHILD_SA response")
    assert pair.a.endpoint.counters["own child request forgotten"] == 1
    pair.run(1.0)
    new = pair.assert_one_tunnel()
    record = pair.b.endpoint.children.get(new.spi_out)
    assert record is not None
    assert record.is_initiator


def test_collision_delayed_request_more() -> None:
    """The request arrives between b's conclusion and the end of its DELETE: TEMPORARY_FAILURE, ignored."""
    pair, _ = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA, 1), ...}   a <- b  {N(TEMPORARY_FAILURE)}
    pair.deliver(delayed)
    pair.run(1.0)
    assert pair.a.endpoint.counters["own child request forgotten"] == 1
    pair.assert_one_tunnel()
    pair.run(60.0)
    pair.assert_one_tunnel()


def two_groups() -> Pair:
    """Ends that prefer different groups: each refuses the other's first public value."""
    return Pair(
        initiator_config(esp_proposals=(EspProposal.parse("aes256gcm16-ecp256-curve25519"),)),
        responder_config(esp_proposals=(EspProposal.parse("aes256gcm16-curve25519-ecp256"),)),
    ).establish()


def test_collision_ke_invalid() -> None:
    """Both are asked for the other's group, and collide again with that."""
    pair = two_groups()
    pair.rekey_child(pair.a)
    pair.rekey_child(pair.b)
    for _ in range(4):
        pair.pass_on("b", "CREATE_CHILD_SA")
        pair.pass_on("a", "CREATE_CHILD_SA")
    pair.run(2.0)
    pair.assert_one_tunnel()


def test_collision_ke_invalid_delayed_retry() -> None:
    """b's second attempt comes when a has finished: CHILD_SA_NOT_FOUND, ignored."""
    pair = two_groups()
    pair.rekey_child(pair.a)
    pair.rekey_child(pair.b)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # b -> a  CREATE_CHILD_SA {N(REKEY_SA, 1), .., KEi(19)} stays on its way for long.
    delayed = pair.take("a")
    assert "CREATE_CHILD_SA request" in str(delayed)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.pass_on("b", "INFORMATIONAL request")
    pair.pass_on("a", "INFORMATIONAL response")
    pair.deliver(delayed)
    pair.run(1.0)
    assert pair.b.endpoint.counters["own child request forgotten"] == 1
    pair.assert_one_tunnel()


@pytest.mark.parametrize("rekeyer", ["a", "b"])
def test_collision_delete(rekeyer: str) -> None:
    """One end rekeys what the other deletes: TEMPORARY_FAILURE, then a new child from scratch."""
    pair, old = established(initiate=True)
    node = pair.a if rekeyer == "a" else pair.b
    peer = pair.other(node)
    spi = old.spi_in if peer is pair.a else old.spi_out
    pair.rekey_child(node)
    pair.act(peer, lambda endpoint: endpoint.child_hard_expired(spi, "expired", pair.now))
    # node -> peer  CREATE_CHILD_SA {N(REKEY_SA, 1), ...}    node <- peer  {N(TEMPORARY_FAILURE)}
    # peer -> node  INFORMATIONAL {D(1)}                     peer <- node  {D(1)}
    pair.pass_on(peer.name, "CREATE_CHILD_SA request")
    pair.pass_on(node.name, "INFORMATIONAL request")
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_collision_delete_drop_delete() -> None:
    """The DELETE is lost: it comes after the TEMPORARY_FAILURE."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(old.spi_out, "expired", pair.now))
    pair.drop("a", "INFORMATIONAL request")
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    assert pair.a.data.outbound is old
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_collision_delete_drop_rekey() -> None:
    """The request is lost: when it is repeated the child is gone."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(old.spi_out, "expired", pair.now))
    pair.drop("b", "CREATE_CHILD_SA request")
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


@pytest.mark.parametrize("child_end", ["a", "b"])
def test_collision_ike_rekey(child_end: str) -> None:
    """RFC 7296 2.25: both refuse with TEMPORARY_FAILURE, both try again, and both succeed."""
    pair, old = established()
    node = pair.a if child_end == "a" else pair.b
    pair.rekey_child(node)
    pair.rekey_ike(pair.other(node))
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.run(30.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in
    assert pair.a.endpoint.counters["IKE SA rekeyed"] == 1


def test_collision_ike_delete() -> None:
    """One end rekeys the child while the other closes the IKE SA: it is down, and comes up again."""
    pair, _ = established()
    pair.rekey_child(pair.a)
    pair.act(pair.b, lambda endpoint: endpoint.reinitiate(pair.now, "test"))
    assert pair.b.data.outbound is None
    pair.run(30.0)
    assert pair.a.saw(IkeDown) == 1
    pair.assert_one_tunnel()


def test_collision_with_failing_own_request_uses_the_peers_child() -> None:
    """strongSwan issue 2477: our request is refused, the peer's succeeds; its child must be used."""
    pair = Pair(
        initiator_config(esp_proposals=(EspProposal.parse(ESP_PFS), EspProposal.parse(ESP))),
        responder_config(esp_proposals=(EspProposal.parse(ESP),)),
    ).establish()
    pair.rekey_child(pair.a)
    pair.rekey_child(pair.b)
    pair.run(40.0)
    pair.assert_one_tunnel()
