from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_path
from vcstack.gre.dialect import Classifier, Dialect, Refusal, Request
from vcstack.gre.packet import Decapsulated, Protocol, decapsulate, encapsulate
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.ipv4 import Ipv4Header

PEER, OURS = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
PEER_INTERFACE, OUR_INTERFACE = IPv4Address("100.64.1.1"), IPv4Address("100.64.1.2")
OTHER = IPv4Address("203.0.113.9")
TUNNEL = TunnelConfig(local=OURS, remote=PEER, interface_local=OUR_INTERFACE, interface_remote=PEER_INTERFACE)
METADATA = bytes.fromhex("0800 0101 0001 0000")


def answer(
    source: IPv4Address = OURS,
    destination: IPv4Address = PEER,
    protocol: int = Protocol.KEEPALIVE,
    **fields: Any,
) -> bytes:
    return encapsulate(b"", source, destination, protocol=protocol, **fields)


def out_of_tunnel(inner: bytes, protocol: int = Protocol.IPV4) -> Decapsulated:
    """What a packet of the peer's is once its delivery headers are gone."""
    front = METADATA if protocol == Protocol.CISCO_METADATA else b""
    outcome = decapsulate(encapsulate(front + inner, PEER, OURS, protocol=protocol), local=OURS, remote=PEER)
    assert isinstance(outcome, Decapsulated)
    return outcome


def judged(inner: bytes, protocol: int = Protocol.IPV4, tunnel: TunnelConfig = TUNNEL) -> Request | Refusal:
    return Classifier(tunnel).classify(out_of_tunnel(inner, protocol))


@pytest.mark.parametrize(
    ("inner", "protocol", "dialect"),
    [
        (answer(), Protocol.IPV4, Dialect.CISCO),
        (answer(key=7, sequence=9, checksum=True), Protocol.IPV4, Dialect.CISCO),
        (answer(), Protocol.CISCO_METADATA, Dialect.CISCO_METADATA),
        (answer(), Protocol.HUAWEI_KEEPALIVE, Dialect.HUAWEI),
        (answer(protocol=Protocol.HUAWEI_KEEPALIVE), Protocol.HUAWEI_KEEPALIVE, Dialect.HUAWEI),
        (answer(destination=IPv4Address("192.168.5.15")), Protocol.IPV4, Dialect.MIKROTIK),
        (answer(destination=IPv4Address("10.0.0.1")), Protocol.IPV4, Dialect.MIKROTIK),
        (answer(destination=IPv4Address("172.31.255.255")), Protocol.IPV4, Dialect.MIKROTIK),
        (answer(destination=IPv4Address("100.127.0.1")), Protocol.IPV4, Dialect.MIKROTIK),
        (answer(OUR_INTERFACE, PEER_INTERFACE), Protocol.IPV4, Dialect.VELOCLOUD),
        (answer(destination=OTHER), Protocol.IPV4, Dialect.UNKNOWN),
        (answer(destination=IPv4Address("172.32.0.1")), Protocol.IPV4, Dialect.UNKNOWN),
    ],
)
def test_dialects_are_told_apart(inner: bytes, protocol: int, dialect: Dialect) -> None:
    request = judged(inner, protocol)
    assert isinstance(request, Request)
    assert (request.dialect, request.answer) == (dialect, inner)
    assert Classifier(TUNNEL).claims(out_of_tunnel(inner, protocol))


def test_a_private_peer_address_is_no_sign_of_nat() -> None:
    """Transport addresses may be private: inside ESP nothing translates them."""
    private = IPv4Address("10.1.1.1")
    tunnel = TunnelConfig(local=OURS, remote=private)
    request = judged(answer(destination=private), tunnel=tunnel)
    assert isinstance(request, Request)
    assert request.dialect is Dialect.CISCO


@pytest.mark.parametrize(
    ("inner", "claimed"),
    [
        (answer(OTHER, PEER), False),  # GRE of a host behind the tunnel
        (answer(PEER_INTERFACE, OUR_INTERFACE), False),
        (answer(OUR_INTERFACE, OTHER), False),
        (encapsulate(b"", OURS, PEER), True),  # ours by address, but not a keepalive
        (Ipv4Header(OURS, PEER, 17).build(0), False),
        (b"", False),
    ],
)
def test_what_is_claimed(inner: bytes, claimed: bool) -> None:
    assert Classifier(TUNNEL).claims(out_of_tunnel(inner)) == claimed


