"""Extended sequence numbers against the pseudo-code of RFC 4303 appendix A2, singly and in batches."""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.esp.support import FAR, KEY, NEAR, SALT, SPI, packet, parameters
from vcstack.crypto.aead import gcm
from vcstack.esp import packet as esp
from vcstack.esp.batch import Opener
from vcstack.esp.packet import Drop
from vcstack.esp.replay import ReplayWindow, Sequences, Verdict
from vcstack.esp.sa import Events, InboundSa
from vcstack.wire.batch import Arena, Rows

SUBSPACE = 1 << 32
SIZES = st.sampled_from([64, 128, 4096, 65536])


@dataclass
class Appendix:
    """The pseudo-code of A2.3, its variables by their names; a set stands for the bit string."""

    w: int
    th: int = 0
    tl: int = 0
    seen: set[int] = field(default_factory=set)

    def receive(self, sequence: int) -> bool:
        """Whether a packet passes whose sender means `sequence`: integrity holds when that is inferred."""
        seql = sequence % SUBSPACE
        bottom = (self.tl - self.w + 1) % SUBSPACE
        if self.tl >= self.w - 1:  # Case A
            if seql >= bottom:
                seqh = self.th
                if seql <= self.tl:
                    return self.in_window(seqh, seql, sequence)
                return self.ahead(seqh, seql, sequence)
            return self.ahead(self.th + 1, seql, sequence)
        if seql >= bottom:  # Case B
            return self.in_window(self.th - 1, seql, sequence)
        if seql <= self.tl:
            return self.in_window(self.th, seql, sequence)
        return self.ahead(self.th, seql, sequence)

    def in_window(self, seqh: int, seql: int, sequence: int) -> bool:
        inferred = seqh * SUBSPACE + seql
        if inferred in self.seen or inferred != sequence:
            return False
        self.seen.add(inferred)
        return True

    def ahead(self, seqh: int, seql: int, sequence: int) -> bool:
        if seqh * SUBSPACE + seql != sequence:
            return False
        self.th, self.tl = seqh, seql
        self.seen.add(sequence)
        return True


def passes(window: ReplayWindow, sequence: int) -> bool:
    """A packet's way through the window: infer, check, authenticate, commit."""
    inferred = window.extend(sequence % SUBSPACE)
    if window.check(inferred) is not Verdict.ACCEPTED or inferred != sequence:
        return False
    return window.commit(inferred) is Verdict.ACCEPTED


def passing(window: ReplayWindow, sequences: list[int]) -> list[int]:
    """A batch's way through the window: the numbers that pass, in their order."""
    rows: Sequences = np.array(sequences, np.uint64)
    inferred = window.extend_batch(rows % np.uint64(SUBSPACE))
    worth = window.check_batch(inferred)
    rows, inferred = rows[worth], inferred[worth]
    authentic = inferred[inferred == rows]
    return [int(number) for number in authentic[window.commit_batch(authentic)]]


@st.composite
def traffic(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """Where a sender stands, and batches of what arrives: lost, late, repeated, across the boundary."""
    start = draw(st.integers(1, 3)) * SUBSPACE + draw(
        st.one_of(st.integers(-70000, 70000), st.integers(-100, 100), st.just(1 << 31))
    )
    noise = random.Random(draw(st.integers(0, 1 << 16)))
    at, batches = start, []
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([0, 1, 1, 40, 63, 64, 65, 4096, 70000]))
        run = [at + step for step in range(draw(st.integers(0, 60))) if noise.random() < 0.8]
        run += [max(1, at - noise.randrange(200)) for _ in range(noise.randrange(5))]
        if noise.random() < 0.5:
            noise.shuffle(run)
        batches.append(run)
        at = max([at, *run])
    return start, batches


def primed(size: int, start: int) -> tuple[ReplayWindow, Appendix]:
    window, model = ReplayWindow(size), Appendix(size)
    window.commit(start)
    model.th, model.tl = divmod(start, SUBSPACE)
    model.seen.add(start)
    return window, model


@settings(deadline=None, max_examples=200)
@given(SIZES, traffic())
def test_single_packets_follow_the_appendix(size: int, arrivals: tuple[int, list[list[int]]]) -> None:
    start, batches = arrivals
    window, model = primed(size, start)
    for sequence in [sequence for batch in batches for sequence in batch]:
        assert passes(window, sequence) == model.receive(sequence), sequence
        assert window.top == model.th * SUBSPACE + model.tl


