"""Whole messages: a header, a chain of payloads, and the encrypted payload around them (RFC 7296 3).

```
    clear:      [ header | SA | KE | Nonce | Notify ... ]
    protected:  [ header | SK { IDi | AUTH | SA | TSi | TSr ... } ]
```
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from vcstack.crypto.sk import SkCipher
from vcstack.ikev2.constants import HEADER_LENGTH, NO_SPI, PAYLOAD_HEADER_LENGTH
from vcstack.ikev2.errors import InvalidHeader, InvalidSyntax, RemoteProtocolError
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.wire.chain import Payload, build_chain, first_type, parse_chain
from vcstack.ikev2.wire.header import Header, parse_header
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.rules import check_clear, check_protected
from vcstack.ikev2.wire.sk import Sk, Skf, open_body
from vcstack.wire.writer import Writer

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True, slots=True)
class Message:
    """One IKE message, with what was inside of its encrypted payload once that is open."""

    header: Header
    payloads: tuple[Payload, ...]

    def get(self, kind: type[P]) -> P | None:
        """The first payload of a class, None when there is none."""
        return next((payload for payload in self.payloads if isinstance(payload, kind)), None)

    def require(self, kind: type[P]) -> P:
        """The first payload of a class; InvalidSyntax when the peer left it out."""
        payload = self.get(kind)
        if payload is None:
            raise InvalidSyntax(f"{self.header.exchange}: no {kind.__name__} payload")
        return payload

    def all(self, kind: type[P]) -> tuple[P, ...]:
        """Every payload of a class, in order."""
        return tuple(payload for payload in self.payloads if isinstance(payload, kind))

    def notify(self, kind: NotifyType) -> Notify | None:
        """The first notification of a type, None when there is none."""
        return next((notify for notify in self.all(Notify) if notify.type == kind), None)

    @property
    def error(self) -> Notify | None:
        """The first notification that reports an error (RFC 7296 3.10.1)."""
        return next((notify for notify in self.all(Notify) if notify.type.is_error), None)

    @property
    def is_sealed(self) -> bool:
        """Whether the payloads are still behind an encrypted one."""
        return bool(self.payloads) and isinstance(self.payloads[-1], Sk | Skf)


def parse_message(data: bytes) -> Message:
    """A datagram as it stands; RemoteProtocolError when malformed.

    Clear messages are checked against their rules; of a protected one the last payload is an unopened Sk or
    Skf, and nothing that stands before it may be believed.
    """
    header = parse_header(data)
    message = Message(header, parse_chain(header.next_payload, data[HEADER_LENGTH:]))
    if not message.is_sealed or header.exchange == ExchangeType.IKE_SA_INIT:
        check_clear(header, message.payloads)
    elif header.responder_spi == NO_SPI:
        raise InvalidHeader("a protected message without a responder's SPI")
    return message


def build_message(header: Header, payloads: Iterable[Payload]) -> bytes:
    """A clear message."""
    chosen = tuple(payloads)
    chain = build_chain(chosen)
    return header.build(first_type(chosen), HEADER_LENGTH + len(chain)) + chain


def seal_message(header: Header, payloads: Iterable[Payload], sk: SkCipher, iv: bytes) -> bytes:
    """A message whose payloads are all in an Encrypted payload; `iv` has `sk.iv_length` octets."""
    chosen = tuple(payloads)
    plaintext = build_chain(chosen)
    length = PAYLOAD_HEADER_LENGTH + sk.iv_length + sk.sealed_length(len(plaintext))
    generic = Writer().u8(first_type(chosen)).u8(0).u16(length).getvalue()
    associated = header.build(PayloadType.SK, HEADER_LENGTH + length) + generic
    return associated + iv + sk.seal(iv, associated, plaintext)


def open_message(data: bytes, sk: SkCipher) -> Message:
    """A protected message with the payloads of its Encrypted payload, which met their rules.

    IntegrityCheckFailed when it was not sealed under this key; other errors say by `authenticated` whether
    they come from the peer of the IKE SA or may come from anyone.
    """
    outer = parse_message(data)
    sealed = outer.payloads[-1] if outer.payloads else None
    if not isinstance(sealed, Sk):
        raise InvalidSyntax(f"{outer.header.exchange} without an Encrypted payload")
    return opened_message(outer.header, sealed.inner, open_body(data, sealed.body, sk))


def opened_message(header: Header, first: PayloadType, plaintext: bytes) -> Message:
    """The message that an authenticated plaintext makes; every error is marked as authenticated."""
    try:
        payloads = parse_chain(first, plaintext)
        check_protected(header, payloads)
    except RemoteProtocolError as error:
        error.authenticated = True
        raise
    return Message(header, payloads)
