"""`vcstack show routes`: what BGP and the fail-closed rule put into the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from vcstack.cli.views.page import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vcstack.cli.views.page import Page

_HEADINGS = ("", "prefix", "through", "interface", ">metric", "table")
_TABLES = {254: "main"}


def render(answer: Sequence[Mapping[str, Any]], page: Page) -> None:
    """The routes in the kernel, the used one of each prefix marked."""
    if not answer:
        page.line("no routes installed")
        return
    page.table(_HEADINGS, [_row(route) for route in answer])


def _row(route: Mapping[str, Any]) -> tuple[str | Text, ...]:
    closed = Text("unreachable", style=STYLES["down"] if route["best"] else "")
    return (
        "*" if route["best"] else "",
        route["prefix"],
        route["tunnel"] or closed,
        route["device"] or "-",
        str(route["metric"]),
        _TABLES.get(route["table"], str(route["table"])),
    )
