"""Which prefix leaves through which tunnel: the routes that BGP learned, in the kernel.

    prefix              through               metric
    own /25 of A        tunnel A              196      the longest prefix wins while A is up
    own /25 of B        tunnel B              197
    region's /24        tunnel A              196      carries both /25 when the other tunnel is down
    region's /24        tunnel B              197
    region's /24        unreachable           4196     always there: without a tunnel nothing leaves in clear

A tunnel's routes differ from its neighbour's by the metric, so that taking one away never touches the other.
A headend learns a default route; it counts for packets from the region alone, in a table of its own, so that
neither IKE nor ESP can ever be routed into the tunnel that they carry.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from vcstack.control import log
from vcstack.io.netlink import MAIN_TABLE, PROTOCOL, KernelRefusedError, Route, Rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

BASE_METRIC = 196
UNREACHABLE_METRIC = 4196
REGION_TABLE = PROTOCOL
RULE_PRIORITY = 19600
_DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
_RETRY_S = 1.0
_LOG = log.get("routes")


class Kernel(Protocol):
    """What is needed of `io.netlink.Netlink`."""

    async def install(self, route: Route) -> None:
        """Add or replace."""

    async def withdraw(self, route: Route) -> None:
        """Remove."""

    async def add_rule(self, rule: Rule) -> None:
        """Add."""

    async def flush(self, *, keep: Iterable[Route] = ()) -> int:
        """Remove all but `keep`."""

    async def routes(self) -> list[Route]:
        """What is there."""


class RouteTable:
    """The wanted routes, and the task that makes the kernel follow them.

    `tunnels` maps the name of each tunnel to its interface; their order gives the metrics.
    """

    def __init__(self, kernel: Kernel, region: IPv4Network, tunnels: dict[str, str], *, guard: bool) -> None:
        self._kernel = kernel
        self._region = region
        self._devices = tunnels
        self._metrics = {name: BASE_METRIC + index for index, name in enumerate(tunnels)}
        self._guard = Route(region, None, UNREACHABLE_METRIC) if guard else None
        self._wanted: dict[str, set[IPv4Network]] = {name: set() for name in tunnels}
        self._installed: set[Route] = set()
        self._last_refusal: str | None = None
        self._doubted = False
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()

    async def open(self) -> int:
        """Guard the region, then remove what a killed predecessor left; how much that was."""
        if self._guard is not None:
            await self._kernel.install(self._guard)
        removed = await self._kernel.flush(keep=(self._guard,) if self._guard else ())
        await self._add_rules()
        return removed

    async def close(self, *, keep_guard: bool = False) -> None:
        """Take everything back, or everything but the guard of the region."""
        await self._kernel.flush(keep=(self._guard,) if self._guard and keep_guard else ())

    def announce(self, tunnel: str, prefix: IPv4Network) -> None:
        """The peer of this tunnel reaches `prefix`."""
        self._change(tunnel, self._wanted[tunnel] | {prefix})

    def withdraw(self, tunnel: str, prefix: IPv4Network) -> None:
        """It no longer does."""
        self._change(tunnel, self._wanted[tunnel] - {prefix})

    def clear(self, tunnel: str) -> None:
        """Nothing goes through this tunnel."""
        self._change(tunnel, set())

    def forget(self, tunnel: str) -> None:
        """The interface of this tunnel is gone, and its routes with it."""
        self._installed = {route for route in self._installed if route.device != self._devices[tunnel]}
        self.clear(tunnel)

    def installed(self) -> list[Route]:
        """What the kernel has, the best route to each prefix first."""
        routes = self._installed | ({self._guard} if self._guard else set())
        return sorted(routes, key=lambda route: (route.prefix, route.metric))

    def tunnel_of(self, route: Route) -> str | None:
        """The name of the tunnel that a route goes through."""
        return next((name for name, device in self._devices.items() if device == route.device), None)

    def doubt(self) -> None:
        """Somebody else has been at the kernel's routes: compare, and put back what is missing."""
        self._doubted = True
        self._changed.set()

    async def settle(self) -> None:
        """Wait until the kernel has followed every change so far."""
        self._settled.clear()
        self._changed.set()
        await self._settled.wait()

    async def run(self) -> None:
        """Make the kernel follow, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                complete = await self._follow()
            except Exception as error:  # noqa: BLE001 (routes must be followed whatever happened once)
                self._complain(f"routes: {error!r}")
                complete = False
            if not self._changed.is_set():
                self._settled.set()
            if not complete:
                asyncio.get_running_loop().call_later(_RETRY_S, self._changed.set)

    def _change(self, tunnel: str, prefixes: set[IPv4Network]) -> None:
        if prefixes != self._wanted[tunnel]:
            self._wanted[tunnel] = prefixes
            self._changed.set()

    async def _follow(self) -> bool:
        """Additions first, so that no prefix is without a route in between; False when one failed."""
        complete = await self._compare() if self._doubted else True
        wanted = {self._route(name, prefix) for name, prefixes in self._wanted.items() for prefix in prefixes}
        for route in sorted(wanted - self._installed, key=str):
            complete &= await self._try(self._add, route)
        for route in sorted(self._installed - wanted, key=str):
            complete &= await self._try(self._remove, route)
        return complete

    async def _compare(self) -> bool:
        """Forget what the kernel has no more, so that it is added again; the guard and the rules at once."""
        self._doubted = False
        try:
            present = frozenset(await self._kernel.routes())
            for route in self.installed():
                if route not in present:
                    _LOG.warning("route %s was taken away by somebody else", route)
                    self._installed.discard(route)
            if self._guard is not None and self._guard not in present:
                await self._kernel.install(self._guard)
            await self._add_rules()
        except KernelRefusedError as error:
            self._doubted = True
            self._complain(str(error.strerror))
        return not self._doubted

    async def _add_rules(self) -> None:
        if self._guard is None:
            await self._kernel.add_rule(
                Rule(self._region, MAIN_TABLE, RULE_PRIORITY, more_specific_only=True)
            )
            await self._kernel.add_rule(Rule(self._region, REGION_TABLE, RULE_PRIORITY + 1))

    async def _try(self, action: Callable[[Route], Awaitable[None]], route: Route) -> bool:
        try:
            await action(route)
        except KernelRefusedError as error:
            self._complain(str(error.strerror))
            return False
        self._last_refusal = None
        return True

    def _complain(self, text: str) -> None:
        if text != self._last_refusal:  # it is tried again every second
            _LOG.error("%s", text)
        self._last_refusal = text

    async def _add(self, route: Route) -> None:
        await self._kernel.install(route)
        self._installed.add(route)
        _LOG.info("route %s installed", route)

    async def _remove(self, route: Route) -> None:
        await self._kernel.withdraw(route)
        self._installed.discard(route)
        _LOG.info("route %s removed", route)

    def _route(self, tunnel: str, prefix: IPv4Network) -> Route:
        table = REGION_TABLE if prefix == _DEFAULT_ROUTE else MAIN_TABLE
        return Route(prefix, self._devices[tunnel], self._metrics[tunnel], table)
