"""A forwarder and its peer, in memory."""

from ipaddress import IPv4Address

import msgspec
import pytest

from tests.support.forwarding import (
    KEYS,
    LAN,
    LOCAL,
    REMOTE,
    End,
    hold,
    install,
    sa_parameters,
    tcp_packet,
    two_ends,
    udp_packet,
)
from vcstack.esp.lifetime import Lifetime
from vcstack.io import channel
from vcstack.wire.icmp import IcmpMessage
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header

SIZES = (0, 1, 160, 160, 161, 1300, 3, 2)


def send(end: End, *packets: bytes, now: float = 0.0) -> None:
    for packet in packets:
        end.tun.inject(packet)
    end.step(now)


def sealed(end: End, *packets: bytes) -> list[bytes]:
    """What `end` would send for these packets; nothing travels."""
    datagrams: list[bytes] = []
    end.transport.tap = hold(datagrams)
    send(end, *packets)
    end.transport.tap = None
    return datagrams


def packets_of(*sizes: int) -> list[bytes]:
    return [udp_packet(bytes([size % 256]) * size, port=1000 + size) for size in sizes]


@pytest.mark.parametrize("udp", [True, False])
@pytest.mark.parametrize("key", [None, 7])
@pytest.mark.parametrize("esn", [True, False])
def test_packets_arrive_as_they_left(udp: bool, key: int | None, esn: bool) -> None:
    one, other = two_ends(udp=udp, gre_key=key, esn=esn)
    sent = packets_of(*SIZES)
    send(one, *sent)
    other.step()
    assert other.tun.packets() == sent
    assert other.count("inbound_authenticated") == len(sent)
    assert channel.InboundUsed(0x1001) in other.reports


def test_without_an_sa_nothing_leaves() -> None:
    one, _other = two_ends()
    one.forwarder.apply(channel.Retire(0x1001, 0.0, inbound=False), 0.0)
    assert sealed(one, *packets_of(*SIZES)) == []
    assert one.count("outbound_drop_no_sa") == len(SIZES)


def test_an_sa_that_does_not_cover_the_tunnel_carries_nothing() -> None:
    one, _other = two_ends()
    one.forwarder.apply(channel.InstallOutbound(sa_parameters(0x3003, KEYS[0], LAN, REMOTE)), 0.0)
    assert sealed(one, *packets_of(5, 6)) == []
    assert one.count("outbound_drop_selector") == 2


def test_replays_are_counted_and_dropped() -> None:
    one, other = two_ends()
    sent = packets_of(10, 10, 10, 20)
    datagrams = sealed(one, *sent)
    for datagram in [*datagrams, *datagrams, datagrams[0]]:
        other.transport.deliver(datagram)
    other.step()
    assert other.tun.packets() == sent
    other.transport.deliver(datagrams[2])
    other.step()
    assert other.tun.packets() == []
    assert other.count("esp_drop_replayed") == 6


@pytest.mark.parametrize("spoilt", [0, 3, 6])
def test_a_bad_icv_costs_its_own_packet_alone(spoilt: int) -> None:
    one, other = two_ends()
    sent = packets_of(*[100] * 7)
    datagrams = sealed(one, *sent)
    damaged = bytearray(datagrams[spoilt])
    damaged[-1] ^= 1
    other.transport.deliver(bytes(damaged))
    for datagram in (*datagrams[:spoilt], bytes(damaged), bytes(damaged), *datagrams[spoilt + 1 :]):
        other.transport.deliver(datagram)
    other.step()
    assert other.tun.packets() == sent[:spoilt] + sent[spoilt + 1 :]
    assert other.count("esp_drop_authentication_failed") == 3
    other.transport.deliver(datagrams[spoilt])  # the forgeries did not take the genuine packet's place
    other.step()
    assert other.tun.packets() == [sent[spoilt]]


