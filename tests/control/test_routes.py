from __future__ import annotations

import asyncio
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from vcstack.control import routes
from vcstack.control.routes import REGION_TABLE, RouteTable
from vcstack.io.netlink import KernelRefusedError, Route, Rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

REGION = IPv4Network("10.77.0.0/24")
HALF_A, HALF_B = REGION.subnets()
ALL = IPv4Network("0.0.0.0/0")
TUNNELS = {"dc-a": "vc-dc-a", "dc-b": "vc-dc-b"}


class Kernel:
    """A kernel in memory, which remembers every step."""

    def __init__(self) -> None:
        self.present: set[Route] = set()
        self.rules: list[Rule] = []
        self.steps: list[str] = []
        self.refusals = 0
        self.unreadable = 0
        self.fault: Exception | None = None

    async def install(self, route: Route) -> None:
        if self.fault is not None:
            raise self.fault
        if self.refusals:
            self.refusals -= 1
            raise KernelRefusedError(19, "no such device")
        self.present.add(route)
        self.steps.append(f"+{route.prefix}:{route.metric}")

    async def withdraw(self, route: Route) -> None:
        self.present.discard(route)
        self.steps.append(f"-{route.prefix}:{route.metric}")

    async def add_rule(self, rule: Rule) -> None:
        if rule not in self.rules:
            self.rules.append(rule)

    async def routes(self) -> list[Route]:
        if self.unreadable:
            self.unreadable -= 1
            raise KernelRefusedError(16, "the dump was interrupted")
        return list(self.present)

    async def flush(self, *, keep: Iterable[Route] = ()) -> int:
        before = len(self.present)
        self.present &= set(keep)
        self.rules.clear()
        return before - len(self.present)


def run(body: Callable[[RouteTable, Kernel], Awaitable[None]], *, guard: bool = True) -> Kernel:
    kernel = Kernel()

    async def main() -> None:
        table = RouteTable(kernel, REGION, TUNNELS, guard=guard)
        await table.open()
        task = asyncio.create_task(table.run())
        await body(table, kernel)
        task.cancel()

    asyncio.run(main())
    return kernel


def view(kernel: Kernel) -> set[tuple[str, str | None, int, int]]:
    return {(str(route.prefix), route.device, route.metric, route.table) for route in kernel.present}


GUARD = ("10.77.0.0/24", None, 4196, 254)


def test_both_tunnels_carry_their_half_and_back_each_other_up() -> None:
    async def body(table: RouteTable, _: Kernel) -> None:
        table.announce("dc-a", HALF_A)
        table.announce("dc-a", REGION)
        table.announce("dc-b", HALF_B)
        table.announce("dc-b", REGION)
        await table.settle()

    assert view(run(body)) == {
        GUARD,
        ("10.77.0.0/25", "vc-dc-a", 196, 254),
        ("10.77.0.0/24", "vc-dc-a", 196, 254),
        ("10.77.0.128/25", "vc-dc-b", 197, 254),
        ("10.77.0.0/24", "vc-dc-b", 197, 254),
    }


def test_a_lost_tunnel_takes_only_its_own_routes() -> None:
    async def body(table: RouteTable, _: Kernel) -> None:
        for tunnel, half in (("dc-a", HALF_A), ("dc-b", HALF_B)):
            table.announce(tunnel, half)
            table.announce(tunnel, REGION)
        await table.settle()
        table.clear("dc-a")
        await table.settle()

    assert view(run(body)) == {
        GUARD,
        ("10.77.0.128/25", "vc-dc-b", 197, 254),
        ("10.77.0.0/24", "vc-dc-b", 197, 254),
    }


def test_what_arrives_goes_in_before_what_leaves_goes_out() -> None:
    async def body(table: RouteTable, _: Kernel) -> None:
        table.announce("dc-a", REGION)
        await table.settle()
        table.withdraw("dc-a", REGION)
        table.announce("dc-b", REGION)
        await table.settle()

    assert run(body).steps[1:] == ["+10.77.0.0/24:196", "+10.77.0.0/24:197", "-10.77.0.0/24:196"]


def test_an_unchanged_route_is_not_touched() -> None:
    async def body(table: RouteTable, _: Kernel) -> None:
        for _attempt in range(3):
            table.announce("dc-a", HALF_A)
            await table.settle()

    assert run(body).steps == ["+10.77.0.0/24:4196", "+10.77.0.0/25:196"]


def test_a_refused_route_is_tried_again() -> None:
    async def body(table: RouteTable, kernel: Kernel) -> None:
        kernel.refusals = 1
        table.announce("dc-a", HALF_A)
        await table.settle()
        assert [str(route.prefix) for route in table.installed()] == ["10.77.0.0/24"]
        await table.settle()

    assert ("10.77.0.0/25", "vc-dc-a", 196, 254) in view(run(body))


def test_a_headends_default_route_counts_for_the_region_alone() -> None:
    async def body(table: RouteTable, _: Kernel) -> None:
        table.announce("dc-a", ALL)
        await table.settle()

    kernel = run(body, guard=False)
    assert view(kernel) == {("0.0.0.0/0", "vc-dc-a", 196, REGION_TABLE)}
    assert [(rule.source, rule.table, rule.more_specific_only) for rule in kernel.rules] == [
        (REGION, 254, True),
        (REGION, REGION_TABLE, False),
    ]


def test_a_predecessors_routes_go_but_the_region_stays_guarded_throughout() -> None:
    kernel = Kernel()
    guard = Route(REGION, None, 4196)
    kernel.present = {guard, Route(HALF_A, "vc-dc-a", 196)}

    async def main() -> None:
        table = RouteTable(kernel, REGION, TUNNELS, guard=True)
        assert await table.open() == 1
        assert kernel.present == {guard}
        await table.close(keep_guard=True)
        assert kernel.present == {guard}
        await table.close()

    asyncio.run(main())
    assert kernel.present == set()


@pytest.mark.parametrize("unreadable", [0, 1])
def test_what_somebody_else_took_away_is_put_back(unreadable: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_RETRY_S", 0.01)

    async def body(table: RouteTable, kernel: Kernel) -> None:
        table.announce("dc-a", HALF_A)
        table.announce("dc-b", HALF_B)
        await table.settle()
        kernel.present = {route for route in kernel.present if route.device == "vc-dc-b"}
        kernel.unreadable = unreadable
        kernel.steps.clear()
        table.doubt()
        await asyncio.sleep(0.1)
        assert kernel.steps == ["+10.77.0.0/24:4196", "+10.77.0.0/25:196"]

    assert {GUARD, ("10.77.0.0/25", "vc-dc-a", 196, 254)} < view(run(body))


def test_a_headends_rules_are_put_back() -> None:
    async def body(table: RouteTable, kernel: Kernel) -> None:
        kernel.rules.clear()
        table.doubt()
        await table.settle()

    assert len(run(body, guard=False).rules) == 2


def test_a_fault_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_RETRY_S", 0.01)

    async def body(table: RouteTable, kernel: Kernel) -> None:
        kernel.fault = ValueError("a bug")
        table.announce("dc-a", HALF_A)
        await asyncio.sleep(0.05)
        kernel.fault = None
        await asyncio.sleep(0.05)

    assert ("10.77.0.0/25", "vc-dc-a", 196, 254) in view(run(body))
