from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_path
from vcstack.esp.layout import wire_size
from vcstack.gre.keepalive import KeepaliveConfig, Prober, build_request
from vcstack.gre.line import LineState, State
from vcstack.gre.packet import Decapsulated, Header, Protocol, decapsulate, encapsulate
from vcstack.gre.reflector import Reflector, decrement_ttl
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import Ipv4Header

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
OTHER = IPv4Address("203.0.113.9")


def prober(*, key: int | None = None, **config: Any) -> Prober:
    return Prober(KeepaliveConfig(**config), TunnelConfig(local=NEAR, remote=FAR, key=key))


def reflector(*, key: int | None = None, **config: Any) -> Reflector:
    return Reflector(KeepaliveConfig(**config), TunnelConfig(local=FAR, remote=NEAR, key=key))


def opened(request: bytes, asker: TunnelConfig | None = None, *, key: int | None = None) -> Decapsulated:
    """A request as it comes out of the far end's tunnel."""
    local, remote = (FAR, NEAR) if asker is None else (asker.remote, asker.local)
    taken = decapsulate(request, local=local, remote=remote, key=key)
    assert isinstance(taken, Decapsulated)
    return taken


def answer(asker: Prober, mirror: Reflector, now: float, key: int | None = None) -> None:
    """Let the far end answer every probe that is waiting."""
    for request in asker.packets_to_send():
        reflected = mirror.reflect(opened(request, key=key), now)
        assert reflected is not None
        assert asker.receive(reflected, now)


def events(asker: Prober) -> list[LineState]:
    told = []
    while (event := asker.next_event()) is not None:
        told.append(event)
    return told


class TestFormat:
    def test_request_byte_by_byte(self) -> None:
        expected = bytes.fromhex(
            "45 c0 0030 1234 0000 ff 2f 24a7 c0000201 c0000202"  # IPv4 A > B, 48 bytes, TTL 255, GRE
            "0000 0800"  # GRE, IPv4
            "45 c0 0018 1234 0000 ff 2f 24bf c0000202 c0000201"  # IPv4 B > A, 24 bytes, TTL 255, GRE
            "0000 0000"  # GRE, keepalive
        )
        assert build_request(TunnelConfig(local=NEAR, remote=FAR), 0x1234) == expected

    def test_a_key_stands_in_both_headers(self) -> None:
        expected = bytes.fromhex(
            "45 c0 0038 0000 0000 ff 2f 36d3 c0000201 c0000202"
            "2000 0800 00000028"
            "45 c0 001c 0000 0000 ff 2f 36ef c0000202 c0000201"
            "2000 0000 00000028"
        )
        assert build_request(TunnelConfig(local=NEAR, remote=FAR, key=0x28)) == expected
        assert len(expected) == 56

    @pytest.mark.parametrize("key", [None, 0, 0xDEADBEEF])
    def test_scapy_builds_the_same(self, key: int | None) -> None:
        from scapy.layers.inet import IP
        from scapy.layers.l2 import GRE

        options = {} if key is None else {"key_present": 1, "key": key}
        theirs = (
            IP(src=str(NEAR), dst=str(FAR), ttl=255, tos=0xC0, id=5)
            / GRE(proto=0x0800, **options)
            / IP(src=str(FAR), dst=str(NEAR), ttl=255, tos=0xC0, id=5, proto=47)
            / GRE(proto=0, **options)
        )
        assert build_request(TunnelConfig(local=NEAR, remote=FAR, key=key), 5) == bytes(theirs)

    def test_sizes_in_esp(self) -> None:
        request = build_request(TunnelConfig(local=NEAR, remote=FAR))
        assert [wire_size(len(request), udp_encapsulation=udp) for udp in (False, True)] == [104, 112]
        assert [wire_size(len(opened(request).payload), udp_encapsulation=udp) for udp in (False, True)] == [
            80,
            88,
        ]

    def test_ios_answers_as_we_ask(self) -> None:
        """A capture of IOS 15.5 with key 0x28: its answers are ours after one hop."""
        from scapy.layers.inet import IP
        from scapy.utils import rdpcap

        seen = 0
        for frame in rdpcap(str(shared_path("corpus/pcap/tcpdump/various_gre.pcap"))):
            if IP not in frame or frame[IP].len != 28:
                continue
            captured = bytes(frame[IP])[:28]
            header = Ipv4Header.parse(captured)
            asker = TunnelConfig(local=header.destination, remote=header.source, key=0x28)
            ours = build_request(asker, header.identification)[28:]
            assert decrement_ttl(ours) == captured
            mirror = Reflector(
                KeepaliveConfig(), TunnelConfig(local=header.source, remote=header.destination)
            )
            request = opened(build_request(asker, header.identification), asker, key=0x28)
            assert mirror.reflect(request, 0.0) == captured
            seen += 1
        assert seen


