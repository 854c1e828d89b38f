"""What the layers of a tunnel mean for each other, with the protocols themselves replaced."""

from __future__ import annotations

import asyncio
import errno
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.control.test_translate import child, tunnel
from vcstack.control import heartbeat
from vcstack.control import site as site_module
from vcstack.control.layers import State
from vcstack.control.site import Host, InterfaceLostError, Site
from vcstack.io import channel
from vcstack.io.netlink import KernelRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """The neighbours of a site, as fakes that remember."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.commands: list[Any] = []
        self.starts = 0
        self.failures: list[Exception] = []
        self.restored: bool | OSError = False
        self.ipsec: dict[str, Any] = {}
        self.died: Callable[[str], None] = lambda _: None
        self.received: Callable[[Any], None] = lambda _: None
        monkeypatch.setattr(site_module, "ForwarderProcess", self._forwarder)
        monkeypatch.setattr(site_module, "Ipsec", self._ipsec)
        monkeypatch.setattr(site_module, "Session", self._session)
        monkeypatch.setattr(site_module, "_open_tun", self._tun)
        monkeypatch.setattr(site_module, "_RESTART_FLOOR_S", 0.01)

    def _forwarder(self, received: Callable[[Any], None], died: Callable[[str], None]) -> Any:
        self.received, self.died = received, died

        def start(*_: int) -> None:
            self.starts += 1

        async def stop() -> None:
            self.steps.append("forwarder stopped")

        return SimpleNamespace(start=start, stop=stop, send=lambda *them: self.commands.extend(them), pid=77)

    def _ipsec(self, *arguments: Any) -> Any:
        self.ipsec = {"esp": arguments[4][1], "carrying": arguments[5]}

        async def shut(_: float) -> None:
            self.steps.append("DELETE sent")

        def lost(reason: str) -> None:
            self.steps.append("SAs lost")
            self.carry(None, reason)

        return SimpleNamespace(
            start=lambda: self.steps.append("ike started"),
            close=lambda: self.steps.append("ike closed"),
            shut=shut,
            reported=lambda _: False,
            forwarder_lost=lost,
            forwarder_started=lambda: self.steps.append("SAs replaced"),
            traffic_seen=lambda: self.steps.append("traffic"),
            doubt=lambda: self.steps.append("peer doubted"),
        )

    def _session(self, *_: Any) -> Any:
        async def closed(_: float) -> None:
            self.steps.append("bgp drained")

        return SimpleNamespace(
            start=lambda: self.steps.append("bgp started"),
            stop=lambda reason: self.steps.append(f"bgp stopped: {reason}"),
            closed=closed,
        )

    async def _tun(self, _: str) -> Any:
        return SimpleNamespace(fileno=lambda: 0, close=lambda: self.steps.append("interface gone"))

    def carry(self, sa: Any, reason: str = "a child SA") -> None:
        """What Ipsec does when it switches to a child, or has none any more."""
        self.ipsec["esp"].become(State.DOWN if sa is None else State.UP, reason)
        self.ipsec["carrying"](sa)

    def bgp(self) -> str:
        return next(step for step in reversed(self.steps) if step.startswith("bgp"))


class Kernel:
    """The netlink and the routes that a site uses."""

    def __init__(self, world: World, mtu: int) -> None:
        self.world = world
        self.steps = world.steps
        self.mtu = mtu

    async def restore_interface(self, *_: object) -> bool:
        if isinstance(self.world.restored, OSError):
            raise self.world.restored
        return self.world.restored

    async def interface_up(self, *_: object) -> None:
        self.steps.append("interface up")

    async def set_mtu(self, _: str, mtu: int) -> None:
        self.steps.append(f"MTU {mtu}")

    async def path_to(self, _: object) -> Any:
        return SimpleNamespace(mtu=self.mtu)

    def clear(self, _: str) -> None:
        self.steps.append("routes cleared")

    def forget(self, _: str) -> None:
        """Nothing to forget."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def run(world: World, body: Callable[[Site], Any], *, mtu: int = 1500) -> list[str]:
    async def main() -> None:
        kernel: Any = Kernel(world, mtu)
        configured = tunnel()
        host = Host(None, kernel, kernel, {configured.ipsec.local_address: None})  # type: ignore[arg-type, dict-item]
        site = Site(configured, host, world.failures.append)
        await site.start()
        await asyncio.sleep(0)
        result = body(site)
        if result is not None:
            await result
        await asyncio.sleep(0.05)
        await site.stop()

    asyncio.run(main())
    assert world.failures == []
    return world.steps


