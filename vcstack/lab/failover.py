"""Cuts data centre A off and brings it back, and measures what a steady flow from the LAN notices of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from vcstack.lab import bringup, traffic
from vcstack.lab.namespaces import LabError, run
from vcstack.lab.plan import DC_A, DC_B, DETOUR_HOPS, DIRECT_HOPS

if TYPE_CHECKING:
    from vcstack.lab.bench import Bench
    from vcstack.lab.plan import Plan
    from vcstack.lab.report import Move
    from vcstack.lab.traffic import Probes

_STEADY = traffic.PROBES_PER_S // 2
_CALM_S = 5.0
_MARGIN_S = 5.0
_RETURN_S = 30.0
_BEFORE_S = 0.2
_FAILBACK_LIMIT_MS = 1000.0


def cut_commands(plan: Plan) -> list[tuple[str, ...]]:
    """The internet silently drops what A sends and what is for A; A's own link stays up."""
    return [("ip", "-n", plan.namespace("internet"), "rule", "add", *rule) for rule in _RULES]


def restore_commands(plan: Plan) -> list[tuple[str, ...]]:
    """Undo the cut."""
    return [("ip", "-n", plan.namespace("internet"), "rule", "delete", *rule) for rule in _RULES]


_RULES = (
    ("priority", "100", "iif", DC_A.name, "blackhole"),
    ("priority", "101", "to", str(DC_A.wan.network), "blackhole"),
)


async def cut_and_restore(bench: Bench) -> None:
    """Measure failover and failback of the LAN's way to A's /25. Raises LabError when a tunnel stays down."""
    async with traffic.probes(bench) as probes:
        with bench.display.doing(f"a steady flow from the LAN to {DC_A.host.ip}"):
            start = time.monotonic()
            if not await probes.settle(_STEADY, DIRECT_HOPS, start, _CALM_S):
                raise LabError(f"the flow from the LAN to {DC_A.host.ip} does not run through {DC_A.name}")
        await _cut(bench, probes)
        await _restore(bench, probes)


async def _cut(bench: Bench, probes: Probes) -> None:
    move = bench.report.failover
    cut_at = _apply(cut_commands(bench.plan))
    bench.display.say(f"{DC_A.name} is cut off from the internet")
    limit_s = bench.plan.detection_s + _MARGIN_S
    with bench.display.doing(f"the LAN's way to {DC_A.prefix} moves to {DC_B.name}"):
        settled = await probes.settle(_STEADY, DETOUR_HOPS, cut_at, limit_s)
    _measure(move, probes, cut_at, DETOUR_HOPS)
    bench.report.expect(settled, f"failover: {DC_A.prefix} not reached through {DC_B.name} in {limit_s:g} s")
    status = await bench.daemons["cpe"].status()
    if status is not None:
        line = status["tunnels"][DC_A.name]["gre"]
        bench.report.expect(line["state"] == "down", f"failover: the line of {DC_A.name} is {line['state']}")
        move.tunnel_after_ms = _milliseconds(time.monotonic() - line["since_s"] - cut_at)
        bench.display.say(f"{DC_A.name} line down after {move.tunnel_after_ms:.0f} ms: {line['reason']}")
    if settled:
        move.through = DC_B.name
        _say(bench, "failover", move)


async def _restore(bench: Bench, probes: Probes) -> None:
    move = bench.report.failback
    restored_at = _apply(restore_commands(bench.plan))
    bench.display.say(f"{DC_A.name} is back on the internet")
    limit_s = bench.plan.detection_s + _RETURN_S
    with bench.display.doing(f"{DC_A.name} comes up, and the LAN's way moves back"):
        up_after_s = await bringup.up(bench, restored_at, timeout_s=limit_s, first=False)
        move.tunnel_after_ms = _milliseconds(up_after_s)
        bench.display.say(f"{DC_A.name} up in every layer {move.tunnel_after_ms:.0f} ms after that")
        settled = await probes.settle(_STEADY, DIRECT_HOPS, restored_at, _MARGIN_S)
        await asyncio.sleep(_BEFORE_S)
    _measure(move, probes, restored_at, DIRECT_HOPS)
    if bench.report.expect(settled, f"failback: {DC_A.prefix} is not reached through {DC_A.name} again"):
        move.through = DC_A.name
        _say(bench, "failback", move)
    if move.outage is not None:
        outage_ms = move.outage.outage_ms
        bench.report.expect(outage_ms < _FAILBACK_LIMIT_MS, f"failback: an outage of {outage_ms:.0f} ms")


def _measure(move: Move, probes: Probes, since: float, hops: int) -> None:
    """Of the packets from shortly before the change to the newest that was answered."""
    answered = [packet.sent_at for packet in probes.flow.packets.values() if packet.received_at is not None]
    move.outage = probes.flow.outage(since - _BEFORE_S, max(answered, default=since))
    first = probes.flow.first_over(hops, since)
    move.settled_after_ms = None if first is None else _milliseconds(first - since)


def _say(bench: Bench, name: str, move: Move) -> None:
    outage = move.outage
    if outage is not None:
        numbers = f"outage {outage.outage_ms:.0f} ms, {outage.lost} of {outage.sent} packets lost"
        bench.display.say(f"{name}: LAN to {DC_A.prefix} through {move.through}, {numbers}")


def _apply(commands: list[tuple[str, ...]]) -> float:
    """Run them; the time in between, on the monotonic clock of the probes."""
    at = time.monotonic()
    for command in commands:
        run(*command)
    return at


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
