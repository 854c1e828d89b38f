"""The end of a run: the data centres leave while the LAN still talks to the region, then the CPE."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from vcstack.io.netlink import PROTOCOL
from vcstack.lab import bringup, namespaces, traffic
from vcstack.lab.plan import DATA_CENTRES, REGION

if TYPE_CHECKING:
    from vcstack.lab.bench import Bench
    from vcstack.lab.traffic import Probes

_CLOSED_S = 0.5
_MARGIN_S = 5.0
_POLL_S = 0.02


async def stop(bench: Bench) -> None:
    """End every daemon; without tunnels nothing for the region leaves, and the CPE leaves nothing behind."""
    async with traffic.probes(bench) as probes:
        with bench.display.doing("the data centres leave, the LAN goes on sending"):
            for centre in DATA_CENTRES:
                await _end(bench, centre.name)
            await _closed(bench, probes)
    with bench.display.doing("the CPE stops"):
        await _end(bench, "cpe")
    left = _left_on(bench.namespace("cpe"))
    bench.report.expect(not left, f"the CPE left behind: {', '.join(left)}")


async def _end(bench: Bench, node: str) -> None:
    daemon = bench.daemons[node]
    status = await daemon.stop()
    how = "did not end in time" if status is None else f"ended with status {status}"
    bench.report.expect(status == 0, f"vcstack on {node} {how} on SIGTERM: {daemon.tail()}")


async def _closed(bench: Bench, probes: Probes) -> None:
    """Wait until no tunnel carries the region, then let the flow run against that for a while.

    The sniffer tells whether a packet of it found another way.
    """
    end = time.monotonic() + bench.plan.detection_s + _MARGIN_S
    while (await bringup.best_routes(bench.daemons["cpe"])).get(str(REGION)) is not None:
        if time.monotonic() > end:
            bench.report.expect(held=False, otherwise=f"{REGION} has a route without any data centre")
            return
        await asyncio.sleep(_POLL_S)
    since = time.monotonic()
    await asyncio.sleep(_CLOSED_S)
    fate = probes.flow.outage(since, time.monotonic())
    bench.report.closed_packets = fate.lost
    bench.report.expect(fate.lost == fate.sent > 0, f"{fate.sent - fate.lost} packets answered by nobody")
    bench.display.say(f"without tunnels {REGION} is unreachable: {fate.lost} packets of the LAN refused")


def _left_on(namespace: str) -> list[str]:
    """Routes and interfaces of vcstack."""
    shown = namespaces.run("ip", "-n", namespace, "route", "show", "table", "all", "proto", str(PROTOCOL))
    links = json.loads(namespaces.run("ip", "-n", namespace, "-j", "link", "show"))
    devices = {centre.device for centre in DATA_CENTRES}
    return shown.splitlines() + [link["ifname"] for link in links if link["ifname"] in devices]