def test_bgp_starts_with_the_child_sa_and_stops_with_the_line(world: World) -> None:
    def body(site: Site) -> None:
        world.carry(child())
        assert world.bgp() == "bgp started"
        assert site.gre.state is State.CONNECTING
        world.received(channel.LineState(up=True, reason="keepalive answered"))
        assert world.bgp() == "bgp started"
        world.received(channel.LineState(up=False, reason="3 keepalives unanswered"))
        assert world.bgp() == "bgp stopped: line down: 3 keepalives unanswered"
        world.received(channel.LineState(up=True, reason="keepalive answered"))
        assert world.bgp() == "bgp started"
        world.carry(None, "the peer deleted it")
        assert world.bgp() == "bgp stopped: no child SA: the peer deleted it"

    run(world, body)


def test_a_line_that_changes_and_a_new_network_have_the_peer_asked(world: World) -> None:
    def body(site: Site) -> None:
        world.carry(child())
        world.received(channel.LineState(up=True, reason="keepalive answered"))
        site.network_changed()
        assert world.steps.count("peer doubted") == 1
        world.received(channel.LineState(up=False, reason="3 keepalives unanswered"))
        world.received(channel.LineState(up=False, reason="3 keepalives unanswered"))
        assert world.steps.count("peer doubted") == 2
        site.network_changed()
        assert world.steps.count("peer doubted") == 3

    run(world, body)


def test_leaving_goes_from_the_top_down(world: World) -> None:
    steps = run(world, lambda _: None)
    order = ["bgp stopped: vcstack is stopping", "routes cleared", "bgp drained", "DELETE sent", "ike closed"]
    positions = [steps.index(step) for step in (*order, "forwarder stopped", "interface gone")]
    assert positions == sorted(positions)


def test_a_dead_forwarder_is_replaced_before_the_sas_are(world: World) -> None:
    async def body(site: Site) -> None:
        world.carry(child())
        world.received(channel.LineState(up=True, reason="keepalive answered"))
        world.commands.clear()
        world.died("it was killed by SIGKILL")
        assert world.bgp().startswith("bgp stopped")
        assert site.gre.state is State.DOWN
        await asyncio.sleep(0.05)
        assert world.starts == 2
        assert isinstance(world.commands[0], channel.Configure)
        assert world.steps.index("SAs lost") < world.steps.index("SAs replaced")

    run(world, body)


def test_a_forwarder_that_hangs_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda *what: killed.append(what))
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.005)

    async def body(site: Site) -> None:
        await asyncio.sleep(0.05)
        world.received(channel.Pong())
        assert killed == []
        await asyncio.sleep(0.1)
        assert killed == [(77, signal.SIGKILL)]
        world.died("it was killed by SIGKILL")
        assert "it answered none of 3 questions" in site.gre.reason

    run(world, body)


@pytest.mark.parametrize(("mtu", "expected"), [(1500, []), (1492, ["MTU 1406"]), (1400, ["MTU 1314"])])
def test_the_interface_follows_the_path(world: World, mtu: int, expected: list[str]) -> None:
    steps = run(world, lambda _: world.carry(child()), mtu=mtu)
    assert [step for step in steps if step.startswith("MTU")] == expected
    configured = [
        command.config.tunnel_mtu for command in world.commands if isinstance(command, channel.Configure)
    ]
    assert configured[-1] == int(expected[0].split()[1]) if expected else configured == [1414]


def test_a_smaller_path_that_the_forwarder_found_counts_too(world: World) -> None:
    steps = run(world, lambda _: world.received(channel.PathMtu(1300, 1214)))
    assert "MTU 1214" in steps


@pytest.mark.parametrize(
    ("answer", "failures"),
    [
        (False, 0),
        (True, 0),
        (KernelRefusedError(errno.EBUSY, "busy"), 0),
        (KernelRefusedError(errno.ENODEV, "there is no interface vc-dc-a"), 1),
    ],
)
def test_an_interface_that_somebody_deleted_restarts_the_tunnel(
    world: World, answer: bool | OSError, failures: int
) -> None:
    async def body(site: Site) -> None:
        world.restored = answer
        site.network_changed()
        await asyncio.sleep(0.02)
        assert [type(error) for error in world.failures] == [InterfaceLostError] * failures
        world.failures.clear()

    run(world, body)


def test_a_fault_in_a_report_is_for_the_supervisor(world: World) -> None:
    def body(site: Site) -> None:
        site.ipsec.reported = lambda _: bool(1 // 0)  # type: ignore[method-assign, assignment]
        world.received(channel.Offloads(("tso4",)))
        assert isinstance(world.failures.pop(), ZeroDivisionError)

    run(world, body)
