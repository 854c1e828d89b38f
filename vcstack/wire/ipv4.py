"""The IPv4 header (RFC 791 section 3.1).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|Version|  IHL  |Type of Service|          Total Length         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|         Identification        |0|D|M|     Fragment Offset     |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|  Time to Live |    Protocol   |         Header Checksum       |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                       Source Address                          |
|                    Destination Address                        |
|                    Options, multiple of 4                     |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Self

from vcstack.wire.checksum import internet_checksum
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

MINIMUM_HEADER = 20
MAXIMUM_PACKET = 65535
CHECKSUM_OFFSET = 10
_MAXIMUM_OPTIONS = 40
_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000


class IpProtocol(IntEnum):
    """Protocol numbers that this stack handles (IANA protocol-numbers)."""

    ICMP = 1
    IPIP = 4
    TCP = 6
    UDP = 17
    GRE = 47
    ESP = 50
    NO_NEXT_HEADER = 59


@dataclass(frozen=True, slots=True)
class Ipv4Header:
    """A header as a value; lengths in bytes, `fragment_offset` in units of 8 bytes.

    `total_length` is what the packet said; `build` computes its own.
    """

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    total_length: int = 0
    tos: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    ttl: int = 64
    options: bytes = b""

    @property
    def header_length(self) -> int:
        """Size of this header with its options."""
        return MINIMUM_HEADER + len(self.options)

    @property
    def is_fragment(self) -> bool:
        """Whether the packet is a part of a larger one."""
        return self.more_fragments or self.fragment_offset > 0

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview, *, quoted: bool = False) -> Self:
        """Read the header at the start of `data`, which may be longer than the packet (link padding).

        WireError for a wrong version, a length outside its bounds or a wrong checksum.
        `quoted` is for the beginning of a packet inside an ICMP error: the packet may be cut
        short there, and its checksum is not verified since a router on the way may have
        changed the header (RFC 1812 section 4.3.2.3 quotes it as it arrived, TTL included).
        """
        header_length = _checked_header_length(data)
        header = cls._read(Reader(data[:header_length], "IPv4 header"))
        if header.total_length < header_length:
            raise WireError(
                f"IPv4 total length {header.total_length} is less than its header of {header_length}"
            )
        if quoted:
            return header
        if header.total_length > len(data):
            raise WireError(f"IPv4 total length {header.total_length} exceeds the {len(data)} bytes received")
        if internet_checksum(data[:header_length]):
            raise WireError("IPv4 header checksum is wrong")
        return header

    def build(self, payload_length: int) -> bytes:
        """Header for that many bytes of payload, checksum included; ValueError when a field does not fit."""
        if len(self.options) % 4 or len(self.options) > _MAXIMUM_OPTIONS:
            raise ValueError(f"IPv4 options of {len(self.options)} bytes; a multiple of 4 up to 40 fits")
        total_length = self.header_length + payload_length
        if total_length > MAXIMUM_PACKET:
            raise ValueError(f"IPv4 packet of {total_length} bytes")
        writer = Writer().u8(0x40 | self.header_length // 4).u8(self.tos).u16(total_length)
        writer.u16(self.identification).u16(self._flags_and_offset())
        writer.u8(self.ttl).u8(self.protocol).u16(0)
        writer.raw(self.source.packed).raw(self.destination.packed).raw(self.options)
        return writer.patch_u16(CHECKSUM_OFFSET, internet_checksum(writer.getvalue())).getvalue()

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        reader.u8()
        tos, total_length, identification, fragment = reader.u8(), reader.u16(), reader.u16(), reader.u16()
        ttl, protocol, _checksum = reader.u8(), reader.u8(), reader.u16()
        return cls(
            source=IPv4Address(reader.take(4)),
            destination=IPv4Address(reader.take(4)),
            protocol=protocol,
            total_length=total_length,
            tos=tos,
            identification=identification,
            dont_fragment=bool(fragment & _DONT_FRAGMENT),
            more_fragments=bool(fragment & _MORE_FRAGMENTS),
            fragment_offset=fragment & 0x1FFF,
            ttl=ttl,
            options=reader.rest(),
        )

    def _flags_and_offset(self) -> int:
        if not 0 <= self.fragment_offset <= 0x1FFF:
            raise ValueError(f"IPv4 fragment offset {self.fragment_offset}")
        flags = _DONT_FRAGMENT if self.dont_fragment else 0
        return flags | (_MORE_FRAGMENTS if self.more_fragments else 0) | self.fragment_offset


def pseudo_header_sum(source: IPv4Address, destination: IPv4Address, protocol: int, length: int) -> int:
    """Sum of the pseudo-header's words, as `initial` of internet_checksum (RFC 768, RFC 9293 section 3.1).

    `length` is that of the transport header and its data.
    """
    return int(source) + int(destination) + protocol + length


def _checked_header_length(data: bytes | bytearray | memoryview) -> int:
    if len(data) < MINIMUM_HEADER:
        raise WireError(f"IPv4 header of {len(data)} bytes, at least {MINIMUM_HEADER} expected")
    if data[0] >> 4 != 4:
        raise WireError(f"IP version {data[0] >> 4}, 4 expected")
    header_length = (data[0] & 0x0F) * 4
    if not MINIMUM_HEADER <= header_length <= len(data):
        raise WireError(f"IPv4 header length {header_length} in {len(data)} bytes")
    return header_length
