"""What a forwarder does with GRE that is not plain: dialects of keepalives, a line on hold, fragments."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest

from tests.support import scalar_path
from tests.support.forwarding import (
    KEYS,
    LOCAL,
    REMOTE,
    hold,
    sa_parameters,
    tcp_packet,
    two_ends,
    udp_packet,
)
from vcstack.crypto.aead import gcm
from vcstack.dataplane.pmtu import fragment
from vcstack.esp import packet as esp
from vcstack.gre.dialect import Dialect, Refusal
from vcstack.gre.packet import Protocol, encapsulate
from vcstack.gre.reflector import decrement_ttl
from vcstack.gre.verdict import Verdict
from vcstack.io import channel
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.tcp import TcpFlags

HERE, THERE = IPv4Address("100.64.1.2"), IPv4Address("100.64.1.1")
WAN = IPv4Address("192.168.5.15")
INTERFACES = {"interface_local": HERE, "interface_remote": THERE}
METADATA = bytes.fromhex("0800 0101 0001 0000")


class Far:
    """The peer of a forwarder, in scalar code: it sends what a test says and reads what comes back."""

    def __init__(self, **options: Any) -> None:
        self.end, _ = two_ends(**options)
        self.end.transport.close()  # forgets what the other end has sent already
        self.sent = 0
        self.datagrams: list[bytes] = []
        self.end.transport.tap = hold(self.datagrams)
        self.reports: list[channel.Report] = []

    def send(self, *packets: bytes, now: float = 0.0) -> None:
        """Seal packets as they are, and let the forwarder take them in one batch."""
        for data in scalar_path.sealed(list(packets), KEYS[1], 0x2002, first=self.sent + 1):
            self.end.transport.deliver(data)
        self.sent += len(packets)
        self.end.forwarder.transport_readable(now)

    def received(self) -> list[bytes]:
        """What the forwarder has sealed since."""
        taken, self.datagrams[:] = list(self.datagrams), []
        return [esp.open(gcm(KEYS[0]), data).payload for data in taken if len(data) > 1]

    def pass_time(self, now: float, *, answer: bool = False) -> None:
        """Let the forwarder's timers run, and answer its keepalives or not."""
        self.end.forwarder.handle_timeout(now)
        for packet in self.received():
            if answer and packet[22:24] == b"\x08\x00":
                self.send(decrement_ttl(packet[24:]), now=now)

    def told(self) -> list[channel.Report]:
        reports = self.end.forwarder.reports_to_send()
        self.reports += reports
        return reports

    def keepalives(self) -> channel.KeepaliveInfo:
        self.told()
        infos = [report for report in self.reports if isinstance(report, channel.KeepaliveInfo)]
        return infos[-1]


def request(
    destination: IPv4Address = REMOTE, source: IPv4Address = LOCAL, *, outer: int = Protocol.IPV4
) -> bytes:
    answer = encapsulate(b"", source, destination, protocol=Protocol.KEEPALIVE, tos=0xC0)
    front = METADATA if outer == Protocol.CISCO_METADATA else b""
    return encapsulate(front + answer, REMOTE, LOCAL, protocol=outer, tos=0xC0)


ANSWER = decrement_ttl(encapsulate(b"", LOCAL, REMOTE, protocol=Protocol.KEEPALIVE, tos=0xC0))


class TestDialects:
    @pytest.mark.parametrize(
        ("packet", "dialect"),
        [
            (request(), Dialect.CISCO),
            (request(outer=Protocol.CISCO_METADATA), Dialect.CISCO_METADATA),
            (request(outer=Protocol.HUAWEI_KEEPALIVE), Dialect.HUAWEI),
        ],
    )
    def test_requests_are_answered_through_esp_and_named(self, packet: bytes, dialect: Dialect) -> None:
        far = Far()
        far.send(packet)
        assert far.received() == [ANSWER]
        info = far.keepalives()
        assert (info.dialect, info.requests, info.reflected, info.refused) == (dialect, {dialect: 1}, 1, {})
        assert far.end.tun.packets() == []

    def test_an_answer_between_the_interfaces_goes_through_gre(self) -> None:
        far = Far(**INTERFACES)
        far.send(request(THERE, HERE))
        inner = decrement_ttl(encapsulate(b"", HERE, THERE, protocol=Protocol.KEEPALIVE, tos=0xC0))
        assert far.received() == [encapsulate(inner, LOCAL, REMOTE, tos=0xC0)]
        assert far.keepalives().dialect == Dialect.VELOCLOUD

    def test_an_answer_that_the_sa_does_not_admit_stays_here(self) -> None:
        far = Far()
        far.send(request(WAN))
        assert far.received() == []
        assert far.end.count("inbound_reflected") == 0
        info = far.keepalives()
        assert (info.dialect, info.refused) == (Dialect.MIKROTIK, {Refusal.SELECTOR: 1})
        assert info.verdict == Verdict.OFF_AND_CANNOT_BE_ANSWERED

    def test_an_sa_that_admits_it_carries_it(self) -> None:
        far = Far()
        anywhere = TrafficSelector(
            protocol=IpProtocol.GRE, start=IPv4Address(0), end=IPv4Address("255.255.255.255")
        )
        wide = replace(sa_parameters(0x3003, KEYS[0], LOCAL, REMOTE), remote_selectors=(anywhere,))
        far.end.forwarder.apply(channel.InstallOutbound(wide), 0.0)
        far.send(request(WAN))
        (sent,) = far.received()
        assert Ipv4Header.parse(sent).destination == WAN

    def test_user_traffic_with_metadata_arrives(self) -> None:
        far = Far()
        packet = udp_packet(b"voice")
        far.send(encapsulate(METADATA + packet, REMOTE, LOCAL, protocol=Protocol.CISCO_METADATA))
        far.send(encapsulate(bytes(8) + packet, REMOTE, LOCAL, protocol=Protocol.CISCO_METADATA))
        assert far.end.tun.packets() == [packet]
        assert far.end.count("gre_drop_metadata") == 1

    def test_a_huge_request_harms_nobody(self) -> None:
        far = Far()
        answer = encapsulate(bytes(60000), LOCAL, REMOTE, protocol=Protocol.KEEPALIVE)
        far.send(encapsulate(answer, REMOTE, LOCAL))
        assert far.received() == []
        far.send(request())
        assert far.received() == [ANSWER]


