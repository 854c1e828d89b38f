"""The suite's arithmetic: the search for a rate, medians, ratios, verdicts."""

from pathlib import Path

import pytest

from benchmarks.netns import bars, plot
from benchmarks.netns.bars import OURS, STRONGSWAN, WIREGUARD
from benchmarks.netns.measures import search
from benchmarks.netns.results import Results, spread, tables


def results() -> Results:
    found = Results({"date": "today"})
    for run, (ours, theirs) in enumerate([(1000.0, 100.0), (400.0, 100.0), (600.0, 100.0)]):
        found.add(OURS, run, {"tcp_mbps": ours, "both_mbps": ours})
        found.add(STRONGSWAN, run, {"tcp_mbps": theirs})
    found.add(WIREGUARD, 1, {"tcp_mbps": 800.0})
    return found


@pytest.mark.parametrize("limit", [300.0, 4_321.0, 20_000.0, 90_000.0])
@pytest.mark.parametrize("guess", [500.0, 20_000.0, 100_000.0])
def test_the_search_finds_the_limit_from_below(limit: float, guess: float) -> None:
    asked = []

    def passes(rate: float) -> float | None:
        asked.append(rate)
        return rate if rate <= limit else None

    assert limit / 1.05 <= search(passes, guess, 0.04) <= limit
    assert len(asked) < 20


def test_the_search_ends_at_the_limit_of_the_sender() -> None:
    asked = []

    def passes(rate: float) -> float | None:
        asked.append(rate)
        return min(rate, 50_000.0)

    assert search(passes, 20_000, 0.04) == 50_000
    assert len(asked) < 10


def test_a_sender_that_lags_at_every_rate_is_not_at_its_limit() -> None:
    assert 0.8 * 85_000 < search(lambda rate: rate * 0.85 if rate < 100_000 else None, 20_000, 0.04) < 85_000


def test_the_search_ends_when_nothing_passes() -> None:
    assert search(lambda _rate: None, 20_000, 0.04) == 0


def test_ratios_pair_the_figures_of_one_run() -> None:
    found = results()
    assert found.ratios((OURS, "tcp_mbps"), (STRONGSWAN, "tcp_mbps")) == [10.0, 4.0, 6.0]
    assert found.ratios((OURS, "tcp_mbps"), (WIREGUARD, "tcp_mbps")) == [0.5]
    assert found.median(OURS, "tcp_mbps") == 600
    assert found.median(OURS, "voice_pps") is None


def test_spread_names_median_and_extremes() -> None:
    assert spread([3.0, 1.0, 2000.0], 0) == "3 (1 to 2,000)"
    assert spread([1.25], 1) == "1.2"
    assert spread([], 0) == "-"


def test_the_tables_have_every_contender_and_what_was_left_out() -> None:
    found = results()
    found.skipped["C floor a"] = "there is no C compiler"
    text = tables(found, OURS)
    assert "| vcstack | 600 (400 to 1,000) | 600 (400 to 1,000) | - | - | - |" in text
    assert "| strongSwan libipsec | 6.00 (4.00 to 10.00) | - | - | - |" in text
    assert "Not measured: C floor a: there is no C compiler." in text


def test_verdicts_say_what_holds_and_what_does_not() -> None:
    lines = bars.verdicts(results()).splitlines()
    assert "| TCP to strongSwan libipsec | 6.00 | at least 5: holds | - |" in lines
    assert "| TCP to wireguard-go | 0.50 | - | at least 1: MISSED |" in lines
    assert "| both ways at once to one way | 1.00 | at least 1: holds | - |" in lines
    assert not any("delay" in line for line in lines)


def test_limits_from_above() -> None:
    found = Results()
    found.add(OURS, 0, {"pss_mib": 160.0, "up_s": 3.0})
    text = bars.verdicts(found)
    assert "| memory of the CPE, MiB | 160.00 | at most 220: holds | at most 150: MISSED |" in text
    assert "| 3.00 | at most 2.5: MISSED | at most 1.5: MISSED |" in text


def test_json_and_back(tmp_path: Path) -> None:
    found = results()
    found.sweep["vcstack"] = {64: 1000.0, 1400: 900.0}
    found.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == found


def test_the_plot_is_an_svg_with_a_line_for_each(tmp_path: Path) -> None:
    if why := plot.missing():
        pytest.skip(why)
    found = results()
    found.sweep = {OURS: {64: 1000.0, 1400: 900.0}, WIREGUARD: {64: 500.0, 1400: 400.0}}
    plot.draw(found, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert "<svg" in text
    for name in (OURS, WIREGUARD, "size of the inner IPv4 packet, bytes"):
        assert name in text
