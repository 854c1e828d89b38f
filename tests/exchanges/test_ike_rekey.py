"""Rekeying of the IKE SA: the scenarios of strongSwan's test_ike_rekey.c, between two of our own ends."""

import pytest

from tests.support.ike_pair import IKE, Node, Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildRetired, IkeDown, IkeRekeyed
from vcstack.ikev2.proposal import IkeProposal


def established(**changes: object) -> Pair:
    """A tunnel."""
    pair = Pair(initiator_config(**changes), responder_config(**changes)).establish()
    pair.assert_one_tunnel()
    return pair


def assert_rekeyed(pair: Pair, *, initiator: Node | None = None) -> None:
    """Another IKE SA has the child, nothing else is left, and traffic was never touched."""
    child = pair.assert_one_tunnel()
    assert pair.a.saw(ChildRetired) == pair.b.saw(ChildRetired) == 0
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0
    assert pair.a.saw(IkeRekeyed) == pair.b.saw(IkeRekeyed) == 1
    if initiator is not None:
        (snapshot,) = initiator.endpoint.snapshot(pair.now).ike_sas
        assert snapshot.is_initiator
    # The new IKE SA works in both directions: each end rekeys the child on it.
    for node in pair.nodes:
        pair.rekey_child(node)
        pair.run(1.0)
    assert pair.assert_one_tunnel().spi_in != child.spi_in


