"""Notifications that nobody has proven, and what they may cost (RFC 7296 sections 1.5, 2.4, 2.21.4)."""

import pytest

from tests.exchanges.test_malformed import ask, ike_sa, sealed
from tests.support.ike_pair import CPE, DATA_CENTRE, Pair, initiator_config, responder_config
from vcstack.ikev2.config import RetransmitPolicy
from vcstack.ikev2.endpoint import Path
from vcstack.ikev2.events import ChildRetired, IkeDown
from vcstack.ikev2.iana import ExchangeType, NotifyType
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.message import build_message
from vcstack.ikev2.wire.notify import Notify

TO_A = Path(CPE, 500, DATA_CENTRE, 500)
QUICK = RetransmitPolicy(base_s=0.5, tries=3)


def established(**changes: object) -> Pair:
    """A tunnel whose ends ask for life only when there is a reason."""
    quiet = {"dpd_interval_s": 0.0, "dpd_retransmit": QUICK} | changes
    return Pair(initiator_config(**quiet), responder_config(**quiet)).establish()


def unknown_ike_spi(pair: Pair) -> bytes:
    """What a data centre that has forgotten everything answers to a request, or anybody."""
    sa = ike_sa(pair.a)
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, False, True, 7)
    return build_message(header, [Notify(NotifyType.INVALID_IKE_SPI)])


def unknown_esp_spi(pair: Pair) -> bytes:
    """What it says to ESP; the IKE SPIs are its own invention."""
    child = pair.a.data.outbound
    assert child is not None
    header = Header(b"invented", bytes(8), ExchangeType.INFORMATIONAL, True, False, 0)
    return build_message(header, [Notify(NotifyType.INVALID_SPI, data=child.spi_out.to_bytes(4, "big"))])


@pytest.mark.parametrize("hint", [unknown_ike_spi, unknown_esp_spi])
def test_a_forged_hint_costs_one_liveness_check(hint: object) -> None:
    """The peer lives and says so; nothing changes, and a flood of hints is one check in ten seconds."""
    pair = established()
    assert callable(hint)
    for _ in range(1000):
        pair.act(pair.a, lambda endpoint: endpoint.receive_datagram(hint(pair), TO_A, pair.now))
        pair.run(0.02)
    counters = pair.a.endpoint.counters
    # 20 seconds
    assert 2 <= counters["liveness check after a hint"] <= 3
    assert counters["tx request INFORMATIONAL"] == counters["rx response INFORMATIONAL"] <= 3
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeDown) == 0


def test_a_genuine_hint_finds_a_dead_peer() -> None:
    """The data centre was restarted: its hint leads to a check that it cannot answer, and to a new tunnel."""
    pair = established(dpd_interval_s=0.0)
    hint = unknown_esp_spi(pair)
    reborn = Pair(seed=9).b
    reborn.name = "b"
    pair.b = reborn
    pair.act(pair.a, lambda endpoint: endpoint.receive_datagram(hint, TO_A, pair.now))
    pair.run(10.0)
    assert pair.a.saw(IkeDown) == 1
    pair.assert_one_tunnel()


def test_hints_are_never_answered_and_most_are_ignored() -> None:
    """RFC 7296 section 2.21.4: neither answered nor believed, whatever they say."""
    pair = established()
    sa = ike_sa(pair.a)
    ours = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, False, False, 0)
    foreign = Header(b"whatever", b"whoever!", ExchangeType.INFORMATIONAL, True, False, 0)
    for header in (ours, foreign):
        for kind in (
            NotifyType.AUTHENTICATION_FAILED,
            NotifyType.INVALID_SYNTAX,
            NotifyType.INVALID_MESSAGE_ID,
            NotifyType.NO_PROPOSAL_CHOSEN,
            NotifyType.INITIAL_CONTACT,
        ):
            pair.a.endpoint.receive_datagram(build_message(header, [Notify(kind)]), TO_A, pair.now)
    pair.a.endpoint.receive_datagram(
        build_message(foreign, [Notify(NotifyType.INVALID_SPI, data=b"none")]), TO_A, pair.now
    )
    pair.a.endpoint.receive_datagram(
        build_message(foreign, [Notify(NotifyType.INVALID_IKE_SPI)]), TO_A, pair.now
    )
    assert pair.a.endpoint.datagrams_to_send() == []
    assert pair.a.endpoint.counters["rx unprotected notification ignored"] == 12
    pair.assert_one_tunnel()


def test_a_hint_while_a_request_is_unanswered() -> None:
    """libreswan issue 524: never two checks; the request on its way is one."""
    pair = established()
    pair.rekey_child(pair.a)
    pair.act(pair.a, lambda endpoint: endpoint.receive_datagram(unknown_ike_spi(pair), TO_A, pair.now))
    assert pair.a.endpoint.counters["rx hint while a request is unanswered"] == 1
    assert pair.a.endpoint.counters["tx request INFORMATIONAL"] == 0


def test_malformed_hints_are_counted() -> None:
    """Parsed like everything else."""
    pair = established()
    data = unknown_ike_spi(pair)
    broken = data[:24] + (len(data) - 2).to_bytes(4, "big") + data[28:-2]
    pair.a.endpoint.receive_datagram(broken, TO_A, pair.now)
    assert pair.a.endpoint.counters["rx dropped: InvalidSyntax"] == 1


def test_an_authenticated_invalid_spi_replaces_the_child() -> None:
    """RFC 7296 section 1.5: the peer itself says that it does not know what we send on."""
    pair = Pair().establish()
    old = pair.b.data.outbound
    assert old is not None
    gone = pair.a.endpoint.children.get(old.spi_out)
    assert gone is not None
    pair.a.endpoint.children.retire(gone, "lost")
    notify = Notify(NotifyType.INVALID_SPI, data=old.spi_out.to_bytes(4, "big"))
    answer = ask(pair, sealed(pair, ExchangeType.INFORMATIONAL, [notify]))
    assert answer is not None
    assert answer.payloads == ()
    # b -> a  CREATE_CHILD_SA {N(REKEY_SA, 1), ..}    b <- a  {N(CHILD_SA_NOT_FOUND)}, then a new child
    pair.run(10.0)
    assert pair.b.saw(ChildRetired) == 1
    pair.assert_one_tunnel()


def test_a_child_that_carries_nothing_is_reaped() -> None:
    """Two unrelated children both live on, the peer deletes neither: the one that carries nothing goes."""
    from dataclasses import replace

    from vcstack.ikev2.child_sa import Child

    pair = Pair().establish()
    for node, (spi_in, spi_out) in zip(pair.nodes, ((0x7001, 0x7002), (0x7002, 0x7001)), strict=True):
        (sa,) = node.endpoint.ike_sas.values()
        (carrying,) = node.endpoint.children
        value = replace(carrying.sa, spi_in=spi_in, spi_out=spi_out)
        spare = Child(value, sa, False, pair.now, pair.now + 3000, pair.now + 3600)
        pair.act(node, lambda endpoint, spare=spare: endpoint.children.install(spare))  # type: ignore[misc]
    assert [len(node.endpoint.children) for node in pair.nodes] == [2, 2]
    pair.run(70.0)
    pair.assert_one_tunnel()
    assert pair.a.saw(ChildRetired) == pair.b.saw(ChildRetired) == 1
