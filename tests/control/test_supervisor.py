"""The daemon around its tunnels: order of start and stop, one tunnel's fault, failures to start."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from vcstack.control import api, supervisor
from vcstack.control.api_server import Server
from vcstack.control.config import loads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from vcstack.control.config import Configuration

TUNNEL = """
[tunnels.dc-{name}]
prefix = "10.77.0.{half}/25"
ipsec = {{ local_address = "198.51.100.1", remote_address = "198.51.100.{number}0", psk = {{ env = "PSK" }} }}
gre = {{ local_address = "10.255.0.{number}", remote_address = "10.255.{number}.1" }}
interface = {{ address = "100.64.{number}.2/30" }}
bgp = {{ local_as = 64512, remote_as = 64600 }}
"""
STEPS: list[str] = []


class FakeNetlink:
    async def install(self, route: object) -> None:
        STEPS.append(f"+{route}")

    async def flush(self, *, keep: Any = ()) -> int:
        STEPS.append(f"flush all but {len(tuple(keep))}")
        return 0

    async def routes(self) -> list[object]:
        return []

    async def close(self) -> None:
        STEPS.append("kernel closed")


class FakeMonitor:
    disturbed: Callable[[], None]

    def __init__(self, disturbed: Callable[[], None]) -> None:
        FakeMonitor.disturbed = staticmethod(disturbed)

    def open(self) -> None:
        STEPS.append("monitor open")

    def close(self) -> None:
        STEPS.append("monitor closed")


class FakeSocket:
    def __init__(self, address: object) -> None:
        self.address = address

    def open(self) -> None:
        STEPS.append("ports open")

    def close(self) -> None:
        STEPS.append("ports closed")


class FakeSite:
    """A site that only remembers; `faults` is how many of its starts fail."""

    made: ClassVar[list[FakeSite]] = []
    faults = 0

    def __init__(self, tunnel: Any, _host: object, failed: Callable[[Exception], None]) -> None:
        self.name = tunnel.name
        self.failed = failed
        FakeSite.made.append(self)

    async def start(self) -> None:
        if FakeSite.faults:
            FakeSite.faults -= 1
            raise OSError(16, "cannot create interface: Device or resource busy")
        STEPS.append(f"{self.name} started")

    async def stop(self) -> None:
        STEPS.append(f"{self.name} stopped")

    async def abandon(self) -> None:
        STEPS.append(f"{self.name} abandoned")

    def network_changed(self) -> None:
        STEPS.append(f"{self.name} checked")


_FAKES = {"Netlink": FakeNetlink, "Monitor": FakeMonitor, "IkeSocket": FakeSocket, "Site": FakeSite}


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    STEPS.clear()
    FakeSite.made = []
    FakeSite.faults = 0
    for name, fake in _FAKES.items():
        monkeypatch.setattr(supervisor, name, fake)
    for name, value in (("handlers", []), ("propagate", True), ("level", logging.NOTSET)):
        monkeypatch.setattr(logging.getLogger("vcstack"), name, value)
    monkeypatch.setattr(supervisor, "_RESTART_FLOOR_S", 0.01)
    monkeypatch.setattr("vcstack.control.host.missing_right", lambda: None)
    text = f'control_socket = "{tmp_path}/control.sock"\nregion = "10.77.0.0/24"\n'
    text += TUNNEL.format(name="a", half=0, number=1) + TUNNEL.format(name="b", half=128, number=2)
    return loads(text, environment={"PSK": "a long enough secret"})


def run(configuration: Configuration, body: Callable[[], Awaitable[None]]) -> list[str]:
    """Run the daemon, `body` beside it, then SIGTERM; every step that was taken."""

    async def main() -> None:
        daemon = asyncio.create_task(supervisor.Supervisor(configuration).run())
        await asyncio.sleep(0.05)
        await body()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(daemon, 5)

    asyncio.run(main())
    return list(STEPS)


async def nothing() -> None:
    """Let it run."""


def test_the_region_is_guarded_first_and_freed_last(configuration: Configuration) -> None:
    steps = run(configuration, nothing)
    assert steps[0] == "ports open"
    assert steps.index("+10.77.0.0/24 unreachable metric 4196 table 254") < steps.index("flush all but 1")
    assert {"dc-a started", "dc-b started", "dc-a stopped", "dc-b stopped"} <= set(steps)
    assert steps[-3:] == ["flush all but 0", "ports closed", "kernel closed"]


def test_a_faulty_tunnel_is_started_again_alone(configuration: Configuration) -> None:
    async def body() -> None:
        FakeSite.faults = 1  # its first new start does not work either
        broken = FakeSite.made[0]
        broken.failed(RuntimeError("a bug"))
        broken.failed(RuntimeError("and another of the same site"))
        await asyncio.sleep(0.2)

    steps = run(configuration, body)
    assert [site.name for site in FakeSite.made] == ["dc-a", "dc-b", "dc-a", "dc-a"]
    assert steps.count("dc-b started") == 1
    assert steps.count("dc-a started") == 2
    assert steps.count("dc-a abandoned") == 2
    assert "dc-b abandoned" not in steps


def test_when_others_change_the_host_everything_is_checked(configuration: Configuration) -> None:
    async def body() -> None:
        STEPS.clear()
        FakeMonitor.disturbed()
        await asyncio.sleep(0.05)
        assert STEPS == ["dc-a checked", "dc-b checked", "+10.77.0.0/24 unreachable metric 4196 table 254"]

    run(configuration, body)


def test_what_cannot_start_says_why_and_is_taken_down(configuration: Configuration) -> None:
    FakeSite.faults = 1
    with pytest.raises(supervisor.StartError, match="Device or resource busy"):
        asyncio.run(supervisor.Supervisor(configuration).run())
    assert {"dc-a stopped", "dc-b stopped", "flush all but 0", "ports closed"} <= set(STEPS)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RuntimeError("a bug"), r"^a fault of vcstack: RuntimeError\('a bug'\)$"),
        (FileNotFoundError(2, "No such file or directory", "/dev/net/tun"), "^/dev/net/tun: No such file"),
    ],
)
@pytest.mark.parametrize("level", ["info", "debug"])
def test_whatever_keeps_it_from_starting_is_one_line(
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fault: Exception,
    words: str,
    level: str,
) -> None:
    async def fails(_: FakeSite) -> None:
        raise fault

    monkeypatch.setattr(FakeSite, "start", fails)
    with pytest.raises(supervisor.StartError, match=words):
        supervisor.run(configuration.model_copy(update={"log_level": level}))
    told = capfd.readouterr().err
    assert ("Traceback" in told) == (level == "debug" and isinstance(fault, RuntimeError))
    assert {"dc-a stopped", "flush all but 0", "ports closed"} <= set(STEPS)


def test_a_fault_while_stopping_does_not_keep_the_rest_from_going(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: FakeSite) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(FakeSite, "stop", fails)
    assert run(configuration, nothing)[-3:] == ["flush all but 0", "ports closed", "kernel closed"]


def test_the_region_may_stay_unreachable_after_the_end(configuration: Configuration) -> None:
    assert "flush all but 1" in run(configuration.model_copy(update={"keep_unreachable": True}), nothing)[-3:]


def test_a_second_daemon_touches_nothing(configuration: Configuration) -> None:
    first = Server(configuration.control_socket, {})
    first.claim()
    try:
        with pytest.raises(supervisor.StartError, match="another vcstack is running"):
            asyncio.run(supervisor.Supervisor(configuration).run())
    finally:
        first.release()
    assert not {"ports open", "flush all but 0", "flush all but 1"} & set(STEPS)


def test_missing_rights_are_named(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vcstack.control.host.missing_right", lambda: "must run as root")
    with pytest.raises(supervisor.StartError, match="must run as root"):
        asyncio.run(supervisor.Supervisor(configuration).run())
    assert "flush all but 0" not in STEPS


def test_an_unknown_view_is_refused(configuration: Configuration) -> None:
    async def body() -> None:
        with pytest.raises(api.RefusedError, match="nothing to show for nonsense"):
            await asyncio.to_thread(api.ask, configuration.control_socket, "show", {"what": "nonsense"})

    run(configuration, body)
