"""The daemon's answers as text for people: aligned, coloured on a terminal, nothing cut off."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

LAYERS = ("ike", "esp", "gre", "bgp")
_STYLES = {"up": "bold green", "connecting": "bold yellow", "down": "bold red"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_console = Console(highlight=False, soft_wrap=True)


def print_status(answer: Mapping[str, Any]) -> None:
    """One screen: every layer of every tunnel, then the routes."""
    _console.print(f"{answer['name']} ({answer['role']}), running for {duration(answer['since_s'])}")
    for warning in answer["warnings"]:
        _console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    for name, tunnel in answer["tunnels"].items():
        _console.print()
        _console.print(Text.assemble((name, "bold"), _place(tunnel)))
        for layer in LAYERS:
            _print_layer(layer, tunnel[layer])
        _console.print(f"  {traffic(tunnel['counters'])}")
    _console.print()
    print_routes(answer["routes"])


def print_routes(routes: Iterable[Mapping[str, Any]]) -> None:
    """The routes in the kernel, the used one of each prefix marked."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "prefix", "through", "interface", "metric", "table"):
        table.add_column(heading)
    for route in routes:
        through = route["tunnel"] or "unreachable"
        mark = "*" if route["best"] else ""
        numbers = (str(route["metric"]), str(route["table"]))
        table.add_row(mark, route["prefix"], through, route["device"] or "-", *numbers)
    _console.print(table)


def print_tree(answer: Mapping[str, Any]) -> None:
    """Any answer, as indented names and values; lists of equal records as tables."""
    for name, value in answer.items():
        _console.print(Text(name, style="bold"))
        _print_value(value, 1)


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    for size, unit in _UNITS:
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            smaller = _UNITS[_UNITS.index((size, unit)) + 1] if size > 60 else (1, "s")
            return f"{whole} {unit} {rest // smaller[0]} {smaller[1]}"
    return f"{seconds:.1f} s"


def traffic(counters: Mapping[str, int]) -> str:
    """Packets and bytes both ways, and what was dropped, by reason."""
    ways = [
        f"{way} {counters.get(f'{long}_packets', 0)} packets {_bytes(counters.get(f'{long}_bytes', 0))}"
        for way, long in (("out", "outbound"), ("in", "inbound"))
    ]
    drops = [f"{name.replace('_drop_', ' ')} {value}" for name, value in counters.items() if "_drop_" in name]
    return ", ".join(ways) + (f"; dropped: {', '.join(drops)}" if drops else "")


def _place(tunnel: Mapping[str, Any]) -> str:
    if "prefix" not in tunnel:
        return ""
    return f"  {tunnel['prefix']} through {tunnel['interface']}, MTU {tunnel['mtu']}"


def _print_layer(name: str, layer: Mapping[str, Any]) -> None:
    state = (f"{layer['state']:<10}", _STYLES.get(layer["state"], ""))
    _console.print(Text.assemble(f"  {name}  ", state, f"  {duration(layer['since_s']):<12}  {_why(layer)}"))


def _why(layer: Mapping[str, Any]) -> str:
    reason = ", ".join(str(layer[key]) for key in ("reason", "pfs") if layer.get(key))
    verdict = (layer.get("keepalives") or {}).get("verdict")
    if verdict:
        reason = f"{reason}; {verdict}"
    error = layer.get("last_error")
    if layer["state"] == "up" or not error or error in reason:
        return reason
    return f"{reason} (last error: {error})"


def _print_value(value: Any, depth: int) -> None:
    if isinstance(value, Mapping):
        _print_mapping(value, depth)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _console.print(f"{'  ' * depth}[{index}]")
            _print_value(item, depth + 1)
    else:
        _console.print(f"{'  ' * depth}{_scalar(value)}")


def _print_mapping(value: Mapping[str, Any], depth: int) -> None:
    scalars = {name: item for name, item in value.items() if not _is_nested(item)}
    width = max((len(name) for name in scalars), default=0)
    for name, item in value.items():
        label = name.replace("_", " ")
        if _is_nested(item):
            _console.print(f"{'  ' * depth}{label}")
            _print_value(item, depth + 1)
        else:
            _console.print(f"{'  ' * depth}{label:<{width}}  {_scalar(item)}")


def _is_nested(value: Any) -> bool:
    return bool(value) and (
        isinstance(value, Mapping)
        or (isinstance(value, list) and any(isinstance(item, Mapping) for item in value))
    )


def _scalar(value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes all")
