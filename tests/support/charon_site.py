"""Our endpoint and Debian's charon with kernel-libipsec, on one link, and what a tunnel between them must do.

    cpe 198.51.100.128 to .255 (one address per connection) ------- dc 198.51.100.10 (charon)
    transport 10.255.0.128 to .255                                  transport 10.255.1.1

Child keys are proven by packets: GRE that our scalar ESP seals comes out of libipsec at a raw socket of the
data centre, and GRE that is sent there comes back through libipsec under the SPI of our newest child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ike_pair import peer_config
from tests.support.ike_process import LiveEnd, inside
from tests.support.strongswan import Strongswan
from vcstack.gre.packet import Header, encapsulate
from vcstack.ikev2.events import IkeRekeyed
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.wire.ipv4 import IpProtocol
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.support.netns import Network
    from vcstack.ikev2.config import PeerConfig

CENTRE, CENTRE_TRANSPORT = IPv4Address("198.51.100.10"), IPv4Address("10.255.1.1")
_BRANCHES, _TRANSPORTS = IPv4Address("198.51.100.128"), IPv4Address("10.255.0.128")

CONNECTION = """
connections {{
  {p.name} {{
    version = 2
    local_addrs = {centre}
    remote_addrs = {p.address}
    proposals = {p.charon_ike}
    encap = yes
    mobike = no
    rekey_time = 0
    dpd_delay = {p.charon_dpd}
    {p.charon_options}
    local {{
      {p.charon_local}
      id = {p.centre_id}
    }}
    remote {{
      {p.charon_remote}
      id = {p.charon_branch_id}
    }}
    children {{
      {p.name} {{
        mode = tunnel
        local_ts = {p.centre_ts}
        remote_ts = {p.transport}/32[gre]
        esp_proposals = {p.charon_esp}
        rekey_time = 0
      }}
    }}
  }}
}}
secrets {{
  ike-{p.name} {{
    id-1 = {p.centre_id}
    id-2 = {p.branch_id}
    secret = {p.charon_psk}
  }}
  {p.charon_secrets}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One connection as both ends are told of it; what is charon's alone is ours where it is left out.

    Identities are written as strongSwan wants them.
    """

    name: str
    index: int
    ike: str = "aes256gcm16-prfsha384-ecp384"
    esp: str = "aes256gcm16-ecp384"
    charon_ike: str = ""
    charon_esp: str = ""
    branch_id: str = ""
    charon_branch_id: str = ""
    centre_id: str = str(CENTRE)
    psk: bytes = b"the secret of both"
    centre_ts: str = f"{CENTRE_TRANSPORT}/32[gre]"
    charon_dpd: str = "0"
    charon_local: str = "auth = psk"
    charon_remote: str = "auth = psk"
    charon_options: str = ""
    charon_secrets: str = ""

    def __post_init__(self) -> None:
        branch_id = self.branch_id or str(self.address)
        defaults = {"charon_ike": self.ike, "charon_esp": self.esp}
        defaults |= {"branch_id": branch_id, "charon_branch_id": branch_id}
        for name, value in defaults.items():
            object.__setattr__(self, name, getattr(self, name) or value)

    @property
    def address(self) -> IPv4Address:
        """The branch's end of IPsec."""
        return _BRANCHES + self.index

    @property
    def transport(self) -> IPv4Address:
        """The branch's end of GRE."""
        return _TRANSPORTS + self.index

    @property
    def charon_psk(self) -> str:
        """The key as swanctl takes any bytes."""
        return f"0x{self.psk.hex()}"

    def config(self, **changes: Any) -> PeerConfig:
        """Our side of it."""
        values: dict[str, Any] = {
            "local_id": _identity(self.branch_id),
            "remote_id": _identity(self.centre_id),
            "local_psk": Secret(self.psk),
            "remote_psk": Secret(self.psk),
            "ike_proposals": (IkeProposal.parse(self.ike),),
            "esp_proposals": (EspProposal.parse(self.esp),),
            "local_ts": (TrafficSelector.host(self.transport, IpProtocol.GRE),),
            "remote_ts": (TrafficSelector.host(CENTRE_TRANSPORT, IpProtocol.GRE),),
        }
        return peer_config(self.name, self.address, CENTRE, **(values | changes))


def _identity(strongswan: str) -> Identity:
    return Identity.parse(strongswan.replace("keyid:", "key_id:"))


class CharonSite:
    """Both namespaces, charon with all connections, and a raw GRE socket beside it."""

    def __init__(self, network: Network, folder: Path, peers: Sequence[Peer], settings: str = "") -> None:
        self.branch, self.centre = network.namespace("cpe"), network.namespace("dc")
        network.link(self.branch, "wan0", self.centre, "wan0")
        self.branch.address("wan0", "198.51.100.2/24")
        self.branch.ip("route", "add", "local", f"{_BRANCHES}/25", "dev", "lo")
        self.centre.router()
        self.centre.address("wan0", f"{CENTRE}/24")
        self.centre.address("lo", f"{CENTRE_TRANSPORT}/32")
        self.charon = Strongswan(self.centre, folder, settings)
        self._connections = "".join(CONNECTION.format(p=peer, centre=CENTRE) for peer in peers)
        self.charon.start(self._connections)
        with inside(self.centre):
            self._gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, IpProtocol.GRE)
        self._gre.setblocking(False)
        self._arrived: set[bytes] = set()
        self._gre.bind((str(CENTRE_TRANSPORT), 0))

    def restart(self) -> None:
        """Kill charon and start another."""
        self.charon.kill()
        self.charon.start(self._connections)

    def close(self) -> None:
        """Close the raw socket."""
        self._gre.close()

    async def swanctl(self, *words: str, check: bool = True) -> str:
        """What charon answers, while our end answers charon."""
        return await asyncio.to_thread(self.charon.swanctl, *words, check=check)

    async def initiate(self, peer: Peer, *, check: bool = True) -> str:
        """Let charon begin."""
        return await self.swanctl("--initiate", "--child", peer.name, "--timeout", "8", check=check)

    async def settled(self, peer: Peer) -> None:
        """Wait until charon has one IKE SA of a peer, and is doing nothing with it."""
        end = time.monotonic() + 8
        while True:
            sas = await self.swanctl("--list-sas", "--ike", peer.name)
            states = re.findall(rf"^{peer.name}: #\d+, (\w+)", sas, re.MULTILINE)
            if states == ["ESTABLISHED"] and "active:" not in sas and "queued:" not in sas:
                return
            if time.monotonic() > end:
                pytest.fail(f"charon does not come to rest: {sas}")

    @asynccontextmanager
    async def tunnel(self, peer: Peer, initiator: str = "we", **changes: Any) -> AsyncIterator[LiveEnd]:
        """A tunnel that is up and works; in the end it is deleted, and charon must have forgotten it then."""
        end = LiveEnd(self.branch, peer.config(initiate=initiator == "we", **changes))
        async with self.tunnel_of(peer, end, initiator):
            yield end

    @asynccontextmanager
    async def tunnel_of(self, peer: Peer, end: LiveEnd, initiator: str) -> AsyncIterator[None]:
        """The same with an end that is prepared already."""
        async with end:
            end.start()
            if initiator == "charon":
                assert "completed successfully" in await self.initiate(peer)
            await end.until(lambda: end.is_up, "the tunnel")
            await self.carries(peer, end)
            yield
            await end.close()
            assert await self.swanctl("--list-sas", "--ike", peer.name) == ""

    async def carries(self, peer: Peer, end: LiveEnd, *, by_newest: bool = True) -> None:
        """A packet each way, that of charon by the newest child or by any."""
        there, back = os.urandom(20), os.urandom(20)
        packet = encapsulate(there, peer.transport, CENTRE_TRANSPORT, identification=1)
        end.send(packet)
        await self._comes_out(packet)
        self.send_back(peer, back)
        await end.until(lambda: any(inner.endswith(back) for _, inner in end.received), "the answer")
        if by_newest:
            assert [spi for spi, inner in end.received if inner.endswith(back)] == [end.spi_in]

    def send_back(self, peer: Peer, payload: bytes) -> None:
        """GRE from the data centre to a branch, by libipsec."""
        self._gre.sendto(Header().build(payload), (str(peer.transport), 0))

    def arrived(self) -> set[bytes]:
        """All GRE packets that have come out of libipsec so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._arrived.add(self._gre.recv(2048))
        return self._arrived

    async def _comes_out(self, packet: bytes) -> None:
        """Of libipsec, at the raw socket, which several tunnels may share at a time."""
        end = time.monotonic() + 3
        while packet not in self._arrived:
            if time.monotonic() > end:
                pytest.fail(f"GRE did not come out of libipsec; charon said {self.charon.log()[-3000:]}")
            await asyncio.sleep(0.005)
            self.arrived()

    async def rekey_child(self, peer: Peer, end: LiveEnd, by: str) -> None:
        """A new child carries, and the old one is deleted."""
        old = end.child_spis
        if by == "we":
            end.rekey_child()
        else:
            await self.swanctl("--rekey", "--child", peer.name)
        await end.replaced(lambda: end.child_spis, old, f"a child rekey by {by}")
        await self.carries(peer, end)

    async def rekey_ike(self, peer: Peer, end: LiveEnd, by: str) -> None:
        """Another IKE SA has the child, which carries as before; the old one is deleted."""
        old, child, before = end.ike_spis, end.spi_in, len(end.saw(IkeRekeyed))
        if by == "we":
            end.rekey_ike()
        else:
            await self.swanctl("--rekey", "--ike", peer.name)
        await end.replaced(lambda: end.ike_spis, old, f"an IKE rekey by {by}")
        assert len(end.saw(IkeRekeyed)) == before + 1
        assert end.spi_in == child
        await self.carries(peer, end)
