"""The filters, run by the kernel: a unix socket hands them the same bytes as a packet socket would."""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcstack.lab import bpf

NETWORKS = (IPv4Network("10.77.0.0/24"), IPv4Network("100.64.1.0/24"))
OUTSIDE = "198.51.100.1"


@contextmanager
def filtered(program: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    memory = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))
    with sender, receiver:
        receiver.setsockopt(socket.SOL_SOCKET, 26, pointer)
        receiver.setblocking(False)
        yield sender, receiver


def accepts(program: bytes, packet: bytes) -> bool:
    with filtered(program) as (sender, receiver):
        sender.send(packet)
        try:
            return receiver.recv(2048) == packet[: bpf.SNAP_BYTES]
        except BlockingIOError:
            return False


def packet(
    source: str, destination: str, protocol: int, body: bytes = bytes(8), options: bytes = b""
) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(body), 0, 0, 64, protocol, 0)
    return head + IPv4Address(source).packed + IPv4Address(destination).packed + options + body


@pytest.mark.parametrize(
    ("source", "destination", "protocol"),
    [
        (OUTSIDE, "203.0.113.10", 47),
        ("10.77.0.1", "203.0.113.10", 6),
        (OUTSIDE, "10.77.0.255", 1),
        ("100.64.1.2", "100.64.1.1", 17),
    ],
)
def test_cleartext_is_caught(source: str, destination: str, protocol: int) -> None:
    assert accepts(bpf.cleartext(NETWORKS), packet(source, destination, protocol))


@pytest.mark.parametrize(
    ("source", "destination", "protocol"),
    [
        (OUTSIDE, "203.0.113.10", 50),
        (OUTSIDE, "203.0.113.10", 17),
        (OUTSIDE, "10.77.1.0", 6),
        ("10.76.255.255", OUTSIDE, 6),
    ],
)
def test_what_is_outside_the_networks_is_not(source: str, destination: str, protocol: int) -> None:
    assert not accepts(bpf.cleartext(NETWORKS), packet(source, destination, protocol))


@given(
    source=st.integers(0, 2**32 - 1) | st.integers(0x0A4D0000 - 2, 0x0A4D0100 + 2),
    destination=st.integers(0, 2**32 - 1) | st.integers(0x64400100 - 2, 0x64400200 + 2),
    protocol=st.sampled_from([1, 6, 17, 47, 50]),
)
def test_cleartext_agrees_with_plain_python(source: int, destination: int, protocol: int) -> None:
    ends = IPv4Address(source), IPv4Address(destination)
    expected = protocol == 47 or any(end in network for end in ends for network in NETWORKS)
    assert accepts(bpf.cleartext(NETWORKS), packet(str(ends[0]), str(ends[1]), protocol)) == expected


def udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8, 0)


@pytest.mark.parametrize(
    ("protocol", "body", "expected"),
    [
        (50, bytes(8), True),
        (17, udp(4500, 61000), True),
        (17, udp(61000, 4500), True),
        (17, udp(500, 500), True),
        (17, udp(53, 61000), False),
        (6, bytes(20), False),
    ],
)
@pytest.mark.parametrize("options", [b"", bytes(8)])
def test_encrypted_packets_are_counted(protocol: int, body: bytes, expected: bool, options: bytes) -> None:
    found = packet(OUTSIDE, "203.0.113.10", protocol, body, options)
    assert accepts(bpf.encrypted(), found) == expected


def test_a_long_packet_is_read_in_part() -> None:
    assert accepts(bpf.cleartext(NETWORKS), packet("10.77.0.1", OUTSIDE, 6, bytes(1400)))
