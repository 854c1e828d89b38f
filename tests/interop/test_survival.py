"""What happens to a CPE in the field, and both tunnels up again without a person, the outage measured."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import A, B, Deployment
from tests.support.netns import wait_until
from tests.support.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.deployment import Centre

pytestmark = [pytest.mark.netns, pytest.mark.interop]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    # UDP: the forwarder's own socket takes the peer's IKE as well.
    options = {"ipsec": 'udp_encapsulation = "always"\ndpd_interval_s = 3'}
    # The peer is patient: who notices and who returns is the CPE.
    patient = {"ipsec": "dpd_interval_s = 60"}
    with Deployment(tmp_path_factory.mktemp("shared"), cpe=options, centres=patient) as made:
        yield made


@pytest.fixture
def standing(shared: Deployment) -> Deployment:
    """Both tunnels up, whatever the test before did to them."""
    shared.mend().cpe.up(timeout_s=60)
    return shared


def forwarder(deployment: Deployment, centre: Centre = A) -> int | None:
    shown = deployment.cpe.ask("show", "tunnel")
    pid: int | None = shown[centre.name]["forwarder_pid"] if centre.name in shown else None
    return pid


def routes(deployment: Deployment) -> str:
    return deployment.cpe_space.ip("route", "show", "proto", "176")


def note(what: str, outage: Outage) -> None:
    sys.stdout.write(f"{what}: outage {outage.longest_s:.2f} s\n")


def test_a_stopped_forwarder_is_replaced(standing: Deployment, tmp_path: Path) -> None:
    stopped = forwarder(standing)
    with Outage(standing.lan, A.host, tmp_path) as outage:
        standing.cpe_space.run("kill", "-STOP", str(stopped))
        wait_until(lambda: forwarder(standing) not in {stopped, None}, 15, "another forwarder")
        standing.cpe.up(timeout_s=30)
        time.sleep(1)
    note("SIGSTOP of a forwarder", outage)
    assert outage.longest_s < 8
    assert "it answered none of" in standing.cpe.log.read_text()


def test_a_control_process_that_was_stopped_finds_everything_as_it_was(
    standing: Deployment, tmp_path: Path
) -> None:
    before = forwarder(standing), forwarder(standing, B)
    with Outage(standing.lan, A.host, tmp_path) as outage:
        standing.cpe.signal(signal.SIGSTOP)
        time.sleep(8)  # longer than a forwarder may be silent
        standing.cpe.signal(signal.SIGCONT)
        time.sleep(4)
    note("SIGSTOP of control for 8 s", outage)
    assert outage.longest_s < 1
    assert (forwarder(standing), forwarder(standing, B)) == before


def test_a_full_disk_under_the_log_stops_nothing(standing: Deployment) -> None:
    standing.cpe.signal(signal.SIGTERM)
    standing.cpe.wait()
    standing.cpe.start(Path("/dev/full")).up(timeout_s=60)
    assert standing.lan.ping(A.host)
    standing.cpe.signal(signal.SIGTERM)
    assert standing.cpe.wait() == 0


def test_routes_that_somebody_removed_are_put_back(standing: Deployment, tmp_path: Path) -> None:
    before = routes(standing)
    for change in (
        "route flush proto 176",
        "route replace unreachable 10.77.0.0/25 metric 196",
        "link set vc-dc-a down",
        "address flush dev vc-dc-a",
    ):
        with Outage(standing.lan, A.host, tmp_path) as outage:
            standing.cpe_space.ip(*change.split())
            wait_until(lambda: routes(standing) == before, 5, f"the routes as before after {change}")
            time.sleep(0.5)
        note(change, outage)
        assert outage.longest_s < 3
    assert forwarder(standing) is not None
    assert standing.cpe.log.read_text().count("was taken away by somebody else") >= 5


def test_a_deleted_interface_restarts_its_tunnel_alone(standing: Deployment, tmp_path: Path) -> None:
    first, other = forwarder(standing), forwarder(standing, B)
    with Outage(standing.lan, A.host, tmp_path) as outage:
        standing.cpe_space.ip("link", "delete", "vc-dc-a")
        wait_until(
            lambda: "interface vc-dc-a was deleted" in standing.cpe.log.read_text(), 5, "the loss to show"
        )
        wait_until(lambda: standing.cpe.layer("dc-a", "ike")["state"] == "up", 15, "the tunnel's return")
        standing.cpe.up(timeout_s=30)
        time.sleep(0.5)
    note("ip link delete vc-dc-a", outage)
    assert outage.longest_s < 5
    assert forwarder(standing) != first
    assert forwarder(standing, B) == other


def log_lines(deployment: Deployment) -> int:
    return deployment.cpe.log.read_text().count("\n")


ADDRESS = ("198.51.100.1/24", "dev", "wan0")
AWAY: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {
    "address": (2, ("address", "del", *ADDRESS), ("address", "add", *ADDRESS)),
    "link": (2, ("link", "set", "wan0", "down"), ("link", "set", "wan0", "up")),
    "link-for-long": (25, ("link", "set", "wan0", "down"), ("link", "set", "wan0", "up")),
}


@pytest.mark.parametrize("name", AWAY)
def test_an_uplink_that_goes_and_comes_back(standing: Deployment, tmp_path: Path, name: str) -> None:
    away_s, gone, back = AWAY[name]
    before = log_lines(standing)
    with Outage(standing.lan, A.host, tmp_path) as outage:
        standing.cpe_space.ip(*gone)
        time.sleep(away_s)
        standing.cpe_space.ip(*back)
        returned = time.monotonic()
        wait_until(lambda: standing.lan.ping(A.host), 60, "the tunnel's return")
        recovery_s = time.monotonic() - returned
        standing.cpe.up(timeout_s=60)
        time.sleep(0.2)
    note(f"{gone[0]} gone for {away_s} s: back after {recovery_s:.1f} s", outage)
    assert recovery_s < 8
    assert log_lines(standing) - before < 120
