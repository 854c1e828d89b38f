"""The tunnel MTU, fragments and "fragmentation needed"."""

from ipaddress import IPv4Address

import pytest

from tests.support.forwarding import FAR, LAN, udp_packet
from vcstack.dataplane.pmtu import fragment, may_fragment, too_big, tunnel_mtu
from vcstack.wire.ipv4 import Ipv4Header

ROUTER = IPv4Address("100.64.1.2")


@pytest.mark.parametrize(
    ("path", "udp", "key", "expected"),
    [
        (1500, False, False, 1422),
        (1500, True, False, 1414),
        (1492, False, False, 1414),
        (1492, True, False, 1406),
        (1480, True, False, 1394),
        (1500, False, True, 1418),
        (1500, True, True, 1410),
        (1492, True, True, 1402),
        (60, True, False, 0),
    ],
)
def test_tunnel_mtu(path: int, udp: bool, key: bool, expected: int) -> None:
    assert tunnel_mtu(path, udp_encapsulation=udp, key_present=key) == expected


@pytest.mark.parametrize("size", [1, 8, 9, 1000, 4000, 60_000])
@pytest.mark.parametrize("mtu", [68, 576, 577, 1414])
def test_fragments_make_the_packet_again(size: int, mtu: int) -> None:
    body = bytes(index % 253 for index in range(size))
    original = Ipv4Header(LAN, FAR, 17, identification=77, tos=8, ttl=9)
    packet = original.build(size) + body
    fragments = fragment(memoryview(packet), mtu)
    joined = bytearray(size)
    for index, piece in enumerate(fragments):
        header = Ipv4Header.parse(piece)
        assert len(piece) == header.total_length <= mtu
        assert header.more_fragments == (index < len(fragments) - 1)
        assert (header.identification, header.tos, header.ttl) == (77, 8, 9)
        start = header.fragment_offset * 8
        joined[start : start + len(piece) - 20] = piece[20:]
    assert joined == body


def test_a_fragment_is_fragmented_further() -> None:
    header = Ipv4Header(LAN, FAR, 17, fragment_offset=100, more_fragments=True)
    packet = header.build(1600) + bytes(1600)
    headers = [Ipv4Header.parse(piece) for piece in fragment(memoryview(packet), 820)]
    assert [part.fragment_offset for part in headers] == [100, 200]
    assert all(part.more_fragments for part in headers)


def test_options_are_copied_when_they_say_so() -> None:
    options = b"\x83\x04\x00\x01" + b"\x44\x04\x05\x00"  # loose source route (copied), timestamp (not)
    packet = Ipv4Header(LAN, FAR, 17, options=options).build(1000) + bytes(1000)
    first, second = (Ipv4Header.parse(piece) for piece in fragment(memoryview(packet), 600))
    assert (first.options, second.options) == (options, b"\x83\x04\x00\x01")


def test_what_may_be_fragmented() -> None:
    assert may_fragment(memoryview(udp_packet(b"", dont_fragment=False)))
    assert not may_fragment(memoryview(udp_packet(b"", dont_fragment=True)))
    assert not may_fragment(memoryview(b"\x60" + bytes(39)))


def test_no_error_about_a_later_fragment_or_ipv6() -> None:
    later = Ipv4Header(LAN, FAR, 17, fragment_offset=3, dont_fragment=True)
    assert too_big(memoryview(later.build(8) + bytes(8)), 1000, ROUTER) is None
    assert too_big(memoryview(b"\x60" + bytes(39)), 1000, ROUTER) is None
