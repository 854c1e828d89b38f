from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.esp.support import FAR, KEY, NEAR, SALT, SPI, packet, parameters
from vcstack.crypto.aead import gcm
from vcstack.esp import packet as esp
from vcstack.esp.lifetime import Expiry, Lifetime, Limit, Phase
from vcstack.esp.packet import Drop
from vcstack.esp.sa import (
    LAST_EXTENDED_SEQUENCE,
    LAST_SEQUENCE,
    SEQUENCE_RESERVE,
    Events,
    Expired,
    FirstUse,
    HardExpired,
    InboundSa,
    OutboundSa,
    SequenceExhausted,
)
from vcstack.wire.deadline import Deadline
from vcstack.wire.secret import Secret


def outbound(**changes: Any) -> tuple[OutboundSa, Events]:
    events: Events = deque()
    return OutboundSa(parameters(local=NEAR, remote=FAR, **changes), 0.0, events), events


def inbound(**changes: Any) -> tuple[InboundSa, Events]:
    events: Events = deque()
    return InboundSa(parameters(local=FAR, remote=NEAR, **changes), 0.0, events), events


def sealed(sequence: int, payload: bytes, next_header: int = 4) -> bytes:
    return esp.seal(gcm(KEY + SALT), SPI, sequence, sequence.to_bytes(8), payload, next_header)


@pytest.mark.parametrize("esn", [False, True])
def test_what_one_end_seals_the_other_opens(esn: bool) -> None:
    (sender, _), (receiver, events) = outbound(esn=esn), inbound(esn=esn)
    for number in range(5):
        inner = packet(bytes(number))
        assert receiver.open(sender.seal(inner)) == inner
    assert list(events) == [FirstUse(SPI)]
    assert (receiver.meter.packets, receiver.window.top, receiver.drops) == (5, 5, {})


def test_esn_crosses_the_32_bit_boundary() -> None:
    (sender, _), (receiver, _) = outbound(esn=True), inbound(esn=True)
    sender.next_sequence = LAST_SEQUENCE - 1
    data = [sender.seal(packet()) for _ in range(6)]
    for late in (0, 2, 1, 3, 5, 4):
        assert receiver.open(data[late]) == packet()
    assert [receiver.open(again) for again in data] == [None] * 6
    assert receiver.window.top == LAST_SEQUENCE + 4
    assert receiver.drops == {Drop.REPLAYED: 6}


@settings(deadline=None)
@given(st.lists(st.integers(1, 100), max_size=20))
def test_reserved_numbers_never_overlap(counts: list[int]) -> None:
    sender, _ = outbound()
    numbers: list[int] = []
    for count in counts:
        first = sender.reserve(count)
        numbers += range(first, first + count)
    assert numbers == list(range(1, sum(counts) + 1))


@pytest.mark.parametrize(("esn", "last"), [(False, LAST_SEQUENCE), (True, LAST_EXTENDED_SEQUENCE)])
def test_sequence_numbers_end_and_never_wrap(esn: bool, last: int) -> None:
    sender, events = outbound(esn=esn)
    sender.next_sequence = last - SEQUENCE_RESERVE - 1
    sender.reserve(1)
    assert not events
    sender.reserve(1)
    assert list(events) == [Expired(SPI, False, Expiry(Phase.SOFT, Limit.SEQUENCE))]
    sender.next_sequence = last - 1
    with pytest.raises(SequenceExhausted):
        sender.reserve(3)
    assert sender.next_sequence == last - 1
    for _ in range(2):
        with pytest.raises(HardExpired):
            sender.reserve(1)
    assert list(events)[1:] == [Expired(SPI, False, Expiry(Phase.HARD, Limit.SEQUENCE))]
    assert sender.refused == 5


def test_the_very_last_number_is_usable() -> None:
    sender, _ = outbound()
    sender.next_sequence = LAST_SEQUENCE
    assert sender.reserve(1) == LAST_SEQUENCE
    with pytest.raises(SequenceExhausted):
        sender.seal(packet())


def test_a_hard_limit_refuses_at_once() -> None:
    sender, events = outbound(lifetime=Lifetime(soft_packets=2, hard_packets=4))
    for _ in range(4):
        sender.seal(packet())
    with pytest.raises(HardExpired):
        sender.seal(packet())
    phases = [event.expiry.phase for event in events if isinstance(event, Expired)]
    assert phases == [Phase.SOFT, Phase.HARD]


def test_lifetimes_by_time_are_told_by_both_directions() -> None:
    (sender, sent), (receiver, received) = (
        outbound(lifetime=Lifetime(soft_s=5, hard_s=9)),
        inbound(lifetime=Lifetime(soft_s=5, hard_s=9)),
    )
    assert sender.next_timeout() == receiver.next_timeout() == Deadline(5.0, "SA wants a successor")
    for now in (4.0, 5.0, 6.0, 9.0, 10.0):
        sender.handle_timeout(now)
        receiver.handle_timeout(now)
    assert [event.inbound for event in sent if isinstance(event, Expired)] == [False, False]
    assert [event.expiry.hard for event in sent if isinstance(event, Expired)] == [False, True]
    assert not receiver.used
    assert [event.inbound for event in received if isinstance(event, Expired)] == [True, True]
    assert receiver.open(sealed(1, packet())) is None
    assert receiver.drops == {Drop.EXPIRED: 1}


