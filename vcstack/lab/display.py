"""The lab's progress and summary: with colours and a spinner on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vcstack.lab.plan import DC_A
from vcstack.lab.report import LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from vcstack.lab.report import Move, Report

_STYLES = {"up": "green", "connecting": "yellow", "down": "bold red"}


class Display:
    """Progress goes to `console`, each line with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show on a terminal what is being waited for."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(what, style="dim")):
            yield

    def say(self, text: str | Text) -> None:
        """One line of progress."""
        self._print(Text.assemble((f"{self.elapsed_s:5.1f} s  ", "dim"), text))

    def note(self, text: str) -> None:
        """One line of its own."""
        self._print(Text(text))

    def layer_up(self, tunnel: str, layer: str, after_ms: float) -> None:
        """A layer of a tunnel came up."""
        self.say(Text.assemble(f"{tunnel} {layer} ", ("up", "green"), f" after {after_ms:.0f} ms"))

    def summary(self, report: Report) -> None:
        """Everything at the end."""
        self._console.print()
        self._console.print(_tunnels(report))
        self._print(_move("failover", report.failover))
        self._print(_move("failback", report.failback))
        self._print(_cleartext(report))
        for failure in report.failures:
            self._print(Text.assemble(("failed: ", "bold red"), failure))
        verdict = ("all of it held", "bold green") if report.ok else ("not all of it held", "bold red")
        self._print(Text.assemble(verdict, f", in {report.duration_s:.1f} s"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def _tunnels(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", *LAYERS):
        table.add_column(heading)
    for heading in ("tunnel ping", "LAN ping", "throughput"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, tunnel in report.tunnels.items():
        states = (Text(tunnel.layers[layer], style=_STYLES.get(tunnel.layers[layer], "")) for layer in LAYERS)
        numbers = (
            _number(tunnel.ping_ms, "ms", 2),
            _number(tunnel.lan_ping_ms, "ms", 2),
            _number(tunnel.throughput_mbps, "Mbit/s", 0),
        )
        table.add_row(name, *states, *numbers)
    return table


def _move(name: str, move: Move) -> Text:
    if move.outage is None:
        return Text(f"{name}  not measured")
    outage = move.outage
    return Text(
        f"{name}  LAN to {DC_A.prefix} through {move.through}: outage {outage.outage_ms:.0f} ms, "
        f"{outage.lost} of {outage.sent} packets lost"
    )


def _cleartext(report: Report) -> Text:
    style = "green" if report.leaked == 0 else "bold red"
    counted = "not counted" if report.leaked is None else f"{report.leaked} packets"
    return Text.assemble(
        "cleartext on the internet  ", (counted, style), f", beside {report.encrypted} encrypted ones"
    )


def _number(value: float | None, unit: str, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f} {unit}"
