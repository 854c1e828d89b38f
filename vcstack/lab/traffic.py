"""Pings, TCP transfers and the steady flow of probes, all by the kernel's own sockets in the hosts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from vcstack.lab.bench import program
from vcstack.lab.namespaces import LabError, run
from vcstack.lab.outage import Flow
from vcstack.lab.plan import DATA_CENTRES, DC_A

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from ipaddress import IPv4Address

    from vcstack.lab.bench import Bench
    from vcstack.lab.plan import DataCentre

PORT = 7700
PROBES_PER_S = 200
_PINGS = 5
_TRANSFER_S = 3.0
_READY_S = 10.0
_BITS_PER_MEGABIT = 1e6
_POLL_S = 0.02
_PING_TIMES = re.compile(r"= [\d.]+/([\d.]+)/")


@contextlib.asynccontextmanager
async def hosts(bench: Bench) -> AsyncIterator[None]:
    """The programs that answer on the hosts behind the data centres."""
    async with contextlib.AsyncExitStack() as stack:
        for centre in DATA_CENTRES:
            command = program("host", centre.host.ip, PORT)
            child = await stack.enter_async_context(bench.child(centre.host_name, *command))
            assert child.stdout is not None, "a pipe was asked for"
            said = await asyncio.wait_for(child.stdout.readline(), _READY_S)
            if said != b"ready\n":
                raise LabError(f"{centre.host_name}: {said.decode(errors='replace')}")
        yield


async def ping_all(bench: Bench) -> None:
    """Ping tunnel to tunnel, and from the LAN to the host of each /25."""
    with bench.display.doing("pings tunnel to tunnel and from the LAN"):
        for centre in DATA_CENTRES:
            tunnel = bench.report.tunnels[centre.name]
            tunnel.ping_ms = await ping(bench, "cpe", centre.tunnel.ip)
            tunnel.lan_ping_ms = await ping(bench, "lan", centre.host.ip)
            _judge_ping(bench, f"{centre.name} tunnel to tunnel", tunnel.ping_ms)
            _judge_ping(bench, f"LAN to {centre.host.ip} in {centre.prefix}", tunnel.lan_ping_ms)


async def ping(bench: Bench, node: str, destination: IPv4Address) -> float | None:
    """The mean round-trip time in milliseconds, or None unless every echo came back."""
    command = ("ping", "-n", "-q", "-c", str(_PINGS), "-i", "0.1", "-W", "1", str(destination))
    return mean_round_trip(await bench.output(node, *command))


def mean_round_trip(output: str) -> float | None:
    """What `ping -q` measured, unless a packet was lost."""
    times = _PING_TIMES.search(output)
    return float(times[1]) if times and f" {_PINGS} received" in output else None


async def transfer_all(bench: Bench) -> None:
    """Move TCP data through both tunnels at once and check every byte."""
    with bench.display.doing(f"TCP through both tunnels for {_TRANSFER_S:g} s"):
        before = {centre.name: _sent_bytes(bench, centre) for centre in DATA_CENTRES}
        answers = await asyncio.gather(*(_transfer(bench, centre) for centre in DATA_CENTRES))
    for centre, answer in zip(DATA_CENTRES, answers, strict=True):
        if answer is None:
            continue
        carried = _sent_bytes(bench, centre) - before[centre.name]
        _judge_transfer(bench, centre, answer, carried)


async def _transfer(bench: Bench, centre: DataCentre) -> dict[str, Any] | None:
    said = await bench.output("lan", *program("send", centre.host.ip, PORT, _TRANSFER_S))
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        bench.report.expect(held=False, otherwise=f"TCP through {centre.name}: {said or 'no answer'}")
        return None
    return answer


def _judge_transfer(bench: Bench, centre: DataCentre, answer: dict[str, Any], carried: int) -> None:
    moved, seconds = answer["bytes"], answer["seconds"]
    rate = moved * 8 / seconds / _BITS_PER_MEGABIT if seconds else 0.0
    bench.report.tunnels[centre.name].throughput_mbps = round(rate, 1)
    bench.display.say(f"TCP from the LAN through {centre.name}: {moved / 1e6:.1f} MB, {rate:.0f} Mbit/s")
    name = f"TCP through {centre.name}"
    bench.report.expect(rate > 0, f"{name}: no data arrived")
    bench.report.expect(answer["intact"], f"{name}: what arrived is not what was sent")
    bench.report.expect(
        carried >= moved, f"{name}: only {carried} of {moved} bytes left through {centre.device}"
    )


def _sent_bytes(bench: Bench, centre: DataCentre) -> int:
    """What the kernel gave to the CPE's tunnel interface so far."""
    shown = run("ip", "-n", bench.namespace("cpe"), "-s", "-j", "link", "show", "dev", centre.device)
    (link,) = json.loads(shown)
    return int(link["stats64"]["tx"]["bytes"])


def _judge_ping(bench: Bench, what: str, mean_ms: float | None) -> None:
    if bench.report.expect(mean_ms is not None, f"ping {what}: not every echo came back"):
        bench.display.say(f"ping {what}: {mean_ms:.2f} ms")


class Probes:
    """The steady flow from the LAN to the host of A's /25."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    async def settle(self, count: int, hops: int, since: float, timeout_s: float) -> bool:
        """Wait until `count` packets in a row went over `hops` both ways; whether they did in time."""
        return await _eventually(lambda: self.flow.settled(count, hops, since), timeout_s)


@contextlib.asynccontextmanager
async def probes(bench: Bench) -> AsyncIterator[Probes]:
    """The flow, while it runs."""
    flow = Flow()
    command = program("probe", DC_A.host.ip, PORT, PROBES_PER_S)
    async with bench.child("lan", *command) as child:
        assert child.stdout is not None, "a pipe was asked for"
        reader = asyncio.ensure_future(_feed(flow, child.stdout))
        with _cancelled_after(reader):
            yield Probes(flow)


async def _feed(flow: Flow, lines: asyncio.StreamReader) -> None:
    async for line in lines:
        flow.feed(line.decode())


@contextlib.contextmanager
def _cancelled_after(task: asyncio.Task[None]) -> Iterator[None]:
    try:
        yield
    finally:
        task.cancel()


async def _eventually(probe: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not probe():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(_POLL_S)
    return True
