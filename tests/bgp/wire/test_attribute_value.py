"""Values of the attributes that this speaker only checks: what passes, and what does not."""

import pytest

from vcstack.bgp.iana import AttributeCode
from vcstack.bgp.wire.attribute import Context
from vcstack.bgp.wire.attribute_table import ATTRIBUTES
from vcstack.bgp.wire.attribute_value import Malformed

INSIDE = Context(internal=True)
C = AttributeCode


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (C.ORIGINATOR_ID, "0a000002"),
        (C.CLUSTER_LIST, "0a0000020a000003"),
        (C.PMSI_TUNNEL, "00 00 000000"),
        (C.PMSI_TUNNEL, "00 06 000000 0a000002"),
        (C.TUNNEL_ENCAPSULATION, "0007 0004 01 02 aabb"),
        (C.TUNNEL_ENCAPSULATION, "0007 0005 80 0002 aabb 0008 0000"),
        (C.IPV6_EXTENDED_COMMUNITIES, "00" * 20),
        (C.AIGP, "01 000b 000000000000000a"),
        (C.LINK_STATE, "0400 0001 00 0401 0000"),
        (C.LARGE_COMMUNITIES, "0000fde90000000100000002"),
        (C.ONLY_TO_CUSTOMER, "0000fde9"),
        (C.PREFIX_SID, "01 0007 00000000000001"),
        (C.PREFIX_SID, "03 0008 0000 000001000002 05 0001 00"),
        (C.MP_REACH_NLRI, "000201 20" + "20" * 32 + "00 40" + "20" * 8),
        (C.MP_REACH_NLRI, "000180 0c" + "00" * 12 + "00 ffff"),
    ],
)
def test_well_formed(code: AttributeCode, data: str) -> None:
    ATTRIBUTES[code].parse(bytes.fromhex(data), INSIDE)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (C.AS_PATH, "02"),
        (C.AS_PATH, "0200"),
        (C.AS4_PATH, ""),
        (C.AS4_AGGREGATOR, "00000000 0a000002"),
        (C.AGGREGATOR, "00000000 0a000002"),
        (C.NEXT_HOP, "f0000001"),
        (C.NEXT_HOP, "00000001"),
        (C.NEXT_HOP, "0a00000100"),
        (C.PMSI_TUNNEL, "00 06 000000 0a0000"),
        (C.TUNNEL_ENCAPSULATION, ""),
        (C.TUNNEL_ENCAPSULATION, "0007 0003 80 0002"),
        (C.AIGP, "01 000b 0000"),
        (C.PREFIX_SID, ""),
        (C.PREFIX_SID, "03 0004 00000000"),
        (C.PREFIX_SID, "03 0009 000000000000000000"),
        (C.MP_REACH_NLRI, "000101 10" + "20" * 16 + "00"),
        (C.MP_REACH_NLRI, "000101 04 0a000001 00 21"),
        (C.MP_REACH_NLRI, "000201 10" + "20" * 16 + "00 81"),
        (C.MP_UNREACH_NLRI, "0001"),
        (C.MP_UNREACH_NLRI, "000101 21"),
    ],
)
def test_malformed(code: AttributeCode, data: str) -> None:
    with pytest.raises(Malformed):
        ATTRIBUTES[code].parse(bytes.fromhex(data), INSIDE)


def test_repeated_large_communities_count_once() -> None:
    """RFC 8092 5."""
    found = ATTRIBUTES[C.LARGE_COMMUNITIES].parse(bytes.fromhex("000000010000000200000003" * 2), INSIDE)
    assert found == ((1, 2, 3),)
