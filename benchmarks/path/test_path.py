"""The data path from memory to memory, under pytest-benchmark: `pytest benchmarks/path`."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.path.harness import MSS, SEGMENTS, Path, bare, super_packet, voice_packets

CASES = {"segments": ([super_packet()], MSS + 40, SEGMENTS), "voice": (voice_packets(64), 200, 64)}


@pytest.mark.parametrize("case", CASES)
def test_bare_cipher(benchmark: BenchmarkFixture, case: str) -> None:
    _packets, inner, count = CASES[case]
    benchmark.extra_info["packets"] = count
    benchmark(bare(inner, count))


@pytest.mark.parametrize("case", CASES)
def test_seal(benchmark: BenchmarkFixture, case: str) -> None:
    packets, _inner, count = CASES[case]
    path = Path()
    benchmark.extra_info["packets"] = count
    benchmark(path.seal, packets)


@pytest.mark.parametrize("case", CASES)
def test_open(benchmark: BenchmarkFixture, case: str) -> None:
    packets, _inner, count = CASES[case]
    path = Path()
    benchmark.extra_info["packets"] = count

    def sealed_anew() -> None:  # a packet opens once
        path.seal(packets)

    benchmark.pedantic(path.open, setup=sealed_anew, rounds=200)  # type: ignore[no-untyped-call]
    assert path.delivered % count == 0
    assert path.delivered > 0
