from ipaddress import IPv4Address
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_path
from vcstack.esp.layout import wire_size
from vcstack.gre.keepalive import (
    LINE_UP,
    TRANSITIONS,
    Input,
    KeepaliveConfig,
    LineState,
    Prober,
    Reflector,
    Refusal,
    State,
    build_request,
    decrement_ttl,
)
from vcstack.gre.packet import Decapsulated, Header, Protocol, decapsulate, encapsulate
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import Ipv4Header

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
OTHER = IPv4Address("203.0.113.9")


def prober(*, key: int | None = None, **config: Any) -> Prober:
    return Prober(KeepaliveConfig(**config), TunnelConfig(local=NEAR, remote=FAR, key=key))


def reflector(*, key: int | None = None, **config: Any) -> Reflector:
    return Reflector(KeepaliveConfig(**config), TunnelConfig(local=FAR, remote=NEAR, key=key))


def contents(request: bytes, key: int | None = None) -> bytes:
    taken = decapsulate(request, local=FAR, remote=NEAR, key=key)
    assert isinstance(taken, Decapsulated)
    return taken.payload


def answer(asker: Prober, mirror: Reflector, now: float, key: int | None = None) -> None:
    """Let the far end answer every probe that is waiting."""
    for request in asker.packets_to_send():
        reflected = mirror.reflect(contents(request, key), now)
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
        assert [wire_size(len(contents(request)), udp_encapsulation=udp) for udp in (False, True)] == [80, 88]

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
            assert mirror.reflect(ours, 0.0) == captured
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
    )
    def test_events_alternate_and_agree_with_the_line(self, steps: list[str], retries: int) -> None:
        asker, mirror, now, up = prober(retries=retries), reflector(reflect_per_s=1e6), 0.0, False
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
                assert event.up != up
                up = event.up
            assert asker.line_up == up
            unanswered = asker.snapshot().unanswered
            assert not up or unanswered <= retries


class TestTransitions:
    def test_every_pair_has_a_row(self) -> None:
        assert set(TRANSITIONS) == set(product(State, Input))

    @pytest.mark.parametrize("state", list(State))
    def test_stop_ends_everywhere_and_only_answers_take_a_probed_line_up(self, state: State) -> None:
        assert TRANSITIONS[state, Input.STOP] is State.STOPPED
        risen = {event for event in Input if TRANSITIONS[state, event] in LINE_UP and state not in LINE_UP}
        allowed = {State.STOPPED: {Input.ASSUME}, State.WAITING: {Input.REPLY}, State.DOWN: {Input.REPLY}}
        assert risen == allowed.get(state, set())


