"""What the batches are made of, under pytest-benchmark: `pytest benchmarks/micro`."""

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from vcstack.esp.replay import ReplayWindow
from vcstack.wire.batch import Arena

ROWS, PITCH, HEADER = 45, 1448, 64
ARENA = Arena(ROWS * PITCH)
OFFSETS = np.arange(ROWS) * PITCH


def test_gather_headers(benchmark: BenchmarkFixture) -> None:
    benchmark(ARENA.gather, OFFSETS, HEADER)


def test_scatter_headers(benchmark: BenchmarkFixture) -> None:
    block = ARENA.window(HEADER)[OFFSETS]
    window = ARENA.window(HEADER)

    def scatter() -> None:
        window[OFFSETS] = block

    benchmark(scatter)


def test_sum_payloads(benchmark: BenchmarkFixture) -> None:
    words = ARENA.matrix("<u2", 80, PITCH, (ROWS, 675))
    benchmark(lambda: np.add.reduce(words, axis=1, dtype=np.uint32))


def test_slice_views(benchmark: BenchmarkFixture) -> None:
    starts = OFFSETS.tolist()
    benchmark(lambda: [ARENA.data[at : at + PITCH] for at in starts])


def test_cached_views(benchmark: BenchmarkFixture) -> None:
    benchmark(ARENA.views, 0, PITCH, PITCH - 16, ROWS)


def test_replay_window_in_order(benchmark: BenchmarkFixture) -> None:
    window, step = ReplayWindow(), np.arange(1, ROWS + 1, dtype=np.uint64)

    def advance() -> None:
        numbers = step + np.uint64(window.top)
        window.check_batch(numbers)
        window.commit_batch(numbers)

    benchmark(advance)
