"""Hypothesis strategies for BGP values that can stand on the wire."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import settings
from hypothesis import strategies as st

from vcstack.bgp.constants import AS_TRANS
from vcstack.bgp.iana import (
    Afi,
    AttributeCode,
    CapabilityCode,
    ErrorCode,
    Origin,
    RefreshSubtype,
    Safi,
    SegmentType,
)
from vcstack.bgp.wire.as_path import AsPath, Segment
from vcstack.bgp.wire.attribute import Aggregator, Flags, PathAttributes, RawAttribute
from vcstack.bgp.wire.attribute_table import ATTRIBUTES
from vcstack.bgp.wire.capability import FourOctetAs, Multiprotocol, OtherCapability
from vcstack.bgp.wire.notification import Notification
from vcstack.bgp.wire.open import Open
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.update import Update

quick = settings(deadline=None, derandomize=True, max_examples=60)
"""The same examples in every run, however slow the machine is at that moment."""

octets = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
asns = st.integers(1, 0xFFFF_FFFF).filter(lambda asn: asn != AS_TRANS)
addresses = st.integers(0, 0xFFFF_FFFF).map(IPv4Address)
hosts = st.integers(0x0100_0000, 0x7EFF_FFFF).map(IPv4Address)
prefixes = st.tuples(u32, st.integers(0, 32)).map(
    lambda pair: IPv4Network((pair[0] & (0xFFFF_FFFF << (32 - pair[1]) & 0xFFFF_FFFF), pair[1]))
)
prefix_tuples = st.lists(prefixes, max_size=8, unique=True).map(tuple)

_typed = {CapabilityCode.MULTIPROTOCOL, CapabilityCode.FOUR_OCTET_AS}
capabilities = st.one_of(
    st.builds(Multiprotocol, u16.map(Afi), octets.map(Safi)),
    st.builds(FourOctetAs, u32),
    st.builds(
        OtherCapability, octets.map(CapabilityCode).filter(lambda c: c not in _typed), st.binary(max_size=40)
    ),
)
opens = st.builds(Open, u16, u16, addresses, st.lists(capabilities, max_size=30).map(tuple))
notifications = st.builds(Notification, octets.map(ErrorCode), octets, st.binary(max_size=200))
refreshes = st.builds(RouteRefresh, u16.map(Afi), octets.map(Safi), octets.map(RefreshSubtype))

segments = st.builds(
    Segment,
    st.sampled_from([SegmentType.AS_SEQUENCE, SegmentType.AS_SET]),
    st.lists(asns, min_size=1, max_size=5).map(tuple),
)
paths = st.builds(AsPath, st.lists(segments, max_size=3).map(tuple))
_known = {int(code) for code in ATTRIBUTES}
unknown_attributes = st.builds(
    RawAttribute,
    octets.filter(lambda code: code not in _known).map(AttributeCode),
    st.sampled_from([Flags.OPTIONAL | Flags.TRANSITIVE, Flags.OPTIONAL | Flags.TRANSITIVE | Flags.PARTIAL]),
    st.binary(max_size=300),
)
attributes = st.builds(
    PathAttributes,
    origin=st.sampled_from(Origin),
    as_path=paths,
    next_hop=hosts,
    med=st.none() | u32,
    atomic_aggregate=st.booleans(),
    aggregator=st.none() | st.builds(Aggregator, asns, addresses),
    communities=st.lists(u32, max_size=4).map(tuple),
    extended_communities=st.lists(st.binary(min_size=8, max_size=8), max_size=3).map(tuple),
    large_communities=st.lists(st.tuples(u32, u32, u32), max_size=3, unique=True).map(tuple),
    only_to_customer=st.none() | st.integers(1, 0xFFFF_FFFF),
    unknown=st.lists(unknown_attributes, max_size=2, unique_by=lambda a: a.code).map(
        lambda found: tuple(sorted(found, key=lambda a: a.code))
    ),
)
updates = st.one_of(
    st.builds(Update, withdrawn=prefix_tuples),
    st.builds(
        Update,
        withdrawn=prefix_tuples,
        attributes=attributes,
        announced=st.lists(prefixes, min_size=1, max_size=8, unique=True).map(tuple),
    ),
)