def test_bytes_count_the_payload_data() -> None:
    (sender, _), (receiver, events) = outbound(), inbound(lifetime=Lifetime(soft_bytes=2 * len(packet())))
    receiver.open(sender.seal(packet()))
    assert list(events) == [FirstUse(SPI)]
    receiver.open(sender.seal(packet()))
    assert list(events)[1:] == [Expired(SPI, True, Expiry(Phase.SOFT, Limit.BYTES))]
    assert sender.meter.octets == receiver.meter.octets == 2 * len(packet())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (sealed(1, packet(protocol=6)), Drop.SELECTOR_MISMATCH),
        (sealed(1, packet(source=FAR)), Drop.SELECTOR_MISMATCH),
        (sealed(1, b"noise", next_header=59), Drop.DUMMY),
        (sealed(1, packet(), next_header=41), Drop.NOT_TUNNELLED_IPV4),
        (sealed(1, b"not IPv4"), Drop.MALFORMED_INNER),
        (sealed(1, packet())[:-4], Drop.AUTHENTICATION_FAILED),
        (sealed(1, packet())[:20], Drop.TOO_SHORT),
        (sealed(1, packet()) + b"x", Drop.MISALIGNED),
        (sealed(0, packet()), Drop.REPLAYED),
    ],
)
def test_bad_packets_are_counted_by_reason(data: bytes, reason: Drop) -> None:
    receiver, _ = inbound()
    assert receiver.open(data) is None
    assert receiver.drops == {reason: 1}


def test_tfc_padding_and_long_padding_are_taken() -> None:
    receiver, _ = inbound()
    padded = esp.seal(gcm(KEY + SALT), SPI, 1, bytes(8), packet() + bytes(100), pad_to=256)
    assert receiver.open(padded) == packet()


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([4, 16, 256]))
def test_tfc_padding_of_any_content_is_cut_off_and_counted(padding: bytes, pad_to: int) -> None:
    """RFC 4303 section 2.7: what follows the inner packet's total length; lifetimes by bytes include it."""
    receiver, _ = inbound()
    data = esp.seal(gcm(KEY + SALT), SPI, 1, bytes(8), packet() + padding, pad_to=pad_to)
    assert receiver.open(data) == packet()
    assert receiver.meter.octets == len(packet()) + len(padding)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_dummy_packets_of_any_content_are_dropped_in_silence(noise: bytes) -> None:
    """RFC 4303 section 2.6: authentic, so they use up number and lifetime, and prove life."""
    receiver, events = inbound(lifetime=Lifetime(soft_packets=2))
    dummy = sealed(7, noise, next_header=59)
    assert [receiver.open(dummy), receiver.open(dummy)] == [None, None]
    assert receiver.drops == {Drop.DUMMY: 1, Drop.REPLAYED: 1}
    assert list(events) == [FirstUse(SPI)]
    assert receiver.open(sealed(8, packet())) == packet()
    assert list(events)[1:] == [Expired(SPI, True, Expiry(Phase.SOFT, Limit.PACKETS))]


def test_dummy_packets_that_are_not_authentic_are_no_dummies() -> None:
    receiver, events = inbound()
    forged = bytearray(sealed(7, b"noise", next_header=59))
    forged[-1] ^= 1
    assert receiver.open(bytes(forged)) is None
    assert (receiver.drops, list(events)) == ({Drop.AUTHENTICATION_FAILED: 1}, [])


@pytest.mark.parametrize("octets", [1 << 32, (1 << 32) + 1, 4_608_000 * 1024, 10**13, (1 << 53) + 1])
def test_lifetimes_by_bytes_have_no_32_bits(octets: int) -> None:
    """The default of IOS is 4,608,000 KB; the last number is where floats would begin to round."""
    limits = Lifetime(soft_bytes=octets - 1000, hard_bytes=octets)
    (sender, sent), (receiver, received) = outbound(lifetime=limits), inbound(lifetime=limits)
    soft, hard = Expiry(Phase.SOFT, Limit.BYTES), Expiry(Phase.HARD, Limit.BYTES)
    for amount, expected in ((octets - 1001, []), (1, [soft]), (999, [soft]), (1, [soft, hard])):
        sender.reserve(1, amount)
        receiver.account(1, amount)
        for events in (sent, received):
            assert [event.expiry for event in events if isinstance(event, Expired)] == expected
    assert sender.meter.octets == receiver.meter.octets == octets
    with pytest.raises(HardExpired):
        sender.reserve(1, 1)
    assert receiver.open(sealed(1, packet())) is None
    assert receiver.drops == {Drop.EXPIRED: 1}


def test_a_forged_packet_does_not_move_the_window() -> None:
    receiver, events = inbound(replay_window=64)
    forged = bytearray(sealed(100_000, packet()))
    forged[-1] ^= 1
    assert receiver.open(bytes(forged)) is None
    assert receiver.open(sealed(1, packet())) == packet()
    assert (receiver.window.top, list(events)) == (1, [FirstUse(SPI)])


def test_old_and_repeated_packets_are_told_apart() -> None:
    receiver, _ = inbound(replay_window=64)
    for sequence in (100, 100, 36, 37):
        receiver.open(sealed(sequence, packet()))
    assert receiver.drops == {Drop.REPLAYED: 1, Drop.TOO_OLD: 1}


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_dropped_and_counted(data: bytes) -> None:
    receiver, _ = inbound()
    assert receiver.open(data) is None
    assert sum(receiver.drops.values()) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"spi": 255}, {"spi": 1 << 32}, {"key_bits": 128}, {"key": Secret(KEY)}, {"key_bits": 160}],
)
def test_parameters_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        parameters(local=NEAR, remote=FAR, **wrong)


def test_keys_do_not_show() -> None:
    assert SALT.hex() not in repr(parameters(local=NEAR, remote=FAR))
    assert str(KEY) not in repr(parameters(local=NEAR, remote=FAR))


@pytest.mark.parametrize("count", [0, -1])
def test_reserving_nothing_is_a_mistake(count: int) -> None:
    with pytest.raises(ValueError):
        outbound()[0].reserve(count)