class TestVerdicts:
    def test_the_peer_asks_but_never_answers(self) -> None:
        far = Far(keepalive=True)
        for now in range(1, 42):
            far.pass_time(now)
            if now % 10 == 0:
                far.send(request(), now=now)
        assert far.keepalives().verdict == Verdict.NEVER_ANSWERS
        assert not far.keepalives().up

    def test_the_peer_answers_but_never_asks(self) -> None:
        far = Far(keepalive=True)
        for now in range(1, 42):
            far.pass_time(now, answer=True)
        assert far.keepalives().verdict == Verdict.ONLY_ANSWERS
        assert far.keepalives().up

    def test_silence_is_noticed_without_any_packet(self) -> None:
        far = Far()
        for now in (10.0, 20.0, 30.0):
            far.send(request(), now=now)
        assert far.keepalives().verdict == Verdict.OFF_AND_ASKED
        deadline = far.end.forwarder.next_timeout()
        assert deadline is not None
        for now in (40.0, 50.0, 60.0, 70.0, 75.0):
            far.pass_time(now)
        assert far.keepalives().verdict == Verdict.OFF_AND_SILENT

    def test_traffic_tells_nothing_about_keepalives(self) -> None:
        far = Far()
        far.told()
        far.send(*[encapsulate(udp_packet(b"voice"), REMOTE, LOCAL)] * 9)
        assert not any(isinstance(report, channel.KeepaliveInfo) for report in far.told())

    def test_a_flood_of_requests_is_no_flood_of_reports(self) -> None:
        far = Far()
        for step in range(1000):
            far.send(request(), now=step / 1000)
        infos = [report for report in far.told() if isinstance(report, channel.KeepaliveInfo)]
        assert len(infos) <= 12
        assert far.end.count("inbound_reflected") == 19
        far.pass_time(1.2)
        assert far.keepalives().requests == {Dialect.CISCO: 1000}


class TestOptions:
    """RFC 2784 and RFC 2890: what a peer may put into its headers."""

    def test_checksum_and_sequence_are_verified(self) -> None:
        far = Far(gre_key=7)
        packets = [numbered(size) for size in (100, 200, 300, 400)]
        sent = [
            delivered(packet, key=7, sequence=number, checksum=True) for number, packet in enumerate(packets)
        ]
        damaged = sent[1][:-1] + bytes((sent[1][-1] ^ 1,))
        far.send(sent[0], damaged, sent[2], sent[1], sent[3])
        assert far.end.tun.packets() == [packets[0], packets[2], packets[3]]
        assert far.end.count("gre_drop_checksum") == far.end.count("gre_drop_out_of_sequence") == 1

    @pytest.mark.parametrize(
        ("fields", "counter"),
        [({}, "key_missing"), ({"key": 8}, "key_mismatch"), ({"key": 7, "protocol": 0x880B}, "protocol")],
    )
    def test_what_is_not_for_this_tunnel_is_named(self, fields: dict[str, Any], counter: str) -> None:
        far = Far(gre_key=7)
        far.send(delivered(numbered(100), **fields))
        assert far.end.tun.packets() == []
        assert far.end.count(f"gre_drop_{counter}") == 1


