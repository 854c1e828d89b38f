"""Parsers and builders of single attribute values; a parser raises Malformed for what its RFC forbids."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from vcstack.bgp.constants import AS_TRANS, MAX_TWO_OCTET_AS
from vcstack.bgp.iana import Afi, Origin, Safi, UpdateSubcode
from vcstack.bgp.wire.as_path import CONFEDERATION, AsPath, build_as_path, parse_as_path
from vcstack.bgp.wire.attribute import Aggregator, Context, MpReach, PathAttributes
from vcstack.bgp.wire.nlri import check_prefixes, parse_prefixes
from vcstack.wire.reader import Reader, WireError

if TYPE_CHECKING:
    from ipaddress import IPv4Network

_NEXT_HOP_LENGTHS = {Afi.IPV4: (4,), Afi.IPV6: (16, 32)}
_PLAIN_PREFIXES: frozenset[int] = frozenset(
    {Safi.UNICAST, Safi.MULTICAST}
)  # other families have labels and more
_INGRESS_REPLICATION = 6
_MAX_PMSI_TUNNEL_TYPE = 7
_LABEL_INDEX, _ORIGINATOR_SRGB = 1, 3


class Malformed(Exception):  # noqa: N818  RFC 7606 calls the attribute malformed; it is no error of this stack
    """A value that its attribute cannot have; `subcode` matters when the error resets the session."""

    def __init__(self, detail: str, subcode: UpdateSubcode = UpdateSubcode.OPTIONAL_ATTRIBUTE_ERROR) -> None:
        super().__init__(detail)
        self.subcode = subcode


def parse_origin(data: bytes, _: Context) -> Origin:
    """RFC 7606 7.1."""
    _check_length(data, 1)
    if data[0] not in Origin.__members__.values():
        raise Malformed(f"value {data[0]}", UpdateSubcode.INVALID_ORIGIN_ATTRIBUTE)
    return Origin(data[0])


def parse_path(data: bytes, context: Context) -> AsPath:
    """RFC 7606 7.2; confederation segments never cross to an external peer (RFC 5065 5)."""
    try:
        path = parse_as_path(data, context.as_octets)
    except WireError as error:
        raise Malformed(str(error), UpdateSubcode.MALFORMED_AS_PATH) from error
    if not context.internal and any(segment.type in CONFEDERATION for segment in path.segments):
        raise Malformed("a confederation segment", UpdateSubcode.MALFORMED_AS_PATH)
    return path


def parse_as4_path(data: bytes, _: Context) -> AsPath:
    """RFC 6793 6; confederation segments are dropped from it, not an error."""
    try:
        path = parse_as_path(data, 4)
    except WireError as error:
        raise Malformed(str(error)) from error
    if not path.segments:
        raise Malformed("no AS number")
    return AsPath(tuple(segment for segment in path.segments if segment.type not in CONFEDERATION))


def parse_next_hop(data: bytes, _: Context) -> IPv4Address:
    """RFC 7606 7.3, RFC 4271 6.3: a valid IP host address."""
    _check_length(data, 4)
    return check_host(IPv4Address(data))


def check_host(address: IPv4Address) -> IPv4Address:
    """Return the address when a host can have it."""
    this_network = address.packed[0] == 0
    if this_network or address.is_loopback or address.is_multicast or address.is_reserved:
        raise Malformed(f"{address} is no host", UpdateSubcode.INVALID_NEXT_HOP_ATTRIBUTE)
    return address


def parse_number(data: bytes, _: Context) -> int:
    """Four octets: MULTI_EXIT_DISC and LOCAL_PREF (RFC 7606 7.4, 7.5)."""
    _check_length(data, 4)
    return int.from_bytes(data)


def parse_address(data: bytes, _: Context) -> IPv4Address:
    """ORIGINATOR_ID (RFC 7606 7.9)."""
    _check_length(data, 4)
    return IPv4Address(data)


def parse_nothing(data: bytes, _: Context) -> bool:
    """ATOMIC_AGGREGATE (RFC 7606 7.6): its presence is its meaning."""
    _check_length(data, 0)
    return True


def parse_aggregator(data: bytes, context: Context) -> Aggregator:
    """RFC 7606 7.7, RFC 7607 2."""
    _check_length(data, context.as_octets + 4)
    asn = int.from_bytes(data[:-4])
    if not asn:
        raise Malformed("AS 0")
    return Aggregator(asn, IPv4Address(data[-4:]))


def parse_as4_aggregator(data: bytes, _: Context) -> Aggregator:
    """RFC 6793 6, RFC 7607 2."""
    return parse_aggregator(data, Context(four_octet_as=True))


def parse_communities(data: bytes, _: Context) -> tuple[int, ...]:
    """RFC 7606 7.8."""
    return tuple(int.from_bytes(item) for item in _items(data, 4))


def parse_extended_communities(data: bytes, _: Context) -> tuple[bytes, ...]:
    """RFC 7606 7.14; the type of a community is never an error."""
    return _items(data, 8)


def parse_ipv6_communities(data: bytes, _: Context) -> tuple[bytes, ...]:
    """RFC 7606 7.15."""
    return _items(data, 20)


def parse_large_communities(data: bytes, _: Context) -> tuple[tuple[int, int, int], ...]:
    """RFC 8092 6; a community that is repeated counts once."""
    split = ((i[:4], i[4:8], i[8:]) for i in _items(data, 12))
    triples = ((int.from_bytes(a), int.from_bytes(b), int.from_bytes(c)) for a, b, c in split)
    return tuple(dict.fromkeys(triples))


def parse_only_to_customer(data: bytes, _: Context) -> int:
    """RFC 9234 6."""
    _check_length(data, 4)
    asn = int.from_bytes(data)
    if not asn:
        raise Malformed("AS 0")
    return asn


def parse_cluster_list(data: bytes, _: Context) -> tuple[bytes, ...]:
    """RFC 7606 7.10."""
    return _items(data, 4)


def check_pmsi_tunnel(data: bytes, _: Context) -> None:
    """RFC 6514 5: flags, tunnel type, label, and an identifier of the type's form."""
    if len(data) < 5:
        raise Malformed(f"{len(data)} bytes")
    if data[1] > _MAX_PMSI_TUNNEL_TYPE:
        raise Malformed(f"tunnel type {data[1]}")
    if data[1] == _INGRESS_REPLICATION and len(data) not in {9, 21}:
        raise Malformed(f"ingress replication of {len(data)} bytes")