def test_interface_addresses_that_are_not_known_claim_nothing() -> None:
    outcome = out_of_tunnel(answer(OUR_INTERFACE, PEER_INTERFACE))
    assert not Classifier(TunnelConfig(local=OURS, remote=PEER)).claims(outcome)
    assert not Classifier(TunnelConfig(local=OURS, remote=PEER, interface_local=OUR_INTERFACE)).claims(
        outcome
    )


@pytest.mark.parametrize(
    ("inner", "protocol", "refusal"),
    [
        (b"", Protocol.IPV4, Refusal.MALFORMED),
        (bytes(24), Protocol.IPV4, Refusal.MALFORMED),
        (answer()[:-1], Protocol.IPV4, Refusal.MALFORMED),
        (encapsulate(b"", OURS, PEER), Protocol.IPV4, Refusal.NOT_KEEPALIVE),
        (answer(PEER, OURS), Protocol.IPV4, Refusal.NOT_KEEPALIVE),
        (answer(protocol=Protocol.HUAWEI_KEEPALIVE), Protocol.IPV4, Refusal.NOT_KEEPALIVE),
        (encapsulate(b"", OURS, PEER), Protocol.HUAWEI_KEEPALIVE, Refusal.NOT_KEEPALIVE),
        (Ipv4Header(OURS, PEER, 17).build(4) + bytes(4), Protocol.HUAWEI_KEEPALIVE, Refusal.NOT_KEEPALIVE),
        (Ipv4Header(OURS, PEER, 17).build(4) + bytes(4), Protocol.IPV4, Refusal.NOT_KEEPALIVE),
        (
            Ipv4Header(OURS, PEER, 47).build(4) + bytes.fromhex("00010000"),
            Protocol.IPV4,
            Refusal.NOT_KEEPALIVE,
        ),
        (Ipv4Header(OURS, PEER, 47).build(3) + bytes(3), Protocol.IPV4, Refusal.NOT_KEEPALIVE),
        (
            Ipv4Header(OURS, PEER, 47, more_fragments=True).build(4) + bytes(4),
            Protocol.IPV4,
            Refusal.NOT_KEEPALIVE,
        ),
    ],
)
def test_what_is_no_request(inner: bytes, protocol: int, refusal: Refusal) -> None:
    assert judged(inner, protocol) is refusal


def test_a_wrong_gre_checksum_is_the_askers_own() -> None:
    inner = bytearray(answer(checksum=True))
    inner[24] ^= 1
    assert isinstance(judged(bytes(inner)), Request)


def test_trailing_bytes_stay_behind() -> None:
    request = judged(answer() + bytes(9))
    assert isinstance(request, Request)
    assert request.answer == answer()


def test_requests_of_ios_with_trustsec() -> None:
    """Every request of IOS 15.5 in the capture, from either end, is one with metadata."""
    from scapy.layers.inet import IP
    from scapy.utils import rdpcap

    seen = []
    for frame in rdpcap(str(shared_path("corpus/pcap/tcpdump/various_gre.pcap"))):
        if IP not in frame or frame[IP].proto != 47:
            continue
        local, remote = IPv4Address(frame[IP].dst), IPv4Address(frame[IP].src)
        outcome = decapsulate(bytes(frame[IP]), local=local, remote=remote, key=0x28)
        if isinstance(outcome, Decapsulated) and outcome.protocol != Protocol.KEEPALIVE:
            request = Classifier(TunnelConfig(local=local, remote=remote, key=0x28)).classify(outcome)
            seen.append(request.dialect if isinstance(request, Request) else request)
    assert seen.count(Dialect.CISCO_METADATA) == 8
    assert seen.count(Refusal.NOT_KEEPALIVE) == len(seen) - 8


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([Protocol.IPV4, Protocol.HUAWEI_KEEPALIVE]))
def test_any_bytes_are_judged(inner: bytes, protocol: Protocol) -> None:
    assert isinstance(judged(inner, protocol), Request | Refusal)


@settings(deadline=None)
@given(st.binary(max_size=40), st.sampled_from([OURS, OTHER, OUR_INTERFACE]), st.sampled_from([PEER, OTHER]))
def test_any_gre_is_judged(gre: bytes, source: IPv4Address, destination: IPv4Address) -> None:
    outcome = out_of_tunnel(Ipv4Header(source, destination, 47).build(len(gre)) + gre)
    request = Classifier(TUNNEL).classify(outcome)
    if isinstance(request, Request):
        assert Classifier(TUNNEL).claims(outcome)
        assert gre[2:4] == bytes(2)
