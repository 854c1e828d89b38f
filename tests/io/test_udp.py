"""The UDP transport over the loopback, with each offload switched off in turn."""

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest

from vcstack.io.udp import UdpTransport
from vcstack.wire.batch import Arena, Integers, Rows

SO_NO_CHECK = 11
LOOPBACK = IPv4Address("127.0.0.1")
Pair = tuple[UdpTransport, UdpTransport]


def free_ports() -> tuple[int, int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _end in range(2)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    one, other = (sock.getsockname()[1] for sock in sockets)
    for sock in sockets:
        sock.close()
    return one, other


def joined(**options: Any) -> Pair:
    ports = free_ports()
    one, other = (LOOPBACK, ports[0]), (LOOPBACK, ports[1])
    return UdpTransport(one, other, **options), UdpTransport(other, one, **options)


@pytest.fixture(
    params=[
        {},
        {"segment": False},
        {"gro": False},
        {"sendmmsg": False},
        {"segment": False, "sendmmsg": False},
    ],
    ids=["all", "no segmentation", "no gro", "no sendmmsg", "neither"],
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    one, other = joined(**request.param)
    yield one, other
    one.close()
    other.close()


def batch(lengths: list[int]) -> tuple[Rows, list[bytes]]:
    arena, pitch = Arena(1 << 19), 1500
    datagrams = [bytes([index % 251 + 1]) * length for index, length in enumerate(lengths)]
    for index, datagram in enumerate(datagrams):
        arena.data[index * pitch : index * pitch + len(datagram)] = datagram
    uniform = lengths.count(lengths[0]) if lengths.count(lengths[0]) == len(lengths) else 0
    return Rows(arena, np.arange(len(lengths)) * pitch, np.array(lengths), pitch, uniform), datagrams


def received(transport: UdpTransport) -> list[bytes]:
    result = []
    while (rows := transport.receive()) is not None:
        spans = zip(rows.offsets.tolist(), rows.lengths.tolist(), strict=True)
        result += [bytes(rows.arena.data[at : at + length]) for at, length in spans]
    return result


@pytest.mark.parametrize(
    "lengths",
    [[280], [280] * 100, [1448] * 60, [1448] * 10 + [77], [100, 200, 300, 50, 50, 60], [1] * 5, [36] * 3],
    ids=str,
)
def test_a_batch_arrives_in_order(pair: Pair, lengths: list[int]) -> None:
    rows, datagrams = batch(lengths)
    assert pair[0].send(rows, 0xB8).dropped == 0
    assert received(pair[1]) == datagrams


def test_marks_split_a_batch_and_reach_the_wire() -> None:
    one, other = joined()
    with closing(one), closing(other):
        rows, datagrams = batch([100] * 6)
        tos: Integers = np.array([0xB8, 0xB8, 0, 0, 0x48, 0xB9])
        assert one.send(rows, tos).dropped == 0
        assert received(other) == datagrams


def test_ike_and_nat_keepalives_pass() -> None:
    one, other = joined()
    with closing(one), closing(other):
        assert one.send_datagram(b"\xff", LOOPBACK, other._socket.getsockname()[1])
        assert received(other) == [b"\xff"]


def test_an_icmp_error_costs_no_datagram() -> None:
    one, other = joined()
    port = other._socket.getsockname()[1]
    other.close()
    rows, datagrams = batch([100] * 3)
    one.send(rows, 0)  # answered with "port unreachable"
    with closing(UdpTransport((LOOPBACK, port), (LOOPBACK, one._socket.getsockname()[1]))) as again:
        assert one.receive() is None
        assert one.send(rows, 0).dropped == 0
        assert received(again) == datagrams
    one.close()


@pytest.mark.parametrize("sendmmsg", [True, False])
def test_where_the_kernel_does_not_cut_datagrams_go_one_by_one(sendmmsg: bool) -> None:
    one, other = joined(sendmmsg=sendmmsg)
    with closing(one), closing(other):
        one._socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)  # the kernel refuses to cut then: EINVAL
        assert "udp-segment" in one.offloads
        for _ in range(2):
            rows, datagrams = batch([600] * 10 + [300] * 10)
            assert one.send(rows, 0).dropped == 0
            assert received(other) == datagrams
        assert "udp-segment" not in one.offloads


def test_what_is_in_use_has_names() -> None:
    one, other = joined(gro=False)
    with closing(one), closing(other):
        assert "udp-gro" not in one.offloads
        assert "sendmmsg" in one.offloads
