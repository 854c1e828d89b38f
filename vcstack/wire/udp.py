"""The UDP header (RFC 768).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|          Source Port          |       Destination Port        |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|            Length             |           Checksum            |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self

from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import IpProtocol, pseudo_header_sum
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

HEADER_LENGTH = 8
CHECKSUM_OFFSET = 6


@dataclass(frozen=True, slots=True)
class UdpHeader:
    """A header as a value; `length` and `checksum` are what the datagram said, `build` computes its own."""

    source_port: int
    destination_port: int
    length: int = HEADER_LENGTH
    checksum: int = 0

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read the header at the start of `data`; WireError when the length is below 8 or exceeds `data`."""
        reader = Reader(data, "UDP header")
        header = cls(reader.u16(), reader.u16(), reader.u16(), reader.u16())
        if not HEADER_LENGTH <= header.length <= len(data):
            raise WireError(f"UDP length {header.length} in {len(data)} bytes")
        return header

    def build(self, payload: bytes, source: IPv4Address, destination: IPv4Address) -> bytes:
        """Return the datagram: header with its checksum, and `payload`."""
        length = HEADER_LENGTH + len(payload)
        writer = Writer().u16(self.source_port).u16(self.destination_port).u16(length).u16(0).raw(payload)
        pseudo = pseudo_header_sum(source, destination, IpProtocol.UDP, length)
        # RFC 768: a computed zero is sent as all ones, since zero says that there is no checksum.
        checksum = internet_checksum(writer.getvalue(), pseudo) or 0xFFFF
        return writer.patch_u16(CHECKSUM_OFFSET, checksum).getvalue()


def checksum_is_right(datagram: bytes, source: IPv4Address, destination: IPv4Address) -> bool:
    """Whether the checksum of a whole datagram holds, or is absent (zero, RFC 768)."""
    if datagram[CHECKSUM_OFFSET:HEADER_LENGTH] == b"\0\0":
        return True
    pseudo = pseudo_header_sum(source, destination, IpProtocol.UDP, len(datagram))
    return internet_checksum(datagram, pseudo) == 0
