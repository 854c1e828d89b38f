"""Whatever an authenticated peer sends, both inbound paths do what the scalar modules do."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import scalar_path
from tests.support.forwarding import (
    KEYS,
    LOCAL,
    REMOTE,
    one_by_one,
    sa_parameters,
    tcp_packet,
    two_ends,
    udp_packet,
)
from vcstack.crypto.aead import gcm
from vcstack.dataplane.vnet import VnetHeader
from vcstack.esp import packet as esp
from vcstack.esp.sa import InboundSa
from vcstack.gre.packet import Reject, encapsulate
from vcstack.gre.tunnel import Tunnel, TunnelConfig
from vcstack.wire.ipv4 import Ipv4Header

SPI = 0x1001

inner = st.one_of(
    st.builds(lambda size, tos: udp_packet(bytes(size), tos=tos), st.integers(0, 300), st.integers(0, 255)),
    st.builds(
        lambda size, options: tcp_packet(bytes(size), ip_options=options),
        st.integers(0, 300),
        st.sampled_from([b"", b"\x94\x04\x00\x00"]),
    ),
)
usual: st.SearchStrategy[dict[str, Any]] = st.just({})
unusual = st.sampled_from(
    [
        {"checksum": True},
        {"sequence": 7},
        {"key": 99},
        {"key": None},
        {"protocol": 0x6558},
        {"local": LOCAL, "remote": LOCAL},
        {"tos": 3},
        {"tos": 1},
        {"ttl": 1},
    ]
)


@st.composite
def delivery(draw: st.DrawFn, key: int | None) -> bytes:
    packet = draw(inner)
    # From the peer, whose local end is our remote one; the inner TOS shows outside.
    values: dict[str, Any] = {"local": LOCAL, "remote": REMOTE, "key": key, "tos": packet[1]}
    values |= draw(st.one_of(usual, usual, unusual))
    whole = encapsulate(packet, values.pop("local"), values.pop("remote"), **values)
    damage = draw(st.sampled_from(["none"] * 6 + ["options", "short", "checksum", "longer", "inner"]))
    return damaged(whole, damage)


def damaged(whole: bytes, damage: str) -> bytes:
    header = Ipv4Header.parse(whole)
    body = whole[20:]
    if damage == "options":
        return Ipv4Header(header.source, header.destination, 47, options=b"\x01" * 4).build(len(body)) + body
    if damage == "short":
        return whole[:23]
    if damage == "checksum":
        return whole[:10] + bytes((whole[10] ^ 1,)) + whole[11:]
    if damage == "longer":
        return whole + bytes(9)
    if damage == "inner":
        return whole[:24] + bytes((0x25,)) + whole[25:]
    return whole


@st.composite
def datagrams(draw: st.DrawFn) -> tuple[int | None, list[bytes]]:
    key = draw(st.sampled_from([None, 7]))
    count = draw(st.integers(1, 10))
    cipher = gcm(KEYS[0])
    result = []
    for number in range(1, count + 1):
        next_header = draw(st.sampled_from([4] * 8 + [59, 41]))
        pad_to = draw(st.sampled_from([4, 4, 4, 16, 256]))
        sequence = draw(st.sampled_from([number] * 5 + [1, 5000]))
        packet = draw(delivery(key))
        iv = number.to_bytes(8)
        sealed = esp.seal(cipher, SPI, sequence, iv, packet, next_header, pad_to=pad_to)
        if draw(st.integers(0, 9)) == 0:
            sealed = sealed[:-1] + bytes((sealed[-1] ^ 1,))
        result.append(sealed)
    return key, result


def scalar(key: int | None, packets: list[bytes]) -> tuple[list[bytes], dict[str, int]]:
    """What the scalar SA and tunnel deliver and refuse."""
    sa = InboundSa(sa_parameters(SPI, KEYS[0], REMOTE, LOCAL), 0.0, deque())
    tunnel = Tunnel(TunnelConfig(local=REMOTE, remote=LOCAL, key=key))
    delivered = []
    for packet in packets:
        opened = sa.open(packet)
        if opened is not None:
            outcome = tunnel.decapsulate(opened)
            if not isinstance(outcome, Reject):
                delivered.append(outcome.payload)
    drops = {f"esp_drop_{reason.name.lower()}": count for reason, count in sa.drops.items()}
    drops |= {f"gre_drop_{reason.name.lower()}": count for reason, count in tunnel.rejects.items()}
    return delivered, {name: count for name, count in drops.items() if count}


@pytest.mark.parametrize("most", [0, 1000], ids=["as batches", "one by one"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(datagrams())
def test_both_ways_and_scalar_modules_agree(most: int, case: tuple[int | None, list[bytes]]) -> None:
    with one_by_one(most):
        check_against_scalar_modules(case)


def check_against_scalar_modules(case: tuple[int | None, list[bytes]]) -> None:
    key, packets = case
    one, other = two_ends(gre_key=key, mss=0)
    del one
    for packet in packets:
        other.transport.deliver(packet)
    while other.forwarder.transport_readable(0.0):
        pass
    delivered, drops = scalar(key, packets)
    written = [
        piece
        for data in other.tun.written
        for piece in scalar_path.finished(data[10:], VnetHeader.parse(data))
    ]
    assert written == delivered
    counted = {name: count for name, count in other.counters.snapshot().items() if "_drop_" in name and count}
    assert joined(counted) == joined(drops)


def joined(drops: dict[str, int]) -> dict[str, int]:
    """A batch is checked before any of it is committed, so a forged late packet may count as either."""
    names = ("esp_drop_replayed", "esp_drop_too_old", "esp_drop_authentication_failed")
    rest = {name: count for name, count in drops.items() if name not in names}
    return rest | {"unacceptable": sum(drops.get(name, 0) for name in names)}
