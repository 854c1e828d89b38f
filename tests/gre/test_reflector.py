from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gre.test_dialect import (
    OTHER,
    OUR_INTERFACE,
    OURS,
    PEER,
    PEER_INTERFACE,
    TUNNEL,
    answer,
    out_of_tunnel,
)
from vcstack.gre.dialect import Dialect, Refusal
from vcstack.gre.keepalive import KeepaliveConfig, Prober
from vcstack.gre.line import State
from vcstack.gre.packet import Decapsulated, Protocol, decapsulate, encapsulate
from vcstack.gre.reflector import Permits, Reflector, decrement_ttl
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.ipv4 import Ipv4Header

WAN = IPv4Address("192.168.5.15")


def reflector(permits: Permits | None = None, tunnel: TunnelConfig = TUNNEL, **config: Any) -> Reflector:
    return Reflector(KeepaliveConfig(**config), tunnel, permits)


def reflected(inner: bytes, protocol: int = Protocol.IPV4, mirror: Reflector | None = None) -> bytes | None:
    return (mirror or reflector()).reflect(out_of_tunnel(inner, protocol), 0.0)


@pytest.mark.parametrize("protocol", [Protocol.IPV4, Protocol.HUAWEI_KEEPALIVE, Protocol.CISCO_METADATA])
@pytest.mark.parametrize("payload", [b"", bytes(range(16))])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"key": 1},
        {"key": 2, "sequence": 5},
        {"checksum": True},
        {"ttl": 2},
        {"tos": 0},
        {"identification": 0xFFFF},
        {"dont_fragment": True},
    ],
)
def test_the_answer_differs_in_ttl_and_checksum_alone(
    fields: dict[str, Any], payload: bytes, protocol: int
) -> None:
    inner = encapsulate(payload, OURS, PEER, protocol=Protocol.KEEPALIVE, **fields)
    sent = reflected(inner, protocol)
    assert sent is not None
    assert (sent[:8], sent[9:10], sent[12:]) == (inner[:8], inner[9:10], inner[12:])
    assert Ipv4Header.parse(sent).ttl == inner[8] - 1


def test_an_answer_between_interfaces_goes_through_the_tunnel() -> None:
    """VeloCloud: its destination is a host behind the tunnel, so GRE comes around it."""
    tunnel = TunnelConfig(
        local=OURS, remote=PEER, key=9, interface_local=OUR_INTERFACE, interface_remote=PEER_INTERFACE
    )
    inner = answer(OUR_INTERFACE, PEER_INTERFACE, tos=0xC0, identification=77)
    sent = reflected(inner, mirror=reflector(tunnel=tunnel))
    assert sent is not None
    delivery = Ipv4Header.parse(sent)
    assert (delivery.tos, delivery.ttl, delivery.identification) == (0xC0, 255, 77)
    taken = decapsulate(sent, local=PEER, remote=OURS, key=9)
    assert isinstance(taken, Decapsulated)
    assert (taken.protocol, taken.payload) == (Protocol.IPV4, decrement_ttl(inner))


@pytest.mark.parametrize("destination", [WAN, OTHER])
def test_an_answer_to_elsewhere_is_sent_where_the_sa_admits_it(destination: IPv4Address) -> None:
    asked = []

    def permits(protocol: int, source: int, end: int) -> bool:
        asked.append((protocol, source, end))
        return True

    inner = answer(destination=destination)
    assert reflected(inner, mirror=reflector(permits)) == decrement_ttl(inner)
    assert asked == [(47, int(OURS), int(destination))]
    mirror = reflector()
    assert reflected(inner, mirror=mirror) is None
    snapshot = mirror.snapshot()
    assert (snapshot.refused, snapshot.unanswerable) == ({Refusal.SELECTOR: 1}, True)
    assert snapshot.dialect is (Dialect.MIKROTIK if destination == WAN else Dialect.UNKNOWN)


@pytest.mark.parametrize("ttl", [0, 1])
def test_an_answer_without_hops_left_is_not_sent(ttl: int) -> None:
    mirror = reflector()
    assert reflected(answer(ttl=ttl), mirror=mirror) is None
    assert mirror.snapshot().refused == {Refusal.TTL: 1}


def test_only_keepalives_are_claimed() -> None:
    assert reflector().claims(out_of_tunnel(answer()))
    assert not reflector().claims(out_of_tunnel(answer(OTHER)))


