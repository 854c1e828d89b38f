"""Peers that refuse what they should not or answer what was not asked, and other suites than the usual."""

from dataclasses import replace

import pytest

from tests.support.ike_pair import CPE, Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildFailed, IkeDown
from vcstack.ikev2.exchanges import create_child, ike_auth
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.proposal import IkeProposal
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.ts import TsI
from vcstack.wire.selector import TrafficSelector

ANYTHING = TrafficSelector(start=type(CPE)("0.0.0.0"), end=type(CPE)("255.255.255.255"))


def refuse_create_child(monkeypatch: pytest.MonkeyPatch, notify: NotifyType) -> None:
    """Let every CREATE_CHILD_SA be answered with an error."""
    monkeypatch.setattr(create_child, "respond", lambda *_: [Notify(notify)])


def widen(payloads: list[Payload]) -> list[Payload]:
    """An answer whose selectors go beyond what was asked for."""
    return [replace(item, selectors=(ANYTHING,)) if isinstance(item, TsI) else item for item in payloads]


@pytest.mark.parametrize("rekeyed", ["child", "ike"])
def test_no_additional_sas_means_a_new_ike_sa(monkeypatch: pytest.MonkeyPatch, rekeyed: str) -> None:
    """RFC 7296 1.3: a minimal peer never rekeys; it gets another IKE SA before the old one ends."""
    pair = Pair().establish()
    old = pair.assert_one_tunnel()
    refuse_create_child(monkeypatch, NotifyType.NO_ADDITIONAL_SAS)
    pair.rekey_child(pair.a) if rekeyed == "child" else pair.rekey_ike(pair.a)
    pair.run(2.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0


@pytest.mark.parametrize("rekeyed", ["child", "ike"])
def test_invalid_syntax_is_fatal(monkeypatch: pytest.MonkeyPatch, rekeyed: str) -> None:
    """RFC 7296 2.21.3: the IKE SA is gone without a DELETE, and the initiator starts over."""
    pair = Pair().establish()
    refuse_create_child(monkeypatch, NotifyType.INVALID_SYNTAX)
    pair.rekey_child(pair.a) if rekeyed == "child" else pair.rekey_ike(pair.a)
    pair.run(0.1)
    down = pair.a.events[-1]
    assert isinstance(down, IkeDown)
    assert down.reason.startswith("peer said INVALID_SYNTAX")
    pair.run(5.0)
    assert pair.a.data.outbound is not None


def test_temporary_failure_for_ever_ends_with_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 2.25: a peer that keeps putting off is out of step; at the child's end all starts over."""
    pair = Pair(initiator_config(child_lifetime_s=300.0), responder_config()).establish()
    refuse_create_child(monkeypatch, NotifyType.TEMPORARY_FAILURE)
    pair.run(310.0)
    assert pair.a.saw(IkeDown) == 1
    assert pair.a.saw(ChildFailed) == 0
    assert 3 <= pair.a.endpoint.counters["rx error TEMPORARY_FAILURE"] <= 12
    pair.assert_one_tunnel()


def test_widened_selectors_of_the_first_child_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 2.9: a responder may narrow, never widen. The peer's child is deleted, the IKE SA stays."""
    respond = ike_auth.respond
    monkeypatch.setattr(ike_auth, "respond", lambda *args: widen([*respond(*args)]))
    pair = Pair().start()
    pair.run(1.0)
    error = pair.a.endpoint.snapshot(pair.now).last_error
    assert error == (
        "we refused the peer's answer for the child SA in IKE_AUTH: "
        "TSi 0.0.0.0/0 goes beyond 198.51.100.1/32[47]"
    )
    assert not pair.a.data.inbound
    assert not pair.b.data.inbound
    pair.run(10.0)
    pair.assert_one_tunnel()


def test_widened_selectors_of_a_rekeyed_child_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old child carries on; what the peer made is deleted."""
    pair = Pair().establish()
    old = pair.assert_one_tunnel()
    respond = create_child.respond
    monkeypatch.setattr(create_child, "respond", lambda *args: widen([*respond(*args)]))
    pair.rekey_child(pair.a)
    pair.run(1.0)
    assert pair.a.data.outbound is old
    assert pair.a.saw(ChildFailed) == 1
    monkeypatch.undo()
    pair.run(60.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_an_ike_rekey_that_is_answered_with_a_child_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without its payloads is malformed; the state of the two ends is unknown."""
    pair = Pair().establish()
    monkeypatch.setattr(create_child, "respond", lambda *_: [])
    pair.rekey_ike(pair.a)
    pair.run(0.1)
    down = pair.a.events[-1]
    assert isinstance(down, IkeDown)
    assert down.reason.startswith("the peer's response is malformed")


def test_too_many_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer cannot fill the tables."""
    pair = Pair().establish()
    monkeypatch.setattr(create_child, "MAX_CHILDREN", 1)
    record = next(iter(pair.a.endpoint.children))
    pair.a.endpoint.children.retire(record, "forgotten")
    pair.act(pair.a, lambda endpoint: endpoint.child_hard_expired(record.sa.spi_in, "expired", pair.now))
    (sa,) = pair.a.endpoint.ike_sas.values()
    pair.act(pair.a, lambda _: sa.submit(create_child.CreateChild(), pair.now))
    pair.run(1.0)
    assert pair.a.endpoint.counters["rx error NO_ADDITIONAL_SAS"] == 1
    assert pair.a.endpoint.snapshot(pair.now).last_error == "peer said NO_ADDITIONAL_SAS in CREATE_CHILD_SA"


@pytest.mark.parametrize(
    "ike",
    [
        "aes128gcm16-prfsha256-ecp256",
        "aes256gcm16-prfsha512-ecp521",
        "aes256-sha256-curve25519",
        "aes128-sha384-prfsha256-curve25519",
        "aes256-sha512-modp2048",
    ],
)
def test_suites(ike: str) -> None:
    """Up, and through a rekeying of both SAs, with other ciphers, PRFs and groups."""
    suite = {"ike_proposals": (IkeProposal.parse(ike),)}
    pair = Pair(initiator_config(**suite), responder_config(**suite)).establish()
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].key_bits == (256 if "256" in ike[:6] else 128)
    for node in pair.nodes:
        pair.rekey_ike(node)
        pair.run(1.0)
        pair.rekey_child(node)
        pair.run(1.0)
    pair.assert_one_tunnel()
