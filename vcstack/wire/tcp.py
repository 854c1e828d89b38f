"""The TCP header and its options (RFC 9293 section 3.1).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|          Source Port          |       Destination Port        |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                        Sequence Number                        |
|                    Acknowledgment Number                      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Offset| Rsrvd |C E U A P R S F|            Window             |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|           Checksum            |         Urgent Pointer        |
|                    Options, multiple of 4                     |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address
from typing import Self

from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import IpProtocol, pseudo_header_sum
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

MINIMUM_HEADER = 20
CHECKSUM_OFFSET = 16
FLAGS_OFFSET = 13
_MAXIMUM_OPTIONS = 40


class TcpFlags(IntFlag):
    """Control bits (RFC 9293 section 3.1, RFC 3168 section 6.1)."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


_NO_FLAGS = TcpFlags(0)


class OptionKind(IntEnum):
    """Option kinds that this stack looks at (IANA tcp-parameters); others are plain integers."""

    END = 0
    NO_OPERATION = 1
    MAXIMUM_SEGMENT_SIZE = 2
    MD5_SIGNATURE = 19


@dataclass(frozen=True, slots=True)
class TcpOption:
    """An option; `offset` is where its kind byte stands, counted from the start of the options."""

    kind: int
    data: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class TcpHeader:
    """A header as a value; `checksum` is what the segment said, `build` computes its own."""

    source_port: int
    destination_port: int
    sequence: int = 0
    acknowledgment: int = 0
    flags: TcpFlags = _NO_FLAGS
    window: int = 0
    checksum: int = 0
    urgent: int = 0
    options: bytes = b""

    @property
    def header_length(self) -> int:
        """Size of this header with its options, in bytes."""
        return MINIMUM_HEADER + len(self.options)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read the header at the start of a segment; WireError when its length does not fit `data`."""
        reader = Reader(data, "TCP header")
        ports, numbers = (reader.u16(), reader.u16()), (reader.u32(), reader.u32())
        header_length = (reader.u8() >> 4) * 4
        flags, window, checksum, urgent = TcpFlags(reader.u8()), reader.u16(), reader.u16(), reader.u16()
        if header_length < MINIMUM_HEADER:
            raise WireError(f"TCP header length {header_length}, at least {MINIMUM_HEADER} expected")
        options = reader.take(header_length - MINIMUM_HEADER)
        return cls(*ports, *numbers, flags, window, checksum, urgent, options)

    def parse_options(self) -> tuple[TcpOption, ...]:
        """Return the options up to the end of the list, padding left out; WireError when malformed."""
        return tuple(_options(Reader(self.options, "TCP options")))

    def build(self, payload: bytes, source: IPv4Address, destination: IPv4Address) -> bytes:
        """Return the segment: header with its checksum, and `payload`; ValueError for unfit options."""
        if len(self.options) % 4 or len(self.options) > _MAXIMUM_OPTIONS:
            raise ValueError(f"TCP options of {len(self.options)} bytes; a multiple of 4 up to 40 fits")
        writer = Writer().u16(self.source_port).u16(self.destination_port)
        writer.u32(self.sequence).u32(self.acknowledgment)
        writer.u8(self.header_length // 4 << 4).u8(self.flags).u16(self.window).u16(0).u16(self.urgent)
        writer.raw(self.options).raw(payload)
        pseudo = pseudo_header_sum(source, destination, IpProtocol.TCP, writer.position)
        return writer.patch_u16(CHECKSUM_OFFSET, internet_checksum(writer.getvalue(), pseudo)).getvalue()


def checksum_is_right(segment: bytes, source: IPv4Address, destination: IPv4Address) -> bool:
    """Whether the checksum of a whole segment holds."""
    return (
        internet_checksum(segment, pseudo_header_sum(source, destination, IpProtocol.TCP, len(segment))) == 0
    )


def maximum_segment_size(size: int) -> bytes:
    """Return the option that announces a maximum segment size in bytes (RFC 9293 section 3.7.1)."""
    return Writer().u8(OptionKind.MAXIMUM_SEGMENT_SIZE).u8(4).u16(size).getvalue()


def _options(reader: Reader) -> Iterator[TcpOption]:
    while reader.remaining:
        offset = reader.position
        kind = reader.u8()
        if kind == OptionKind.END:
            return
        if kind == OptionKind.NO_OPERATION:
            continue
        length = reader.u8()
        if length < 2:
            raise WireError(f"TCP option {kind} of length {length}, at least 2 expected")
        yield TcpOption(kind, reader.take(length - 2), offset)