def collide(pair: Pair, *, a_wins: bool) -> None:
    """Let both ends start to rekey the IKE SA, and see to it who has the lowest nonce."""
    lowest, other = (pair.b, pair.a) if a_wins else (pair.a, pair.b)
    random = lowest.endpoint.entropy
    lowest.endpoint.entropy = lambda length: bytes(length // 2) + random(length - length // 2)
    pair.rekey_ike(lowest)
    lowest.endpoint.entropy = random
    pair.rekey_ike(other)


@pytest.mark.parametrize("initiator", ["a", "b"])
def test_regular(initiator: str) -> None:
    """strongSwan issue 309: roles may change, and SPIs and flags follow the one who rekeys."""
    pair = established()
    node = pair.a if initiator == "a" else pair.b
    peer = pair.other(node)
    # node -> peer  CREATE_CHILD_SA {SA(SPIi), Ni, KEi}
    pair.rekey_ike(node)
    pair.pass_on(peer.name, "CREATE_CHILD_SA request")
    # node <- peer  CREATE_CHILD_SA {SA(SPIr), Nr, KEr}
    pair.pass_on(node.name, "CREATE_CHILD_SA response")
    # node -> peer  INFORMATIONAL {D(IKE)} on the old IKE SA, and the empty answer
    pair.pass_on(peer.name, "INFORMATIONAL request")
    pair.pass_on(node.name, "INFORMATIONAL response")
    assert_rekeyed(pair, initiator=node)


def test_message_ids_start_at_zero() -> None:
    """RFC 7296 1.3.2: the new IKE SA counts anew, whatever the old one has counted."""
    pair = established()
    pair.rekey_ike(pair.a)
    pair.run(1.0)
    for node in pair.nodes:
        (snapshot,) = node.endpoint.snapshot(pair.now).ike_sas
        assert (snapshot.next_request_id, snapshot.expected_request_id) == (0, 0)


def test_again_and_again() -> None:
    """Twenty times, from alternating ends: nothing is left behind."""
    pair = established()
    for round_ in range(20):
        pair.rekey_ike(pair.nodes[round_ % 2])
        pair.run(1.0)
        pair.assert_one_tunnel()
    pair.run(120.0)
    assert [len(node.endpoint.ike_sas) for node in pair.nodes] == [1, 1]


def two_groups() -> Pair:
    """Ends that prefer different groups: each refuses the other's first public value."""
    pair = Pair(
        initiator_config(ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-curve25519-ecp256"),)),
        responder_config(ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-ecp256-curve25519"),)),
    )
    return pair.establish()


def test_ke_invalid() -> None:
    """a starts with the group in use; b has meanwhile been told to want another."""
    pair = Pair(
        initiator_config(ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-curve25519-ecp256"),)),
        responder_config(),
    ).establish()
    object.__setattr__(
        pair.b.endpoint.config, "ike_proposals", (IkeProposal.parse("aes256gcm16-prfsha256-ecp256"),)
    )
    pair.rekey_ike(pair.a)
    pair.run(1.0)
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].dh_group == 19
    assert_rekeyed(pair, initiator=pair.a)


@pytest.mark.parametrize("a_wins", [True, False])
def test_collision(a_wins: bool) -> None:
    """RFC 7296 2.8.2: three IKE SAs for a moment; the child goes to the one without the lowest nonce."""
    pair = established()
    collide(pair, a_wins=a_wins)
    # a -> b  CREATE_CHILD_SA {SA, Ni1, KEi}     b -> a  CREATE_CHILD_SA {SA, Ni2, KEi}
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    # b -> a  CREATE_CHILD_SA {SA, Nr1, KEr}     a -> b  CREATE_CHILD_SA {SA, Nr2, KEr}
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # winner -> loser  {D(old)}    loser -> winner  {D(its own new one)}
    pair.run(1.0)
    winner, loser = pair.nodes if a_wins else (pair.b, pair.a)
    assert winner.endpoint.counters["IKE rekey collision won"] == 1
    assert loser.endpoint.counters["IKE rekey collision lost"] == 1
    assert_rekeyed(pair, initiator=winner)


@pytest.mark.parametrize("a_wins", [True, False])
def test_collision_delayed_response(a_wins: bool) -> None:
    """b concludes, and deletes what it has to, before a has the answer to its own request."""
    pair = established()
    collide(pair, a_wins=a_wins)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    delayed = pair.take("a")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    pair.pass_on("a", "INFORMATIONAL request")
    pair.deliver(delayed)
    # If b has won, a never made its own IKE SA, and b deletes its half without an answer.
    pair.run(10.0)
    assert_rekeyed(pair, initiator=pair.a if a_wins else pair.b)


def test_collision_use_before_the_response() -> None:
    """The peer uses the IKE SA it made while our own answer is late: that decides."""
    pair = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    # a <- b  CREATE_CHILD_SA {SA, Ni2, KEi}, answered; b has not seen a's request and goes on.
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    pair.drop("a", "INFORMATIONAL request")
    # a <- b  CREATE_CHILD_SA {N(REKEY_SA), ...} on the new IKE SA
    pair.rekey_child(pair.b)
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.deliver(delayed)
    pair.run(10.0)
    pair.assert_one_tunnel()
    assert pair.b.saw(IkeRekeyed) == 1
    assert pair.a.endpoint.counters["rx delete of an unknown child"] == 0


def test_collision_dropped_request() -> None:
    """RFC 7296 2.8.2: b has finished before a's request reaches it; a forgets its own rekeying."""
    pair = established()
    collide(pair, a_wins=True)
    pair.drop("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # b -> a  INFORMATIONAL {D(IKE)}
    pair.pass_on("a", "INFORMATIONAL request")
    assert pair.a.endpoint.counters["own IKE rekey forgotten"] == 1
    pair.run(5.0)
    assert_rekeyed(pair, initiator=pair.b)


def test_collision_delayed_request() -> None:
    """a's request arrives while b is deleting the old IKE SA: TEMPORARY_FAILURE (RFC 7296 2.25.2)."""
    pair = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    delete = pair.take("a")
    # a -> b  CREATE_CHILD_SA {SA, Ni1, KEi}     a <- b  {N(TEMPORARY_FAILURE)}
    pair.deliver(delayed)
    pair.pass_on("a", "CREATE_CHILD_SA response")
    pair.deliver(delete)
    pair.run(2.0)
    assert_rekeyed(pair, initiator=pair.b)


def test_collision_delayed_request_and_delete() -> None:
    """a's request arrives when b has forgotten the old IKE SA: it is not answered, and not missed."""
    pair = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    pair.pass_on("a", "INFORMATIONAL request")
    pair.pass_on("b", "INFORMATIONAL response")
    pair.deliver(delayed)
    pair.run(2.0)
    assert_rekeyed(pair, initiator=pair.b)


def test_collision_ke_invalid() -> None:
    """Both ask with the group in use, and only one of them can have what it wants."""
    pair = two_groups()
    pair.rekey_ike(pair.a)
    pair.rekey_ike(pair.b)
    pair.run(5.0)
    assert_rekeyed(pair)


@pytest.mark.parametrize("deleter", ["a", "b"])
def test_collision_delete(deleter: str) -> None:
    """One end rekeys the IKE SA that the other deletes: it ends, and the initiator starts over."""
    pair = established()
    node = pair.a if deleter == "a" else pair.b
    pair.rekey_ike(pair.other(node))
    pair.act(node, lambda endpoint: endpoint.reinitiate(pair.now, "test"))
    pair.run(20.0)
    pair.assert_one_tunnel()


def test_collision_delete_drop_delete() -> None:
    """The DELETE is lost at first: the rekeying is refused meanwhile."""
    pair = established()
    pair.rekey_ike(pair.b)
    pair.act(pair.a, lambda endpoint: endpoint.reinitiate(pair.now, "test"))
    pair.drop("b", "INFORMATIONAL request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.run(20.0)
    pair.assert_one_tunnel()


def test_refused_rekey_is_repeated_and_reported() -> None:
    """The peer refuses; the IKE SA lives on until its end, and the reason is shown."""
    pair = established()
    object.__setattr__(
        pair.b.endpoint.config, "ike_proposals", (IkeProposal.parse("aes128gcm16-prfsha512-curve25519"),)
    )
    pair.rekey_ike(pair.a)
    pair.run(1.0)
    assert pair.a.endpoint.snapshot(pair.now).last_error == "peer said NO_PROPOSAL_CHOSEN to an IKE rekey"
    assert "encryption" in (pair.b.endpoint.snapshot(pair.now).last_error or "")
    object.__setattr__(pair.b.endpoint.config, "ike_proposals", (IkeProposal.parse(IKE),))
    pair.run(30.0)
    assert_rekeyed(pair, initiator=pair.a)


def test_expiry_without_rekey_starts_over() -> None:
    """An IKE SA that cannot be rekeyed is closed at the end of its life, and made anew."""
    pair = Pair(initiator_config(ike_lifetime_s=300.0), responder_config()).establish()
    object.__setattr__(
        pair.b.endpoint.config, "ike_proposals", (IkeProposal.parse("aes128gcm16-prfsha512-curve25519"),)
    )
    pair.run(295.0)
    object.__setattr__(pair.b.endpoint.config, "ike_proposals", (IkeProposal.parse(IKE),))
    pair.run(20.0)
    assert [event for event in pair.a.events if isinstance(event, IkeDown)] == [
        IkeDown("the IKE SA expired before it could be rekeyed", 0.0)
    ]
    pair.assert_one_tunnel()
