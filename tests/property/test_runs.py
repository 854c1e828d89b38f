"""A burst of TCP with something odd in it: what is opened as one run is what the scalar modules deliver."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import scalar_path
from tests.support.forwarding import KEYS, LOCAL, REMOTE, one_by_one, sa_parameters, tcp_packet, two_ends
from vcstack.crypto.aead import gcm
from vcstack.dataplane.vnet import VnetHeader
from vcstack.esp import packet as esp
from vcstack.esp.sa import InboundSa
from vcstack.gre.packet import Reject, encapsulate
from vcstack.gre.tunnel import Tunnel, TunnelConfig
from vcstack.wire.tcp import TcpFlags

SPI = 0x1001
TIMESTAMPS = b"\x01\x01\x08\x0a\0\0\0\1\0\0\0\2"
ACK, PSH = TcpFlags.ACK, TcpFlags.PSH
INNER_CHANGES = {"inner checksum": 10, "tcp checksum": 36, "window": 34, "ttl": 8, "payload": -1, "tos": 1}
OUTER_CHANGES = {"delivery checksum": 10, "gre": 21}
ODD = ["gap", "push", "fin", "icv", "replayed", "jump", *INNER_CHANGES, *OUTER_CHANGES]


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@st.composite
def bursts(draw: st.DrawFn, change: str) -> tuple[int | None, bool, list[bytes]]:
    """Key, ESN, and ESP packets of one burst of which one row is odd."""
    key, esn = draw(st.sampled_from([None, 7])), draw(st.booleans())
    count, size = draw(st.integers(2, 24)), draw(st.sampled_from([1, 2, 7, 100, 333]))
    rest, push = draw(st.integers(1, size)), draw(st.booleans())
    options, start = draw(st.sampled_from([b"", TIMESTAMPS])), draw(st.sampled_from([0, 1000, 0xFFFFFF00]))
    number = draw(st.sampled_from([1, 0xFFFFFFF8 if esn else 9]))
    odd = draw(st.integers(1, count - 1))
    packets = []
    for index in range(count):
        here, last = change if index == odd else "", index == count - 1
        body = bytes((index + at * 7) & 0xFF for at in range(rest if last else size))
        flags = {"push": ACK | PSH, "fin": ACK | TcpFlags.FIN}.get(here, ACK | PSH if last and push else ACK)
        sequence = (start + index * size + (here == "gap")) & 0xFFFFFFFF
        inner = tcp_packet(body, sequence=sequence, flags=flags, options=options, identification=index)
        if here in INNER_CHANGES:
            inner = flipped(inner, INNER_CHANGES[here])
        outer = encapsulate(inner, LOCAL, REMOTE, key=key, identification=(65530 + index) & 0xFFFF)
        if here in OUTER_CHANGES:
            outer = flipped(outer, OUTER_CHANGES[here])
        at = number + index + {"replayed": -1, "jump": 5000}.get(here, 0)
        high = at >> 32 if esn else None
        sealed = esp.seal(gcm(KEYS[0]), SPI, at & 0xFFFFFFFF, index.to_bytes(8), outer, esn_high=high)
        packets.append(flipped(sealed, -1) if here == "icv" else sealed)
    return key, esn, packets


def scalar(key: int | None, packets: list[bytes], *, esn: bool) -> list[bytes]:
    """What the scalar SA and tunnel deliver."""
    sa = InboundSa(sa_parameters(SPI, KEYS[0], REMOTE, LOCAL, esn=esn), 0.0, deque())
    tunnel = Tunnel(TunnelConfig(local=REMOTE, remote=LOCAL, key=key))
    opened = [payload for packet in packets if (payload := sa.open(packet)) is not None]
    outcomes = [tunnel.decapsulate(payload) for payload in opened]
    return [outcome.payload for outcome in outcomes if not isinstance(outcome, Reject)]


@pytest.mark.parametrize("change", ["nothing", *ODD])
@pytest.mark.parametrize("most", [0, 1000], ids=["as batches", "one by one"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data())
def test_a_burst_is_delivered_as_the_scalar_modules_do(most: int, change: str, data: st.DataObject) -> None:
    key, esn, packets = data.draw(bursts(change))
    with one_by_one(most):
        _one, other = two_ends(gre_key=key, mss=0, esn=esn)
        # The first number of all is far from the empty window, so it has to be in before the others.
        for part in (packets[:1], packets[1:]):
            for packet in part:
                other.transport.deliver(packet)
            while other.forwarder.transport_readable(0.0):
                pass
    written = [
        piece
        for write in other.tun.written
        for piece in scalar_path.finished(write[10:], VnetHeader.parse(write))
    ]
    assert written == scalar(key, packets, esn=esn)
