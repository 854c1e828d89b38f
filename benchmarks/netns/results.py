"""What was measured: samples by contender, measure and run; tables of medians, spreads and ratios."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Measure:
    """How a figure is called and printed."""

    title: str
    digits: int = 0


MEASURES = {
    "tcp_mbps": Measure("one TCP stream, Mbit/s"),
    "both_mbps": Measure("both ways at once, Mbit/s in all"),
    "two_mbps": Measure("two tunnels at once, Mbit/s in all"),
    "cpu_s_per_gb": Measure("CPU s/GB, both ends", 1),
    "voice_pps": Measure("200-byte packets, 128 flows, loss-free packets/s"),
    "delay5_p50_us": Measure("p50 at 5 % load, us"),
    "delay5_p99_us": Measure("p99 at 5 %, us"),
    "delay70_p50_us": Measure("p50 at 70 %, us"),
    "delay70_p99_us": Measure("p99 at 70 %, us"),
    "up_s": Measure("`vcstack up` to both BGP sessions, s", 2),
    "pss_mib": Measure("memory of the CPE (PSS), MiB", 1),
}
THROUGHPUT = ("tcp_mbps", "both_mbps", "two_mbps", "cpu_s_per_gb", "voice_pps")
DELAYS = ("delay5_p50_us", "delay5_p99_us", "delay70_p50_us", "delay70_p99_us")
OWN = ("up_s", "pss_mib")
COMPARED = ("tcp_mbps", "both_mbps", "voice_pps", "cpu_s_per_gb")
NONE = "-"


@dataclass(slots=True)
class Results:
    """All samples of a suite; `sweep` has packets/s by contender and packet size."""

    about: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    sweep: dict[str, dict[int, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, run: int, found: dict[str, float]) -> None:
        """Note what a turn brought."""
        for name, value in found.items():
            self.samples.setdefault(contender, {}).setdefault(name, {})[run] = value

    def values(self, contender: str, measure: str) -> dict[int, float]:
        """The samples of a measure by run."""
        return self.samples.get(contender, {}).get(measure, {})

    def median(self, contender: str, measure: str) -> float | None:
        """The median of a measure, or None."""
        values = self.values(contender, measure).values()
        return median(values) if values else None

    def ratios(self, ours: tuple[str, str], theirs: tuple[str, str]) -> list[float]:
        """Ours to theirs, run by run: what slows the machine down slows both down."""
        own, other = self.values(*ours), self.values(*theirs)
        return [own[run] / other[run] for run in sorted(own) if other.get(run)]

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        everything = {name: getattr(self, name) for name in ("about", "samples", "sweep", "skipped")}
        path.write_text(json.dumps(everything, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        found: dict[str, Any] = json.loads(path.read_text())
        samples = {
            contender: {
                name: {int(run): value for run, value in values.items()} for name, values in measures.items()
            }
            for contender, measures in found["samples"].items()
        }
        sweep = {
            name: {int(size): rate for size, rate in rates.items()} for name, rates in found["sweep"].items()
        }
        return cls(found["about"], samples, sweep, found["skipped"])


def tables(results: Results, ours: str) -> str:
    """Everything as Markdown tables; `ours` is who is compared with the others."""
    parts = [
        _table(results, "median (lowest to highest)", THROUGHPUT),
        _table(results, "one-way delay, 200-byte packets", DELAYS),
        _table(results, "the daemon", OWN),
        _ratio_table(results, ours),
    ]
    parts += [f"Not measured: {name}: {why}." for name, why in results.skipped.items()]
    return "\n\n".join(part for part in parts if part)


def spread(values: Iterable[float], digits: int) -> str:
    """`median (lowest to highest)`."""
    found = sorted(values)
    if not found:
        return NONE
    low, middle, high = (f"{value:,.{digits}f}" for value in (found[0], median(found), found[-1]))
    return middle if len(found) == 1 else f"{middle} ({low} to {high})"


def _table(results: Results, corner: str, measures: Sequence[str]) -> str:
    rows = []
    for contender in results.samples:
        cells = [spread(results.values(contender, name).values(), MEASURES[name].digits) for name in measures]
        if any(cell != NONE for cell in cells):
            rows.append([contender, *cells])
    return markdown([corner, *(MEASURES[name].title for name in measures)], rows) if rows else ""


def _ratio_table(results: Results, ours: str) -> str:
    rows = []
    for contender in results.samples:
        cells = [spread(results.ratios((ours, name), (contender, name)), 2) for name in COMPARED]
        if contender != ours and any(cell != NONE for cell in cells):
            rows.append([contender, *cells])
    return (
        markdown([f"{ours} divided by", *(MEASURES[name].title for name in COMPARED)], rows) if rows else ""
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
