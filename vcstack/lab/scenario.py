"""The run from the first namespace to the last expectation; what it leaves is removed by `lab.run`."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from vcstack.lab import bringup, closing, failover, namespaces, traffic
from vcstack.lab.namespaces import LabError
from vcstack.lab.report import LAYERS
from vcstack.lab.sniffer import Sniffer

if TYPE_CHECKING:
    from vcstack.lab.bench import Bench


async def run(bench: Bench, *, stop: bool) -> None:
    """Do everything; with `stop`, end the daemons in the end and look at what they leave. Raises LabError."""
    with bench.display.doing("network"):
        for _ in namespaces.build(bench.plan):
            await asyncio.sleep(0)  # a signal is served between two steps
    count = len(bench.plan.topology.nodes)
    bench.display.say(f"network of {count} namespaces, {bench.namespace('*')}")
    with Sniffer(bench.namespace("internet")) as sniffer:
        try:
            await _measure(bench)
            bench.report.expect(sniffer.encrypted() > 0, "the sniffer is blind: it saw no encrypted packet")
            if stop:
                await closing.stop(bench)
        finally:
            _count(bench, sniffer)


async def _measure(bench: Bench) -> None:
    try:
        await bringup.start(bench)
        async with traffic.hosts(bench):
            await traffic.ping_all(bench)
            await traffic.transfer_all(bench)
            await failover.cut_and_restore(bench)
    finally:
        await _note_layers(bench)


async def _note_layers(bench: Bench) -> None:
    """The layers as they are now, at the end of all measurements."""
    status = None
    if "cpe" in bench.daemons:
        with contextlib.suppress(LabError):  # it has ended: whoever needed it says so
            status = await bench.daemons["cpe"].status()
    for name, tunnel in bench.report.tunnels.items():
        now = (status or {}).get("tunnels", {}).get(name, {})
        tunnel.layers = {layer: now.get(layer, {}).get("state", "down") for layer in LAYERS}


def _count(bench: Bench, sniffer: Sniffer) -> None:
    report = bench.report
    report.leaked, report.encrypted = sniffer.leaked(), sniffer.encrypted()
    samples = "; ".join(sniffer.samples())
    report.expect(report.leaked == 0, f"{report.leaked} packets in clear on the internet: {samples}")
