"""`vcstack show tunnel`: what `show interface tunnel` tells, and how the GRE keepalives stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from vcstack.cli.views import counters
from vcstack.cli.views.page import Field, state
from vcstack.cli.views.words import clock, counted, joined, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_WAYS = (("input", "inbound"), ("output", "outbound"))
_NOTABLE = {
    "outbound_mss_clamped": "MSS lowered out",
    "inbound_mss_clamped": "MSS lowered in",
    "outbound_fragmented": "fragmented",
    "outbound_icmp_too_big": "ICMP too big sent",
    "inbound_fragments": "fragments in",
    "inbound_reassembled": "reassembled",
    "inbound_nat_keepalives": "NAT keepalives in",
}


def render(answer: Mapping[str, Mapping[str, Any]], page: Page) -> None:
    """Fill the page with the answer to `show tunnel`."""
    for name, tunnel in answer.items():
        page.gap()
        line = tunnel["line"]
        up = "up" if tunnel["forwarder_pid"] else "down"
        page.line(
            f"{clock(line['since_s'])}  {line['reason']}",
            Text.assemble(
                (name, "bold"),
                f"  {tunnel['interface']} is ",
                state(up),
                ", line protocol is ",
                state(line["state"]),
                "  ",
            ),
        )
        page.fields(_TUNNEL, tunnel)
        if tunnel["keepalives"]:
            page.fields(_KEEPALIVES, tunnel["keepalives"])
        _traffic(page, tunnel)


def _mtu(tunnel: Mapping[str, Any]) -> str:
    discovery = "on" if tunnel["path_mtu_discovery"] else "off"
    path = tunnel["path_mtu"] or "not measured yet"
    return f"{tunnel['mtu']} bytes; path {path}, path MTU discovery {discovery}; TCP MSS {tunnel['mss']}"


def _keepalive(tunnel: Mapping[str, Any]) -> str:
    if not tunnel["keepalive"]:
        return "not set"
    damping = "damping on" if tunnel["keepalive_damping"] else None
    interval = f"set ({tunnel['keepalive_interval_s']:g} s)"
    return joined(interval, f"retries {tunnel['keepalive_retries']}", damping)


def _probes(keepalives: Mapping[str, Any]) -> str:
    round_trip, hold = keepalives["round_trip_ms"], keepalives["on_hold_for"]
    went_down = keepalives["went_down"]
    return joined(
        f"sent {keepalives['sent']:,}",
        f"answered {keepalives['received']:,}",
        f"unanswered in a row {keepalives['missed']:,}",
        None if round_trip is None else f"RTT {round_trip:g} ms",
        f"on hold for {counted(hold, 'answer')} more" if hold else None,
        f"line went down {counted(went_down, 'time')}" if went_down else None,
    )


def _requests(keepalives: Mapping[str, Any]) -> str:
    kinds = joined(*(f"{name} {count:,}" for name, count in keepalives["requests"].items()))
    refused = joined(*(f"{why} {count:,}" for why, count in keepalives["refused"].items()))
    reflected = f"reflected {keepalives['reflected']:,}"
    return joined(kinds or "none", reflected, refused and f"refused: {refused}", by="; ")


def _gre(tunnel: Mapping[str, Any]) -> str:
    key = "none" if tunnel["key"] is None else tunnel["key"]
    ends = f"source {tunnel['source']}, destination {tunnel['destination']}"
    return f"{ends}, key {key}, TTL {tunnel['ttl']}"


def _forwarder(tunnel: Mapping[str, Any]) -> str:
    pid = tunnel["forwarder_pid"]
    return joined(f"pid {pid}" if pid else "not running", ", ".join(tunnel["offloads"]), by="; ")


def _last(tunnel: Mapping[str, Any]) -> str:
    ages = [(label, tunnel[f"last_{label}_age_s"]) for label, _ in _WAYS]
    return joined(*(f"{label} {'never' if age is None else clock(age)}" for label, age in ages))


_TUNNEL = (
    Field("address", lambda tunnel: f"{tunnel['address']}, peer {tunnel['remote_address']}"),
    Field("MTU", _mtu),
    Field("GRE", _gre),
    Field("protection", lambda tunnel: tunnel["protection"]),
    Field("forwarder", _forwarder),
    Field("keepalive", _keepalive),
)
_KEEPALIVES = (
    Field("", lambda keepalives: keepalives["verdict"]),
    Field("ours", _probes),
    Field("the peer's", _requests),
)


def _traffic(page: Page, tunnel: Mapping[str, Any]) -> None:
    counts = tunnel["counters"]
    page.field("last packet", _last(tunnel))
    for label, way in _WAYS:
        packets, size = counts.get(f"{way}_packets", 0), counts.get(f"{way}_bytes", 0)
        page.field(label, f"{packets:>14,} packets {size:>18,} bytes   {scaled(size):>8}")
    notable = counters.nonzero(counts, _NOTABLE)
    if notable:
        page.field("counted", notable)
    page.field("dropped", counters.drops(counts) or "none")
    counters.every(page, counts)
