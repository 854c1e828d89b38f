import random
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.dataplane.pmtu import fragment
from vcstack.gre.reassembly import Discard, Reassembler, ReassemblyConfig
from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import Ipv4Header

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")


def datagram(length: int, identification: int = 7, **fields: Any) -> bytes:
    """A GRE packet with `length` bytes that all differ from their neighbours."""
    body = bytes((index * 7 + index // 256) % 256 for index in range(length))
    return Ipv4Header(FAR, NEAR, 47, identification=identification, ttl=255, **fields).build(length) + body


def piece(start: int, body: bytes, *, more: bool, identification: int = 7, **fields: Any) -> bytes:
    """A fragment whose data begins at byte `start`."""
    header = Ipv4Header(
        FAR,
        NEAR,
        47,
        identification=identification,
        more_fragments=more,
        fragment_offset=start // 8,
        **fields,
    )
    return header.build(len(body)) + body


def feed(reassembler: Reassembler, *packets: bytes, now: float = 0.0) -> list[bytes]:
    outcomes = [reassembler.receive(packet, now) for packet in packets]
    return [outcome for outcome in outcomes if outcome is not None]


def test_two_fragments_become_one_datagram() -> None:
    whole = datagram(1444)
    first, second = fragment(memoryview(whole), 1420)
    reassembler = Reassembler()
    assert feed(reassembler, first) == []
    assert reassembler.next_timeout() == Deadline(2.0, "fragments are missing")
    assert feed(reassembler, second, now=0.1) == [whole]
    snapshot = reassembler.snapshot()
    assert (snapshot.fragments, snapshot.reassembled, snapshot.unfinished, snapshot.unfinished_bytes) == (
        2,
        1,
        0,
        0,
    )
    assert (snapshot.discards, reassembler.next_timeout()) == ({}, None)


def test_what_is_no_fragment_comes_back() -> None:
    reassembler = Reassembler()
    assert feed(reassembler, datagram(100), datagram(0, dont_fragment=True)) == [
        datagram(100),
        datagram(0, dont_fragment=True),
    ]
    assert reassembler.snapshot().fragments == 0


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_order_gives_the_datagrams_back(data: st.DataObject) -> None:
    """Several datagrams, each with its own MTU, all fragments shuffled, some of them twice."""
    wholes, pieces = [], []
    for identification in range(data.draw(st.integers(1, 4))):
        whole = datagram(data.draw(st.integers(1, 4000)), identification)
        wholes.append(whole)
        pieces += fragment(memoryview(whole), data.draw(st.integers(68, 1500)))
    fragments = [one for one in pieces if Ipv4Header.parse(one).is_fragment]
    noise = random.Random(data.draw(st.integers(0, 1 << 16)))
    noise.shuffle(pieces)
    reassembler = Reassembler(ReassemblyConfig(max_fragments=100))
    assert sorted(feed(reassembler, *pieces)) == sorted(wholes)
    snapshot = reassembler.snapshot()
    assert (snapshot.fragments, snapshot.unfinished, snapshot.unfinished_bytes) == (len(fragments), 0, 0)
    assert snapshot.discards == {}


@settings(deadline=None, max_examples=40)
@given(st.integers(16, 5000), st.integers(8, 1400), st.integers(0, 1 << 16))
def test_scapy_fragments_the_same(length: int, size: int, seed: int) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet import fragment as scapy_fragment

    whole = datagram(length)
    pieces = [bytes(one) for one in scapy_fragment(IP(whole), size)]
    random.Random(seed).shuffle(pieces)
    assert feed(Reassembler(ReassemblyConfig(max_fragments=1000)), *pieces) == [whole]


def test_the_first_fragments_header_stands() -> None:
    """Options, TOS and TTL are those of the first fragment, whichever comes first."""
    options = bytes.fromhex("9404 0000")  # router alert, copied
    first = piece(0, bytes(64), more=True, tos=0xB8, ttl=200, options=options)
    second = piece(64, b"end", more=False, tos=0, ttl=199)
    (whole,) = feed(Reassembler(), second, first)
    header = Ipv4Header.parse(whole)
    assert (header.tos, header.ttl, header.options) == (0xB8, 200, options)
    assert (header.is_fragment, header.total_length) == (False, 24 + 67)


@pytest.mark.parametrize("marked", [0, 1])
def test_a_congestion_mark_on_any_fragment_is_kept(marked: int) -> None:
    """RFC 3168 section 5.3."""
    first = piece(0, bytes(64), more=True, tos=0xB8 | (3 if marked == 0 else 2))
    second = piece(64, b"end", more=False, tos=0xB8 | (3 if marked == 1 else 2))
    (whole,) = feed(Reassembler(), first, second)
    assert Ipv4Header.parse(whole).tos == 0xB8 | 3


def test_repeated_fragments_are_ignored() -> None:
    whole = datagram(3000)
    one, two, three = fragment(memoryview(whole), 1420)
    reassembler = Reassembler()
    assert feed(reassembler, one, one, three, two) == [whole]
    assert (reassembler.snapshot().duplicates, reassembler.discards) == (1, {})


BASE = [piece(16, bytes(16), more=True)]


@pytest.mark.parametrize(
    ("before", "packet", "reason"),
    [
        ([], b"", Discard.MALFORMED),
        ([], datagram(10)[:-1], Discard.MALFORMED),
        ([], piece(0, bytes(7), more=True), Discard.MALFORMED),
        ([], piece(8, b"", more=False), Discard.MALFORMED),
        ([], piece(0, b"", more=True), Discard.MALFORMED),
        ([], piece(65528, bytes(8), more=False), Discard.TOO_LONG),
        ([], piece(65512, bytes(8), more=True), Discard.TOO_LONG),
        (BASE, piece(16, b"x" * 16, more=True), Discard.OVERLAP),  # same place, other bytes
        (BASE, piece(16, bytes(8), more=True), Discard.OVERLAP),
        (BASE, piece(24, bytes(8), more=True), Discard.OVERLAP),
        (BASE, piece(24, bytes(32), more=True), Discard.OVERLAP),
        (BASE, piece(8, bytes(16), more=True), Discard.OVERLAP),
        (BASE, piece(0, bytes(64), more=True), Discard.OVERLAP),
        (BASE, piece(8, bytes(9), more=False), Discard.OVERLAP),
        (BASE, piece(8, bytes(8), more=False), Discard.END),  # ends before what is there
        (BASE, piece(8, bytes(3), more=False), Discard.END),
        ([piece(16, b"end", more=False)], piece(24, bytes(8), more=True), Discard.END),
        ([piece(16, b"end", more=False)], piece(24, b"end", more=False), Discard.END),
        ([piece(16, b"end", more=False)], piece(8, bytes(8), more=False), Discard.END),
    ],
)
def test_what_cannot_be_is_given_up(before: list[bytes], packet: bytes, reason: Discard) -> None:
    reassembler = Reassembler()
    assert feed(reassembler, *before, packet) == []
    assert reassembler.snapshot().discards == {reason: 1}
    assert reassembler.snapshot().unfinished_bytes == 0


def test_a_header_with_options_can_make_it_too_long() -> None:
    """The last fragment fits behind a header of 20 bytes; the first one's has 24."""
    body = bytes(65512)
    pieces = [piece(0, body[:32000], more=True, options=bytes(4)), piece(32000, body[32000:], more=False)]
    reassembler = Reassembler()
    assert feed(reassembler, *pieces) == []
    assert reassembler.discards == {Discard.TOO_LONG: 1}


def test_the_longest_datagram_is_reassembled() -> None:
    whole = datagram(65515)
    assert feed(Reassembler(), *fragment(memoryview(whole), 1420)) == [whole]


def test_datagrams_of_other_flows_do_not_mix() -> None:
    """Source, destination, protocol and identification, all four, say what belongs together."""
    first, second = fragment(memoryview(datagram(100)), 68)[0], piece(48, b"x", more=False)
    header = Ipv4Header.parse(second)
    others = [
        replace(header, source=NEAR),
        replace(header, destination=FAR),
        replace(header, protocol=4),
        replace(header, identification=8),
    ]
    reassembler = Reassembler()
    assert feed(reassembler, first, *(other.build(1) + b"x" for other in others)) == []
    assert reassembler.snapshot().unfinished == 5


def test_missing_fragments_end_after_a_while() -> None:
    first, second = fragment(memoryview(datagram(100)), 100)
    reassembler = Reassembler(ReassemblyConfig(timeout_s=3.0))
    feed(reassembler, first, now=10.0)
    reassembler.handle_timeout(12.9)
    assert reassembler.snapshot().unfinished == 1
    assert reassembler.next_timeout() == Deadline(13.0, "fragments are missing")
    reassembler.handle_timeout(13.0)
    assert reassembler.snapshot().discards == {Discard.TIMEOUT: 1}
    assert feed(reassembler, second, now=13.0) == []


def test_a_late_fragment_does_not_finish_an_expired_datagram() -> None:
    first, second = fragment(memoryview(datagram(100)), 100)
    reassembler = Reassembler()
    assert feed(reassembler, first, now=0.0) == feed(reassembler, second, now=2.0) == []
    assert reassembler.discards == {Discard.TIMEOUT: 1}


def test_the_oldest_goes_when_there_are_too_many() -> None:
    reassembler = Reassembler(ReassemblyConfig(max_datagrams=2))
    halves = [fragment(memoryview(datagram(100, number)), 100) for number in range(3)]
    assert feed(reassembler, *(first for first, _ in halves)) == []
    assert reassembler.discards == {Discard.EVICTED: 1}
    assert feed(reassembler, halves[1][1], halves[2][1]) == [datagram(100, 1), datagram(100, 2)]


def test_memory_is_bounded() -> None:
    reassembler = Reassembler(ReassemblyConfig(max_bytes=65535))
    for number in range(200):
        feed(reassembler, piece(0, bytes(1400), more=True, identification=number))
        assert reassembler.snapshot().unfinished_bytes <= 65535
    assert reassembler.snapshot().unfinished == 65535 // 1400
    assert reassembler.discards == {Discard.EVICTED: 200 - 65535 // 1400}


def test_crumbs_are_bounded() -> None:
    reassembler = Reassembler(ReassemblyConfig(max_fragments=10))
    feed(reassembler, *(piece(start, bytes(8), more=True) for start in range(0, 88, 8)))
    assert reassembler.discards == {Discard.TOO_MANY: 1}


class Model:
    """Reassembly byte by byte, of one datagram at a time: no intervals, no counts."""

    def __init__(self) -> None:
        self.octets: dict[int, int] = {}
        self.fragments: list[tuple[int, bytes]] = []
        self.end: int | None = None

    def forget(self) -> None:
        self.octets, self.fragments, self.end = {}, [], None

    def receive(self, start: int, body: bytes, *, more: bool) -> bytes | Discard | None:
        if not body or (more and len(body) % 8):
            return None
        if (start, body) in self.fragments:
            return None
        places = range(start, start + len(body))
        if any(place in self.octets for place in places):
            return self.give_up(Discard.OVERLAP)
        beyond = self.end is not None and places[-1] >= self.end
        if beyond or (
            not more and (self.end is not None or any(place > places[-1] for place in self.octets))
        ):
            return self.give_up(Discard.END)
        self.fragments.append((start, body))
        self.octets |= dict(zip(places, body, strict=True))
        self.end = self.end if more else start + len(body)
        if self.end is None or set(self.octets) != set(range(self.end)):
            return None
        whole = bytes(self.octets[place] for place in range(self.end))
        self.forget()
        return whole

    def give_up(self, reason: Discard) -> Discard:
        self.forget()
        return reason


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 20), st.booleans(), st.integers(0, 1)).filter(
            lambda step: step[0] > 0 or step[2]
        ),
        max_size=40,
    )
)
def test_any_fragments_are_treated_as_in_the_model(steps: list[tuple[int, int, bool, int]]) -> None:
    reassembler, model = Reassembler(), Model()
    given_up: dict[Discard, int] = {}
    for unit, length, more, content in steps:
        body = bytes([unit * 2 + content]) * length
        expected = model.receive(unit * 8, body, more=more)
        if not body or (more and length % 8):
            expected = Discard.MALFORMED
        outcome = reassembler.receive(piece(unit * 8, body, more=more), 0.0)
        if isinstance(expected, Discard):
            given_up[expected] = given_up.get(expected, 0) + 1
            expected = None
        assert (None if outcome is None else outcome[20:]) == expected
        snapshot = reassembler.snapshot()
        assert snapshot.discards == given_up
        assert snapshot.unfinished_bytes == len(model.octets)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(1, 200)), max_size=60))
def test_the_limits_hold_whatever_arrives(steps: list[tuple[int, int, int]]) -> None:
    limits = ReassemblyConfig(max_datagrams=3, max_fragments=4, timeout_s=1.0)
    reassembler, now = Reassembler(limits), 0.0
    for identification, wait, unit in steps:
        now += wait / 4
        reassembler.receive(piece(unit * 8, bytes(8), more=True, identification=identification), now)
        snapshot, deadline = reassembler.snapshot(), reassembler.next_timeout()
        assert snapshot.unfinished <= 3
        assert snapshot.unfinished_bytes <= 3 * 4 * 8
        assert deadline is None or now < deadline.at <= now + 1.0
    reassembler.handle_timeout(now + 1.0)
    assert reassembler.snapshot().unfinished_bytes == 0


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_taken(data: bytes) -> None:
    outcome = Reassembler().receive(data, 0.0)
    assert outcome in (None, data)


@pytest.mark.parametrize(
    "wrong", [{"timeout_s": 0.0}, {"max_datagrams": 0}, {"max_fragments": 1}, {"max_bytes": 65534}]
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reassembly"):
        ReassemblyConfig(**wrong)
