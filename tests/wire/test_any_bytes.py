"""Any bytes into any parser of this floor give a value or WireError, and an end."""

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcstack.wire.icmp import IcmpMessage, error_is_allowed
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.reader import WireError
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.tcp import TcpHeader
from vcstack.wire.udp import UdpHeader

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def parse_quoted(data: bytes) -> object:
    return Ipv4Header.parse(data, quoted=True)


def parse_tcp_with_options(data: bytes) -> object:
    return TcpHeader.parse(data).parse_options()


# Each parser with bytes that it accepts, so that mutations reach behind its first check.
PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (Ipv4Header.parse, Ipv4Header(A, B, IpProtocol.UDP, options=bytes(8)).build(4) + b"data"),
    (parse_quoted, Ipv4Header(A, B, IpProtocol.UDP).build(4)),
    (UdpHeader.parse, UdpHeader(1, 2).build(b"data", A, B)),
    (parse_tcp_with_options, TcpHeader(1, 2, options=b"\2\4\5\x46\1\1\4\2").build(b"data", A, B)),
    (IcmpMessage.parse, IcmpMessage(3, 4, 1400, b"quote").build()),
    (TrafficSelector.parse, TrafficSelector.host(A, 47).build()),
]


@pytest.mark.parametrize(("parse", "seed"), PARSERS, ids=[parse.__qualname__ for parse, _ in PARSERS])
@given(st.data())
def test_any_bytes_give_a_value_or_wire_error(
    parse: Callable[[bytes], object], seed: bytes, data: st.DataObject
) -> None:
    parse(seed)
    mutated = bytearray(seed)
    for at in data.draw(st.lists(st.integers(0, len(seed) - 1), max_size=6)):
        mutated[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(seed)))
    for attempt in (data.draw(st.binary(max_size=80)), bytes(mutated), bytes(mutated[:cut])):
        with suppress(WireError):
            assert parse(attempt) is not None
        assert error_is_allowed(attempt) in (True, False)
