from dataclasses import replace

import pytest

from tests.ikev2.wire.samples import (
    AUTH,
    AUTH_REQUEST,
    ESP_SA,
    ID_I,
    ID_R,
    IKE_SA,
    IKE_SA_REKEY,
    KE,
    NONCE,
    SPI_R,
    TS_I,
    TS_R,
    header,
    init_header,
)
from vcstack.ikev2.errors import AuthenticationFailed, InvalidHeader, InvalidSyntax
from vcstack.ikev2.iana import CertEncoding, ExchangeType, NotifyType, PayloadType, ProtocolId
from vcstack.ikev2.wire.certificate import CertReq
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import Opaque, Unknown
from vcstack.ikev2.wire.rules import check_clear, check_protected
from vcstack.ikev2.wire.sk import Sk
from vcstack.ikev2.wire.vendor import Vendor

EXTRAS: tuple[Payload, ...] = (
    Notify(NotifyType.MOBIKE_SUPPORTED),
    Notify(NotifyType(50000)),
    Vendor(b"x"),
    CertReq(CertEncoding.X509_SIGNATURE),
    Opaque(PayloadType.CP, b""),
    Unknown(PayloadType(200), critical=False, data=b""),
)
INIT = (IKE_SA, KE, NONCE)
CHILD = (ESP_SA, NONCE, TS_I, TS_R)
COMPLETE: list[tuple[ExchangeType, bool, tuple[Payload, ...]]] = [
    (ExchangeType.IKE_AUTH, False, AUTH_REQUEST),
    (ExchangeType.IKE_AUTH, False, (ID_I, AUTH, ESP_SA, TS_I, TS_R)),
    (ExchangeType.IKE_AUTH, True, (ID_R, AUTH, ESP_SA, TS_I, TS_R)),
    (ExchangeType.CREATE_CHILD_SA, False, CHILD),
    (ExchangeType.CREATE_CHILD_SA, False, (*CHILD, KE)),
    (ExchangeType.CREATE_CHILD_SA, True, CHILD),
    (ExchangeType.CREATE_CHILD_SA, False, (IKE_SA_REKEY, NONCE, KE)),
    (ExchangeType.INFORMATIONAL, False, ()),
    (ExchangeType.INFORMATIONAL, True, ()),
    (ExchangeType.INFORMATIONAL, False, (Delete(ProtocolId.ESP, (b"abcd",)), Delete(ProtocolId.IKE))),
]


@pytest.mark.parametrize("is_response", [False, True])
def test_a_complete_init_passes_with_extras_in_any_order(*, is_response: bool) -> None:
    check_clear(init_header(is_response=is_response), (*EXTRAS, *reversed(INIT)))


@pytest.mark.parametrize(("exchange", "is_response", "payloads"), COMPLETE)
def test_complete_messages_pass_with_extras_in_any_order(
    exchange: ExchangeType, is_response: bool, payloads: tuple[Payload, ...]
) -> None:
    check_protected(header(exchange, is_response=is_response), payloads)
    check_protected(header(exchange, is_response=is_response), (*reversed(payloads), *EXTRAS))


@pytest.mark.parametrize("missing", INIT)
def test_an_init_without_one_of_its_payloads_is_refused(missing: Payload) -> None:
    rest = tuple(payload for payload in INIT if payload is not missing)
    for is_response in (False, True):
        with pytest.raises(InvalidSyntax, match=f"no {missing.payload_type} payload"):
            check_clear(init_header(is_response=is_response), rest)


@pytest.mark.parametrize(("exchange", "is_response", "payloads"), COMPLETE)
def test_messages_without_one_of_their_payloads_are_refused(
    exchange: ExchangeType, is_response: bool, payloads: tuple[Payload, ...]
) -> None:
    optional = {PayloadType.DELETE}
    if PayloadType.ID_I in {payload.payload_type for payload in payloads}:
        optional.add(PayloadType.ID_R)
    if PayloadType.TS_I in {payload.payload_type for payload in payloads}:
        optional.add(PayloadType.KE)
    for missing in payloads:
        if missing.payload_type not in optional:
            rest = tuple(payload for payload in payloads if payload is not missing)
            expected = AuthenticationFailed if missing is AUTH else InvalidSyntax
            with pytest.raises(expected, match=f"no {missing.payload_type} payload"):
                check_protected(header(exchange, is_response=is_response), rest)


@pytest.mark.parametrize(("exchange", "is_response", "payloads"), COMPLETE)
def test_doubled_and_misplaced_payloads_are_refused(
    exchange: ExchangeType, is_response: bool, payloads: tuple[Payload, ...]
) -> None:
    where = header(exchange, is_response=is_response)
    for doubled in payloads:
        if not isinstance(doubled, Delete):
            with pytest.raises(InvalidSyntax, match="at most 1"):
                check_protected(where, (*payloads, doubled))
    with pytest.raises(InvalidSyntax, match="at most 0"):
        check_protected(where, (*payloads, Sk(PayloadType.NONE, b"")))


def test_a_response_that_reports_an_error_needs_nothing_else() -> None:
    for kind in (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType(8191), NotifyType.COOKIE):
        check_clear(init_header(is_response=True), (Notify(kind, data=b"x"),))
    refused = (ID_R, AUTH, Notify(NotifyType.TS_UNACCEPTABLE))
    check_protected(header(ExchangeType.IKE_AUTH, is_response=True), refused)
    with pytest.raises(InvalidSyntax):
        check_clear(init_header(), (Notify(NotifyType.COOKIE, data=b"x"),))
    with pytest.raises(InvalidSyntax):
        check_clear(init_header(is_response=True), (Notify(NotifyType.REDIRECT),))


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (replace(init_header(), message_id=1), InvalidSyntax),
        (replace(init_header(), is_initiator=False), InvalidHeader),
        (replace(init_header(), responder_spi=SPI_R), InvalidHeader),
        (replace(init_header(is_response=True), is_initiator=True), InvalidHeader),
        (replace(init_header(is_response=True), responder_spi=bytes(8)), InvalidHeader),
    ],
)
def test_headers_that_contradict_ike_sa_init(bad: Header, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_clear(bad, INIT)


def test_nothing_but_notifications_may_come_in_clear_after_ike_sa_init() -> None:
    where = header(ExchangeType.INFORMATIONAL, is_response=True)
    check_clear(where, (Notify(NotifyType.INVALID_IKE_SPI),))
    for payloads in ((), (Delete(ProtocolId.IKE),), (Notify(NotifyType.INVALID_IKE_SPI), ID_I)):
        with pytest.raises(InvalidSyntax, match="outside of an encrypted one"):
            check_clear(where, payloads)


@pytest.mark.parametrize(
    "exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_INTERMEDIATE, ExchangeType(240)]
)
def test_exchanges_that_are_none_of_an_ike_sa(exchange: ExchangeType) -> None:
    with pytest.raises(InvalidSyntax, match="not one of an IKE SA"):
        check_protected(header(exchange), INIT)
