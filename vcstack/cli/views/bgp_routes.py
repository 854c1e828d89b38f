"""Routes of one BGP session: `received-routes`, with what became of each, and `advertised-routes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from vcstack.cli.views.page import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_HEADINGS = ("", "Network", "Next Hop", ">Metric", "Path", "Status")
_ORIGINS = {0: "i", 1: "e", 2: "?"}
_BRACKETS = {1: ("{", "}"), 2: ("", ""), 3: ("(", ")"), 4: ("[", "]")}
"""Segment types: AS_SET, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET."""


def render(peer: Mapping[str, Any], page: Page) -> None:
    """Add both tables of a peer to the page."""
    if peer["received"]:
        page.gap()
        page.heading("received routes")
        page.table(_HEADINGS, [_received(route) for route in peer["received"]])
    if not peer["wanted"]:
        return
    advertised = {route["prefix"] for route in peer["advertised"]}
    page.gap()
    page.heading("advertised routes", f"total {len(advertised)}")
    page.table(_HEADINGS, [_own(route, advertised) for route in peer["wanted"]])


def as_path(path: Mapping[str, Any]) -> str:
    """An AS path as IOS writes it: 64600 64601, a set as {64512,64513}."""
    return " ".join(_segment(segment) for segment in path["segments"])


def _segment(segment: Mapping[str, Any]) -> str:
    opening, closing = _BRACKETS.get(segment["type"], ("<", ">"))
    separator = "," if opening in {"{", "["} else " "
    return opening + separator.join(map(str, segment["asns"])) + closing


def _received(route: Mapping[str, Any]) -> tuple[str | Text, ...]:
    if route["denied"]:
        return (*_columns(route, ""), Text(f"denied: {route['denied']}", style=STYLES["connecting"]))
    return (*_columns(route, "*"), "used, stale" if route["stale"] else "used")


def _own(route: Mapping[str, Any], advertised: set[str]) -> tuple[str | Text, ...]:
    if route["prefix"] in advertised:
        return (*_columns(route, "*"), "advertised")
    why = f"denied: {route['denied']}" if route["denied"] else "waits for the session"
    return (*_columns(route, ""), why)


def _columns(route: Mapping[str, Any], mark: str) -> tuple[str, ...]:
    attributes = route["attributes"]
    med = "" if attributes["med"] is None else str(attributes["med"])
    path = f"{as_path(attributes['as_path'])} {_ORIGINS.get(attributes['origin'], '')}".strip()
    return mark, route["prefix"], route["next_hop"], med, path
