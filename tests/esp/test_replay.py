import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.esp.replay import ReplayWindow, Sequences, Verdict

SIZES = st.sampled_from([64, 128, 192, 1024, 4096])


class Model:
    """The definition: every number ever committed, and the highest of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = {0}

    @property
    def top(self) -> int:
        return max(self.seen)

    def check(self, sequence: int) -> Verdict:
        if sequence <= self.top - self.size:
            return Verdict.TOO_OLD
        return Verdict.REPLAYED if sequence in self.seen else Verdict.ACCEPTED

    def commit(self, sequence: int) -> Verdict:
        verdict = self.check(sequence)
        if verdict is Verdict.ACCEPTED:
            self.seen.add(sequence)
        return verdict


@st.composite
def batches(draw: st.DrawFn) -> list[list[int]]:
    """Runs of numbers with jumps, losses, repetitions and reordering, as the network makes them."""
    base, made = draw(st.sampled_from([1, 50, (1 << 32) - 300, (1 << 40) + 7])), []
    for _ in range(draw(st.integers(1, 8))):
        count = draw(st.integers(0, 70))
        run = [base + offset for offset in range(count)]
        noise = random.Random(draw(st.integers(0, 1 << 16)))
        match draw(st.sampled_from(["as sent", "lossy", "reordered", "repeated", "jump", "old"])):
            case "lossy":
                run = [sequence for sequence in run if noise.random() < 0.7]
            case "reordered":
                noise.shuffle(run)
            case "repeated":
                run = [noise.choice(run) for _ in run]
            case "jump":
                run = [sequence + noise.choice([0, 0, 60, 200, 5000, 70000]) for sequence in run]
            case "old":
                run = [max(0, sequence - noise.randrange(300)) for sequence in run]
        made.append(run)
        base += draw(st.sampled_from([count, count, count // 2, 0, count + 1, 130]))
    return made


def rows(sequences: list[int]) -> Sequences:
    return np.array(sequences, dtype=np.uint64)


@settings(max_examples=300, deadline=None)
@given(SIZES, batches())
def test_batches_agree_with_the_model(size: int, received: list[list[int]]) -> None:
    window, model = ReplayWindow(size), Model(size)
    replayed = too_old = 0
    for batch in received:
        checks = [model.check(sequence) for sequence in batch]
        assert window.check_batch(rows(batch)).tolist() == [verdict is Verdict.ACCEPTED for verdict in checks]
        assert window.top == model.top
        commits = [model.commit(sequence) for sequence in batch]
        accepted = [verdict is Verdict.ACCEPTED for verdict in commits]
        assert window.commit_batch(rows(batch)).tolist() == accepted
        replayed += (checks + commits).count(Verdict.REPLAYED)
        too_old += (checks + commits).count(Verdict.TOO_OLD)
    assert (window.top, window.replayed, window.too_old) == (model.top, replayed, too_old)


@settings(max_examples=100, deadline=None)
@given(SIZES, batches())
def test_single_numbers_agree_with_the_model(size: int, received: list[list[int]]) -> None:
    window, model = ReplayWindow(size), Model(size)
    for sequence in [sequence for batch in received for sequence in batch]:
        assert window.check(sequence) is model.check(sequence)
        assert window.commit(sequence) is model.commit(sequence)


def test_a_check_changes_nothing() -> None:
    window = ReplayWindow(64)
    assert window.check(1000) is Verdict.ACCEPTED
    assert window.check_batch(rows([5, 1000, 5])).tolist() == [True, True, True]
    assert (window.top, window.commit(1)) == (0, Verdict.ACCEPTED)


def test_of_equal_rows_the_first_that_authenticated_passes() -> None:
    window = ReplayWindow()
    received = rows([7, 8, 7, 9, 7])
    authentic = np.array([False, True, True, True, True])
    assert window.check_batch(received).all()
    assert window.commit_batch(received[authentic]).tolist() == [True, True, True, False]


def test_number_zero_is_never_valid() -> None:
    window = ReplayWindow(64)
    assert window.commit(0) is Verdict.REPLAYED
    assert window.commit_batch(rows([0, 1])).tolist() == [False, True]
    assert window.check_batch(rows([0])).tolist() == [False]


def test_the_window_is_exactly_as_wide_as_configured() -> None:
    window = ReplayWindow(128)
    window.commit(1000)
    assert window.check(1000 - 127) is Verdict.ACCEPTED
    assert window.check(1000 - 128) is Verdict.TOO_OLD


def test_a_reordered_batch_at_the_lower_edge() -> None:
    window = ReplayWindow(128)
    window.commit(1000)
    assert window.commit_batch(rows([873, 872, 874, 873])).tolist() == [True, False, True, False]
    assert (window.replayed, window.too_old) == (1, 1)


def test_a_lossy_run_as_wide_as_the_window_keeps_its_lowest_number() -> None:
    window = ReplayWindow(64)
    assert window.commit_batch(rows([100, 163])).all()
    assert window.check(100) is Verdict.REPLAYED
    assert window.check(101) is Verdict.ACCEPTED


def test_empty_batches_pass() -> None:
    window = ReplayWindow()
    assert window.check_batch(rows([])).tolist() == window.commit_batch(rows([])).tolist() == []


def test_a_run_longer_than_the_window() -> None:
    window = ReplayWindow(64)
    assert window.commit_batch(rows(list(range(1, 201)))).all()
    assert window.check(200 - 63) is Verdict.REPLAYED
    assert window.check(200 - 64) is Verdict.TOO_OLD


@pytest.mark.parametrize("size", [0, 63, 65, 100, 65600, -64])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 64"):
        ReplayWindow(size)


@pytest.mark.parametrize("size", [64, 65536])
def test_extreme_sizes_work(size: int) -> None:
    window = ReplayWindow(size)
    assert window.commit_batch(rows([size * 3, size * 2 + 1, size * 2])).tolist() == [True, True, False]


def extend_as_rfc_4303_a22(low: int, top: int, size: int) -> int:
    """The pseudo-code of appendix A2.3, in its own words."""
    top_low, top_high = top & 0xFFFFFFFF, top >> 32
    bottom = (top_low - size + 1) & 0xFFFFFFFF
    if top_low >= size - 1:
        high = top_high if low >= bottom else top_high + 1
    else:
        high = top_high - 1 if low >= bottom else top_high
    return max(0, high) << 32 | low


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([64, 4096, 65536]),
    st.integers(0, 3),
    st.one_of(st.integers(0, 70000), st.integers((1 << 32) - 70000, (1 << 32) - 1), st.just(1 << 31)),
    st.one_of(st.integers(0, 70000), st.integers((1 << 32) - 70000, (1 << 32) - 1), st.just(1 << 31)),
)
def test_extended_numbers_follow_appendix_a2(size: int, high: int, top_low: int, low: int) -> None:
    window = ReplayWindow(size)
    top = high << 32 | top_low
    if top:
        window.commit(top)
    expected = extend_as_rfc_4303_a22(low, top, size)
    assert window.extend(low) == expected
    assert window.extend_batch(rows([low, low])).tolist() == [expected, expected]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1 << 34), st.integers(1, 4000))
def test_extension_inverts_truncation_near_the_top(top: int, distance: int) -> None:
    window = ReplayWindow(4096)
    window.commit(top)
    for sequence in (max(1, top - distance), top + distance):
        assert window.extend(sequence & 0xFFFFFFFF) == sequence
