"""Rekeying without end with charon, over a wire that loses and reorders, under traffic both ways.

Every packet is numbered: what has not arrived in the end must be what the wire lost, neither more nor less,
and neither end may have anything left but one IKE SA and one child. The kernel of a development machine may
have no netem, so the wire is bad in user space, in front of our socket (tests.support.lossy).
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.charon_site import CENTRE_TRANSPORT, CharonSite, Peer
from tests.support.lossy import LossyEnd
from tests.support.netns import Network
from vcstack.gre.packet import encapsulate
from vcstack.ikev2.config import BackoffPolicy, RetransmitPolicy
from vcstack.ikev2.events import IkeDown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

LOSS, DELAY_S = 0.02, 0.03
CHILD_EVERY_S, IKE_EVERY_S, PACKET_EVERY_S = 3.0, 10.0, 0.01
PEER = Peer(name="soak", index=0, ike="aes256gcm16-prfsha256-curve25519", esp="aes256gcm16-curve25519")
QUICK = RetransmitPolicy(base_s=0.4, tries=10)
SETTINGS = "retransmit_timeout = 0.5\n  retransmit_tries = 10"


def numbered(packets: Iterable[bytes]) -> set[bytes]:
    """What is inside of GRE, of the packets that belong to the traffic."""
    return {packet[packet.rindex(b"packet ") :] for packet in packets if b"packet " in packet}


class Soak:
    """One run, and what it has counted."""

    def __init__(self, site: CharonSite, end: LossyEnd, duration_s: float) -> None:
        self.site, self.end = site, end
        self._stop_at = time.monotonic() + duration_s
        self.there: list[bytes] = []
        self.back: list[bytes] = []
        self.rekeys = Counter[str]()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._stop_at

    async def traffic(self) -> None:
        """A packet each way, a hundred times a second."""
        number = 0
        while self.goes_on:
            number += 1
            payload = f"packet {number}".encode()
            identification = number % 65535 + 1
            packet = encapsulate(payload, PEER.transport, CENTRE_TRANSPORT, identification=identification)
            self.end.send(packet)
            self.there.append(packet)
            self.site.send_back(PEER, payload)
            self.back.append(payload)
            self.site.arrived()
            await asyncio.sleep(PACKET_EVERY_S)

    async def rekey(self, what: str, every_s: float) -> None:
        """By us and by charon in turns."""
        while self.goes_on:
            await asyncio.sleep(every_s)
            if self.rekeys[what] % 2:
                await self.site.swanctl("--rekey", f"--{what}", PEER.name, check=False)
            else:
                self.end.rekey_child() if what == "child" else self.end.rekey_ike()
            self.rekeys[what] += 1
            await self.end.until(lambda: True, "no failure")

    async def run(self) -> None:
        """All of it at once, then some time to finish what is under way."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.traffic())
            group.create_task(self.rekey("child", CHILD_EVERY_S))
            group.create_task(self.rekey("ike", IKE_EVERY_S))
        self.end.calm()
        await self.end.until(
            lambda: len(self.end.ike_spis) == len(self.end.child_spis) == 1, "a single tunnel", 60.0
        )
        await self.site.settled(PEER)
        await asyncio.sleep(1.0)

    async def judge(self) -> None:
        """Nothing lost but by the wire, nothing left over, and the tunnel was never down."""
        end = self.end
        assert set(self.there) - self.site.arrived() == set(end.lost_out)
        assert set(self.back) - numbered(inner for _, inner in end.received) == numbered(end.lost_in)
        assert (end.late, end.foreign_esp) == ([], 0)
        assert end.saw(IkeDown) == []
        assert end.most_children <= 4
        sas = await self.site.swanctl("--list-sas")
        assert len(re.findall(r"ESTABLISHED, IKEv2", sas)) == 1
        assert set(re.findall(r"#\d+, reqid \d+, (\w+)", sas)) <= {"INSTALLED", "REKEYED", "DELETED"}
        assert len(re.findall(r", INSTALLED, ", sas)) == 1


def soak(folder: Path, duration_s: float) -> Soak:
    """A run of that length, with its judgement."""

    async def scenario(site: CharonSite) -> Soak:
        config = PEER.config(retransmit=QUICK, rekey_retry=BackoffPolicy(floor_s=0.5, ceiling_s=2.0))
        end = LossyEnd(site.branch, config, random.Random(1), LOSS, DELAY_S)
        async with site.tunnel_of(PEER, end, "we"):
            run = Soak(site, end, duration_s)
            await run.run()
            await run.judge()
        return run

    with Network() as network:
        site = CharonSite(network, folder / "charon", [PEER], SETTINGS)
        run = asyncio.run(scenario(site))
        site.close()
    lost, counters = (len(run.end.lost_out), len(run.end.lost_in)), run.end.endpoint.counters
    sys.stdout.write(
        f"{duration_s:.0f} s: {len(run.there)} packets each way, {lost} lost by the wire; "
        f"{run.end.lost_ike} IKE datagrams lost; asked for {dict(run.rekeys)}; "
        f"{counters['IKE SA rekeyed']} IKE rekeys, {counters['tx request repeated']} requests repeated\n"
    )
    return run


def test_for_some_seconds(tmp_path: Path) -> None:
    """What fits into every run of the tests."""
    run = soak(tmp_path, 25.0)
    assert run.rekeys["child"] >= 6
    assert run.end.endpoint.counters["IKE SA rekeyed"] >= 1
    assert run.end.lost_out
    assert run.end.lost_in


@pytest.mark.soak
@pytest.mark.timeout(800)
def test_for_ten_minutes(tmp_path: Path) -> None:
    """`pytest -m soak`."""
    run = soak(tmp_path, 600.0)
    assert run.rekeys["child"] >= 150
    assert run.end.endpoint.counters["IKE SA rekeyed"] >= 40
