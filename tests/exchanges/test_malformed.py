"""What an authenticated peer may get wrong (RFC 7296 2.5, 2.21.3), and what strangers may repeat."""

from tests.support.ike_pair import CPE, DATA_CENTRE, Node, Pair
from vcstack.ikev2.endpoint import Path
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType, ProtocolId
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.message import Message
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import Unknown

TO_B = Path(DATA_CENTRE, 500, CPE, 500)
INFORMATIONAL = ExchangeType.INFORMATIONAL


def ike_sa(node: Node) -> IkeSa:
    """The IKE SA of an end that has one."""
    (sa,) = node.endpoint.ike_sas.values()
    return sa


def sealed(
    pair: Pair, exchange: ExchangeType, payloads: list[Payload], message_id: int | None = None
) -> bytes:
    """A request that only `a` can have made; by default the one that `b` expects next."""
    sa, peer = ike_sa(pair.a), ike_sa(pair.b)
    assert sa.protection is not None
    number = peer.responses.expected_id if message_id is None else message_id
    return sa.protection.seal(sa.header(exchange, number, is_response=False), payloads)


def ask(pair: Pair, data: bytes) -> Message | None:
    """Let `b` have a request, and open its answer as `a` would."""
    protection = ike_sa(pair.a).protection
    assert protection is not None
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    pair.flush(pair.b)
    answers = [item for item in pair.wire if item.to == "a"]
    pair.wire.clear()
    return protection.open(answers[0].data) if answers else None


def test_unknown_critical_payload() -> None:
    """RFC 7296 2.5: refused by name, and nothing else happens."""
    pair = Pair().establish()
    answer = ask(pair, sealed(pair, INFORMATIONAL, [Unknown(PayloadType(200), True, b"x")]))
    assert answer is not None
    assert answer.error == Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=b"\xc8")
    assert ike_sa(pair.b).is_up
    assert pair.b.endpoint.counters["tx error UNSUPPORTED_CRITICAL_PAYLOAD"] == 1


def test_unknown_payload_that_is_not_critical() -> None:
    """Skipped."""
    pair = Pair().establish()
    answer = ask(pair, sealed(pair, INFORMATIONAL, [Unknown(PayloadType(200), False, b"x")]))
    assert answer is not None
    assert answer.payloads == ()


def test_unknown_status_notification() -> None:
    """RFC 7296 3.10.1: ignored."""
    pair = Pair().establish()
    answer = ask(pair, sealed(pair, INFORMATIONAL, [Notify(NotifyType(40000), data=b"anything")]))
    assert answer is not None
    assert answer.payloads == ()


def test_malformed_request_ends_the_ike_sa() -> None:
    """RFC 7296 2.21.3: INVALID_SYNTAX is fatal on both ends, without a DELETE."""
    pair = Pair().establish()
    answer = ask(pair, sealed(pair, ExchangeType.CREATE_CHILD_SA, []))
    assert answer is not None
    assert answer.error is not None
    assert answer.error.type == NotifyType.INVALID_SYNTAX
    assert pair.b.data.outbound is None
    assert isinstance(pair.b.events[-1], IkeDown)
    assert pair.b.events[-1].reason.startswith("the peer sent a malformed request")


def test_ike_auth_again_is_out_of_place() -> None:
    """A peer authenticates once; well-formed or not, another IKE_AUTH is refused and changes nothing."""
    pair = Pair()
    sent = pair.record()
    pair.establish()
    protection = ike_sa(pair.b).protection
    assert protection is not None
    request = next(item for item in sent if item.header.exchange == ExchangeType.IKE_AUTH)
    payloads = list(protection.open(request.data).payloads)
    answer = ask(pair, sealed(pair, ExchangeType.IKE_AUTH, payloads))
    assert answer is not None
    assert answer.error == Notify(NotifyType.INVALID_SYNTAX)
    assert ike_sa(pair.b).is_up


def test_delete_of_a_foreign_child_is_answered_without_a_delete() -> None:
    """RFC 7296 2.25.1."""
    pair = Pair().establish()
    answer = ask(pair, sealed(pair, INFORMATIONAL, [Delete(ProtocolId.ESP, (b"\x01\x02\x03\x04",))]))
    assert answer is not None
    assert answer.payloads == ()
    assert pair.b.data.outbound is not None


def test_replay_and_messages_beyond_the_window() -> None:
    """A repeated request gets the cached answer; an old or a future one gets nothing and changes nothing."""
    pair = Pair().establish()
    delete = sealed(pair, INFORMATIONAL, [])
    first, again = ask(pair, delete), ask(pair, delete)
    assert first == again
    assert ask(pair, sealed(pair, INFORMATIONAL, [Delete(ProtocolId.IKE)], message_id=0)) is None
    assert ask(pair, sealed(pair, INFORMATIONAL, [Delete(ProtocolId.IKE)], message_id=99)) is None
    # The same message ID as the last one, with other content.
    assert ask(pair, sealed(pair, INFORMATIONAL, [Delete(ProtocolId.IKE)], message_id=2)) is None
    assert ike_sa(pair.b).is_up


def test_a_changed_octet_anywhere_changes_nothing() -> None:
    """A protected message with any octet changed is dropped, and the genuine one still works."""
    pair = Pair().establish()
    data = sealed(pair, INFORMATIONAL, [Delete(ProtocolId.IKE)])
    for at in range(len(data)):
        pair.b.endpoint.receive_datagram(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], TO_B, pair.now)
        assert ike_sa(pair.b).is_up
    pair.b.endpoint.datagrams_to_send()  # some are told that their IKE SPI or version is unknown
    answer = ask(pair, data)
    assert answer is not None
    assert pair.b.data.outbound is None


def test_reflected_messages_are_not_taken_for_the_peers() -> None:
    """What an end sent itself carries its own initiator flag."""
    pair = Pair().establish()
    data = sealed(pair, INFORMATIONAL, [])
    pair.a.endpoint.receive_datagram(data, Path(CPE, 500, DATA_CENTRE, 500), pair.now)
    assert not pair.a.endpoint.datagrams_to_send() or pair.a.endpoint.counters["rx unknown IKE SPI"]
    assert ike_sa(pair.a).is_up