@settings(deadline=None, max_examples=200)
@given(SIZES, traffic())
def test_batches_follow_the_appendix(size: int, arrivals: tuple[int, list[list[int]]]) -> None:
    start, batches = arrivals
    window, model = primed(size, start)
    for batch in batches:
        assert passing(window, batch) == [sequence for sequence in batch if model.receive(sequence)]
        assert window.top == model.th * SUBSPACE + model.tl


@pytest.mark.parametrize("size", [64, 65536])
@pytest.mark.parametrize("tl", [0, 1, 62, 63, 64, 65534, 65535, 65536, SUBSPACE - 1])
def test_every_border_of_both_cases(size: int, tl: int) -> None:
    """The numbers beside B, T and the end of the subspace, for T at the borders between case A and case B."""
    top = SUBSPACE + tl
    for sequence in {
        border + step
        for border in (top, top - size, top - size + 1, SUBSPACE, 2 * SUBSPACE, top - size + SUBSPACE)
        for step in (-2, -1, 0, 1, 2)
    }:
        window, model = primed(size, top)
        assert passes(window, sequence) == model.receive(sequence), sequence
        window, _ = primed(size, top)
        assert bool(passing(window, [sequence])) == (sequence in model.seen and sequence != top), sequence


def test_a_loss_of_half_a_subspace_is_survived_and_of_a_whole_one_is_not() -> None:
    """Appendix A3: after 2^32 lost packets the upper half is guessed wrong, and authentication fails."""
    window = ReplayWindow()
    window.commit(1000)
    assert passes(window, 1000 + SUBSPACE - 4096)
    window = ReplayWindow()
    window.commit(1000 + SUBSPACE)
    assert not passes(window, 1000 + 2 * SUBSPACE + 1)
    assert window.top == 1000 + SUBSPACE


def test_the_64_bit_number_is_authenticated_whatever_the_32_bits_say() -> None:
    """A packet of the old subspace that is repeated in the new one opens neither as old nor as new."""
    receiver, _ = inbound(SUBSPACE - 10)
    old = sealed(SUBSPACE - 5)
    assert receiver.open(old) == packet()
    for sequence in (SUBSPACE + 4000, 2 * SUBSPACE - 6):
        assert receiver.open(sealed(sequence)) == packet()
    assert receiver.open(old) is None
    assert receiver.drops == {Drop.AUTHENTICATION_FAILED: 1}


def inbound(top: int) -> tuple[InboundSa, Events]:
    events: Events = deque()
    receiver = InboundSa(parameters(local=FAR, remote=NEAR, esn=True, replay_window=128), 0.0, events)
    receiver.window.commit(top)
    return receiver, events


def sealed(sequence: int) -> bytes:
    low, high = sequence % SUBSPACE, sequence >> 32
    return esp.seal(gcm(KEY + SALT), SPI, low, sequence.to_bytes(8), packet(), esn_high=high)


def open_batch(receiver: InboundSa, packets: list[bytes]) -> list[bytes]:
    """What the batched opener lets pass, as payloads."""
    pitch = 256
    arena = Arena(pitch * len(packets) + 64)
    for index, data in enumerate(packets):
        arena.data[index * pitch : index * pitch + len(data)] = data
    lengths = np.array([len(data) for data in packets])
    opened = Opener(128).open(receiver, Rows(arena, np.arange(len(packets)) * pitch, lengths, pitch))
    if opened is None:
        return []
    places = zip(opened.rows.offsets.tolist(), opened.rows.lengths.tolist(), strict=True)
    return [bytes(arena.data[at : at + length]) for at, length in places]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-150, 150), min_size=1, max_size=100), st.integers(-140, 140))
def test_batched_and_scalar_opening_agree_across_the_boundary(steps: list[int], top: int) -> None:
    """Genuine packets in any order, repeated ones among them, and one forged copy ahead of each tenth."""
    arriving = []
    for index, step in enumerate(steps):
        data = sealed(SUBSPACE + step)
        if index % 10 == 0:
            arriving.append(data[:-1] + bytes((data[-1] ^ 1,)))
        arriving.append(data)
    single, _ = inbound(SUBSPACE + top)
    batched, _ = inbound(SUBSPACE + top)
    # A batch is checked as a whole before it is committed, so it may be told REPLAYED where a single one is.
    passed = [opened for data in arriving if (opened := single.open(data)) is not None]
    assert open_batch(batched, arriving) == passed
    assert batched.window.top == single.window.top
    assert sum(batched.drops.values()) == sum(single.drops.values())
