"""What the suite is measured against: each bar a figure of one contender, or a ratio of two, and a limit."""

from dataclasses import dataclass
from statistics import median

from benchmarks.netns.results import NONE, Results, markdown

OURS, RAW = "vcstack", "vcstack, raw ESP"
STRONGSWAN, WIREGUARD, FLOOR = "strongSwan libipsec", "wireguard-go", "C floor a"


@dataclass(frozen=True, slots=True)
class Bar:
    """`must` and `goal` are limits from below, or with `at_most` from above."""

    what: str
    figure: tuple[str, str]
    to: tuple[str, str] | None = None
    must: float | None = None
    goal: float | None = None
    at_most: bool = False

    def value(self, results: Results) -> float | None:
        """The median figure, or the median of the ratios run by run; None where it was not measured."""
        if self.to is None:
            return results.median(*self.figure)
        ratios = results.ratios(self.figure, self.to)
        return median(ratios) if ratios else None

    def holds(self, value: float, limit: float) -> bool:
        """Whether a value keeps a limit."""
        return value <= limit if self.at_most else value >= limit


def _delay(load: int, percentile: int, must: float, goal: float) -> Bar:
    what = f"one-way delay at {load} % load, p{percentile}, us"
    return Bar(what, (OURS, f"delay{load}_p{percentile}_us"), must=must, goal=goal, at_most=True)


BARS = (
    Bar("TCP to strongSwan libipsec", (OURS, "tcp_mbps"), (STRONGSWAN, "tcp_mbps"), must=5),
    Bar("TCP to wireguard-go", (OURS, "tcp_mbps"), (WIREGUARD, "tcp_mbps"), goal=1),
    Bar("both ways at once to one way", (OURS, "both_mbps"), (OURS, "tcp_mbps"), must=1),
    Bar("two tunnels at once to one", (OURS, "two_mbps"), (OURS, "tcp_mbps"), must=1),
    Bar("raw ESP, TCP to strongSwan in UDP", (RAW, "tcp_mbps"), (STRONGSWAN, "tcp_mbps"), must=2),
    Bar("raw ESP, TCP to ours in UDP", (RAW, "tcp_mbps"), (OURS, "tcp_mbps"), goal=0.6),
    Bar("200-byte packets to wireguard-go", (OURS, "voice_pps"), (WIREGUARD, "voice_pps"), must=2),
    Bar("200-byte packets to C floor a", (OURS, "voice_pps"), (FLOOR, "voice_pps"), must=0.4, goal=0.6),
    _delay(5, 50, 150, 150),
    _delay(5, 99, 1000, 500),
    _delay(70, 99, 3000, 1500),
    Bar("memory of the CPE, MiB", (OURS, "pss_mib"), must=220, goal=150, at_most=True),
    Bar("start to both BGP sessions, s", (OURS, "up_s"), must=2.5, goal=1.5, at_most=True),
)


def verdicts(results: Results) -> str:
    """Every bar that was measured, with its limits and whether they hold."""
    rows = []
    for bar in BARS:
        value = bar.value(results)
        if value is not None:
            rows.append(
                [bar.what, f"{value:,.2f}", *(_verdict(bar, value, at) for at in (bar.must, bar.goal))]
            )
    return markdown(["bar", "measured", "must", "goal"], rows) if rows else ""


def _verdict(bar: Bar, value: float, limit: float | None) -> str:
    if limit is None:
        return NONE
    sign = "at most" if bar.at_most else "at least"
    return f"{sign} {limit:g}: {'holds' if bar.holds(value, limit) else 'MISSED'}"