def test_what_is_not_esp_of_ours_is_told_apart() -> None:
    one, other = two_ends()
    datagrams = sealed(one, *packets_of(30, 30))
    foreign = bytes.fromhex("00009999") + datagrams[0][4:]
    odd = (foreign, b"\xff", bytes(4) + b"an IKE message", b"\x01", datagrams[0][:20], datagrams[1][:41])
    for datagram in (datagrams[0], *odd, datagrams[1]):
        other.transport.deliver(datagram)
    other.step()
    assert other.tun.packets() == packets_of(30, 30)
    names = (
        "esp_drop_unknown_spi",
        "inbound_nat_keepalives",
        "inbound_ike",
        "inbound_drop_other",
        "esp_drop_too_short",
        "esp_drop_misaligned",
    )
    assert [other.count(name) for name in names] == [1] * 6
    assert channel.IkeDatagram(b"an IKE message", IPv4Address("198.51.100.1"), 4500) in other.reports


def test_a_rekey_loses_no_packet() -> None:
    one, other = two_ends()
    late = sealed(one, *packets_of(40, 41))
    install(one, other, 0x1111, 0x2222)
    one.forwarder.apply(channel.Retire(0x1001, 0.0, inbound=False), 0.0)
    other.forwarder.apply(channel.Retire(0x1001, 5.0, inbound=True), 0.0)
    send(one, *packets_of(42, 43))
    for datagram in late:
        other.transport.deliver(datagram)
    other.step(1.0)
    assert other.tun.packets() == packets_of(42, 43, 40, 41)
    other.forwarder.handle_timeout(5.0)
    for datagram in late:
        other.transport.deliver(datagram)
    other.step(5.0)
    assert other.count("esp_drop_unknown_spi") == 2


def test_lifetimes_are_told_and_end_the_use() -> None:
    one, _other = two_ends()
    lifetime = Lifetime(soft_packets=2, hard_packets=4, hard_s=100.0)
    parameters = sa_parameters(0x1111, KEYS[0], LOCAL, REMOTE, lifetime=lifetime)
    one.forwarder.apply(channel.InstallOutbound(parameters), 0.0)
    assert len(sealed(one, *packets_of(1, 1, 1))) == 3
    assert len(sealed(one, *packets_of(1))) == 1
    assert sealed(one, *packets_of(1)) == []
    assert channel.SoftExpired(0x1111, "packets") in one.reports
    assert channel.HardExpired(0x1111, "packets") in one.reports
    assert one.count("outbound_drop_exhausted") == 1


def test_installing_an_spi_twice_is_a_fault_and_changes_nothing() -> None:
    one, other = two_ends()
    one.forwarder.apply(channel.InstallOutbound(sa_parameters(0x1001, KEYS[0], LOCAL, REMOTE)), 0.0)
    send(one, *packets_of(7))
    other.step()
    assert other.tun.packets() == packets_of(7)
    assert any(isinstance(report, channel.Fault) for report in one.reports)


def test_a_peer_that_moved_is_followed_only_on_newer_authenticated_packets() -> None:
    one, other = two_ends()
    old, new = sealed(one, *packets_of(50, 51))
    moved = IPv4Address("203.0.113.7")
    forged = new[:-1] + bytes([new[-1] ^ 1])
    other.forwarder.apply(channel.SlowPathEsp(forged, moved, 7777), 0.0)
    other.forwarder.apply(channel.SlowPathEsp(new, moved, 7777), 0.0)
    other.forwarder.apply(channel.SlowPathEsp(old, IPv4Address("203.0.113.8"), 8888), 0.0)
    reports = other.forwarder.reports_to_send()
    assert [report for report in reports if isinstance(report, channel.PeerMoved)] == [
        channel.PeerMoved(moved, 7777)
    ]
    assert other.tun.packets() == packets_of(51, 50)


