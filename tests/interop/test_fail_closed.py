"""Nothing for the region and no GRE leaves in clear, whatever happens: sniffed behind the CPE.

The LAN host never stops sending to both data centres, and the CPE has a default route, which a packet would
take that finds neither a tunnel nor the route that makes the region unreachable.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import A, B, Deployment
from tests.support.netns import wait_until
from vcstack.lab import bpf
from vcstack.lab.sniffer import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.netns import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.interop]

IN_CLEAR = tuple(map(IPv4Network, ("10.77.0.0/24", "10.88.0.0/24", "10.255.0.0/16", "100.64.0.0/16")))
GUARD = "unreachable 10.77.0.0/24"
SHORT_LIVES = {"ipsec": "child_lifetime_s = 3\nike_lifetime_s = 5"}


class WithUpstream(Deployment):
    """A deployment whose CPE has a default route; all that takes it arrives in `upstream`."""

    upstream: Namespace


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithUpstream]:
    with WithUpstream(tmp_path_factory.mktemp("closed"), cpe=SHORT_LIVES) as made:
        text = made.cpe.file.read_text()
        made.cpe.file.write_text(f"keep_unreachable = true\n{text}")
        made.upstream = made.join_upstream()
        made.start().cpe.up(timeout_s=60)
        for centre in (A, B):
            made.lan.spawn("ping", "-q", "-i", "0.005", centre.host)
            made.hosts[centre.name].spawn("ping", "-q", "-i", "0.02", "10.88.0.10")
        yield made


@contextmanager
def sniffed(deployment: WithUpstream) -> Iterator[Counter]:
    counter = Counter(deployment.upstream.name, bpf.cleartext(IN_CLEAR))
    try:
        yield counter
    finally:
        counter.close()


def workers(deployment: WithUpstream) -> list[int]:
    return [view["forwarder_pid"] for view in deployment.cpe.ask("show", "tunnel").values()]


def rekey(deployment: WithUpstream) -> None:
    before = deployment.cpe.log.read_text().count("retired: rekeyed")
    wait_until(
        lambda: deployment.cpe.log.read_text().count("retired: rekeyed") >= before + 4, 20, "four rekeys"
    )


def crash_of_workers(deployment: WithUpstream) -> None:
    for pid in workers(deployment):
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)


def kill_control(deployment: WithUpstream) -> None:
    deployment.cpe.signal(signal.SIGKILL)
    deployment.cpe.wait()
    time.sleep(0.5)
    deployment.cpe.start()


def kill_everything(deployment: WithUpstream) -> None:
    for pid in (*workers(deployment), deployment.cpe.pid):
        os.kill(pid, signal.SIGKILL)
    deployment.cpe.wait()
    assert GUARD in deployment.cpe_space.ip("route", "show", "proto", "176")
    time.sleep(0.5)
    deployment.cpe.start()


def stop_and_start(deployment: WithUpstream) -> None:
    deployment.cpe.signal(signal.SIGTERM)
    assert deployment.cpe.wait() == 0
    assert deployment.cpe_space.ip("route", "show", "proto", "176").split() == [
        *GUARD.split(),
        "metric",
        "4196",
    ]
    time.sleep(0.5)
    deployment.cpe.start()


def both_peers_gone(deployment: WithUpstream) -> None:
    for centre in (A, B):
        deployment.cut(centre)
    wait_until(
        lambda: "vc-dc" not in deployment.cpe_space.ip("route", "show", "proto", "176"), 10, "the loss"
    )
    for centre in (A, B):
        deployment.cut(centre, cut=False)


def deleted_interface(deployment: WithUpstream) -> None:
    deployment.cpe_space.ip("link", "delete", "vc-dc-a")
    deployment.cpe_space.ip("link", "delete", "vc-dc-b")


@pytest.mark.parametrize(
    "provoke",
    [
        rekey,
        crash_of_workers,
        kill_control,
        kill_everything,
        stop_and_start,
        both_peers_gone,
        deleted_interface,
    ],
)
def test_nothing_leaves_in_clear(deployment: WithUpstream, provoke: Callable[[WithUpstream], None]) -> None:
    deployment.cpe.up(timeout_s=60)
    with sniffed(deployment) as leaked:
        provoke(deployment)
        time.sleep(0.5)
        deployment.cpe.up(timeout_s=60)
        assert leaked.total() == 0, leaked.samples


def test_a_leak_would_be_seen(deployment: WithUpstream) -> None:
    deployment.cpe.signal(signal.SIGKILL)
    deployment.cpe.wait()
    with sniffed(deployment) as leaked:
        # The routes of the interfaces go with these at the same moment, and `ip` gives up where one is gone.
        flush = partial(deployment.cpe_space.run, "ip", "route", "flush", "proto", "176", check=False)
        wait_until(lambda: flush().returncode == 0, 5, "our routes to be flushed")
        wait_until(leaked.total, 5, "the packets in clear")
    deployment.cpe.start()
