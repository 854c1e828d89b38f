from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from tests.wire.strategies import addresses, u16
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import pseudo_header_sum
from vcstack.wire.reader import WireError
from vcstack.wire.udp import UdpHeader, checksum_is_right

A, B = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.10")


@given(u16, u16, addresses, addresses, st.binary(max_size=40))
def test_parse_returns_what_was_built(
    source_port: int, destination_port: int, source: IPv4Address, destination: IPv4Address, payload: bytes
) -> None:
    data = UdpHeader(source_port, destination_port).build(payload, source, destination)
    header = UdpHeader.parse(data)
    assert (header.source_port, header.destination_port) == (source_port, destination_port)
    assert header.length == len(data) == 8 + len(payload)
    assert data[8:] == payload
    assert checksum_is_right(data, source, destination)


def test_agrees_with_an_independent_codec() -> None:
    theirs = IP(src=str(A), dst=str(B)) / UDP(sport=4500, dport=4500) / b"odd"
    assert UdpHeader(4500, 4500).build(b"odd", A, B) == bytes(theirs)[20:]


def test_computed_zero_is_sent_as_all_ones() -> None:
    # RFC 768: the payload is chosen to make the sum 0xFFFF, whose complement is zero.
    bare = UdpHeader(1, 2, 10).build(b"\0\0", A, B)
    word = internet_checksum(bare[:6] + b"\0\0" + b"\0\0", pseudo_header_sum(A, B, 17, 10))
    data = UdpHeader(1, 2).build(word.to_bytes(2), A, B)
    assert UdpHeader.parse(data).checksum == 0xFFFF
    assert checksum_is_right(data, A, B)


def test_absent_checksum_is_right() -> None:
    data = bytearray(UdpHeader(1, 2).build(b"payload", A, B))
    data[6:8] = b"\0\0"
    assert checksum_is_right(bytes(data), A, B)


@given(st.integers(0, 14), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, difference: int) -> None:
    data = bytearray(UdpHeader(1, 2).build(b"payload", A, B))
    data[at] ^= difference
    assert not checksum_is_right(bytes(data), A, B)


@pytest.mark.parametrize("length", [7, 9])
def test_length_outside_its_bounds_is_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"UDP length {length} in 8 bytes"):
        UdpHeader.parse(b"\0\1\0\2" + length.to_bytes(2) + b"\0\0")


def test_short_header_is_refused() -> None:
    with pytest.raises(WireError, match="UDP header"):
        UdpHeader.parse(bytes(7))
