"""Where two rare things meet."""

from dataclasses import replace

import pytest

from tests.exchanges.test_early_pfs import judged, pair_with
from tests.exchanges.test_malformed import TO_B, ask, ike_sa, sealed
from tests.exchanges.test_strangers import FOREIGN, INIT, init, protected
from tests.support.ike_pair import CPE, DATA_CENTRE, ESP_PFS, Pair
from vcstack.ikev2.endpoint import Path
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.exchanges import create_child
from vcstack.ikev2.iana import ExchangeType, NotifyType
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.notify import Notify

TO_A = Path(CPE, 500, DATA_CENTRE, 500)


def test_an_initiator_flag_that_cannot_be() -> None:
    """RFC 7296 section 3.1: our SPI as the responder's, on an IKE SA that we initiated."""
    pair = Pair().establish()
    header = Header(b"whatever", ike_sa(pair.a).spi_i, ExchangeType.INFORMATIONAL, True, False, 0)
    pair.a.endpoint.receive_datagram(protected(header), TO_A, pair.now)
    assert pair.a.endpoint.counters["rx wrong initiator flag"] == 1
    assert pair.a.endpoint.datagrams_to_send() == []


def test_a_protected_request_before_there_are_keys() -> None:
    """While IKE_SA_INIT is on its way nobody can have sealed anything."""
    pair = Pair().start()
    (sa,) = pair.a.endpoint.ike_sas.values()
    header = Header(sa.spi_i, b"whoever!", ExchangeType.INFORMATIONAL, False, False, 0)
    pair.a.endpoint.receive_datagram(protected(header), TO_A, pair.now)
    assert pair.a.endpoint.counters["rx dropped: RemoteProtocolError"] == 1
    pair.run(2.0)
    pair.assert_one_tunnel()


def test_an_answer_of_another_version_is_not_answered() -> None:
    """Two ends that refuse each other's version would never stop."""
    pair = Pair()
    data = protected(replace(FOREIGN, major=3, is_response=True))
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    assert pair.b.endpoint.datagrams_to_send() == []
    assert pair.b.endpoint.counters["rx major version not supported"] == 1


def test_a_first_request_with_another_message_id() -> None:
    """RFC 7296 section 2.2: it is 0, also of what comes with a cookie; no IKE SA comes of another."""
    pair = Pair()
    data = init()
    pair.b.endpoint.receive_datagram(data[:20] + (7).to_bytes(4, "big") + data[24:], TO_B, pair.now)
    assert pair.b.endpoint.ike_sas == {}
    assert INIT.message_id == 0


def test_invalid_spi_of_something_else() -> None:
    """An authenticated INVALID_SPI that names no child of ours is reported, and that is all."""
    pair = Pair().establish()
    notify = Notify(NotifyType.INVALID_SPI, data=b"\x00\x00\x70\x01")
    answer = ask(pair, sealed(pair, ExchangeType.INFORMATIONAL, [notify]))
    assert answer is not None
    assert pair.b.endpoint.snapshot(pair.now).last_error == "peer said INVALID_SPI in INFORMATIONAL"
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_the_pfs_proof_gives_way_to_a_rekeying_under_way() -> None:
    """The child is being rekeyed anyway when the time of the proof comes."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    pair.filter = lambda item: "CREATE_CHILD_SA" not in str(item)
    pair.rekey_child(pair.a)
    pair.run(6.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 1
    pair.filter = lambda _: True
    pair.run(10.0)
    assert len(judged(pair)) == 1
    pair.assert_one_tunnel()


def test_the_pfs_proof_meets_a_peer_that_does_not_rekey(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 section 1.3: a minimal peer. That is said, and the tunnel is left in peace."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    monkeypatch.setattr(create_child, "respond", lambda *_: [Notify(NotifyType.NO_ADDITIONAL_SAS)])
    pair.run(300.0)
    assert [event.verdict for event in judged(pair)] == ["PFS not proven: peer said NO_ADDITIONAL_SAS"]
    assert pair.a.endpoint.counters["attempt"] == 1
    pair.assert_one_tunnel()


@pytest.mark.parametrize("answer", ["INVALID_SYNTAX", "none"])
def test_a_tunnel_that_the_pfs_proof_kills_is_killed_once(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """The peer takes the question for malformed, or a large message does not get through."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    if answer == "none":
        pair.filter = lambda item: "CREATE_CHILD_SA" not in str(item)
    else:
        monkeypatch.setattr(create_child, "respond", lambda *_: [Notify(NotifyType.INVALID_SYNTAX)])
    pair.run(600.0)
    assert pair.a.saw(IkeDown) == 1
    assert pair.a.endpoint.counters["attempt"] == 2
    assert judged(pair)[-1].verdict == "PFS not proven: the last attempt ended the IKE SA"
    pair.assert_one_tunnel()


def test_the_pfs_proof_of_a_child_that_the_peer_has_lost() -> None:
    """RFC 7296 section 2.25: CHILD_SA_NOT_FOUND makes a new child, which has the group."""
    pair = pair_with(ESP_PFS, ESP_PFS)
    (lost,) = pair.b.endpoint.children
    pair.b.endpoint.children.retire(lost, "lost")
    pair.run(10.0)
    assert pair.assert_one_tunnel().pfs_group == 31
