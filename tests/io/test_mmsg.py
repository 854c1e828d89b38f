"""How a batch is split into messages."""

import itertools

import numpy as np
import pytest

from vcstack.io.mmsg import MAX_BYTES, MAX_SEGMENTS, runs_of
from vcstack.wire.batch import Arena, Rows

ARENA = Arena(1 << 20)


def rows(*lengths: int) -> Rows:
    even = lengths.count(lengths[0])
    pitch = 2048 if lengths[:-1].count(lengths[0]) == len(lengths) - 1 else 0
    return Rows(ARENA, np.arange(len(lengths)) * 2048, np.array(lengths), pitch, even if pitch else 0)


@pytest.mark.parametrize(
    ("lengths", "tos", "starts"),
    [
        ((100,), 0, [0, 1]),
        ((100, 100, 100), 0, [0, 3]),
        ((100, 100, 60), 0, [0, 3]),
        ((100, 100, 140), 0, [0, 2, 3]),
        ((100, 60, 100, 100), 0, [0, 2, 4]),
        ((60, 100, 100, 40, 40), 0, [0, 1, 4, 5]),
        ((100, 100, 100, 100), (0xB8, 0xB8, 0, 0), [0, 2, 4]),
        ((100, 100), (0x01, 0x02), [0, 2]),  # ECN does not show outside
        ((100,) * 70, 0, [0, 64, 70]),
        ((1448,) * 48, 0, [0, 45, 48]),
        ((100,) * 69 + (50,), (0,) * 70, [0, 64, 70]),
    ],
)
def test_runs(lengths: tuple[int, ...], tos: int | tuple[int, ...], starts: list[int]) -> None:
    marks = tos if isinstance(tos, int) else np.array(tos)
    runs = runs_of(rows(*lengths), marks, segment=True)
    assert runs.starts == starts
    assert len(runs.tos) == len(runs) == len(starts) - 1
    for first, last in itertools.pairwise(starts):
        assert last - first <= MAX_SEGMENTS
        assert sum(lengths[first:last]) <= MAX_BYTES


def test_without_segmentation_every_datagram_is_a_message() -> None:
    assert runs_of(rows(100, 100, 60), 0xBB, segment=False).starts == [0, 1, 2, 3]
    assert runs_of(rows(100, 100, 60), 0xBB, segment=False).tos == [0xB8] * 3