def test_keepalives_bring_the_line_up_and_their_absence_takes_it_down() -> None:
    one, other = two_ends(keepalive=True, keepalive_interval_s=10.0, keepalive_retries=3)
    for end in (other, one, other, one):
        end.step(0.1)
    assert one.reports.count(channel.LineState(up=True, reason="keepalive answered")) == 1
    assert other.count("inbound_reflected") == 1
    assert one.tun.packets() == other.tun.packets() == []
    one.transport.tap = hold([])
    for now in (10.2, 20.2, 30.2, 40.2):
        one.forwarder.handle_timeout(now)
        one.step(now)
    assert any(isinstance(report, channel.LineState) and not report.up for report in one.reports)


def test_keepalives_are_reflected_by_an_end_that_sends_none() -> None:
    one, other = two_ends(keepalive=True)
    other.forwarder.apply(channel.Configure(configured(other, keepalive=False)), 0.0)
    for end in (other, one):
        end.step(0.1)
    assert channel.LineState(up=True, reason="keepalive answered") in one.reports


def configured(end: End, **changes: object) -> channel.ForwarderConfig:
    return msgspec.structs.replace(end.config, **changes)


def test_a_packet_that_is_too_big_is_answered() -> None:
    one, other = two_ends(tunnel_mtu=1000, interface_remote=IPv4Address("100.64.1.1"))
    big = udp_packet(bytes(1100), dont_fragment=True)
    before, behind = packets_of(11, 12)
    send(one, before, big, behind)
    other.step()
    assert other.tun.packets() == [before, behind]
    (answer,) = one.tun.packets()
    header = Ipv4Header.parse(answer)
    message = IcmpMessage.parse(answer[20:])
    assert (header.source, header.destination, header.protocol) == (
        IPv4Address("100.64.1.1"),
        LAN,
        IpProtocol.ICMP,
    )
    assert message.next_hop_mtu == 1000
    assert message.body == big[: len(message.body)]


@pytest.mark.parametrize("size", [1100, 2500, 9000])
def test_a_packet_that_may_be_fragmented_is(size: int) -> None:
    one, other = two_ends(tunnel_mtu=1000)
    body = bytes(index % 251 for index in range(size))
    send(one, udp_packet(body))
    other.step()
    fragments = other.tun.packets()
    headers = [Ipv4Header.parse(fragment) for fragment in fragments]
    assert all(len(fragment) <= 1000 for fragment in fragments)
    assert [header.more_fragments for header in headers] == [True] * (len(headers) - 1) + [False]
    joined = b"".join(fragment[20:] for fragment in fragments)
    assert joined[8:] == body


def test_a_smaller_path_mtu_is_learned() -> None:
    one, _other = two_ends(tunnel_mtu=1414)
    one.transport.mtu = 1000
    big = tcp_packet(bytes(1300))
    send(one, big)
    assert one.count("outbound_drop_send") == 1
    assert channel.PathMtu(1000, 914) in one.reports
    send(one, big)
    assert Ipv4Header.parse(one.tun.packets()[0]).protocol == IpProtocol.ICMP


def test_voice_keeps_its_mark_on_the_wire() -> None:
    one, _other = two_ends()
    send(one, udp_packet(bytes(160), tos=0xB8), udp_packet(bytes(160), tos=0xB8), udp_packet(bytes(9), tos=0))
    assert one.transport.sent_tos == [0xB8, 0xB8, 0]
    plain, _other = two_ends(copy_dscp=False)
    send(plain, udp_packet(bytes(160), tos=0xB8))
    assert plain.transport.sent_tos == [0]


def test_an_offload_that_turns_out_not_to_work_is_told() -> None:
    one, _other = two_ends()
    one.step()
    assert channel.Offloads(("memory",)) in one.reports
    one.transport.offloads = ()
    for now in (5.0, 10.0):
        one.forwarder.handle_timeout(now)
        one.step(now)
    assert one.reports.count(channel.Offloads(())) == 1


def test_an_idle_nat_is_kept_open() -> None:
    one, other = two_ends()
    deadline = one.forwarder.next_timeout()
    assert deadline is not None
    assert deadline.at <= 20.0
    one.forwarder.handle_timeout(20.0)
    other.step()
    assert other.count("inbound_nat_keepalives") == 1
    assert other.count("inbound_drop_other") == 0
