"""GRE in IPv4, one packet at a time: the reference for the batches (RFC 2784, RFC 2890).

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|C|R|K|S|s|Recur|  Reserved0  | Ver |         Protocol Type         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|  Checksum (present if C)      |  Reserved1 (present if C)     |
|                     Key (present if K)                        |
|               Sequence Number (present if S)                  |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

R (routing), s (strict source route) and Recur are of RFC 1701 alone. RFC 2784 section 2.3 refuses
bits 1 to 5 where no later RFC gives them a meaning: R by name, s and the first bit of Recur as
reserved; it ignores bits 6 to 12.

IOS with TrustSec puts metadata in front of the payload. No RFC has the format; this is how IOS 15.5
sends it, and the only form that is taken:

```
+-------------------------------+---------------+---------------+
|  Protocol Type of the payload |   Version 1   |    Length 1   |
+-------------------------------+---------------+---------------+
|    Option 1: group tag        |      Security Group Tag       |
+-------------------------------+---------------+---------------+
```
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from ipaddress import IPv4Address

from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

BASE_LENGTH = 4
OPTION_LENGTH = 4
"""Each of checksum with Reserved1, key and sequence number adds as much."""
TTL = 255
"""Of delivery headers, as IOS sends them."""
METADATA_LENGTH = 8
_METADATA = bytes.fromhex("0800 01 01 0001")
"""IPv4, version 1, one option, a group tag follows."""
_CHECKSUM_OFFSET = 4


class Flag(IntFlag):
    """First 16 bits of the header."""

    CHECKSUM = 0x8000
    ROUTING = 0x4000
    KEY = 0x2000
    SEQUENCE = 0x1000
    MUST_BE_ZERO = 0x0C00
    VERSION = 0x0007


class Protocol(IntEnum):
    """Protocol types that this tunnel knows."""

    KEEPALIVE = 0x0000
    """A keepalive that has come back."""
    HUAWEI_KEEPALIVE = 0x0004
    """The outer protocol of one vendor's keepalive requests; the payload is IPv4 as in the others'."""
    IPV4 = 0x0800
    CISCO_METADATA = 0x8909
    """Metadata, then IPv4."""


class Reject(StrEnum):
    """Why a packet is not taken out of the tunnel."""

    NOT_IPV4 = "malformed IPv4 header"
    NOT_GRE = "not GRE"
    FRAGMENT = "fragment"
    ADDRESSES = "wrong transport addresses"
    TRUNCATED = "truncated GRE header"
    VERSION = "GRE version is not 0"
    ROUTING = "routing present"
    RESERVED = "reserved bits set"
    CHECKSUM = "wrong GRE checksum"
    KEY_MISSING = "key missing"
    KEY_UNEXPECTED = "key not expected"
    KEY_MISMATCH = "wrong key"
    PROTOCOL = "unknown protocol type"
    METADATA = "unknown Cisco metadata"
    OUT_OF_SEQUENCE = "out of sequence"
    CONGESTION = "congestion mark on a packet without ECN"
    MALFORMED_INNER = "malformed inner packet"


@dataclass(frozen=True, slots=True)
class Header:
    """A GRE header as a value; None: the field is absent."""

    protocol: int = Protocol.IPV4
    key: int | None = None
    sequence: int | None = None
    checksum: bool = False

    @property
    def length(self) -> int:
        """Size in bytes, 4 to 16."""
        options = self.checksum, self.key is not None, self.sequence is not None
        return BASE_LENGTH + OPTION_LENGTH * sum(options)

    def build(self, payload: bytes) -> bytes:
        """Header and payload, the checksum over both filled in where present."""
        flags = Flag.CHECKSUM if self.checksum else 0
        flags |= Flag.SEQUENCE if self.sequence is not None else 0
        writer = Writer().u16(flags | (Flag.KEY if self.key is not None else 0)).u16(self.protocol)
        for option in (0 if self.checksum else None, self.key, self.sequence):
            if option is not None:
                writer.u32(option)
        writer.raw(payload)
        if self.checksum:
            writer.patch_u16(_CHECKSUM_OFFSET, internet_checksum(writer.getvalue()))
        return writer.getvalue()


@dataclass(frozen=True, slots=True)
class Decapsulated:
    """What came out of a delivery packet: both headers and the payload, without metadata."""

    delivery: Ipv4Header
    header: Header
    payload: bytes

    @property
    def protocol(self) -> int:
        """Protocol type in the GRE header."""
        return self.header.protocol


def encapsulate(
    inner: bytes,
    local: IPv4Address,
    remote: IPv4Address,
    *,
    key: int | None = None,
    tos: int = 0,
    dont_fragment: bool = False,
    identification: int = 0,
    ttl: int = TTL,
    protocol: int = Protocol.IPV4,
    sequence: int | None = None,
    checksum: bool = False,
) -> bytes:
    """IPv4 packet from `local` to `remote` with a GRE header and `inner` in it; ValueError when too long."""
    gre = Header(protocol, key, sequence, checksum).build(inner)
    delivery = Ipv4Header(
        local,
        remote,
        IpProtocol.GRE,
        tos=tos,
        identification=identification,
        dont_fragment=dont_fragment,
        ttl=ttl,
    )
    return delivery.build(len(gre)) + gre


def decapsulate(
    packet: bytes, *, local: IPv4Address, remote: IPv4Address, key: int | None = None
) -> Decapsulated | Reject:
    """Take the payload out of a packet from `remote` to `local`.

    A key must be there exactly when `key` is one, and be it (RFC 2890 section 2.1). Sequence
    numbers are the tunnel's business, which remembers the last one.
    """
    try:
        delivery = Ipv4Header.parse(packet)
    except WireError:
        return Reject.NOT_IPV4
    if delivery.protocol != IpProtocol.GRE:
        return Reject.NOT_GRE
    if delivery.is_fragment:
        return Reject.FRAGMENT
    if (delivery.source, delivery.destination) != (remote, local):
        return Reject.ADDRESSES
    gre = packet[delivery.header_length : delivery.total_length]
    header = parse_header(gre)
    if isinstance(header, Reject):
        return header
    wrong_key = _compare_keys(header.key, key)
    if wrong_key is not None:
        return wrong_key
    if header.protocol not in set(Protocol):
        return Reject.PROTOCOL
    payload = gre[header.length :]
    if header.protocol == Protocol.CISCO_METADATA:
        if len(payload) < METADATA_LENGTH or not payload.startswith(_METADATA):
            return Reject.METADATA
        payload = payload[METADATA_LENGTH:]
    return Decapsulated(delivery, header, payload)


def parse_header(gre: bytes) -> Header | Reject:
    """Read the GRE header at the start of `gre`, which must end with the packet; verifies the checksum."""
    reader = Reader(gre, "GRE header")
    try:
        flags, protocol = Flag(reader.u16()), reader.u16()
        refused = _refused_flags(flags)
        if refused is not None:
            return refused
        if flags & Flag.CHECKSUM:
            reader.u32()
        key = reader.u32() if flags & Flag.KEY else None
        sequence = reader.u32() if flags & Flag.SEQUENCE else None
    except WireError:
        return Reject.TRUNCATED
    if flags & Flag.CHECKSUM and internet_checksum(gre):
        return Reject.CHECKSUM
    return Header(protocol, key, sequence, bool(flags & Flag.CHECKSUM))


def _refused_flags(flags: Flag) -> Reject | None:
    if flags & Flag.VERSION:
        return Reject.VERSION
    if flags & Flag.ROUTING:
        return Reject.ROUTING
    return Reject.RESERVED if flags & Flag.MUST_BE_ZERO else None


def _compare_keys(received: int | None, expected: int | None) -> Reject | None:
    if received == expected:
        return None
    if received is None:
        return Reject.KEY_MISSING
    return Reject.KEY_UNEXPECTED if expected is None else Reject.KEY_MISMATCH