def check_tunnel_encapsulation(data: bytes, _: Context) -> None:
    """RFC 9012 2: tunnel TLVs, each filled by its sub-TLVs."""
    _check_not_empty(data)
    for _kind, value in _tlvs(data, 2, 2):
        reader = Reader(value, "sub-TLV")
        try:
            while reader.remaining:
                long_form = reader.u8() >= 128
                reader.take(reader.u16() if long_form else reader.u8())
        except WireError as error:
            raise Malformed(str(error)) from error


def check_aigp(data: bytes, _: Context) -> None:
    """RFC 7311 3: an AIGP TLV of 11 bytes, header included."""
    if data[:3] != b"\x01\x00\x0b" or len(data) < 11:
        raise Malformed("no AIGP TLV of 11 bytes")


def check_link_state(data: bytes, _: Context) -> None:
    """RFC 9552 8.2.2: TLVs that fill the attribute."""
    _tlvs(data, 2, 2)


def check_prefix_sid(data: bytes, _: Context) -> None:
    """RFC 8669 3, 6: TLVs that fill the attribute, those of known type with their length."""
    _check_not_empty(data)
    for kind, value in _tlvs(data, 1, 2):
        if kind == _LABEL_INDEX and len(value) != 7:
            raise Malformed(f"label index of {len(value)} bytes")
        if kind == _ORIGINATOR_SRGB and (len(value) < 8 or (len(value) - 2) % 6):
            raise Malformed(f"originator SRGB of {len(value)} bytes")


def parse_mp_reach(data: bytes, _: Context) -> MpReach:
    """RFC 4760 3, RFC 7606 5.3 and 7.11: next hop first, then the prefixes behind it."""
    reader = Reader(data, "MP_REACH_NLRI")
    try:
        afi, safi = Afi(reader.u16()), Safi(reader.u8())
        next_hop = reader.take(reader.u8())
        reader.u8()
    except WireError as error:
        raise Malformed(str(error), UpdateSubcode.MALFORMED_ATTRIBUTE_LIST) from error
    expected = _NEXT_HOP_LENGTHS.get(afi) if safi in _PLAIN_PREFIXES else None
    if expected is not None and len(next_hop) not in expected:
        detail = f"next hop of {len(next_hop)} bytes"
        raise Malformed(detail, UpdateSubcode.MALFORMED_ATTRIBUTE_LIST)
    if (afi, safi) == (Afi.IPV4, Safi.UNICAST):
        return MpReach(IPv4Address(next_hop), _prefixes(reader))
    _check_foreign_prefixes(reader, afi, safi)
    return MpReach(None, ())


