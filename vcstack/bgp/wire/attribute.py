"""Path attributes as values, and their common header (RFC 4271 4.3).

 0                   1
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|O|T|P|E|   0   | Attr Type Code|    O optional, T transitive, P partial,
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+    E the length has two octets
|  Length (1 or 2)  |  Value ...
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from vcstack.bgp.iana import AttributeCode, Origin, UpdateSubcode
from vcstack.bgp.wire.as_path import AsPath

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network


class Flags(IntFlag):
    """The attribute flags octet; the low four bits are ignored on receipt."""

    NONE = 0
    EXTENDED_LENGTH = 0x10
    PARTIAL = 0x20
    TRANSITIVE = 0x40
    OPTIONAL = 0x80


WELL_KNOWN = Flags.TRANSITIVE
OPTIONAL_TRANSITIVE = Flags.OPTIONAL | Flags.TRANSITIVE
OPTIONAL_NON_TRANSITIVE = Flags.OPTIONAL


class Outcome(IntEnum):
    """What an error does to its UPDATE, weakest first (RFC 7606 2)."""

    ATTRIBUTE_DISCARD = 1
    TREAT_AS_WITHDRAW = 2
    SESSION_RESET = 3


@dataclass(frozen=True, slots=True)
class RawAttribute:
    """An attribute before its value is understood, or one that never is."""

    code: AttributeCode
    flags: Flags
    value: bytes

    def build(self) -> bytes:
        """Build header and value; the length takes two octets only where one is not enough."""
        flags = self.flags & ~Flags.EXTENDED_LENGTH
        length = len(self.value).to_bytes(1 if len(self.value) <= 0xFF else 2)
        if len(length) == 2:
            flags |= Flags.EXTENDED_LENGTH
        return bytes((flags, self.code)) + length + self.value


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in the attributes of an UPDATE, with what its NOTIFICATION says if the session is reset."""

    outcome: Outcome
    subcode: UpdateSubcode
    detail: str
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Aggregator:
    """RFC 4271 5.1.7: who formed an aggregate."""

    asn: int
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class MpReach:
    """Reachable prefixes of RFC 4760 3, when they are IPv4 unicast; else only that there were some."""

    next_hop: IPv4Address | None
    prefixes: tuple[IPv4Network, ...]


@dataclass(frozen=True, slots=True)
class PathAttributes:
    """What an UPDATE says of its routes; None and empty stand for absent attributes."""

    origin: Origin = Origin.IGP
    as_path: AsPath = field(default_factory=AsPath)
    next_hop: IPv4Address | None = None
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: Aggregator | None = None
    communities: tuple[int, ...] = ()
    extended_communities: tuple[bytes, ...] = ()
    large_communities: tuple[tuple[int, int, int], ...] = ()
    only_to_customer: int | None = None
    unknown: tuple[RawAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What decides how attributes are written between these two speakers."""

    four_octet_as: bool = True
    internal: bool = False

    @property
    def as_octets(self) -> int:
        """Octets of an AS number in AS_PATH and AGGREGATOR (RFC 6793 4.1)."""
        return 4 if self.four_octet_as else 2
