"""The early proof that both ends agree on perfect forward secrecy: one rekeying, seconds after bring-up."""

import pytest

from tests.support.ike_pair import ESP, ESP_PFS, Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildRetired, IkeDown, PfsJudged
from vcstack.ikev2.exchanges import create_child
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.proposal import EspProposal
from vcstack.ikev2.wire.notify import Notify


def pair_with(ours: str, theirs: str, **changes: object) -> Pair:
    """A branch that proves PFS after five seconds."""
    return Pair(
        initiator_config(esp_proposals=(EspProposal.parse(ours),), early_pfs_proof_s=5.0, **changes),
        responder_config(esp_proposals=(EspProposal.parse(theirs),)),
    ).establish()


def judged(pair: Pair) -> list[PfsJudged]:
    """What the branch was told."""
    return [event for event in pair.a.events if isinstance(event, PfsJudged)]


def test_proven_once() -> None:
    """The child of IKE_AUTH is replaced by one with a group of its own, and that is all."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    first = pair.assert_one_tunnel()
    assert pair.a.endpoint.snapshot(pair.now).pfs is None
    pair.packet_interval_s = 0.05
    pair.run(20.0)
    child = pair.assert_one_tunnel()
    assert (first.pfs_group, child.pfs_group) == (None, 31)
    assert judged(pair) == [PfsJudged(True, "PFS proven: curve25519")]
    assert pair.a.endpoint.snapshot(pair.now).pfs == "PFS proven: curve25519"
    pair.packet_interval_s = None
    # An IKE SA that is rekeyed proves nothing anew.
    pair.rekey_ike(pair.a)
    pair.run(100.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 2
    assert pair.a.saw(ChildRetired) == 1
    assert pair.a.data.unsent == pair.b.data.unsent == []


def test_mismatch_keeps_the_old_child() -> None:
    """opnsense issue 8631: otherwise this shows hours later, when the first rekeying fails."""
    pair = pair_with(ESP_PFS, ESP)
    old = pair.assert_one_tunnel()
    record = pair.a.endpoint.children.get(old.spi_in)
    assert record is not None
    planned = record.rekey_at
    pair.packet_interval_s = 0.05
    pair.run(20.0)
    assert pair.a.data.outbound is old
    assert pair.a.data.unsent == []
    assert judged(pair) == [PfsJudged(False, "PFS mismatch: peer said NO_PROPOSAL_CHOSEN")]
    snapshot = pair.a.endpoint.snapshot(pair.now)
    assert snapshot.pfs == snapshot.last_error == "PFS mismatch: peer said NO_PROPOSAL_CHOSEN"
    # One question, and the child is rekeyed in its time as if nothing had been.
    pair.packet_interval_s = None
    pair.run(300.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 1
    assert (record.rekey_at, record.rekey_failures, record.rekeying) == (planned, 0, False)
    assert pair.a.saw(IkeDown) == 0


def test_the_group_that_the_peer_wants_is_named() -> None:
    """A peer that wants a group which was not offered."""
    pair = pair_with("aes256gcm16-ecp384", "aes256gcm16-modp3072")
    pair.run(10.0)
    assert "NO_PROPOSAL_CHOSEN" in judged(pair)[0].verdict


def test_another_group_is_agreed_on() -> None:
    """INVALID_KE_PAYLOAD for a group that was offered is only a question."""
    pair = pair_with("aes256gcm16-ecp256-curve25519", ESP_PFS)
    pair.run(10.0)
    assert judged(pair) == [PfsJudged(True, "PFS proven: curve25519")]


def test_a_peer_that_chooses_none_is_seen() -> None:
    """Allowed by our proposal, but surely worth to know."""
    pair = pair_with("aes256gcm16-curve25519-none", ESP)
    pair.run(10.0)
    assert judged(pair) == [PfsJudged(False, "PFS not used: the peer agreed to rekey without it")]
    pair.assert_one_tunnel()


@pytest.mark.parametrize("proposal", [ESP, "aes256gcm16-none"])
def test_nothing_to_prove(proposal: str) -> None:
    """Without a group nothing is rekeyed."""
    pair = pair_with(proposal, proposal)
    pair.run(60.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 0


def test_a_rekeying_by_the_peer_proves_it_as_well() -> None:
    """No second rekeying after that."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    pair.rekey_child(pair.b)
    pair.run(60.0)
    assert judged(pair) == [PfsJudged(True, "PFS proven: curve25519")]
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 0


def test_temporary_failure_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 section 2.25: ask again a little later."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    with monkeypatch.context() as patch:
        patch.setattr(create_child, "respond", lambda *_: [Notify(NotifyType.TEMPORARY_FAILURE)])
        pair.run(6.0)
    assert judged(pair) == []
    pair.run(10.0)
    assert judged(pair) == [PfsJudged(True, "PFS proven: curve25519")]
    pair.assert_one_tunnel()


def test_an_answer_that_is_not_acceptable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer answers with what was not offered: its child is deleted, the old one stays."""
    from dataclasses import replace

    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.ke import Ke

    answer = create_child.respond

    def without_ke(*args: object) -> list[Payload]:
        return [item for item in answer(*args) if not isinstance(item, Ke)]  # type: ignore[arg-type]

    pair = pair_with(ESP_PFS, ESP_PFS)
    old = pair.assert_one_tunnel()
    monkeypatch.setattr(create_child, "respond", without_ke)
    pair.run(10.0)
    assert judged(pair)[0].verdict.startswith("PFS mismatch: we refused the peer's answer: ")
    assert pair.a.data.outbound is old
    assert replace(old) == pair.assert_one_tunnel()


def test_the_child_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer refuses, and the old child has expired by then: a new one comes."""
    pair = pair_with(ESP_PFS, ESP)
    old = pair.assert_one_tunnel()
    pair.run_until(lambda: bool(pair.a.endpoint.counters["tx request CREATE_CHILD_SA"]), 10.0)
    record = pair.a.endpoint.children.get(old.spi_in)
    assert record is not None
    pair.a.endpoint.children.retire(record, "expired")
    pair.run(0.2)
    assert judged(pair)[0].verdict == "PFS mismatch: peer said NO_PROPOSAL_CHOSEN"
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 2