def parse_mp_unreach(data: bytes, _: Context) -> tuple[IPv4Network, ...]:
    """RFC 4760 4: withdrawn prefixes; those of another family are checked and forgotten."""
    if len(data) < 3:
        raise Malformed(f"{len(data)} bytes")
    reader = Reader(data, "MP_UNREACH_NLRI")
    afi, safi = Afi(reader.u16()), Safi(reader.u8())
    if (afi, safi) == (Afi.IPV4, Safi.UNICAST):
        return _prefixes(reader)
    _check_foreign_prefixes(reader, afi, safi)
    return ()


def build_path(attributes: PathAttributes, context: Context) -> bytes:
    """AS_PATH in the octets of this session."""
    return build_as_path(attributes.as_path, context.as_octets)


def build_as4_path(attributes: PathAttributes, context: Context) -> bytes | None:
    """AS4_PATH, only where AS_PATH had to hide a number (RFC 6793 4.2.2)."""
    if context.four_octet_as or all(asn <= MAX_TWO_OCTET_AS for asn in attributes.as_path.asns):
        return None
    segments = (s for s in attributes.as_path.segments if s.type not in CONFEDERATION)
    return build_as_path(AsPath(tuple(segments)), 4)


def build_aggregator(attributes: PathAttributes, context: Context) -> bytes | None:
    """AGGREGATOR in the octets of this session."""
    if (aggregator := attributes.aggregator) is None:
        return None
    hidden = not context.four_octet_as and aggregator.asn > MAX_TWO_OCTET_AS
    asn = AS_TRANS if hidden else aggregator.asn
    return asn.to_bytes(context.as_octets) + aggregator.address.packed


def build_as4_aggregator(attributes: PathAttributes, context: Context) -> bytes | None:
    """AS4_AGGREGATOR, only where AGGREGATOR had to hide the number."""
    aggregator = attributes.aggregator
    if aggregator is None or context.four_octet_as or aggregator.asn <= MAX_TWO_OCTET_AS:
        return None
    return aggregator.asn.to_bytes(4) + aggregator.address.packed


def build_large_communities(attributes: PathAttributes, _: Context) -> bytes | None:
    """Three numbers of four octets each."""
    return b"".join(n.to_bytes(4) for triple in attributes.large_communities for n in triple) or None


def _prefixes(reader: Reader) -> tuple[IPv4Network, ...]:
    try:
        return parse_prefixes(reader)
    except WireError as error:
        raise Malformed(str(error)) from error


def _check_foreign_prefixes(reader: Reader, afi: Afi, safi: Safi) -> None:
    if safi not in _PLAIN_PREFIXES:
        return
    try:
        check_prefixes(reader, afi)
    except WireError as error:
        raise Malformed(str(error)) from error


def _tlvs(data: bytes, type_octets: int, length_octets: int) -> list[tuple[int, bytes]]:
    reader = Reader(data, "TLV")
    found: list[tuple[int, bytes]] = []
    try:
        while reader.remaining:
            kind = int.from_bytes(reader.take(type_octets))
            found.append((kind, reader.take(int.from_bytes(reader.take(length_octets)))))
    except WireError as error:
        raise Malformed(str(error)) from error
    return found


def _items(data: bytes, size: int) -> tuple[bytes, ...]:
    _check_not_empty(data)
    if len(data) % size:
        raise Malformed(f"{len(data)} bytes", UpdateSubcode.ATTRIBUTE_LENGTH_ERROR)
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def _check_length(data: bytes, length: int) -> None:
    if len(data) != length:
        raise Malformed(f"{len(data)} bytes, not {length}", UpdateSubcode.ATTRIBUTE_LENGTH_ERROR)


def _check_not_empty(data: bytes) -> None:
    if not data:
        raise Malformed("no value", UpdateSubcode.ATTRIBUTE_LENGTH_ERROR)
