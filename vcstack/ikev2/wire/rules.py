"""Which payloads a message must and may have (RFC 7296 1.2, 1.3, 1.4, 2.5).

A row says for one exchange and direction how often each payload occurs. A payload that carries meaning for
the machine and has no entry in the row is out of place; notifications, vendor IDs, certificates and what this
codec does not interpret may come anywhere. A response that reports an error need not have anything else.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vcstack.ikev2.constants import NO_SPI
from vcstack.ikev2.errors import AuthenticationFailed, InvalidHeader, InvalidSyntax, RemoteProtocolError
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType, ProtocolId
from vcstack.ikev2.wire.certificate import Cert, CertReq
from vcstack.ikev2.wire.chain import MAX_PAYLOADS, Payload
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import Opaque, Unknown
from vcstack.ikev2.wire.sa import Sa
from vcstack.ikev2.wire.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Rule:
    """How often a payload occurs, and the error when it is missing."""

    minimum: int
    maximum: int
    missing: type[RemoteProtocolError] = InvalidSyntax


Row = Mapping[PayloadType, Rule]

_ONE: Final = Rule(1, 1)
_OPTIONAL: Final = Rule(0, 1)
_ANY: Final = Rule(0, MAX_PAYLOADS)

_INIT: Final[Row] = {PayloadType.SA: _ONE, PayloadType.KE: _ONE, PayloadType.NONCE: _ONE}
_CHILD: Final[Row] = {
    PayloadType.SA: _ONE,
    PayloadType.NONCE: _ONE,
    PayloadType.KE: _OPTIONAL,
    PayloadType.TS_I: _ONE,
    PayloadType.TS_R: _ONE,
}
_INFORMATIONAL: Final[Row] = {PayloadType.DELETE: _ANY}
# A peer without AUTH wants EAP (RFC 7296 2.16), which is a method not taken rather than a malformed message.
_AUTH: Final = Rule(1, 1, AuthenticationFailed)

ROWS: Final[Mapping[tuple[ExchangeType, bool], Row]] = {
    (ExchangeType.IKE_SA_INIT, False): _INIT,
    (ExchangeType.IKE_SA_INIT, True): _INIT,
    (ExchangeType.IKE_AUTH, False): {
        PayloadType.ID_I: _ONE,
        PayloadType.ID_R: _OPTIONAL,
        PayloadType.AUTH: _AUTH,
        PayloadType.SA: _ONE,
        PayloadType.TS_I: _ONE,
        PayloadType.TS_R: _ONE,
    },
    (ExchangeType.IKE_AUTH, True): {
        PayloadType.ID_R: _ONE,
        PayloadType.AUTH: _AUTH,
        PayloadType.SA: _ONE,
        PayloadType.TS_I: _ONE,
        PayloadType.TS_R: _ONE,
    },
    (ExchangeType.CREATE_CHILD_SA, False): _CHILD,
    (ExchangeType.CREATE_CHILD_SA, True): _CHILD,
    (ExchangeType.INFORMATIONAL, False): _INFORMATIONAL,
    (ExchangeType.INFORMATIONAL, True): _INFORMATIONAL,
}
"""Keyed by exchange and whether the message is a response."""

REKEY_IKE_ROW: Final[Row] = _INIT
"""CREATE_CHILD_SA whose proposals are for IKE (RFC 7296 1.3.2)."""

_TOLERATED: Final = (Notify, Vendor, Cert, CertReq, Opaque, Unknown)


def check_clear(header: Header, payloads: Sequence[Payload]) -> None:
    """Check a message that came without protection: IKE_SA_INIT, or notifications outside of any IKE SA.

    InvalidSyntax or InvalidHeader; such an error proves nothing about the peer.
    """
    if header.exchange == ExchangeType.IKE_SA_INIT:
        _check_init_header(header, payloads)
        _check_row(header, payloads, _INIT)
    elif not payloads or not all(isinstance(payload, _TOLERATED) for payload in payloads):
        raise InvalidSyntax(f"{header.exchange} with payloads outside of an encrypted one")


def check_protected(header: Header, payloads: Sequence[Payload]) -> None:
    """Check what came out of the encrypted payload: InvalidSyntax, AuthenticationFailed without AUTH."""
    row = ROWS.get((header.exchange, header.is_response))
    if row is None or header.exchange == ExchangeType.IKE_SA_INIT:
        raise InvalidSyntax(f"exchange {header.exchange} is not one of an IKE SA")
    if header.exchange == ExchangeType.CREATE_CHILD_SA and _rekeys_ike(payloads):
        row = REKEY_IKE_ROW
    _check_row(header, payloads, row)


def _check_init_header(header: Header, payloads: Sequence[Payload]) -> None:
    if header.message_id != 0:
        raise InvalidSyntax(f"IKE_SA_INIT with message ID {header.message_id}")
    if header.is_initiator == header.is_response:
        raise InvalidHeader("IKE_SA_INIT with an initiator flag that contradicts the response flag")
    if not header.is_response and header.responder_spi != NO_SPI:
        raise InvalidHeader("an IKE_SA_INIT request knows no responder's SPI yet")
    chosen = any(isinstance(payload, Sa) for payload in payloads)
    if header.is_response and chosen and header.responder_spi == NO_SPI:
        raise InvalidHeader("an IKE_SA_INIT response without a responder's SPI")


def _check_row(header: Header, payloads: Sequence[Payload], row: Row) -> None:
    counts = Counter(payload.payload_type for payload in payloads if not isinstance(payload, _TOLERATED))
    where = f"{header.exchange} {'response' if header.is_response else 'request'}"
    for kind, count in counts.items():
        allowed = row[kind].maximum if kind in row else 0
        if count > allowed:
            raise InvalidSyntax(f"{where}: {count} {kind} payloads, at most {allowed} allowed")
    if header.is_response and any(_stands_alone(payload) for payload in payloads):
        return
    for kind, rule in row.items():
        if counts[kind] < rule.minimum:
            raise rule.missing(f"{where}: no {kind} payload")


def _stands_alone(payload: Payload) -> bool:
    return isinstance(payload, Notify) and (payload.type.is_error or payload.type == NotifyType.COOKIE)


def _rekeys_ike(payloads: Sequence[Payload]) -> bool:
    offers = [payload for payload in payloads if isinstance(payload, Sa)]
    return bool(offers) and offers[0].proposals[0].protocol == ProtocolId.IKE
