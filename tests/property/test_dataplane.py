"""The data path, by batches and by single packets, and the scalar modules agree byte for byte."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import scalar_path
from tests.support.forwarding import (
    FAR,
    KEYS,
    LAN,
    LOCAL,
    REMOTE,
    capture,
    one_by_one,
    tcp_packet,
    two_ends,
    udp_packet,
)
from vcstack.dataplane.vnet import NEEDS_CSUM, VnetHeader
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import Ipv4Header
from vcstack.wire.tcp import TcpFlags

MTU = 1414
MSS = 1000
Packet = tuple[bytes, VnetHeader]
PLAIN = VnetHeader()

octets = st.integers(0, 255)
payloads = st.builds(
    lambda size, seed: bytes((seed + index * index) & 0xFF for index in range(size)),
    st.integers(0, 600),
    octets,
)
tcp_options = st.sampled_from(
    [
        b"",
        b"\x01\x01\x08\x0a" + bytes(range(8)),
        b"\x01" * 40,
        b"\x02\x04\x05\xb4",
        b"\x01\x02\x04\x05\xb4\x01\x01\x01",
        b"\x04\x02\x01\x01\x01\x02\x04\x05\xb4\x00\x00\x00",
        b"\x02\x04\x01\x00",
    ]
)
flags = st.integers(0, 255).map(TcpFlags)
IPV6 = b"\x60\x2b\x00\x01" + bytes(2) + b"\x06\x40" + bytes(range(32))


@st.composite
def udp(draw: st.DrawFn) -> Packet:
    packet = udp_packet(draw(payloads), tos=draw(octets), dont_fragment=draw(st.booleans()))
    if draw(st.booleans()):
        return packet, PLAIN
    return opened(packet, 20, 6, 17), VnetHeader(NEEDS_CSUM, 0, 0, 0, 20, 6)


@st.composite
def tcp(draw: st.DrawFn) -> Packet:
    packet = tcp_packet(
        draw(payloads),
        flags=draw(flags),
        options=draw(tcp_options),
        tos=draw(octets),
        dont_fragment=draw(st.booleans()),
        ip_options=draw(st.sampled_from([b"", b"\x94\x04\x00\x00"])),
    )
    return packet, PLAIN


@st.composite
def fragment(draw: st.DrawFn) -> Packet:
    body = draw(payloads)
    header = Ipv4Header(
        LAN, FAR, 6, identification=9, more_fragments=True, fragment_offset=draw(st.integers(1, 255))
    )
    return header.build(len(body)) + body, PLAIN


@st.composite
def ipv6(draw: st.DrawFn) -> Packet:
    packet = tcp_packet(draw(payloads), flags=draw(flags), options=draw(tcp_options))[20:]
    header = IPV6[:4] + len(packet).to_bytes(2) + IPV6[6:]
    whole = header + packet
    checksum = internet_checksum(
        header[8:40] + len(packet).to_bytes(4) + b"\0\0\0\6" + packet[:16] + bytes(2) + packet[18:]
    )
    return whole[:56] + checksum.to_bytes(2) + whole[58:], PLAIN


@st.composite
def burst(draw: st.DrawFn) -> Packet:
    is_tcp, version = draw(st.booleans()), draw(st.sampled_from([4, 6]))
    size = draw(st.integers(1, 1300))
    count = draw(st.integers(1, 3 if size > 40 else 140))
    rest = draw(st.integers(1, size))
    seed = draw(octets)
    body = bytes((seed + index * 7) & 0xFF for index in range((count - 1) * size + rest))
    options = draw(tcp_options)
    sequence = draw(st.sampled_from([0, 1000, 0xFFFFFFF0]))
    head = tcp_packet(
        b"",
        sequence=sequence,
        flags=draw(flags) & ~TcpFlags.SYN,
        options=options,
        identification=draw(st.sampled_from([0, 65534])),
    )
    transport = head[20:] if is_tcp else b"\x4e\x20\x75\x30" + bytes(4)
    protocol = 6 if is_tcp else 17
    if version == 4:
        ip = head[:9] + bytes((protocol,)) + head[10:20]
    else:
        ip = IPV6[:6] + bytes((protocol,)) + IPV6[7:]
    size = min(size, MTU - len(ip) - len(transport))
    return scalar_path.super_packet(ip + transport, body, size, len(ip), tcp=is_tcp)


def opened(packet: bytes, start: int, offset: int, protocol: int) -> bytes:
    """The packet with an open checksum: the field holds the sum of the pseudo-header."""
    pseudo = packet[12:20] + (len(packet) - start).to_bytes(4) + bytes((0, 0, 0, protocol))
    total = internet_checksum(pseudo) ^ 0xFFFF
    return packet[: start + offset] + total.to_bytes(2) + packet[start + offset + 2 :]


tunnels = st.fixed_dictionaries(
    {
        "gre_key": st.sampled_from([None, 0, 0xDEADBEEF]),
        "udp": st.booleans(),
        "esn": st.booleans(),
        "path_mtu_discovery": st.booleans(),
        "copy_dscp": st.booleans(),
    }
)


@pytest.mark.parametrize("most", [0, 1000], ids=["as batches", "one by one"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(tunnels, st.lists(st.one_of(udp(), tcp(), fragment(), ipv6(), burst()), min_size=1, max_size=12))
def test_both_ways_and_scalar_path_agree(most: int, options: dict[str, Any], packets: list[Packet]) -> None:
    with one_by_one(most):
        check_against_scalar_path(options, packets)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tunnels, st.lists(st.one_of(udp(), tcp()), min_size=1, max_size=12))
def test_plain_packets_one_by_one(options: dict[str, Any], packets: list[Packet]) -> None:
    with one_by_one(1000):
        check_against_scalar_path(options, packets)


def check_against_scalar_path(options: dict[str, Any], packets: list[Packet]) -> None:
    one, other = two_ends(tunnel_mtu=MTU, mss=MSS, **options)
    captured: list[bytes] = []
    one.transport.tap = capture(captured)
    for packet, header in packets:
        one.tun.inject(packet, header)
    while one.forwarder.device_readable(0.0):
        pass
    config = TunnelConfig(
        local=LOCAL,
        remote=REMOTE,
        key=options["gre_key"],
        copy_df=options["path_mtu_discovery"],
        copy_dscp=options["copy_dscp"],
    )
    inner = [
        scalar_path.clamped(piece, MSS) if header is PLAIN or header.gso_type == 0 else piece
        for packet, header in packets
        for piece in scalar_path.finished(packet, header)
    ]
    wanted = [scalar_path.delivered(packet, config, number) for number, packet in enumerate(inner)]
    assert captured == scalar_path.sealed(wanted, KEYS[0], 0x1001, esn=options["esn"])
    while other.forwarder.transport_readable(0.0):
        pass
    assert received(other.tun.written) == inner


def received(written: list[bytes]) -> list[bytes]:
    """Packets as a kernel sees them that cuts what was coalesced."""
    packets = []
    for data in written:
        header = VnetHeader.parse(data)
        packets += scalar_path.finished(data[10:], header)
    return packets