class TestProber:
    def test_the_first_answer_takes_the_line_up(self) -> None:
        asker, mirror = prober(), reflector()
        assert asker.next_timeout() is None
        asker.start(100.0)
        assert not asker.line_up
        answer(asker, mirror, 100.02)
        assert events(asker) == [LineState(True, "keepalive answered")]
        assert asker.next_timeout() == Deadline(110.0, "GRE keepalive is due")
        assert asker.snapshot().round_trip_s == pytest.approx(0.02)

    def test_down_30_s_after_the_first_lost_probe_and_up_with_the_next_answer(self) -> None:
        asker, mirror = prober(), reflector()
        asker.start(0.0)
        answer(asker, mirror, 0.0)
        events(asker)
        for now in (10.0, 20.0, 30.0):
            asker.handle_timeout(now)
            assert len(asker.packets_to_send()) == 1
            assert asker.line_up
        asker.handle_timeout(39.9)
        assert asker.line_up
        asker.handle_timeout(40.0)
        assert events(asker) == [LineState(False, "3 keepalives unanswered")]
        for now in (50.0, 60.0):
            asker.handle_timeout(now)
        assert events(asker) == []
        assert len(asker.packets_to_send()) == 3
        asker.handle_timeout(70.0)
        answer(asker, mirror, 70.1)
        assert events(asker) == [LineState(True, "keepalive answered")]
        assert asker.snapshot().went_down == 1

    def test_an_answer_in_time_resets_the_count(self) -> None:
        asker, mirror = prober(retries=2), reflector()
        asker.start(0.0)
        for now in range(0, 200, 20):  # every second probe is lost
            answer(asker, mirror, float(now))
            asker.handle_timeout(now + 10.0)
            asker.packets_to_send()
            asker.handle_timeout(now + 20.0)
        assert events(asker) == [LineState(True, "keepalive answered")]

    def test_a_peer_that_never_answers_is_named(self) -> None:
        asker = prober(interval_s=1.0, retries=2)
        asker.start(0.0)
        for now in (1.0, 2.0, 3.0):
            asker.handle_timeout(now)
        snapshot = asker.snapshot()
        assert (snapshot.state, snapshot.reason) == (State.DOWN, "2 keepalives unanswered")
        assert (snapshot.sent, snapshot.received, snapshot.unanswered) == (4, 0, 4)
        assert events(asker) == [LineState(False, "2 keepalives unanswered")]

    def test_the_first_probe_is_repeated_soon_but_patience_lasts_as_long(self) -> None:
        asker = prober()
        asker.start(0.0)
        for now in range(1, 30):
            asker.handle_timeout(float(now))
        assert len(asker.packets_to_send()) == 30
        assert events(asker) == []
        asker.handle_timeout(30.0)
        assert events(asker) == [LineState(False, "30 keepalives unanswered")]
        assert asker.next_timeout() == Deadline(40.0, "GRE keepalive is due")

    def test_disabled_means_up_and_silent(self) -> None:
        asker = prober(enabled=False)
        asker.start(0.0)
        assert events(asker) == [LineState(True, "keepalives disabled, line assumed up")]
        assert asker.next_timeout() is None
        asker.handle_timeout(1e6)
        assert asker.packets_to_send() == []
        asker.stop(5.0, "no security association")
        assert events(asker) == [LineState(False, "no security association")]

    def test_stop_takes_the_line_down_and_start_begins_anew(self) -> None:
        asker, mirror = prober(), reflector()
        asker.start(0.0)
        answer(asker, mirror, 0.0)
        asker.stop(3.0, "no security association")
        assert events(asker)[-1] == LineState(False, "no security association")
        assert (asker.next_timeout(), asker.packets_to_send()) == (None, [])
        asker.handle_timeout(500.0)
        assert asker.packets_to_send() == []
        asker.start(600.0)
        assert not asker.line_up
        answer(asker, mirror, 600.0)
        assert events(asker) == [LineState(True, "keepalive answered")]

    def test_starting_twice_changes_nothing(self) -> None:
        asker, mirror = prober(), reflector()
        asker.start(0.0)
        answer(asker, mirror, 0.0)
        asker.start(1.0)
        assert asker.packets_to_send() == []
        assert asker.line_up

    def test_an_early_timeout_is_a_no_op(self) -> None:
        asker = prober()
        asker.start(0.0)
        asker.packets_to_send()
        asker.handle_timeout(0.99)
        assert asker.packets_to_send() == []
        assert asker.snapshot().unanswered == 1

    def test_a_late_timeout_sends_one_probe_and_counts_one(self) -> None:
        asker = prober()
        asker.start(0.0)
        asker.packets_to_send()
        asker.handle_timeout(1000.0)
        asker.handle_timeout(1000.0)
        assert len(asker.packets_to_send()) == 1
        assert asker.next_timeout() == Deadline(1010.0, "GRE keepalive is due")

    @pytest.mark.parametrize(
        "packet",
        [
            encapsulate(b"", NEAR, FAR, protocol=Protocol.KEEPALIVE),
            encapsulate(b"", FAR, NEAR, protocol=Protocol.IPV4),
            encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE, key=9),
            encapsulate(b"", OTHER, NEAR, protocol=Protocol.KEEPALIVE),
            b"",
        ],
    )
    def test_other_packets_are_no_answers(self, packet: bytes) -> None:
        asker = prober()
        asker.start(0.0)
        assert not asker.receive(packet, 1.0)
        assert not asker.line_up

    @pytest.mark.parametrize("extra", [b"", bytes(16)])
    def test_an_answer_with_a_payload_is_one(self, extra: bytes) -> None:
        asker = prober(key=9)
        asker.start(0.0)
        assert asker.receive(encapsulate(extra, FAR, NEAR, protocol=Protocol.KEEPALIVE, key=9), 1.0)
        assert asker.line_up

    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from(["tick", "answer", "stop", "start", "wait"]), max_size=40),
        st.integers(1, 5),
        st.booleans(),
    )
    def test_events_agree_with_the_line(self, steps: list[str], retries: int, damping: bool) -> None:
        asker = prober(retries=retries, damping=damping)
        mirror, now, up = reflector(reflect_per_s=1e6), 0.0, False
        for step in steps:
            now += 1.0
            match step:
                case "start":
                    asker.start(now)
                case "stop":
                    asker.stop(now, "stopped")
                case "answer":
                    answer(asker, mirror, now)
                case "tick":
                    due = asker.next_timeout()
                    now = now if due is None else max(now, due.at)
                    asker.handle_timeout(now)
            for event in events(asker):
                # That the line stays down for another reason is told, too.
                assert not (event.up and up)
                up = event.up
            assert asker.line_up == up
            unanswered = asker.snapshot().unanswered
            assert not up or unanswered <= retries


