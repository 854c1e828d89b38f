"""Addresses, links, routes and rules of the kernel, by rtnetlink.

Every call to the kernel runs on one thread, in the order of the calls, so that the event loop never waits.
What vcstack put into the kernel carries its own protocol number (`ip route show proto 176`), and is found
and taken back by it, also by the successor of a process that was killed.
"""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROTOCOL = 176
"""The rtnetlink protocol number of vcstack's routes and rules: what a route daemon redistributes them by.

No other program's: FRR has 186 to 198, and the kernel's headers and iproute2 name numbers up to 99.
"""

MAIN_TABLE = 254
_UNREACHABLE = 7  # RTN_UNREACHABLE
_IFF_UP = 1
_ADDR_GEN_MODE_NONE = 1
_NO_LINK_LOCAL: dict[str, Any] = {
    "IFLA_AF_SPEC": {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})]}
}
"""No IPv6 address of the kernel's own making: its router solicitations do not belong into the tunnel."""
_QUEUE_PACKETS = 1000
"""A TUN's own 500 would be 25 ms of voice. Packets of up to 64 KiB count as one, and stay that large: with a
smaller gso_max_size the kernel would cut what it forwards into single packets."""
_GONE = frozenset({errno.ESRCH, errno.ENODEV, errno.ENOENT, errno.EADDRNOTAVAIL})
_PRESENT = frozenset({errno.EEXIST})

P = ParamSpec("P")
R = TypeVar("R")


class KernelRefusedError(OSError):
    """The kernel did not do what netlink asked; says what was asked."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route through `device`, or an unreachable one where `device` is None; the lowest `metric` wins."""

    prefix: IPv4Network
    device: str | None
    metric: int
    table: int = MAIN_TABLE

    def __str__(self) -> str:
        how = f"dev {self.device}" if self.device else "unreachable"
        return f"{self.prefix} {how} metric {self.metric} table {self.table}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets from `source` look `table` up; with `more_specific_only`, its default route does not count."""

    source: IPv4Network
    table: int
    priority: int
    more_specific_only: bool = False


@dataclass(frozen=True, slots=True)
class PathInfo:
    """How the kernel reaches a destination: device, MTU of the path in bytes, source address it chooses."""

    device: str
    mtu: int
    source: IPv4Address