def test_what_is_no_request_is_counted_apart() -> None:
    mirror = reflector()
    assert reflected(b"", mirror=mirror) is None
    assert reflected(answer(protocol=Protocol.IPV4), mirror=mirror) is None
    snapshot = mirror.snapshot()
    assert snapshot.refused == {Refusal.MALFORMED: 1, Refusal.NOT_KEEPALIVE: 1}
    assert (snapshot.requests, snapshot.dialect, snapshot.last_request_at) == ({}, None, None)


def test_requests_are_counted_by_dialect() -> None:
    mirror = reflector()
    for inner, protocol in (
        (answer(), Protocol.IPV4),
        (answer(), Protocol.HUAWEI_KEEPALIVE),
        (answer(destination=WAN), Protocol.IPV4),
        (answer(), Protocol.IPV4),
    ):
        mirror.reflect(out_of_tunnel(inner, protocol), 0.0)
    snapshot = mirror.snapshot()
    assert snapshot.requests == {Dialect.CISCO: 2, Dialect.HUAWEI: 1, Dialect.MIKROTIK: 1}
    assert (snapshot.dialect, snapshot.reflected, snapshot.unanswerable) == (Dialect.CISCO, 3, False)


def test_the_peers_interval_is_observed() -> None:
    """Huawei sends two requests at once every five seconds."""
    mirror = reflector()
    for now in (0.0, 0.0, 5.0, 5.0, 10.0, 10.0):
        mirror.reflect(out_of_tunnel(answer()), now)
    assert mirror.snapshot().asked_every_s == 0.75 * 5.0
    mirror.reflect(out_of_tunnel(answer()), 15.0)
    assert mirror.snapshot().asked_every_s == 5.0


def test_the_rate_is_bounded() -> None:
    mirror = reflector(reflect_per_s=10.0, reflect_burst_pkts=5)
    request = out_of_tunnel(answer())
    assert sum(mirror.reflect(request, 0.0) is not None for _ in range(20)) == 5
    assert sum(mirror.reflect(request, 0.3) is not None for _ in range(20)) == 3
    assert sum(mirror.reflect(request, 1000.0) is not None for _ in range(20)) == 5
    snapshot = mirror.snapshot()
    assert (snapshot.reflected, snapshot.last_reflected_at) == (13, 1000.0)
    assert (snapshot.refused, snapshot.unanswerable) == ({Refusal.RATE: 47}, False)


def test_refused_packets_cost_no_tokens() -> None:
    mirror = reflector(reflect_burst_pkts=1)
    for _ in range(9):
        reflected(answer(destination=OTHER), mirror=mirror)
    assert reflected(answer(), mirror=mirror) is not None


def test_two_ends_that_are_down_take_each_other_up() -> None:
    near, far = (
        Prober(KeepaliveConfig(), TUNNEL),
        Prober(KeepaliveConfig(), TunnelConfig(local=PEER, remote=OURS)),
    )
    near.start(0.0)
    far.start(0.0)
    for now in range(1, 41):
        near.handle_timeout(now)
        far.handle_timeout(now)
    assert near.snapshot().state is far.snapshot().state is State.DOWN
    near.packets_to_send()
    (request,) = far.packets_to_send()[-1:]
    taken = decapsulate(request, local=OURS, remote=PEER)
    assert isinstance(taken, Decapsulated)
    sent = reflector().reflect(taken, 41.0)
    assert sent is not None
    assert far.receive(sent, 41.0)
    assert (near.line_up, far.line_up) == (False, True)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_reflected(data: bytes) -> None:
    mirror = reflector()
    sent = reflected(data, mirror=mirror)
    assert (sent is None) == (sum(mirror.snapshot().refused.values()) == 1)


@settings(deadline=None)
@given(st.binary(max_size=40), st.sampled_from([PEER, OTHER, WAN]))
def test_nothing_leaves_but_to_the_peer(gre: bytes, destination: IPv4Address) -> None:
    sent = reflected(Ipv4Header(OURS, destination, 47).build(len(gre)) + gre)
    if sent is not None:
        header = Ipv4Header.parse(sent)
        assert (header.source, header.destination) == (OURS, PEER)


@settings(deadline=None)
@given(st.integers(1, 255), st.integers(0, 65535), st.integers(0, 255))
def test_a_decremented_ttl_keeps_the_checksum_right(ttl: int, identification: int, tos: int) -> None:
    header = Ipv4Header(OURS, PEER, 47, ttl=ttl, identification=identification, tos=tos)
    forwarded = Ipv4Header.parse(decrement_ttl(header.build(4) + bytes(4)))
    assert (forwarded.ttl, forwarded.identification, forwarded.tos) == (ttl - 1, identification, tos)
