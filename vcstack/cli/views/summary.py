"""`vcstack status`: one screen, every layer of every tunnel with its state, since when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from vcstack.cli.views import counters, routes
from vcstack.cli.views.page import WARNING, Page, state
from vcstack.cli.views.words import clock, counted, joined, scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAYERS = ("ike", "esp", "gre", "bgp")
_STATE_WIDTH = len("connecting")
_LABEL_WIDTH = 4
_WAYS = (("out", "outbound"), ("in", "inbound"))


def render(answer: Mapping[str, Any], page: Page) -> None:
    """Fill the page with the answer to `status`."""
    running = Text.assemble(f"running for {clock(answer['since_s'])}; ", _tunnels(answer["tunnels"]))
    page.line(running, Text.assemble((answer["name"], "bold"), f" ({answer['role']})  "))
    for warning in answer["warnings"]:
        page.line(warning, Text("warning: ", style=WARNING))
    for name, tunnel in answer["tunnels"].items():
        page.gap()
        page.line(_place(tunnel), Text.assemble((name, "bold"), "  "))
        for layer in LAYERS:
            _layer(page, layer, tunnel[layer])
        _traffic(page, tunnel["counters"])
    page.gap()
    routes.render(answer["routes"], page)


def _tunnels(tunnels: Mapping[str, Any]) -> Text:
    """How many tunnels are up, or the lowest layer of each one that is not."""
    broken = [
        Text.assemble(f"{name} {layer} ", state(tunnel[layer]["state"]))
        for name, tunnel in tunnels.items()
        if (layer := next((layer for layer in LAYERS if tunnel[layer]["state"] != "up"), None))
    ]
    return Text(", ").join(broken) if broken else Text(f"{counted(len(tunnels), 'tunnel')} up")


def _place(tunnel: Mapping[str, Any]) -> str:
    if "prefix" not in tunnel:
        return ""
    return f"{tunnel['prefix']} through {tunnel['interface']}, MTU {tunnel['mtu']}"


def _layer(page: Page, name: str, layer: Mapping[str, Any]) -> None:
    head = Text.assemble(
        f"  {name:<{_LABEL_WIDTH}} ",
        state(layer["state"]),
        " " * (_STATE_WIDTH - len(layer["state"])),
        f" {clock(layer['since_s']):<8}  ",
    )
    page.line(_why(name, layer), head)


def _why(name: str, layer: Mapping[str, Any]) -> str:
    if layer["state"] == "up":
        return _UP[name](layer) or layer["reason"]
    reason, error, retry = layer["reason"], layer.get("last_error"), layer.get("retry_in_s")
    trying = layer["state"] == "connecting"
    last = f"last error: {error}" if trying and error and error not in reason else None
    again = None if retry is None else f"next attempt in {clock(retry)}"
    request = layer.get("outstanding")
    waiting = f"{request} unanswered" if request and request not in reason else None
    return joined(reason, waiting, last, _verdict(layer), again, by="; ")


def _ike(layer: Mapping[str, Any]) -> str:
    path, identity = layer.get("path"), layer.get("peer_id")
    if not path:
        return ""
    return str(path) if identity == layer["peer"] else f"{identity}, {path}"


def _esp(layer: Mapping[str, Any]) -> str:
    if "spi_in" not in layer:
        return ""
    road = "in UDP" if layer["udp_encapsulation"] else None
    spis = f"SPI {layer['spi_in']}/{layer['spi_out']}"
    return joined(joined(layer["suite"], road, by=" "), spis, _doubt(layer.get("pfs")))


def _doubt(pfs: str | None) -> str | None:
    """What is wrong with perfect forward secrecy; that it is proven needs no word here."""
    return None if not pfs or pfs.startswith("PFS proven") else pfs


def _gre(layer: Mapping[str, Any]) -> str:
    return _verdict(layer) or ""


def _verdict(layer: Mapping[str, Any]) -> str | None:
    return (layer.get("keepalives") or {}).get("verdict")


def _bgp(layer: Mapping[str, Any]) -> str:
    if "peer" not in layer:
        return ""
    denied = layer["prefixes_denied"]
    return joined(
        f"established with {layer['peer']}",
        f"{counted(layer['prefixes_received'], 'route')} in",
        f"{denied:,} denied" if denied else None,
        f"{layer['prefixes_advertised']:,} out",
    )


_UP: dict[str, Callable[[Mapping[str, Any]], str]] = {"ike": _ike, "esp": _esp, "gre": _gre, "bgp": _bgp}


def _traffic(page: Page, counts: Mapping[str, int]) -> None:
    if not counts:
        return
    ways = []
    for way, name in _WAYS:
        packets, size = counts.get(f"{name}_packets", 0), counts.get(f"{name}_bytes", 0)
        ways.append(f"{way} {counted(packets, 'packet')}, {scaled(size)}")
    page.line("; ".join(ways), f"  {'data':<{_LABEL_WIDTH}} ")
    dropped = counters.drops(counts)
    if dropped:
        page.line(dropped, f"  {'drop':<{_LABEL_WIDTH}} ")
