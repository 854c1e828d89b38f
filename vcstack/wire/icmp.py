"""ICMP messages (RFC 792), in particular "fragmentation needed" (RFC 1191 section 4).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|     Type      |     Code      |           Checksum            |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|   unused = 0 (type 3 code 4)  |         Next-Hop MTU          |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|     Internet Header and the beginning of the original data    |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Self

from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import MINIMUM_HEADER, IpProtocol, Ipv4Header
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

HEADER_LENGTH = 8
# RFC 1812 section 4.3.2.3: the whole error packet stays within 576 bytes.
MAXIMUM_QUOTE = 576 - MINIMUM_HEADER - HEADER_LENGTH
_CHECKSUM_OFFSET = 2


class IcmpType(IntEnum):
    """Message types that this stack handles (IANA icmp-parameters)."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    ECHO_REQUEST = 8


# Types that ask or answer; every other one is an error or obsolete, and an error is never
# sent about it (RFC 1812 section 4.3.2.7: no errors about errors).
_QUERIES = frozenset({0, 8, 9, 10, 13, 14, 15, 16, 17, 18})
_FRAGMENTATION_NEEDED = 4


@dataclass(frozen=True, slots=True)
class IcmpMessage:
    """A message as a value; `rest` is the second 32-bit word, whose meaning depends on the type."""

    kind: int
    code: int
    rest: int = 0
    body: bytes = b""

    @property
    def next_hop_mtu(self) -> int | None:
        """MTU in bytes that a "fragmentation needed" reports, None in every other message.

        0 comes from routers older than RFC 1191 (section 5).
        """
        if (self.kind, self.code) != (IcmpType.DESTINATION_UNREACHABLE, _FRAGMENTATION_NEEDED):
            return None
        return self.rest & 0xFFFF

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read a message that fills `data`; WireError when it is short or its checksum is wrong."""
        reader = Reader(data, "ICMP message")
        kind, code, _checksum, rest = reader.u8(), reader.u8(), reader.u16(), reader.u32()
        if internet_checksum(data):
            raise WireError("ICMP checksum is wrong")
        return cls(kind, code, rest, reader.rest())

    def build(self) -> bytes:
        """Return the message with its checksum."""
        writer = Writer().u8(self.kind).u8(self.code).u16(0).u32(self.rest).raw(self.body)
        return writer.patch_u16(_CHECKSUM_OFFSET, internet_checksum(writer.getvalue())).getvalue()


def fragmentation_needed(mtu: int, original: bytes | bytearray | memoryview) -> bytes:
    """ICMP message, without IPv4 header, that tells the sender of the packet `original` to send `mtu` bytes.

    It quotes as much as fits into an error packet of 576 bytes (RFC 1812 section 4.3.2.3).
    """
    quote = bytes(original[:MAXIMUM_QUOTE])
    return IcmpMessage(IcmpType.DESTINATION_UNREACHABLE, _FRAGMENTATION_NEEDED, mtu, quote).build()


def error_is_allowed(original: bytes | bytearray | memoryview) -> bool:
    """Whether a router may answer this IPv4 packet with an ICMP error (RFC 1812 section 4.3.2.7).

    It may not when the packet is malformed, a fragment other than the first, itself an ICMP
    error, or has an end that is not a single host.
    """
    try:
        header = Ipv4Header.parse(original)
    except WireError:
        return False
    if header.fragment_offset or not (_is_host(header.source) and _is_host(header.destination)):
        return False
    body = original[header.header_length : header.total_length]
    return header.protocol != IpProtocol.ICMP or (len(body) > 0 and body[0] in _QUERIES)


def _is_host(address: IPv4Address) -> bool:
    # Class E holds the limited broadcast address; 0.0.0.0/8 never names a peer.
    return not (address.is_multicast or address.is_reserved or address.is_loopback or int(address) >> 24 == 0)
