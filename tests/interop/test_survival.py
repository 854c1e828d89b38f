"""What happens to a CPE in the field, and both tunnels up again without a person, the outage measured."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import A, Deployment
from tests.support.netns import wait_until
from tests.support.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.deployment import Centre

pytestmark = [pytest.mark.netns, pytest.mark.interop]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    # UDP: the forwarder's own socket takes the peer's IKE as well.
    options = {"ipsec": 'udp_encapsulation = "always"\ndpd_interval_s = 3'}
    with Deployment(tmp_path_factory.mktemp("shared"), cpe=options) as made:
        yield made


@pytest.fixture
def standing(shared: Deployment) -> Deployment:
    """Both tunnels up, whatever the test before did to them."""
    shared.mend().cpe.up(timeout_s=60)
    return shared


def forwarder(deployment: Deployment, centre: Centre = A) -> int | None:
    pid: int | None = deployment.cpe.ask("show", "tunnel")[centre.name]["forwarder_pid"]
    return pid


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
