"""The kernel's routes and addresses, asked for through our door and read back by iproute2."""

from __future__ import annotations

import errno
import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.netns import Namespace, Network, python
from vcstack.io.netlink import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns

PROLOGUE = """
import asyncio, json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from vcstack.io.netlink import KernelRefusedError, Netlink, PROTOCOL, Route, Rule
REGION = IPv4Network("10.77.0.0/24")
HALF = IPv4Network("10.77.0.0/25")
ALL = IPv4Network("0.0.0.0/0")
async def main():
    kernel = Netlink()
    await kernel.open()
    result = await work(kernel)
    await kernel.close()
    print(json.dumps(result, default=str))
"""


def test_the_protocol_number_is_no_one_elses() -> None:
    linux_headers = {*range(5), *range(8, 19), 42, 84, 99}
    frr = range(186, 199)  # 196 are its static routes
    assert PROTOCOL not in {*linux_headers, *frr}


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Network() as network:
        left, right = network.namespace("host"), network.namespace("peer")
        network.link(left, "eth0", right, "eth0", mtu=1480)
        left.address("eth0", "192.0.2.1/24")
        left.ip("link", "add", "tun0", "type", "veth", "peer", "name", "tun1")
        yield left


def inside(host: Namespace, body: str) -> Any:
    """Run the body of `async def work(kernel)` in the namespace, and return what it returned."""
    source = PROLOGUE + "async def work(kernel):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return json.loads(host.run(*python("-c", source + "\nasyncio.run(main())")).stdout)


def routes(host: Namespace, *selector: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.ip("-j", "-N", "route", "show", *selector))
    return found


def test_interface_gets_address_mtu_and_state(host: Namespace) -> None:
    inside(
        host,
        """
        for mtu in (1422, 1414):
            await kernel.interface_up("tun0", IPv4Interface("100.64.1.2/30"), mtu)
        """,
    )
    (link,) = json.loads(host.ip("-j", "address", "show", "dev", "tun0"))
    assert link["mtu"] == 1414
    assert link["txqlen"] == 1000
    assert "UP" in link["flags"]
    assert [(a["local"], a["prefixlen"]) for a in link["addr_info"]] == [("100.64.1.2", 30)]


def test_an_interface_is_restored_where_it_was_changed(host: Namespace) -> None:
    restored = inside(
        host,
        """
        import subprocess
        tunnel = ("tun0", IPv4Interface("100.64.1.2/30"), 1414)
        await kernel.interface_up(*tunnel)
        seen = [await kernel.restore_interface(*tunnel)]
        for change in ("link set tun0 down", "address delete 100.64.1.2/30 dev tun0", "link delete tun0"):
            subprocess.run(["ip", *change.split()], check=True)
            try:
                seen.append(await kernel.restore_interface(*tunnel))
                seen.append(await kernel.restore_interface(*tunnel))
            except KernelRefusedError as error:
                seen.append(error.errno)
        return seen
        """,
    )
    assert restored == [False, True, False, True, False, errno.ENODEV]


def test_routes_carry_our_protocol_number_and_their_metric(host: Namespace) -> None:
    host.address("tun0", "100.64.1.2/30")
    inside(
        host,
        """
        await kernel.install(Route(HALF, "tun0", 100))
        await kernel.install(Route(HALF, "tun0", 100))
        await kernel.install(Route(REGION, None, 4096))
        """,
    )
    found = {(r["dst"], r.get("dev"), r["metric"]) for r in routes(host, "proto", "176")}
    assert found == {("10.77.0.0/25", "tun0", 100), ("10.77.0.0/24", None, 4096)}
    assert not host.ping("10.77.0.200")


def test_withdrawing_twice_is_fine_and_leaves_the_other_metric(host: Namespace) -> None:
    host.address("tun0", "100.64.1.2/30")
    left = inside(
        host,
        """
        first, second = Route(REGION, "tun0", 100), Route(REGION, None, 4096)
        await kernel.install(first)
        await kernel.install(second)
        await kernel.withdraw(first)
        await kernel.withdraw(first)
        return [str(route) for route in await kernel.routes()]
        """,
    )
    assert left == ["10.77.0.0/24 unreachable metric 4096 table 254"]


def test_flush_removes_a_predecessors_routes_and_rules_and_no_one_elses(host: Namespace) -> None:
    host.address("tun0", "100.64.1.2/30")
    host.ip("route", "add", "203.0.113.0/24", "dev", "eth0")
    removed, kept = inside(
        host,
        """
        guard = Route(REGION, None, 4096)
        await kernel.install(guard)
        await kernel.install(Route(HALF, "tun0", 100))
        await kernel.install(Route(ALL, "tun0", 100, table=196))
        await kernel.add_rule(Rule(REGION, 254, 19600, more_specific_only=True))
        await kernel.add_rule(Rule(REGION, 196, 19601))
        await kernel.add_rule(Rule(REGION, 196, 19601))
        successor = Netlink()
        removed = await successor.flush(keep=[guard])
        await successor.close()
        return removed, [str(route) for route in await kernel.routes()]
        """,
    )
    assert removed == 4
    assert kept == ["10.77.0.0/24 unreachable metric 4096 table 254"]
    assert routes(host, "203.0.113.0/24")
    assert "19600" not in host.ip("rule", "show")


def test_default_route_of_a_table_counts_only_for_the_rules_source(host: Namespace) -> None:
    host.address("tun0", "100.64.1.2/30")
    inside(
        host,
        """
        await kernel.install(Route(ALL, "tun0", 100, table=196))
        await kernel.add_rule(Rule(REGION, 254, 19600, more_specific_only=True))
        await kernel.add_rule(Rule(REGION, 196, 19601))
        """,
    )
    host.ip("address", "add", "10.77.0.1/32", "dev", "lo")
    assert "tun0" in host.ip("route", "get", "8.8.8.8", "from", "10.77.0.1")
    assert host.run("ip", "route", "get", "8.8.8.8", check=False).returncode != 0


def test_path_and_addresses(host: Namespace) -> None:
    device, mtu, source, unknown, addresses = inside(
        host,
        """
        path = await kernel.path_to(IPv4Address("192.0.2.9"))
        unknown = await kernel.path_to(IPv4Address("203.0.113.1"))
        return path.device, path.mtu, path.source, unknown, sorted(await kernel.addresses())
        """,
    )
    assert (device, mtu, source, unknown) == ("eth0", 1480, "192.0.2.1", None)
    assert addresses == ["127.0.0.1", "192.0.2.1"]


def test_a_routes_own_mtu_counts(host: Namespace) -> None:
    host.ip("route", "add", "192.0.2.9", "dev", "eth0", "mtu", "1400")
    assert inside(host, 'return (await kernel.path_to(IPv4Address("192.0.2.9"))).mtu') == 1400


def test_a_missing_interface_is_named(host: Namespace) -> None:
    text = inside(
        host,
        """
        try:
            await kernel.install(Route(HALF, "absent0", 100))
        except KernelRefusedError as error:
            return str(error)
        """,
    )
    assert "absent0" in text
