"""Delete payload (RFC 7296 3.11).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Protocol ID   |   SPI Size    |          Num of SPIs          |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~               Security Parameter Index(es) (SPI)              ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.constants import ESP_SPI_LENGTH
from vcstack.ikev2.iana import PayloadType, ProtocolId
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

_SPI_LENGTHS: Final = {ProtocolId.IKE: 0, ProtocolId.AH: ESP_SPI_LENGTH, ProtocolId.ESP: ESP_SPI_LENGTH}


@dataclass(frozen=True, slots=True)
class Delete:
    """SAs that their sender has deleted: its inbound SPIs, none for the IKE SA itself."""

    payload_type: ClassVar[PayloadType] = PayloadType.DELETE

    protocol: ProtocolId
    spis: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when protocol, sizes and count disagree."""
        protocol, spi_length, count = ProtocolId(body.u8()), body.u8(), body.u16()
        expected = _SPI_LENGTHS.get(protocol)
        if spi_length != expected:
            raise WireError(f"{spi_length} octets of SPI for {protocol}, {expected} expected")
        if spi_length * count != body.remaining or (count and not spi_length):
            raise WireError(f"{count} SPIs of {spi_length} octets announced in {body.remaining}")
        return cls(protocol, tuple(body.take(spi_length) for _ in range(count)))

    def build(self) -> bytes:
        """The payload without its generic header."""
        writer = Writer().u8(self.protocol).u8(_SPI_LENGTHS[self.protocol]).u16(len(self.spis))
        return writer.raw(b"".join(self.spis)).getvalue()