class Netlink:
    """The kernel of the network namespace that the process runs in."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._kernel: _Kernel | None = None

    async def open(self) -> None:
        """Connect to the kernel; without this the first call does."""
        await self._call(_Kernel.open)

    async def interface_up(self, name: str, address: IPv4Interface, mtu: int) -> None:
        """Give the interface its address and MTU in bytes, and bring it up."""
        await self._call(_Kernel.interface_up, name, address, mtu)

    async def restore_interface(self, name: str, address: IPv4Interface, mtu: int) -> bool:
        """Do what `interface_up` does, where it is undone; whether it was. ENODEV when there is none."""
        return await self._call(_Kernel.restore_interface, name, address, mtu)

    async def set_mtu(self, name: str, mtu: int) -> None:
        """Set an interface's MTU in bytes; routes through the interface stay."""
        await self._call(_Kernel.set_mtu, name, mtu)

    async def interface_down(self, name: str) -> None:
        """Take an interface down; one that is gone already is fine."""
        await self._call(_Kernel.interface_down, name)

    async def install(self, route: Route) -> None:
        """Add a route, or replace the one with the same prefix, metric and table."""
        await self._call(_Kernel.install, route)

    async def withdraw(self, route: Route) -> None:
        """Remove a route; one that is gone already is fine."""
        await self._call(_Kernel.withdraw, route)

    async def add_rule(self, rule: Rule) -> None:
        """Add a rule; one that is there already is fine."""
        await self._call(_Kernel.add_rule, rule)

    async def flush(self, *, keep: Iterable[Route] = ()) -> int:
        """Remove all routes and rules with vcstack's protocol number except `keep`; how many there were."""
        return await self._call(_Kernel.flush, frozenset(keep))

    async def routes(self) -> list[Route]:
        """The routes with vcstack's protocol number, as the kernel has them."""
        return await self._call(_Kernel.routes)

    async def path_to(self, destination: IPv4Address) -> PathInfo | None:
        """How the kernel reaches `destination` now, or None while it does not."""
        return await self._call(_Kernel.path_to, destination)

    async def addresses(self) -> frozenset[IPv4Address]:
        """The IPv4 addresses of this host."""
        return await self._call(_Kernel.addresses)

    async def close(self) -> None:
        """Close the connection to the kernel, after the calls that wait."""
        if self._kernel is not None:
            await self._call(_Kernel.close)
        self._thread.shutdown(wait=False)

    async def _call(
        self, method: Callable[Concatenate[_Kernel, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def work() -> R:
            if self._kernel is None:
                self._kernel = _Kernel()
            return method(self._kernel, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class _Kernel:
    """The blocking half: one netlink socket, used by one thread."""

    def __init__(self) -> None:
        # pyroute2 takes a quarter of a second to import: here that passes on the netlink thread.
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

        self._error: type[Exception] = NetlinkError
        self._ip: Any = IPRoute()

    def open(self) -> None:
        """Do nothing: the constructor connected."""

    def close(self) -> None:
        self._ip.close()

    def interface_up(self, name: str, address: IPv4Interface, mtu: int) -> None:
        index = self._interface(name)
        what = f"setting {name} to {address}, MTU {mtu}"
        self._do(what, self._ip.link, "set", index=index, mtu=mtu, txqlen=_QUEUE_PACKETS, **_NO_LINK_LOCAL)
        arguments = {"index": index, "address": str(address.ip), "prefixlen": address.network.prefixlen}
        self._do(what, self._ip.addr, "add", fine=_PRESENT, **arguments)
        self._do(what, self._ip.link, "set", index=index, state="up")

    def restore_interface(self, name: str, address: IPv4Interface, mtu: int) -> bool:
        index = self._interface(name)
        (link,) = self._read(self._ip.link, "get", index=index)
        held = {message.get("local") for message in self._read(self._ip.get_addr, family=2, index=index)}
        if link["flags"] & _IFF_UP and str(address.ip) in held:
            return False
        self.interface_up(name, address, mtu)
        return True

    def set_mtu(self, name: str, mtu: int) -> None:
        self._do(f"setting {name} to MTU {mtu}", self._ip.link, "set", index=self._interface(name), mtu=mtu)

    def interface_down(self, name: str) -> None:
        found = self._ip.link_lookup(ifname=name)
        if found:
            self._do(f"taking {name} down", self._ip.link, "set", fine=_GONE, index=found[0], state="down")

    def install(self, route: Route) -> None:
        self._do(f"adding route {route}", self._ip.route, "replace", **self._route_arguments(route))

    def withdraw(self, route: Route) -> None:
        if route.device is None or self._ip.link_lookup(ifname=route.device):
            self._do(
                f"removing route {route}", self._ip.route, "del", fine=_GONE, **self._route_arguments(route)
            )

    def add_rule(self, rule: Rule) -> None:
        arguments: dict[str, Any] = {
            "priority": rule.priority,
            "src": str(rule.source.network_address),
            "src_len": rule.source.prefixlen,
            "table": rule.table,
            "FRA_PROTOCOL": PROTOCOL,
        }
        if rule.more_specific_only:
            arguments["FRA_SUPPRESS_PREFIXLEN"] = 0
        self._do(f"adding the rule for {rule.source}", self._ip.rule, "add", fine=_PRESENT, **arguments)

    def flush(self, keep: frozenset[Route]) -> int:
        stale = [route for route in self.routes() if route not in keep]
        for route in stale:
            self.withdraw(route)
        return len(stale) + self._flush_rules()

    def routes(self) -> list[Route]:
        names = {link["index"]: link.get("ifname") for link in self._read(self._ip.get_links)}
        return [
            Route(
                IPv4Network((message.get("dst") or 0, message["dst_len"])),
                None if message["type"] == _UNREACHABLE else names.get(message.get("oif"), "?"),
                message.get("priority") or 0,
                message.get("table"),
            )
            for message in self._read(self._ip.route, "dump", family=2, proto=PROTOCOL)
        ]

    def path_to(self, destination: IPv4Address) -> PathInfo | None:
        try:
            (answer,) = self._ip.route("get", dst=str(destination))
        except self._error:
            return None
        (link,) = self._ip.link("get", index=answer.get("oif"))
        metrics = answer.get("metrics")  # the route's own MTU, or one that the kernel learned from ICMP
        mtu = (metrics.get("mtu") if metrics else None) or link.get("mtu")
        return PathInfo(link.get("ifname"), mtu, IPv4Address(answer.get("prefsrc")))

    def addresses(self) -> frozenset[IPv4Address]:
        return frozenset(IPv4Address(message.get("local")) for message in self._ip.get_addr(family=2))

    def _flush_rules(self) -> int:
        rules = [rule for rule in self._ip.get_rules(family=2) if rule.get("FRA_PROTOCOL") == PROTOCOL]
        for rule in rules:
            arguments = {"priority": rule.get("priority"), "table": rule.get("table"), "family": 2}
            self._do("removing a rule", self._ip.rule, "del", fine=_GONE, **arguments)
        return len(rules)

    def _route_arguments(self, route: Route) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "dst": str(route.prefix),
            "table": route.table,
            "priority": route.metric,
            "proto": PROTOCOL,
        }
        if route.device is None:
            return arguments | {"type": "unreachable"}
        return arguments | {"oif": self._interface(route.device), "scope": "link"}

    def _interface(self, name: str) -> int:
        found = self._ip.link_lookup(ifname=name)
        if not found:
            raise KernelRefusedError(errno.ENODEV, f"there is no interface {name}")
        return int(found[0])

    def _read(self, call: Callable[..., Iterable[Any]], *verb: str, **arguments: Any) -> list[Any]:
        """What the kernel tells, in full."""
        try:
            return list(call(*verb, **arguments))
        except self._error as error:
            raise KernelRefusedError(getattr(error, "code", 0), f"reading from netlink: {error}") from error

    def _do(
        self,
        what: str,
        call: Callable[..., object],
        verb: str,
        *,
        fine: frozenset[int] = frozenset(),
        **arguments: Any,
    ) -> None:
        try:
            call(verb, **arguments)
        except self._error as error:
            code = int(getattr(error, "code", 0))
            if code not in fine:
                raise KernelRefusedError(code, f"{what}: {error.args[-1]}") from error