class TestReflector:
    def test_the_answer_differs_in_ttl_and_checksum_alone(self) -> None:
        inner = contents(build_request(TunnelConfig(local=NEAR, remote=FAR), 77))
        reflected = reflector().reflect(inner, 0.0)
        assert reflected is not None
        assert Ipv4Header.parse(reflected).ttl == 254
        assert (reflected[:8], reflected[9:10], reflected[12:]) == (inner[:8], inner[9:10], inner[12:])

    @pytest.mark.parametrize(
        "fields",
        [
            {"key": 1},
            {"key": 2, "sequence": 5},
            {"checksum": True},
            {"ttl": 2},
            {"tos": 0},
            {"identification": 0xFFFF},
            {"dont_fragment": True},
        ],
    )
    @pytest.mark.parametrize("payload", [b"", bytes(range(16))])
    def test_variants_are_reflected_as_they_came(self, fields: dict[str, Any], payload: bytes) -> None:
        inner = encapsulate(payload, FAR, NEAR, protocol=Protocol.KEEPALIVE, **fields)
        reflected = reflector(key=1).reflect(inner, 0.0)
        assert reflected is not None
        assert reflected[12:] == inner[12:]
        Ipv4Header.parse(reflected)

    def test_a_wrong_gre_checksum_is_the_askers_own(self) -> None:
        inner = bytearray(encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE, checksum=True))
        inner[24] ^= 1
        assert reflector().reflect(bytes(inner), 0.0) is not None

    def test_trailing_bytes_stay_behind(self) -> None:
        inner = encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE)
        reflected = reflector().reflect(inner + bytes(9), 0.0)
        assert reflected is not None
        assert len(reflected) == 24

    def test_another_vendors_outer_protocol_is_taken(self) -> None:
        answer_inside = encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE)
        request = encapsulate(answer_inside, NEAR, FAR, protocol=Protocol.HUAWEI_KEEPALIVE)
        assert reflector().reflect(contents(request), 0.0) is not None

    @pytest.mark.parametrize(
        ("inner", "refusal"),
        [
            (b"", Refusal.MALFORMED),
            (bytes(24), Refusal.MALFORMED),
            (encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE)[:-1], Refusal.MALFORMED),
            (encapsulate(b"", FAR, NEAR), Refusal.NOT_KEEPALIVE),
            (encapsulate(b"", NEAR, FAR, protocol=Protocol.KEEPALIVE), Refusal.NOT_KEEPALIVE),
            (Ipv4Header(FAR, NEAR, 17).build(4) + bytes(4), Refusal.NOT_KEEPALIVE),
            (Ipv4Header(FAR, NEAR, 47).build(4) + bytes.fromhex("00010000"), Refusal.NOT_KEEPALIVE),
            (Ipv4Header(FAR, NEAR, 47).build(3) + bytes(3), Refusal.NOT_KEEPALIVE),
            (Ipv4Header(FAR, NEAR, 47, more_fragments=True).build(4) + bytes(4), Refusal.NOT_KEEPALIVE),
            (encapsulate(b"", FAR, OTHER, protocol=Protocol.KEEPALIVE), Refusal.DESTINATION),
            (encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE, ttl=1), Refusal.TTL),
            (encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE, ttl=0), Refusal.TTL),
        ],
    )
    def test_what_is_not_reflected(self, inner: bytes, refusal: Refusal) -> None:
        mirror = reflector()
        assert mirror.reflect(inner, 0.0) is None
        assert mirror.snapshot().refused == {refusal: 1}

    def test_the_rate_is_bounded(self) -> None:
        mirror = reflector(reflect_per_s=10.0, reflect_burst_pkts=5)
        inner = encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE)
        assert sum(mirror.reflect(inner, 0.0) is not None for _ in range(20)) == 5
        assert sum(mirror.reflect(inner, 0.3) is not None for _ in range(20)) == 3
        assert sum(mirror.reflect(inner, 1000.0) is not None for _ in range(20)) == 5
        snapshot = mirror.snapshot()
        assert (snapshot.reflected, snapshot.last_reflected_at) == (13, 1000.0)
        assert snapshot.refused == {Refusal.RATE: 47}

    def test_refused_packets_cost_no_tokens(self) -> None:
        mirror = reflector(reflect_burst_pkts=1)
        for _ in range(9):
            mirror.reflect(encapsulate(b"", FAR, OTHER, protocol=Protocol.KEEPALIVE), 0.0)
        assert mirror.reflect(encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE), 0.0) is not None

    def test_only_gre_from_our_own_address_is_claimed(self) -> None:
        mirror = reflector()
        assert mirror.claims(encapsulate(b"", FAR, NEAR, protocol=Protocol.KEEPALIVE))
        assert mirror.claims(encapsulate(b"", FAR, OTHER))
        assert not mirror.claims(encapsulate(b"", OTHER, FAR, protocol=Protocol.KEEPALIVE))
        assert not mirror.claims(Ipv4Header(FAR, NEAR, 17).build(0))
        assert not mirror.claims(b"")

    def test_two_ends_that_are_down_take_each_other_up(self) -> None:
        near, far = prober(), Prober(KeepaliveConfig(), TunnelConfig(local=FAR, remote=NEAR))
        near_mirror = Reflector(KeepaliveConfig(), TunnelConfig(local=NEAR, remote=FAR))
        near.start(0.0)
        far.start(0.0)
        for now in (10.0, 20.0, 30.0, 40.0):
            near.handle_timeout(now)
            far.handle_timeout(now)
        assert near.snapshot().state is far.snapshot().state is State.DOWN
        near.packets_to_send()
        (request,) = far.packets_to_send()[-1:]
        taken = decapsulate(request, local=NEAR, remote=FAR)
        assert isinstance(taken, Decapsulated)
        reflected = near_mirror.reflect(taken.payload, 41.0)
        assert reflected is not None
        assert far.receive(reflected, 41.0)
        assert (near.line_up, far.line_up) == (False, True)

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes_are_refused_or_reflected(self, data: bytes) -> None:
        mirror = reflector()
        reflected = mirror.reflect(data, 0.0)
        assert (reflected is None) == (sum(mirror.snapshot().refused.values()) == 1)

    @settings(deadline=None)
    @given(st.binary(max_size=40), st.sampled_from([NEAR, OTHER]))
    def test_any_gre_from_our_address_is_refused_or_reflected(
        self, gre: bytes, destination: IPv4Address
    ) -> None:
        inner = Ipv4Header(FAR, destination, 47).build(len(gre)) + gre
        reflected = reflector().reflect(inner, 0.0)
        if reflected is not None:
            assert destination == NEAR
            assert gre[2:4] == bytes(2)


@settings(deadline=None)
@given(st.integers(1, 255), st.integers(0, 65535), st.integers(0, 255))
def test_a_decremented_ttl_keeps_the_checksum_right(ttl: int, identification: int, tos: int) -> None:
    header = Ipv4Header(FAR, NEAR, 47, ttl=ttl, identification=identification, tos=tos)
    forwarded = Ipv4Header.parse(decrement_ttl(header.build(4) + bytes(4)))
    assert (forwarded.ttl, forwarded.identification, forwarded.tos) == (ttl - 1, identification, tos)


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