class Damped:
    """A damped line whose far end answers or does not, one interval of 10 s at a time."""

    def __init__(self, retries: int = 2) -> None:
        self.asker, self.mirror, self.now = prober(damping=True, retries=retries), reflector(), 0.0
        self.asker.start(0.0)

    def pass_intervals(self, count: int, *, answered: bool) -> None:
        for _ in range(count):
            if answered:
                answer(self.asker, self.mirror, self.now)
            else:
                self.asker.packets_to_send()
            self.now += 10.0
            self.asker.handle_timeout(self.now)

    def fail(self) -> None:
        self.pass_intervals(3, answered=False)
        assert self.asker.snapshot().state is State.DOWN

    def intervals_until_up(self) -> int:
        for count in range(1, 200):
            answer(self.asker, self.mirror, self.now)
            if self.asker.line_up:
                return count
            self.now += 10.0
            self.asker.handle_timeout(self.now)
        raise AssertionError("the line never comes up")


class TestDamping:
    def test_the_first_start_is_not_held(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        assert line.asker.line_up

    def test_a_line_that_failed_needs_several_answers_and_more_each_time(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        held = []
        for _ in range(7):
            line.fail()
            held.append(line.intervals_until_up() - 1)  # the first answer only begins the hold
        # Doubled each time, less the one answer that arrived while the line was up.
        assert held == [2, 4, 8, 16, 32, 32, 32]

    def test_hold_is_told_and_shown(self) -> None:
        line = Damped(retries=3)
        line.pass_intervals(1, answered=True)
        line.pass_intervals(4, answered=False)
        events(line.asker)
        line.pass_intervals(2, answered=True)
        snapshot = line.asker.snapshot()
        assert (snapshot.state, snapshot.line_up, snapshot.on_hold_for) == (State.HOLD, False, 2)
        assert events(line.asker) == [LineState(False, State.HOLD.value)]
        line.pass_intervals(2, answered=True)
        assert events(line.asker) == [LineState(True, "keepalive answered")]
        assert line.asker.snapshot().on_hold_for == 0

    def test_silence_during_the_hold_is_another_failure(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        line.fail()
        line.pass_intervals(2, answered=True)
        assert line.asker.snapshot().state is State.HOLD
        line.fail()
        assert line.intervals_until_up() - 1 == 4

    def test_a_lost_security_association_does_not_end_the_hold(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        line.fail()
        line.asker.stop(line.now, "no security association")
        events(line.asker)
        line.asker.start(line.now)
        assert events(line.asker) == [LineState(False, State.HOLD.value)]
        assert not line.asker.line_up
        assert line.intervals_until_up() == 2

    def test_answers_that_no_probe_waits_for_prove_nothing(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        line.fail()
        (*_, request) = line.asker.packets_to_send()
        reflected = line.mirror.reflect(opened(request), line.now)
        assert reflected is not None
        for _ in range(50):
            line.asker.receive(reflected, line.now)
        assert line.asker.snapshot().state is State.HOLD

    def test_an_answer_while_stopped_changes_nothing(self) -> None:
        line = Damped()
        line.pass_intervals(1, answered=True)
        line.fail()
        (*_, request) = line.asker.packets_to_send()
        reflected = line.mirror.reflect(opened(request), line.now)
        assert reflected is not None
        line.asker.stop(line.now, "no security association")
        line.asker.receive(reflected, line.now)
        assert line.asker.snapshot().state is State.STOPPED
        line.asker.start(line.now)
        assert line.intervals_until_up() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_s": 0.0},
        {"retries": 0},
        {"reflect_per_s": 0.0},
        {"reflect_burst_pkts": 0},
    ],
)
def test_configurations_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        KeepaliveConfig(**wrong)


def test_headers_know_their_length() -> None:
    assert [Header().length, Header(key=1).length, Header(0, 1, 2, True).length] == [4, 8, 16]
