"""The raw transport over the loopback, with and without many messages per system call."""

import os
from collections.abc import Iterator
from ipaddress import IPv4Address

import numpy as np
import pytest

from vcstack.io.rawesp import RawEspTransport
from vcstack.wire.batch import Arena, Rows

ONE, OTHER = IPv4Address("127.5.0.1"), IPv4Address("127.5.0.2")
Pair = tuple[RawEspTransport, RawEspTransport]


@pytest.fixture(params=[True, False], ids=["mmsg", "each"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("raw sockets need root")
    ends = tuple(RawEspTransport(*way, sendmmsg=request.param) for way in ((ONE, OTHER), (OTHER, ONE)))
    yield ends[0], ends[1]
    for end in ends:
        end.close()


def batch(lengths: list[int]) -> tuple[Rows, list[bytes]]:
    pitch = max(lengths)
    arena = Arena(len(lengths) * pitch + 256)
    packets = [bytes([index % 251 + 1]) * length for index, length in enumerate(lengths)]
    for index, packet in enumerate(packets):
        arena.data[index * pitch : index * pitch + len(packet)] = packet
    return Rows(arena, np.arange(len(lengths)) * pitch, np.array(lengths)), packets


def taken(rows: Rows) -> list[bytes]:
    spans = zip(rows.offsets.tolist(), rows.lengths.tolist(), strict=True)
    return [bytes(rows.arena.data[at : at + length]) for at, length in spans]


@pytest.mark.parametrize("lengths", [[280], [280] * 100, [1448] * 10 + [77], [40, 2100, 9000, 65_000, 8]])
def test_a_batch_arrives_in_order(pair: Pair, lengths: list[int]) -> None:
    rows, packets = batch(lengths)
    assert pair[0].send(rows, 0xB8).dropped == 0
    received: list[bytes] = []
    while (found := pair[1].receive()) is not None:
        received += taken(found)
    assert received == packets
    assert pair[0].receive() is None


def test_rows_of_one_length_are_told(pair: Pair) -> None:
    rows, _ = batch([300] * 20)
    pair[0].send(rows, 0)
    found = pair[1].receive()
    assert found is not None
    assert found.even
    assert (len(found), found.uniform, found.total()) == (20, 20, 6000)


def test_what_is_in_use_has_names(pair: Pair) -> None:
    assert pair[0].offloads in {("sendmmsg", "recvmmsg"), ()}
