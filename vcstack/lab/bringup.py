"""From configuration files to traffic: starts the daemons and waits for every layer of both tunnels."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from vcstack.lab import files
from vcstack.lab.namespaces import LabError
from vcstack.lab.plan import DATA_CENTRES
from vcstack.lab.report import LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.lab.bench import Bench, Daemon

_START_S = 15.0
_UP_S = 20.0
_POLL_S = 0.05
DEFAULT_ROUTE = "0.0.0.0/0"


async def start(bench: Bench) -> None:
    """Start the three daemons and wait until both tunnels carry routes. Raises LabError."""
    written = files.write(bench.plan, bench.folder)
    with bench.display.doing("data centres start"):
        centres = [bench.start(centre.name, written[centre.name]) for centre in DATA_CENTRES]
        await asyncio.gather(*(_answering(daemon) for daemon in centres))
    bench.display.say("both data centres run")
    with bench.display.doing("the CPE starts"):
        started_at = time.monotonic()
        cpe = bench.start("cpe", written["cpe"])
        await _answering(cpe)
        await up(bench, started_at, timeout_s=_UP_S + bench.plan.detection_s)
        await _routed(bench)


async def up(bench: Bench, since: float, *, timeout_s: float, first: bool = True) -> float:
    """Wait for every layer of every tunnel to be up, and say each; seconds from `since` to the last of them.

    With `first` the times go into the report. Raises LabError that names the layers which stayed down.
    """
    times: dict[tuple[str, str], float] = {}
    while True:
        status = await bench.daemons["cpe"].status()
        for key, at in _newly_up(status or {}, times).items():
            times[key] = at - since
            if first:
                _note(bench, key, times[key])
        if status is not None and len(times) == len(DATA_CENTRES) * len(LAYERS):
            return max(times.values())
        if time.monotonic() - since > timeout_s:
            raise LabError(f"not up within {timeout_s:g} s: {'; '.join(down(status))}")
        await asyncio.sleep(_POLL_S)


def down(status: Mapping[str, Any] | None) -> list[str]:
    """Each layer that is not up, with its reason."""
    if status is None:
        return ["the CPE does not answer"]
    return [
        f"{name} {layer} {tunnel[layer]['state']}: {_why(tunnel[layer])}"
        for name, tunnel in status["tunnels"].items()
        for layer in LAYERS
        if tunnel[layer]["state"] != "up"
    ]


def _why(layer: Mapping[str, Any]) -> str:
    return str(layer.get("last_error") or layer["reason"])


def _newly_up(
    status: Mapping[str, Any], known: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """When each layer came up that is up, and was not known to be."""
    now = time.monotonic()
    return {
        (name, layer): now - tunnel[layer]["since_s"]
        for name, tunnel in status.get("tunnels", {}).items()
        for layer in LAYERS
        if tunnel[layer]["state"] == "up" and (name, layer) not in known
    }


def _note(bench: Bench, key: tuple[str, str], after_s: float) -> None:
    tunnel, layer = key
    bench.report.tunnels[tunnel].up_after_ms[layer] = round(after_s * 1000, 1)
    bench.display.layer_up(tunnel, layer, after_s * 1000)


async def _answering(daemon: Daemon) -> None:
    end = time.monotonic() + _START_S
    while await daemon.status() is None:
        if time.monotonic() > end:
            raise LabError(f"vcstack on {daemon.node} does not answer after {_START_S:g} s: {daemon.tail()}")
        await asyncio.sleep(_POLL_S)


async def _routed(bench: Bench) -> None:
    """Wait until the CPE has each data centre's prefix, and each data centre its way back."""
    end = time.monotonic() + _UP_S
    while missing := await _missing_routes(bench):
        if time.monotonic() > end:
            raise LabError(f"BGP did not bring within {_UP_S:g} s: {'; '.join(missing)}")
        await asyncio.sleep(_POLL_S)


async def _missing_routes(bench: Bench) -> list[str]:
    missing = []
    on_cpe = await best_routes(bench.daemons["cpe"])
    for centre in DATA_CENTRES:
        if on_cpe.get(str(centre.prefix)) != centre.name:
            missing.append(f"{centre.prefix} through {centre.name}")
        if DEFAULT_ROUTE not in await best_routes(bench.daemons[centre.name]):
            missing.append(f"{DEFAULT_ROUTE} to {centre.name}")
    return missing


async def best_routes(daemon: Daemon) -> dict[str, str | None]:
    """The tunnel that carries each prefix; None where it is unreachable."""
    status = await daemon.status() or {}
    return {route["prefix"]: route["tunnel"] for route in status.get("routes", []) if route["best"]}
