"""MSS clamping."""

import pytest

from tests.support import scalar_path
from tests.support.forwarding import tcp_packet
from vcstack.dataplane.mss import clamp
from vcstack.wire.ipv4 import Ipv4Header
from vcstack.wire.tcp import TcpFlags

MSS_1460 = b"\x02\x04\x05\xb4"
SYN = TcpFlags.SYN
SYN_ACK = TcpFlags.SYN | TcpFlags.ACK


@pytest.mark.parametrize("flags", [SYN, SYN_ACK])
@pytest.mark.parametrize(
    "options",
    [
        MSS_1460,
        b"\x01" + MSS_1460 + b"\x01\x01\x01",
        b"\x04\x02\x08\x0a" + bytes(8) + MSS_1460,
        b"\x03\x03\x07" + MSS_1460 + b"\x00",
    ],
    ids=["first", "odd offset", "behind others", "before the end"],
)
def test_a_larger_mss_is_lowered_wherever_it_stands(flags: TcpFlags, options: bytes) -> None:
    packet = tcp_packet(b"data", flags=flags, options=options)
    changed = bytearray(packet)
    assert clamp(memoryview(changed), 1350)
    assert changed == scalar_path.clamped(packet, 1350)
    assert changed != packet


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (SYN, b"\x02\x04\x05\x46"),  # 1350 already
        (SYN, b"\x02\x04\x01\x00"),  # less
        (SYN, b""),
        (TcpFlags.ACK, MSS_1460),
        (SYN, b"\x00" + MSS_1460 + bytes(3)),  # behind the end of the list
        (SYN, b"\x02\x03\x05\x01"),  # wrong length
        (SYN, b"\x02\x00\x05\xb4"),  # no progress
        (SYN, b"\x08\x0a\x05\xb4"),  # longer than the header
        (SYN, MSS_1460 + b"\x13\x12" + bytes(16) + b"\x01\x01"),  # signed: RFC 2385
        (SYN, MSS_1460 + b"\x1d\x10" + bytes(14)),  # signed: RFC 5925
    ],
)
def test_everything_else_is_left_alone(flags: TcpFlags, options: bytes) -> None:
    packet = tcp_packet(b"", flags=flags, options=options)
    changed = bytearray(packet)
    assert not clamp(memoryview(changed), 1350)
    assert changed == packet


def test_a_later_fragment_has_no_options() -> None:
    body = tcp_packet(b"", flags=SYN, options=MSS_1460)[20:]
    header = Ipv4Header.parse(tcp_packet(b"")).build(0)
    packet = bytearray(header + body)
    packet[6:8] = b"\x00\x01"
    assert not clamp(memoryview(packet), 1350)


@pytest.mark.parametrize("length", range(1, 44))
def test_a_packet_cut_short_is_harmless(length: int) -> None:
    packet = bytearray(tcp_packet(b"", flags=SYN, options=MSS_1460)[:length])
    assert not clamp(memoryview(packet), 1350)
