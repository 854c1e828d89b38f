"""Traffic Selector payloads (RFC 7296 3.13); the selectors themselves are vcstack.wire.selector's.

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Number of TSs |                 RESERVED                      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                       <Traffic Selectors>                     ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.iana import PayloadType, TsType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.writer import Writer

_SELECTOR_HEADER_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class OtherSelector:
    """A selector that is not an IPv4 range: kept, never matched. `data` follows its length field."""

    type: TsType
    protocol: int
    data: bytes

    def build(self) -> bytes:
        """The octets of the selector."""
        writer = Writer().u8(self.type).u8(self.protocol).u16(_SELECTOR_HEADER_LENGTH + len(self.data))
        return writer.raw(self.data).getvalue()


@dataclass(frozen=True, slots=True)
class _TrafficSelectors:
    """One end of the traffic of a Child SA; at least one selector, in the sender's order of preference."""

    selectors: tuple[TrafficSelector, ...]
    others: tuple[OtherSelector, ...] = ()

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when empty or malformed."""
        count = body.u8()
        body.take(3)
        if not count:
            raise WireError("no traffic selector")
        read = [_read_selector(body) for _ in range(count)]
        body.check_end()
        return cls(
            tuple(selector for selector in read if isinstance(selector, TrafficSelector)),
            tuple(selector for selector in read if isinstance(selector, OtherSelector)),
        )

    def build(self) -> bytes:
        """The payload without its generic header."""
        writer = Writer().u8(len(self.selectors) + len(self.others)).raw(bytes(3))
        writer.raw(b"".join(selector.build() for selector in self.selectors))
        return writer.raw(b"".join(other.build() for other in self.others)).getvalue()


@dataclass(frozen=True, slots=True)
class TsI(_TrafficSelectors):
    """Traffic on the initiator's end."""

    payload_type: ClassVar[PayloadType] = PayloadType.TS_I


@dataclass(frozen=True, slots=True)
class TsR(_TrafficSelectors):
    """Traffic on the responder's end."""

    payload_type: ClassVar[PayloadType] = PayloadType.TS_R


def _read_selector(body: Reader) -> TrafficSelector | OtherSelector:
    kind, protocol, length = TsType(body.u8()), body.u8(), body.u16()
    if length < _SELECTOR_HEADER_LENGTH:
        raise WireError(f"traffic selector: length {length}, at least {_SELECTOR_HEADER_LENGTH} expected")
    other = OtherSelector(kind, protocol, body.take(length - _SELECTOR_HEADER_LENGTH))
    return TrafficSelector.parse(other.build()) if kind == TsType.IPV4_ADDR_RANGE else other