class TestDamping:
    def test_a_line_that_failed_is_held(self) -> None:
        far = Far(keepalive=True, keepalive_damping=True, keepalive_interval_s=1.0, keepalive_retries=2)
        for now in (1.0, 2.0):
            far.pass_time(now, answer=True)
        assert far.keepalives().up
        for now in (3.0, 4.0, 5.0):
            far.pass_time(now)
        assert not far.keepalives().up
        far.pass_time(6.0, answer=True)
        assert (far.keepalives().up, far.keepalives().on_hold_for) == (False, 2)
        for now in (7.0, 8.0):
            far.pass_time(now, answer=True)
        info = far.keepalives()
        assert (info.up, info.on_hold_for, info.went_down) == (True, 0, 1)
        lines = [report.up for report in far.reports if isinstance(report, channel.LineState)]
        assert lines == [True, False, False, True]


def delivered(packet: bytes, **fields: Any) -> bytes:
    return encapsulate(packet, REMOTE, LOCAL, **fields)


def numbered(size: int, port: int = 20000) -> bytes:
    return udp_packet(bytes((index * 11 + port) % 256 for index in range(size)), port=port)


class TestFragments:
    @pytest.mark.parametrize("key", [None, 7])
    def test_what_the_peer_fragmented_arrives_whole_and_in_order(self, key: int | None) -> None:
        far = Far(gre_key=key)
        packets = [numbered(size, size) for size in (50, 1400, 60, 4000, 70, 1390)]
        pieces = []
        for number, packet in enumerate(packets):
            pieces += fragment(memoryview(delivered(packet, key=key, identification=number)), 1300)
        assert len(pieces) > len(packets)
        far.send(*pieces)
        assert far.end.tun.packets() == packets
        assert far.end.count("inbound_reassembled") == 3

    def test_fragments_may_come_in_any_order_and_in_many_batches(self) -> None:
        far = Far()
        packet = numbered(4000)
        for piece in reversed(fragment(memoryview(delivered(packet)), 1300)):
            assert far.end.tun.packets() == []
            far.send(delivered(numbered(20)), piece)
            assert far.end.tun.packets()[0] == numbered(20)
            far.end.tun.written.clear()
        far.send(*fragment(memoryview(delivered(packet, identification=2)), 1300)[::-1])
        assert far.end.tun.packets() == [packet]

    def test_a_whole_that_fits_its_row_stays_in_its_place(self) -> None:
        """The last fragment is larger than what is inside the datagram."""
        far = Far()
        packet = numbered(20)
        first, second = fragment(memoryview(delivered(packet)), 68)
        far.send(delivered(numbered(30)), first, delivered(numbered(40)), second, delivered(numbered(50)))
        assert far.end.tun.packets() == [numbered(30), numbered(40), packet, numbered(50)]

    def test_the_mss_of_what_was_reassembled_is_clamped(self) -> None:
        far = Far(mss=1000)
        packet = tcp_packet(bytes(100), flags=TcpFlags.SYN, options=b"\x02\x04\x05\xb4")
        far.send(*fragment(memoryview(delivered(packet)), 84))
        assert far.end.tun.packets() == [scalar_path.clamped(packet, 1000)]
        assert far.end.count("inbound_mss_clamped") == 1

    def test_a_keepalive_in_fragments_is_one(self) -> None:
        far = Far()
        answer = encapsulate(bytes(64), LOCAL, REMOTE, protocol=Protocol.KEEPALIVE)
        far.send(*fragment(memoryview(delivered(answer)), 68))
        assert far.received() == [decrement_ttl(answer)]

    def test_what_is_missing_is_given_up_in_time(self) -> None:
        far = Far()
        first, second = fragment(memoryview(delivered(numbered(1400))), 1300)
        far.send(first, now=1.0)
        far.pass_time(2.5)  # what is due every second is told
        deadline = far.end.forwarder.next_timeout()
        assert deadline is not None
        assert (deadline.at, deadline.reason) == (3.0, "fragments are missing")
        far.pass_time(3.0)
        assert far.end.count("fragment_drop_timeout") == 1
        far.send(second, now=3.0)
        assert far.end.tun.packets() == []

    def test_overlaps_are_counted(self) -> None:
        far = Far()
        first, _ = fragment(memoryview(delivered(numbered(1400))), 1300)
        other, _ = fragment(memoryview(delivered(numbered(1500, 9))), 1300)
        far.send(first, other)
        assert far.end.count("fragment_drop_overlap") == 1

    def test_fragments_outside_the_selectors_are_not_kept(self) -> None:
        far = Far()
        stranger = encapsulate(numbered(1400), IPv4Address("192.0.2.77"), LOCAL)
        far.send(*fragment(memoryview(stranger), 1300))
        assert (far.end.count("inbound_fragments"), far.end.count("esp_drop_selector_mismatch")) == (0, 2)

    def test_half_a_datagram_outlives_a_new_tunnel_mtu(self) -> None:
        far = Far()
        first, second = fragment(memoryview(delivered(numbered(1400))), 1300)
        far.send(first)
        smaller = msgspec.structs.replace(far.end.config, tunnel_mtu=1300)
        far.end.forwarder.apply(channel.Configure(smaller), 0.0)
        far.send(second)
        assert far.end.tun.packets() == [numbered(1400)]
