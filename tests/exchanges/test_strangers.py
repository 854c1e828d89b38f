"""Everything that a sender who has proven nothing can make us send, and how much for each octet of his.

RFC 7296 sections 2.4, 2.6 and 2.21.4. His address may be somebody else's, so that whoever owns it never gets
more from us than was sent in his name, until a cookie has shown that he is there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.support.ike_pair import CPE, DATA_CENTRE, IKE, Pair, initiator_config, responder_config
from vcstack.crypto import dh
from vcstack.ikev2.endpoint import Path
from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.proposal import IkeProposal, offer
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.message import build_message, parse_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import Unknown

TO_B = Path(DATA_CENTRE, 500, CPE, 500)
INIT = Header(b"stranger", bytes(8), ExchangeType.IKE_SA_INIT, True, False, 0)
FOREIGN = Header(b"stranger", b"whoever!", ExchangeType.INFORMATIONAL, True, False, 3)
PADDING = Notify(NotifyType(40000), data=bytes(200))


def init(proposal: str = IKE, group: DhGroup = DhGroup.CURVE25519, *more: Payload) -> bytes:
    """A request without anything that is not needed."""
    public = dh.generate(group, bytes).public if group != DhGroup.CURVE25519 else dh_public()
    payloads = [offer([IkeProposal.parse(proposal)]), Ke(group, public), Nonce(bytes(16)), *more]
    return build_message(INIT, payloads)


def dh_public() -> bytes:
    """Of a fixed private key."""
    return dh.generate(DhGroup.CURVE25519, lambda length: bytes([9]) * length).public


def of_known_spis(pair: Pair, body: bytes, kind: PayloadType = PayloadType.SK) -> bytes:
    """A datagram with the SPIs of the IKE SA, which anybody on the way can see."""
    (sa,) = pair.b.endpoint.ike_sas.values()
    header = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, True, False, sa.responses.expected_id)
    return header.build(kind, 28 + len(body)) + body


def protected(header: Header, length: int = 60) -> bytes:
    """What looks encrypted."""
    return header.build(PayloadType.SK, 28 + length) + bytes(length)


@dataclass(frozen=True)
class Case:
    """What is sent, and the notification that comes back; "SA": an IKE_SA_INIT answer; None: nothing."""

    name: str
    data: Callable[[Pair], bytes]
    answer: NotifyType | str | None


CASES = [
    Case("nothing at all", lambda _: b"", None),
    Case("garbage", lambda _: bytes(range(200)), None),
    Case("IKEv1", lambda _: bytes(8) + protected(replace(FOREIGN, major=1))[8:], None),
    Case("a first request, long", lambda _: init(IKE, DhGroup.CURVE25519, PADDING), "SA"),
    Case("a first request, short", lambda _: init(), NotifyType.COOKIE),
    Case(
        "a first request with a wrong cookie",
        lambda _: init(IKE, DhGroup.CURVE25519, Notify(NotifyType.COOKIE, data=bytes(33))),
        NotifyType.COOKIE,
    ),
    Case("no proposal in common", lambda _: init("aes128-sha256-curve25519"), NotifyType.NO_PROPOSAL_CHOSEN),
    Case(
        "a public value of another group",
        lambda _: init("aes256gcm16-prfsha256-modp2048-curve25519", DhGroup.MODP_2048),
        NotifyType.INVALID_KE_PAYLOAD,
    ),
    Case("a first request without payloads", lambda _: build_message(INIT, []), None),
    Case("a malformed first request", lambda _: build_message(INIT, [PADDING]), NotifyType.INVALID_SYNTAX),
    Case(
        "a critical payload of unknown type",
        lambda _: init(IKE, DhGroup.CURVE25519, Unknown(PayloadType(200), True, b"x")),
        NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
    ),
    Case("an answer to IKE_SA_INIT", lambda _: build_message(replace(INIT, is_response=True), []), None),
    Case("a request on an unknown IKE SA", lambda _: protected(FOREIGN), NotifyType.INVALID_IKE_SPI),
    Case("the same without a body", lambda _: build_message(FOREIGN, []), None),
    Case("an answer on an unknown IKE SA", lambda _: protected(replace(FOREIGN, is_response=True)), None),
    Case("version 3", lambda _: protected(replace(FOREIGN, major=3)), NotifyType.INVALID_MAJOR_VERSION),
    Case("version 3 without a body", lambda _: build_message(replace(FOREIGN, major=3), []), None),
    Case("an unprotected error", lambda _: build_message(FOREIGN, [PADDING]), None),
    Case("a forged request", lambda pair: of_known_spis(pair, bytes(100)), None),
    Case("a forged fragment", lambda pair: of_known_spis(pair, bytes(100), PayloadType.SKF), None),
    Case("unprotected payloads", lambda pair: of_known_spis(pair, bytes(8), PayloadType.DELETE), None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answer_and_size(case: Case) -> None:
    """One datagram brings at most one, and that is no longer."""
    pair = Pair().establish()
    data = case.data(pair)
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    answers = pair.b.endpoint.datagrams_to_send()
    assert len(answers) == (case.answer is not None)
    for answer in answers:
        assert len(answer.data) <= len(data)
        message = parse_message(answer.data)
        assert message.header.is_response
        if isinstance(case.answer, NotifyType):
            assert [notify.type for notify in message.all(Notify)] == [case.answer]
    child = pair.a.data.outbound
    assert child is not None
    assert [len(node.endpoint.children) for node in pair.nodes] == [1, 1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flood(case: Case) -> None:
    """A thousand of each in a second: the sum is no larger, and all but IKE_SA_INIT has a limit."""
    pair = Pair().establish()
    received = sent = datagrams = 0
    for number in range(1000):
        data = case.data(pair)
        received += len(data)
        pair.b.endpoint.receive_datagram(data, TO_B, pair.now + number / 1000)
        answers = pair.b.endpoint.datagrams_to_send()
        sent += sum(len(answer.data) for answer in answers)
        datagrams += len(answers)
    assert sent <= received
    if case.answer not in (None, "SA", NotifyType.COOKIE):
        assert 20 <= datagrams <= 26


def test_the_short_request_is_answered_with_its_cookie() -> None:
    """The cookie proves that the sender is where he says; then the answer may be longer."""
    pair = Pair()
    pair.b.endpoint.receive_datagram(init(), TO_B, pair.now)
    (asked,) = pair.b.endpoint.datagrams_to_send()
    cookie = parse_message(asked.data).notify(NotifyType.COOKIE)
    assert cookie is not None
    assert pair.b.endpoint.ike_sas == {}
    again = [cookie, *parse_message(init()).payloads]
    pair.b.endpoint.receive_datagram(build_message(INIT, again), TO_B, pair.now)
    (answer,) = pair.b.endpoint.datagrams_to_send()
    assert parse_message(answer.data).error is None
    assert len(answer.data) > len(init())
    assert len(pair.b.endpoint.ike_sas) == 1


def test_a_half_open_ike_sa_says_nothing_more() -> None:
    """Whoever does not go on hears nothing again; his request repeated gets its answer, with a limit."""
    pair = Pair(b=responder_config(dpd_interval_s=1.0))
    data = init(IKE, DhGroup.CURVE25519, PADDING)
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    assert len(pair.b.endpoint.datagrams_to_send()) == 1
    for _ in range(100):
        pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    answers = pair.b.endpoint.datagrams_to_send()
    assert 0 < len(answers) <= 20
    assert max(len(answer.data) for answer in answers) <= len(data)
    pair.run(100.0)
    assert pair.b.endpoint.datagrams_to_send() == []
    assert pair.b.endpoint.ike_sas == {}


def test_what_a_passer_by_repeats() -> None:
    """The last request, seen on the way: its answer again, with a limit."""
    pair = Pair()
    sent = pair.record()
    pair.establish()
    auth = next(item for item in sent if item.header.exchange == ExchangeType.IKE_AUTH)
    for number in range(1000):
        pair.b.endpoint.receive_datagram(auth.data, TO_B, pair.now + number / 1000)
    assert len(pair.b.endpoint.datagrams_to_send()) <= 26


def test_forged_answers_make_an_initiator_start_over_a_few_times_only() -> None:
    """Cookies and groups that somebody on the way asks for; five requests in all, to the configured peer."""
    pair = Pair(initiator_config(init_restarts=4)).start()
    request, requests = pair.take("b"), 1
    for _ in range(20):
        header = replace(request.header, is_initiator=False, is_response=True)
        forged = build_message(header, [Notify(NotifyType.COOKIE, data=b"again")])
        pair.a.endpoint.receive_datagram(forged, Path(CPE, 500, DATA_CENTRE, 500), pair.now)
        requests += len(pair.a.endpoint.datagrams_to_send())
    assert requests == 5


def test_a_short_request_costs_no_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has to return a cookie first does not make us compute a Diffie-Hellman key."""
    pair = Pair()
    data = init()
    monkeypatch.setattr(dh, "generate", None)
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    assert len(pair.b.endpoint.datagrams_to_send()) == 1


def test_a_bad_public_value_leaves_nothing_behind() -> None:
    """RFC 6989: refused, and no half-open IKE SA is kept."""
    pair = Pair()
    bad = Ke(DhGroup.CURVE25519, bytes(32))
    data = build_message(INIT, [offer([IkeProposal.parse(IKE)]), bad, Nonce(bytes(16)), PADDING])
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    (answer,) = pair.b.endpoint.datagrams_to_send()
    assert parse_message(answer.data).notify(NotifyType.INVALID_SYNTAX) is not None
    assert pair.b.endpoint.ike_sas == {}
