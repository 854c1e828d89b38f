"""The chain of payloads behind a header (RFC 7296 3.2).

```
                     1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Next Payload  |C|  RESERVED   |         Payload Length        |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

Every payload consumes at least its own header, and their number is bounded: parsing always ends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from vcstack.ikev2.constants import PAYLOAD_HEADER_LENGTH
from vcstack.ikev2.errors import InvalidSyntax, UnsupportedCriticalPayload
from vcstack.ikev2.iana import PayloadType
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.certificate import Cert, CertReq
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.identity import IdI, IdR
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import OPAQUE_TYPES, Opaque, Unknown
from vcstack.ikev2.wire.sa import Sa
from vcstack.ikev2.wire.sk import Sk, Skf
from vcstack.ikev2.wire.ts import TsI, TsR
from vcstack.ikev2.wire.vendor import Vendor
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

Payload: TypeAlias = (
    Sa
    | Ke
    | IdI
    | IdR
    | Cert
    | CertReq
    | Auth
    | Nonce
    | Notify
    | Delete
    | Vendor
    | TsI
    | TsR
    | Sk
    | Skf
    | Opaque
    | Unknown
)

MAX_PAYLOADS: Final = 64
"""A busy IKE_AUTH has some twenty, most of them notifications."""

_CRITICAL: Final = 0x80
_PARSERS: Final[Mapping[PayloadType, Callable[[Reader], Payload]]] = {
    PayloadType.SA: Sa.parse,
    PayloadType.KE: Ke.parse,
    PayloadType.ID_I: IdI.parse,
    PayloadType.ID_R: IdR.parse,
    PayloadType.CERT: Cert.parse,
    PayloadType.CERTREQ: CertReq.parse,
    PayloadType.AUTH: Auth.parse,
    PayloadType.NONCE: Nonce.parse,
    PayloadType.NOTIFY: Notify.parse,
    PayloadType.DELETE: Delete.parse,
    PayloadType.VENDOR: Vendor.parse,
    PayloadType.TS_I: TsI.parse,
    PayloadType.TS_R: TsR.parse,
}
_ENCRYPTED: Final[Mapping[PayloadType, Callable[[PayloadType, Reader], Sk | Skf]]] = {
    PayloadType.SK: Sk.parse,
    PayloadType.SKF: Skf.parse,
}


def parse_chain(first: PayloadType, data: bytes) -> tuple[Payload, ...]:
    """All payloads of `data`, which they must fill; InvalidSyntax or UnsupportedCriticalPayload.

    An encrypted payload ends the chain (RFC 7296 3.14): its Next Payload field tells what is inside.
    """
    reader = Reader(data, "payload chain")
    payloads: list[Payload] = []
    kind = first
    try:
        while kind != PayloadType.NONE:
            if len(payloads) == MAX_PAYLOADS:
                raise InvalidSyntax(f"more than {MAX_PAYLOADS} payloads")
            payload, following = _read_payload(kind, reader)
            payloads.append(payload)
            kind = PayloadType.NONE if isinstance(payload, Sk | Skf) else following
        reader.check_end()
    except WireError as error:
        raise InvalidSyntax(f"{kind}: {error}") from error
    return tuple(payloads)


def build_chain(payloads: Sequence[Payload]) -> bytes:
    """The octets of the payloads, each naming its successor."""
    return b"".join(
        _build_payload(payload, first_type(payloads[index:]))
        for index, payload in enumerate(payloads, start=1)
    )


def first_type(payloads: Sequence[Payload]) -> PayloadType:
    """What the Next Payload field before these payloads says."""
    return payloads[0].payload_type if payloads else PayloadType.NONE


def _build_payload(payload: Payload, following: PayloadType) -> bytes:
    body = payload.build()
    next_payload = payload.inner if isinstance(payload, Sk | Skf) else following
    critical = _CRITICAL if isinstance(payload, Unknown) and payload.critical else 0
    writer = Writer().u8(next_payload).u8(critical).u16(PAYLOAD_HEADER_LENGTH + len(body))
    return writer.raw(body).getvalue()


def _read_payload(kind: PayloadType, reader: Reader) -> tuple[Payload, PayloadType]:
    following, flags, length = PayloadType(reader.u8()), reader.u8(), reader.u16()
    if length < PAYLOAD_HEADER_LENGTH:
        raise WireError(f"length {length}, at least {PAYLOAD_HEADER_LENGTH} expected")
    body = reader.sub(length - PAYLOAD_HEADER_LENGTH, str(kind))
    return _parse_body(kind, following, body, critical=bool(flags & _CRITICAL)), following


def _parse_body(kind: PayloadType, following: PayloadType, body: Reader, *, critical: bool) -> Payload:
    if parse := _PARSERS.get(kind):
        return parse(body)
    if parse_encrypted := _ENCRYPTED.get(kind):
        return parse_encrypted(following, body)
    if kind in OPAQUE_TYPES:
        return Opaque(kind, body.rest())
    if critical:
        raise UnsupportedCriticalPayload(kind)
    return Unknown(kind, critical, body.rest())
