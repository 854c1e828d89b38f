"""Notify payload (RFC 7296 3.10).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|  Protocol ID  |   SPI Size    |      Notify Message Type      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                Security Parameter Index (SPI)                 ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                       Notification Data                       ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.constants import (
    COOKIE_MAX_LENGTH,
    COOKIE_MIN_LENGTH,
    ESP_SPI_LENGTH,
    NAT_DETECTION_LENGTH,
)
from vcstack.ikev2.iana import NotifyType, PayloadType, ProtocolId
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

_DATA_LENGTHS: Final = {
    NotifyType.INVALID_KE_PAYLOAD: (2, 2),
    NotifyType.SET_WINDOW_SIZE: (4, 4),
    NotifyType.AUTH_LIFETIME: (4, 4),
    NotifyType.NAT_DETECTION_SOURCE_IP: (NAT_DETECTION_LENGTH, NAT_DETECTION_LENGTH),
    NotifyType.NAT_DETECTION_DESTINATION_IP: (NAT_DETECTION_LENGTH, NAT_DETECTION_LENGTH),
    NotifyType.COOKIE: (COOKIE_MIN_LENGTH, COOKIE_MAX_LENGTH),
}
_CHILD_PROTOCOLS: Final = (ProtocolId.AH, ProtocolId.ESP)


@dataclass(frozen=True, slots=True)
class Notify:
    """An error or a status; `protocol` and `spi` name a Child SA where the type is about one."""

    payload_type: ClassVar[PayloadType] = PayloadType.NOTIFY

    type: NotifyType
    protocol: ProtocolId = ProtocolId.NONE
    spi: bytes = b""
    data: bytes = b""

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when data or SPI do not suit the type."""
        protocol, spi_length, kind = ProtocolId(body.u8()), body.u8(), NotifyType(body.u16())
        names_child = protocol in _CHILD_PROTOCOLS and spi_length == ESP_SPI_LENGTH
        if kind == NotifyType.REKEY_SA and not names_child:
            raise WireError(f"{kind} with {spi_length} octets of SPI of {protocol}")
        spi = body.take(spi_length)
        shortest, longest = _DATA_LENGTHS.get(kind, (0, body.remaining))
        if not shortest <= body.remaining <= longest:
            raise WireError(f"{kind} with {body.remaining} octets of data, {shortest} to {longest} expected")
        return cls(kind, protocol, spi, body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        writer = Writer().u8(self.protocol).u8(len(self.spi)).u16(self.type)
        return writer.raw(self.spi).raw(self.data).getvalue()
