"""Identification payloads (RFC 7296 3.5).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|   ID Type     |                 RESERVED                      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                   Identification Data                         ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.iana import IdType, PayloadType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

MAX_IDENTITY_BYTES: Final = 1024
"""A domain name has at most 255 octets; opaque key identifiers are in practice shorter."""

_RESERVED: Final = bytes(3)
_EXACT_LENGTHS: Final = {IdType.IPV4_ADDR: 4, IdType.IPV6_ADDR: 16, IdType.NULL: 0}


@dataclass(frozen=True, slots=True)
class _Identification:
    """An identity; `reserved` is kept as received, because AUTH covers it too (RFC 7296 2.15)."""

    kind: IdType
    data: bytes
    reserved: bytes = _RESERVED

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when the length cannot be the type's."""
        kind, reserved = IdType(body.u8()), body.take(3)
        length = body.remaining
        shortest, longest = (_EXACT_LENGTHS.get(kind, 1), _EXACT_LENGTHS.get(kind, MAX_IDENTITY_BYTES))
        if not shortest <= length <= longest:
            raise WireError(f"{length} octets of identity of type {kind}, {shortest} to {longest} expected")
        return cls(kind, body.rest(), reserved)

    def build(self) -> bytes:
        """The payload without its generic header, which is what AUTH covers as IDi' or IDr'."""
        return Writer().u8(self.kind).raw(self.reserved).raw(self.data).getvalue()


@dataclass(frozen=True, slots=True)
class IdI(_Identification):
    """Identity of the initiator."""

    payload_type: ClassVar[PayloadType] = PayloadType.ID_I


@dataclass(frozen=True, slots=True)
class IdR(_Identification):
    """Identity of the responder."""

    payload_type: ClassVar[PayloadType] = PayloadType.ID_R
