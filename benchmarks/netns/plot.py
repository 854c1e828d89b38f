"""Throughput and packet rate against packet size, as an SVG."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.netns.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {
    "vcstack": ("#c1272d", "-", 2.4),
    "vcstack, raw ESP": ("#c1272d", "--", 1.6),
    "wireguard-go": ("#0071bc", "-", 1.6),
    "strongSwan libipsec": ("#2e8b57", "-", 1.6),
    "C floor a": ("#777777", ":", 1.4),
    "C floor c": ("#777777", "-", 1.4),
    "plain veth": ("#bbbbbb", "-", 1.4),
}


def missing() -> str | None:
    """Why no plot can be drawn, or None."""
    return None if find_spec("matplotlib") else "matplotlib is not installed (extra `bench`)"


def draw(results: Results, path: Path) -> None:
    """Draw the sweep. The figure's text stays text, and its identifiers stay the same from run to run."""
    import matplotlib as mpl  # noqa: PLC0415 (an optional extra)
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vcstack", "font.size": 9}):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for contender, rates in results.sweep.items():
            sizes = sorted(rates)
            color, line, width = STYLES.get(contender, ("black", "-", 1.0))
            style = {"color": color, "linestyle": line, "linewidth": width, "marker": "o", "markersize": 3}
            mbps = [rates[size] * size * 8 / 1e6 for size in sizes]
            left.plot(sizes, mbps, label=contender, **style)
            right.plot(sizes, [rates[size] / 1000 for size in sizes], label=contender, **style)
        _axes(left, "Mbit/s of inner packets, loss-free")
        _axes(right, "thousand packets/s, loss-free")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
        figure.suptitle(f"UDP packets of 128 flows, one way ({results.about.get('date', '')})")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _axes(axes: "Axes", title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    axes.set_title(title)
    axes.set_xlabel("size of the inner IPv4 packet, bytes")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0, 1450)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
