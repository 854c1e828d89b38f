"""What is joined on its way to the TUN, and above all what is not."""

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from tests.support import scalar_path
from tests.support.forwarding import LAN, tcp_packet, two_ends, udp_packet
from vcstack.dataplane.vnet import VnetHeader
from vcstack.wire.tcp import TcpFlags

SIZE = 500
ACK, PSH = TcpFlags.ACK, TcpFlags.PSH
TIMESTAMPS = b"\x01\x01\x08\x0a\0\0\0\1\0\0\0\2"


def segment(index: int, size: int = SIZE, **fields: object) -> bytes:
    values: dict[str, object] = {"sequence": 1000 + index * SIZE, "identification": index}
    return tcp_packet(bytes([index]) * size, **(values | fields))  # type: ignore[arg-type]


def written(*packets: bytes) -> list[bytes]:
    """What reaches the TUN, vnet headers included."""
    one, other = two_ends()
    for packet in packets:
        one.tun.inject(packet)
    one.step()
    other.step()
    return other.tun.written


def sizes(*packets: bytes) -> list[int]:
    """How many packets each write was made of."""
    result = written(*packets)
    pieces = [scalar_path.finished(data[10:], VnetHeader.parse(data)) for data in result]
    assert [piece for group in pieces for piece in group] == list(packets)
    return [len(group) for group in pieces]


def test_a_run_becomes_one_packet() -> None:
    assert sizes(*(segment(index) for index in range(10))) == [10]


def test_its_vnet_header_says_how_to_cut_it() -> None:
    (data,) = written(*(segment(index) for index in range(3)))
    header = VnetHeader.parse(data)
    assert (header.flags, header.gso_type, header.gso_size) == (1, 1, SIZE)
    assert (header.header_length, header.csum_start, header.csum_offset) == (40, 20, 16)


@pytest.mark.parametrize("size", [1, 7, 499])
def test_a_shorter_one_ends_a_run(size: int) -> None:
    behind = 1000 + 2 * SIZE + size
    following = segment(3, sequence=behind), segment(4, sequence=behind + SIZE)
    assert sizes(segment(0), segment(1), segment(2, size), *following) == [3, 2]


def test_a_push_ends_a_run_and_is_kept() -> None:
    assert sizes(segment(0), segment(1, flags=ACK | PSH), segment(2), segment(3, flags=ACK | PSH)) == [2, 2]


def test_options_are_part_of_a_run() -> None:
    assert sizes(*(segment(index, options=TIMESTAMPS) for index in range(4))) == [4]


def test_odd_sizes_join_too() -> None:
    packets = [segment(index, 501, sequence=index * 501) for index in range(5)]
    assert sizes(*packets, segment(5, 3, sequence=5 * 501)) == [6]


def test_sequence_numbers_wrap() -> None:
    numbers = [(0xFFFFFF00 + index * SIZE) & 0xFFFFFFFF for index in range(4)]
    assert sizes(*(segment(index, sequence=number) for index, number in enumerate(numbers))) == [4]


def test_a_run_is_no_longer_than_a_packet_may_be() -> None:
    packets = [segment(index, 1374, sequence=index * 1374) for index in range(100)]
    assert sizes(*packets) == [47, 47, 6]


@pytest.mark.parametrize(
    "odd",
    [
        lambda: segment(2, flags=ACK | TcpFlags.FIN),
        lambda: segment(2, flags=ACK | TcpFlags.ECE),
        lambda: segment(2, flags=ACK | TcpFlags.CWR),
        lambda: segment(2, flags=ACK | TcpFlags.URG),
        lambda: segment(2, tos=4),
        lambda: segment(2, tos=3),
        lambda: segment(2, dont_fragment=False),
        lambda: segment(2, options=TIMESTAMPS),
        lambda: segment(2, ip_options=b"\x94\x04\0\0"),
        lambda: segment(2, sequence=1000 + 2 * SIZE + 1),
        lambda: segment(2, 0),
        lambda: udp_packet(bytes(SIZE + 12)),
    ],
    ids=["fin", "ece", "cwr", "urg", "dscp", "ce", "df", "options", "ip options", "gap", "empty", "udp"],
)
def test_what_differs_stands_alone(odd: Callable[[], bytes]) -> None:
    groups = sizes(segment(0), segment(1), odd(), segment(3), segment(4))
    assert groups == [2, 1, 2]


def test_interleaved_flows_keep_their_order() -> None:
    other = IPv4Address("10.1.0.6")
    packets = [segment(index, source=source) for index in range(5) for source in (LAN, other)]
    assert sizes(*packets) == [1] * 10


@pytest.mark.parametrize("position", [0, 1, 4])
def test_a_wrong_checksum_is_left_for_the_host_to_find(position: int) -> None:
    packets = [segment(index) for index in range(5)]
    damaged = bytearray(packets[position])
    damaged[60] ^= 1
    packets[position] = bytes(damaged)
    result = written(*packets)
    assert [data[10:] for data in result] == packets
    assert all(VnetHeader.parse(data) == VnetHeader() for data in result)


def test_a_wrong_header_checksum_is_not_healed() -> None:
    packets = [segment(index) for index in range(4)]
    packets[2] = packets[2][:10] + bytes((packets[2][10] ^ 1,)) + packets[2][11:]
    result = [data[10:] for data in written(*packets)]
    assert packets[2] in result
