"""Prefixes of the Withdrawn Routes and NLRI fields (RFC 4271 4.3, RFC 7606 5.3).

+---------------------------+
|   Length (1 octet)        |   in bits, 0 to 32 for IPv4
+---------------------------+
|   Prefix (variable)       |   the fewest octets that hold it; trailing bits are irrelevant
+---------------------------+
"""

from collections.abc import Iterable
from ipaddress import IPv4Network

from vcstack.wire.reader import Reader, WireError

_ADDRESS_BITS = {1: 32, 2: 128}  # by AFI


def parse_prefixes(reader: Reader) -> tuple[IPv4Network, ...]:
    """Parse IPv4 prefixes up to the end of `reader`; WireError for one that is not possible."""
    return tuple(
        IPv4Network((int.from_bytes(raw.ljust(4, b"\0")) & _mask(length), length))
        for length, raw in _raw_prefixes(reader, 32)
    )


def check_prefixes(reader: Reader, afi: int) -> None:
    """Check prefixes of a family that is not kept; families without a known form pass."""
    if afi in _ADDRESS_BITS:
        list(_raw_prefixes(reader, _ADDRESS_BITS[afi]))


def build_prefixes(prefixes: Iterable[IPv4Network]) -> bytes:
    """Build the prefixes one after the other."""
    return b"".join(
        bytes((p.prefixlen,)) + p.network_address.packed[: (p.prefixlen + 7) // 8] for p in prefixes
    )


def _raw_prefixes(reader: Reader, bits: int) -> Iterable[tuple[int, bytes]]:
    while reader.remaining:
        length = reader.u8()
        if length > bits:
            raise WireError(f"a prefix of {length} bits")
        yield length, reader.take((length + 7) // 8)


def _mask(length: int) -> int:
    return 0xFFFF_FFFF << (32 - length) & 0xFFFF_FFFF
