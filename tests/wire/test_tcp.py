from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from tests.wire.strategies import addresses, tcp_headers
from vcstack.wire.reader import WireError
from vcstack.wire.tcp import (
    OptionKind,
    TcpFlags,
    TcpHeader,
    TcpOption,
    checksum_is_right,
    maximum_segment_size,
)

A, B = IPv4Address("100.64.1.1"), IPv4Address("100.64.1.2")
SYN = TcpHeader(49152, 179, sequence=1000, flags=TcpFlags.SYN, window=65535)


@given(tcp_headers, addresses, addresses, st.binary(max_size=40))
def test_parse_returns_what_was_built(
    header: TcpHeader, source: IPv4Address, destination: IPv4Address, payload: bytes
) -> None:
    data = header.build(payload, source, destination)
    parsed = TcpHeader.parse(data)
    assert replace(parsed, checksum=0) == header
    assert data[parsed.header_length :] == payload
    assert checksum_is_right(data, source, destination)


def test_agrees_with_an_independent_codec() -> None:
    options = maximum_segment_size(1350) + b"\1\3\3\7"
    ours = replace(SYN, options=options).build(b"odd", A, B)
    theirs = TCP(
        sport=49152,
        dport=179,
        seq=1000,
        window=65535,
        flags="S",
        options=[("MSS", 1350), ("NOP", None), ("WScale", 7)],
    )
    assert ours == bytes(IP(src=str(A), dst=str(B)) / theirs / b"odd")[20:]


@given(st.integers(0, 26), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at: int, difference: int) -> None:
    data = bytearray(SYN.build(b"payload", A, B))
    data[at] ^= difference
    assert not checksum_is_right(bytes(data), A, B)


def test_options_know_their_place() -> None:
    header = replace(SYN, options=b"\1\1" + maximum_segment_size(1460) + b"\x13\x12" + bytes(16) + b"\0\0")
    mss, signature = header.parse_options()
    assert mss == TcpOption(OptionKind.MAXIMUM_SEGMENT_SIZE, b"\x05\xb4", offset=2)
    assert signature == TcpOption(OptionKind.MD5_SIGNATURE, bytes(16), offset=6)


def test_nothing_is_read_after_the_end_of_the_list() -> None:
    assert replace(SYN, options=b"\0\2\4\5").parse_options() == ()


def test_unknown_kinds_are_kept() -> None:
    assert replace(SYN, options=b"\xfd\4ab").parse_options() == (TcpOption(253, b"ab", offset=0),)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (b"\1\1\1\2", "TCP options: 1 bytes expected"),
        (b"\2\0\0\0", "TCP option 2 of length 0"),
        (b"\2\1\0\0", "TCP option 2 of length 1"),
        (b"\2\5\0\0", "TCP options: 3 bytes expected"),
    ],
)
def test_malformed_options_are_refused(options: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        replace(SYN, options=options).parse_options()


@pytest.mark.parametrize("offset_byte", [0x40, 0xF0])
def test_header_length_is_checked(offset_byte: int) -> None:
    data = bytearray(SYN.build(b"", A, B))
    data[12] = offset_byte
    with pytest.raises(WireError, match="TCP header"):
        TcpHeader.parse(data)


@pytest.mark.parametrize("size", [3, 44])
def test_build_refuses_options_that_do_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"TCP options of {size} bytes"):
        replace(SYN, options=bytes(size)).build(b"", A, B)
