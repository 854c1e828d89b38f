from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP

from tests.wire.strategies import addresses, ipv4_headers
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header, pseudo_header_sum
from vcstack.wire.reader import WireError

HEADER = Ipv4Header(IPv4Address("198.51.100.1"), IPv4Address("198.51.100.10"), IpProtocol.GRE)


def packet(header: Ipv4Header = HEADER, payload: bytes = b"payload!") -> bytearray:
    return bytearray(header.build(len(payload)) + payload)


def with_checksum(data: bytearray) -> bytearray:
    """Make a mangled header self-consistent, so that the mangled field is what is refused."""
    data[10:12] = b"\0\0"
    data[10:12] = internet_checksum(data[:20]).to_bytes(2)
    return data


@given(ipv4_headers, st.binary(max_size=20))
def test_parse_returns_what_was_built(header: Ipv4Header, payload: bytes) -> None:
    data = header.build(len(payload)) + payload
    assert Ipv4Header.parse(data) == replace(header, total_length=len(data))
    assert header.header_length == len(data) - len(payload)


def test_agrees_with_an_independent_codec() -> None:
    header = replace(HEADER, tos=0xB8, identification=0x1234, dont_fragment=True, ttl=7)
    theirs = IP(src="198.51.100.1", dst="198.51.100.10", proto=47, tos=0xB8, id=0x1234, flags="DF", ttl=7)
    assert bytes(packet(header)) == bytes(theirs / b"payload!")
    fragment = replace(HEADER, more_fragments=True, fragment_offset=185)
    theirs = IP(src="198.51.100.1", dst="198.51.100.10", proto=47, flags="MF", frag=185, id=0, ttl=64)
    assert bytes(packet(fragment)) == bytes(theirs / b"payload!")


def test_bytes_after_the_packet_are_left_alone() -> None:
    assert Ipv4Header.parse(packet() + b"link padding").total_length == 28


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, False),
        (replace(HEADER, more_fragments=True), True),
        (replace(HEADER, fragment_offset=1), True),
    ],
)
def test_fragments_are_known(header: Ipv4Header, *, expected: bool) -> None:
    assert header.is_fragment is expected


@pytest.mark.parametrize(
    ("first_byte", "problem"), [(0x65, "version 6"), (0x44, "header length 16"), (0x4F, "header length 60")]
)
def test_first_byte_is_checked(first_byte: int, problem: str) -> None:
    data = packet()
    data[0] = first_byte
    with pytest.raises(WireError, match=problem):
        Ipv4Header.parse(with_checksum(data))


@pytest.mark.parametrize(("total_length", "problem"), [(19, "less than its header"), (29, "exceeds the 28")])
def test_total_length_is_checked(total_length: int, problem: str) -> None:
    data = packet()
    data[2:4] = total_length.to_bytes(2)
    with pytest.raises(WireError, match=problem):
        Ipv4Header.parse(with_checksum(data))


def test_short_data_is_refused() -> None:
    with pytest.raises(WireError, match="19 bytes"):
        Ipv4Header.parse(packet()[:19])


@given(st.integers(0, 19), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, difference: int) -> None:
    data = packet()
    data[at] ^= difference
    with pytest.raises(WireError):
        Ipv4Header.parse(data)


def test_quoted_packet_may_be_cut_short_and_changed_on_the_way() -> None:
    data = packet(payload=bytes(100))
    data[8] -= 3
    quoted = Ipv4Header.parse(data[:28], quoted=True)
    assert quoted == replace(HEADER, ttl=61, total_length=120)


def test_quoted_packet_still_has_a_length_of_its_own() -> None:
    data = packet()
    data[2:4] = b"\0\x10"
    with pytest.raises(WireError, match="less than its header"):
        Ipv4Header.parse(data, quoted=True)


@pytest.mark.parametrize(
    ("header", "payload_length"),
    [
        (HEADER, 65516),
        (replace(HEADER, options=b"abc"), 0),
        (replace(HEADER, options=bytes(44)), 0),
        (replace(HEADER, fragment_offset=0x2000), 0),
        (replace(HEADER, fragment_offset=-1), 0),
    ],
)
def test_build_refuses_what_does_not_fit(header: Ipv4Header, payload_length: int) -> None:
    with pytest.raises(ValueError, match="IPv4"):
        header.build(payload_length)


@given(addresses, addresses, st.integers(0, 65535))
def test_pseudo_header_sum_is_that_of_its_bytes(
    source: IPv4Address, destination: IPv4Address, length: int
) -> None:
    pseudo_header = source.packed + destination.packed + b"\0\x11" + length.to_bytes(2)
    total = pseudo_header_sum(source, destination, IpProtocol.UDP, length)
    assert internet_checksum(b"", total) == internet_checksum(pseudo_header)
