"""Hypothesis strategies for the values of the wire floor."""

from ipaddress import IPv4Address

from hypothesis import strategies as st

from vcstack.wire.icmp import IcmpMessage
from vcstack.wire.ipv4 import Ipv4Header
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.tcp import TcpFlags, TcpHeader

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
addresses = u32.map(IPv4Address)
option_bytes = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))

ipv4_headers = st.builds(
    Ipv4Header,
    source=addresses,
    destination=addresses,
    protocol=u8,
    tos=u8,
    identification=u16,
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    fragment_offset=st.integers(0, 0x1FFF),
    ttl=u8,
    options=option_bytes,
)

tcp_headers = st.builds(
    TcpHeader,
    source_port=u16,
    destination_port=u16,
    sequence=u32,
    acknowledgment=u32,
    flags=u8.map(TcpFlags),
    window=u16,
    urgent=u16,
    options=option_bytes,
)

icmp_messages = st.builds(IcmpMessage, kind=u8, code=u8, rest=u32, body=st.binary(max_size=64))


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    """Selectors crowded into a small corner of the space, so that pairs of them overlap often."""
    start, end = sorted(draw(st.tuples(st.integers(0, 7), st.integers(0, 7))))
    ports = draw(st.one_of(st.just((65535, 0)), st.just((0, 65535)), st.tuples(_ports, _ports).map(sorted)))
    return TrafficSelector(
        protocol=draw(st.sampled_from([0, 6, 47])),
        start_port=ports[0],
        end_port=ports[1],
        start=IPv4Address(start),
        end=IPv4Address(end),
    )


_ports = st.integers(0, 7)
