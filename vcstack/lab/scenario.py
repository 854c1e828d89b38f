"""The run from the first namespace to the last expectation; what it leaves is removed by `lab.run`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from vcstack.io.netlink import PROTOCOL
from vcstack.lab import bringup, failover, namespaces, traffic
from vcstack.lab.plan import DATA_CENTRES
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
                await _stop(bench)
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
    status = await bench.daemons["cpe"].status() if "cpe" in bench.daemons else None
    for name, tunnel in bench.report.tunnels.items():
        now = (status or {}).get("tunnels", {}).get(name, {})
        tunnel.layers = {layer: now.get(layer, {}).get("state", "down") for layer in LAYERS}


async def _stop(bench: Bench) -> None:
    """Every daemon ends by itself, and the CPE takes its routes and interfaces with it."""
    with bench.display.doing("the CPE and the data centres stop"):
        for node in ("cpe", *(centre.name for centre in DATA_CENTRES)):
            daemon = bench.daemons[node]
            status = await daemon.stop()
            how = "did not end in time" if status is None else f"ended with status {status}"
            bench.report.expect(status == 0, f"vcstack on {node} {how} on SIGTERM: {daemon.tail()}")
    left = _left_on(bench.namespace("cpe"))
    bench.report.expect(not left, f"the CPE left behind: {', '.join(left)}")
    bench.display.say("all three stopped")


def _left_on(namespace: str) -> list[str]:
    routes = namespaces.run("ip", "-n", namespace, "route", "show", "table", "all", "proto", str(PROTOCOL))
    links = json.loads(namespaces.run("ip", "-n", namespace, "-j", "link", "show"))
    devices = {centre.device for centre in DATA_CENTRES}
    return routes.splitlines() + [link["ifname"] for link in links if link["ifname"] in devices]


def _count(bench: Bench, sniffer: Sniffer) -> None:
    report = bench.report
    report.leaked, report.encrypted = sniffer.leaked(), sniffer.encrypted()
    samples = "; ".join(sniffer.samples())
    report.expect(report.leaked == 0, f"{report.leaked} packets in clear on the internet: {samples}")
