"""More of strongSwan's exchange tests: deletes that come too early, answers that come too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exchanges.test_child_rekey import collide, established
from tests.exchanges.test_ike_rekey import two_groups as two_ike_groups
from tests.support.ike_pair import ESP_PFS, Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildRetired, IkeDown, IkeRekeyed
from vcstack.ikev2.exchanges.create_child import CreateChild
from vcstack.ikev2.proposal import EspProposal

if TYPE_CHECKING:
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload


def test_child_rekey_responder_delete() -> None:
    """The responder deletes the new child as soon as it carries traffic; both make another."""
    pair, _ = established()
    pair.rekey_child(pair.a)
    pair.run(1.0)
    new = pair.assert_one_tunnel()
    # b -> a  INFORMATIONAL {D(new)}    b <- a  {D(new)}, then CREATE_CHILD_SA
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(new.spi_out, "expired", pair.now))
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != new.spi_in
    assert pair.a.saw(IkeDown) == 0


def test_child_rekey_responder_incorrect_delete() -> None:
    """The responder deletes the old child itself, and its DELETE overtakes its answer: nothing is lost."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    answer = pair.take("a")
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(old.spi_out, "expired", pair.now))
    # b -> a  INFORMATIONAL {D(old)}    a <- b  CREATE_CHILD_SA {SA, Nr, KEr, TSi, TSr}, much later
    pair.pass_on("a", "INFORMATIONAL request")
    pair.deliver(answer)
    pair.run(1.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0
    pair.run(60.0)
    pair.assert_one_tunnel()


@pytest.mark.parametrize("a_wins", [True, False])
def test_child_rekey_collision_responder_incorrect_delete(a_wins: bool) -> None:
    """As before, while both rekey: one deletes the old child before either answer has come."""
    pair, old = established()
    collide(pair, a_wins=a_wins)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    late = pair.take("a")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    pair.act(pair.b, lambda endpoint: endpoint.child_hard_expired(old.spi_out, "expired", pair.now))
    pair.pass_on("a", "INFORMATIONAL request")
    pair.deliver(late)
    pair.run(2.0)
    pair.assert_one_tunnel()
    pair.run(60.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_child_rekey_delete_timeout() -> None:
    """The DELETE of the old child is lost again and again: it is repeated, and the new one carries."""
    pair, old = established()
    pair.rekey_child(pair.a)
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA response")
    until = pair.now + 8.0
    pair.filter = lambda item: pair.now > until or "INFORMATIONAL request" not in str(item)
    pair.wire.clear()
    pair.run(7.0)
    assert pair.a.data.outbound is not None
    assert pair.a.data.outbound.spi_in != old.spi_in
    assert old.spi_in in pair.a.data.inbound
    pair.run(15.0)
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeDown) == 0


def test_child_rekey_collision_delayed_request_more_delete() -> None:
    """a's request is refused while b deletes the old child, and b's DELETE arrives before that refusal."""
    pair, _ = established()
    collide(pair, a_wins=True)
    delayed = pair.take("b")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    pair.pass_on("b", "CREATE_CHILD_SA response")
    # a -> b  CREATE_CHILD_SA {N(REKEY_SA, 1), ..}     a <- b  {N(TEMPORARY_FAILURE)}, late
    pair.deliver(delayed)
    delete = pair.take("a")
    refusal = pair.take("a")
    assert "INFORMATIONAL request" in str(delete)
    assert "CREATE_CHILD_SA response" in str(refusal)
    pair.deliver(delete)
    pair.pass_on("b", "INFORMATIONAL response")
    pair.deliver(refusal)
    assert pair.a.endpoint.counters["own child request forgotten"] == 1
    pair.run(60.0)
    pair.assert_one_tunnel()


@pytest.mark.parametrize("rekeyer", ["a", "b"])
def test_child_rekey_collision_delete_delayed_response(rekeyer: str) -> None:
    """One end rekeys what the other deletes, and the refusal comes when the child is gone."""
    pair, old = established(initiate=True)
    node = pair.a if rekeyer == "a" else pair.b
    peer = pair.other(node)
    spi = old.spi_in if peer is pair.a else old.spi_out
    pair.rekey_child(node)
    pair.act(peer, lambda endpoint: endpoint.child_hard_expired(spi, "expired", pair.now))
    pair.pass_on(peer.name, "CREATE_CHILD_SA request")
    delete, refusal = pair.take(node.name), pair.take(node.name)
    assert "INFORMATIONAL request" in str(delete)
    pair.deliver(delete)
    pair.pass_on(peer.name, "INFORMATIONAL response")
    pair.deliver(refusal)
    pair.run(10.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_ike_rekey_collision_ke_invalid_delayed_retry() -> None:
    """Both ask with a group that the other refuses; b's second attempt comes when a has long finished."""
    pair = two_ike_groups()
    pair.rekey_ike(pair.a)
    pair.rekey_ike(pair.b)
    pair.run(0.01)
    for _ in range(2):
        for end in ("b", "a"):
            if any(item.to == end for item in pair.wire):
                pair.deliver(pair.take(end))
    late = [pair.take("a") for item in tuple(pair.wire) if item.to == "a" and "request" in str(item)]
    pair.run(3.0)
    for item in late:
        pair.deliver(item)
    pair.run(60.0)
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0
    assert pair.a.saw(IkeRekeyed) >= 1


class Duplicate(CreateChild):
    """Asks for a child whether there is one or not."""

    def request(self, sa: IkeSa, now: float) -> list[Payload]:
        return self.offered(sa)


def test_child_create_duplicate() -> None:
    """A peer that makes a second child for the same selectors gets it; the older one goes, without loss."""
    pair = Pair(
        initiator_config(esp_proposals=(EspProposal.parse(ESP_PFS),), redundant_child_s=10.0),
        responder_config(redundant_child_s=10.0),
    ).establish()
    old = pair.assert_one_tunnel()
    pair.packet_interval_s = 0.1
    (sa,) = pair.b.endpoint.ike_sas.values()
    # b -> a  CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr}     b <- a  {SA, Nr, KEr, TSi, TSr}
    pair.act(pair.b, lambda _: sa.submit(Duplicate(), pair.now))
    pair.run(2.0)
    assert [len(node.endpoint.children) for node in pair.nodes] == [2, 2]
    pair.run(30.0)
    new = pair.assert_one_tunnel()
    assert new.spi_in != old.spi_in
    assert pair.a.saw(ChildRetired) == pair.b.saw(ChildRetired) == 1
    assert pair.a.data.unsent == pair.b.data.unsent == []


def test_child_create_collision_ike_rekey() -> None:
    """A new child and an IKE rekey cross: TEMPORARY_FAILURE for both (RFC 7296 2.25), later both succeed."""
    pair = Pair().establish()
    (record,) = pair.a.endpoint.children
    (other,) = pair.b.endpoint.children
    pair.a.endpoint.children.retire(record, "test")
    pair.b.endpoint.children.retire(other, "test")
    (sa,) = pair.a.endpoint.ike_sas.values()
    pair.act(pair.a, lambda _: sa.submit(CreateChild(), pair.now))
    pair.rekey_ike(pair.b)
    # a -> b  CREATE_CHILD_SA {SA(ESP), ..}   b -> a  CREATE_CHILD_SA {SA(IKE), ..}
    pair.pass_on("b", "CREATE_CHILD_SA request")
    pair.pass_on("a", "CREATE_CHILD_SA request")
    for node in pair.nodes:
        assert node.endpoint.counters["tx error TEMPORARY_FAILURE"] == 1
    pair.run(60.0)
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeRekeyed) == 1
