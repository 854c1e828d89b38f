"""RFC 4271 4.2 and 6.2, RFC 5492, RFC 6793, RFC 9072."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given

from tests.bgp.strategies import opens, quick
from vcstack.bgp.constants import AS_TRANS
from vcstack.bgp.errors import OpenError
from vcstack.bgp.iana import Afi, CapabilityCode, OpenSubcode, Safi
from vcstack.bgp.wire.capability import IPV4_UNICAST, FourOctetAs, Multiprotocol, OtherCapability
from vcstack.bgp.wire.open import Open, parse_open, two_octet_as

FIXED = bytes.fromhex("04 fc00 00b4 64400102")


@quick
@given(opens)
def test_round_trip(value: Open) -> None:
    assert parse_open(value.build()[19:]) == value


def test_golden() -> None:
    """AS 64512, hold time 180, 100.64.1.2, and one parameter with three capabilities."""
    capabilities = (
        IPV4_UNICAST,
        OtherCapability(CapabilityCode.ROUTE_REFRESH),
        FourOctetAs(64512),
    )
    value = Open(64512, 180, IPv4Address("100.64.1.2"), capabilities)
    body = FIXED + bytes.fromhex("10 020e 010400010001 0200 41040000fc00")
    assert value.build()[19:] == body
    assert parse_open(body) == value


def test_capabilities_in_a_parameter_each() -> None:
    """RFC 5492 4 lets a speaker send several parameters, as IOS does."""
    body = FIXED + bytes.fromhex("10 0206 010400010001 0206 41040000fc00")
    assert parse_open(body).capabilities == (IPV4_UNICAST, FourOctetAs(64512))


def test_extended_parameters() -> None:
    """RFC 9072 2: the type 255 decides; the length before it is any but zero."""
    for plain_length in (1, 0xFF):
        body = FIXED + bytes((plain_length,)) + bytes.fromhex("ff 0009 02 0006 41040000fc00")
        assert parse_open(body).capabilities == (FourOctetAs(64512),)
    with pytest.raises(OpenError):
        parse_open(FIXED + bytes.fromhex("ff ff 000a 02 0006 41040000fc00"))


def test_four_octet_as_wins() -> None:
    value = Open(AS_TRANS, 0, IPv4Address(1), (FourOctetAs(4_200_000_000),))
    assert value.asn == 4_200_000_000
    assert (two_octet_as(4_200_000_000), two_octet_as(65535)) == (AS_TRANS, 65535)


def test_another_version_is_answered_with_ours() -> None:
    with pytest.raises(OpenError) as caught:
        parse_open(b"\x05" + FIXED[1:] + b"\0")
    assert caught.value.subcode == OpenSubcode.UNSUPPORTED_VERSION_NUMBER
    assert caught.value.data == b"\0\x04"


@pytest.mark.parametrize(
    ("tail", "subcode"),
    [
        ("04 01020000", OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER),
        ("04 02020100", OpenSubcode.UNSPECIFIC),  # multiprotocol capability without a family
        ("04 02030100", OpenSubcode.UNSPECIFIC),  # parameter longer than the field
        ("05 0200", OpenSubcode.UNSPECIFIC),
        ("00 00", OpenSubcode.UNSPECIFIC),  # bytes behind the end
        ("03 020141", OpenSubcode.UNSPECIFIC),
        ("06 0204 41020001", OpenSubcode.UNSPECIFIC),  # an AS number of two octets
    ],
)
def test_malformed_parameters(tail: str, subcode: OpenSubcode) -> None:
    with pytest.raises(OpenError) as caught:
        parse_open(FIXED + bytes.fromhex(tail))
    assert caught.value.subcode == subcode


def test_names_for_people() -> None:
    unknown = OtherCapability(CapabilityCode(200), b"x")
    texts = [str(c) for c in (IPV4_UNICAST, Multiprotocol(Afi(9), Safi(7)), FourOctetAs(1), unknown)]
    assert texts == ["ipv4 unicast", "unassigned_9 unassigned_7", "four-octet AS", "unassigned 200"]


def test_long_parameters_are_extended_by_themselves() -> None:
    """RFC 9072 2: only when 255 octets are not enough."""
    many = tuple(OtherCapability(CapabilityCode(200), bytes(100)) for _ in range(3))
    value = Open(64512, 180, IPv4Address(1), many)
    body = value.build()[19:]
    assert body[9:11] == b"\xff\xff"
    assert parse_open(body) == value
