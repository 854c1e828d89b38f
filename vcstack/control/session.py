"""BGP of one tunnel: runs while packets can cross, and puts what it learns into the route table."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from vcstack.bgp.config import Announcement, SessionConfig
from vcstack.bgp.events import Down, Failed, RouteChanged, Up
from vcstack.bgp.peer import Peer
from vcstack.bgp.policy import customer_edge, headend
from vcstack.control import log
from vcstack.control.layers import Layer, State
from vcstack.io.entropy import entropy
from vcstack.io.tcp import BgpDriver

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.bgp.events import Event
    from vcstack.bgp.snapshot import PeerSnapshot
    from vcstack.control.config import Configuration, Tunnel
    from vcstack.control.routes import RouteTable
    from vcstack.io.tcp import TcpSnapshot

_TCP_AND_IP_HEADERS = 40
_LOG = log.get("bgp")


def session_config(configuration: Configuration, tunnel: Tunnel) -> SessionConfig:
    """BGP's view of a tunnel: addresses, numbers, and the policy of the role."""
    bgp, interface = tunnel.bgp, tunnel.interface
    if configuration.role == "cpe":
        policy_in, policy_out = customer_edge(configuration.region)
    else:
        policy_in, policy_out = headend(configuration.region, tunnel.prefix)
    return SessionConfig(
        local_as=bgp.local_as,
        remote_as=bgp.remote_as,
        router_id=configuration.router_id,
        local_address=interface.address.ip,
        remote_address=interface.remote_address,
        policy_in=policy_in,
        policy_out=policy_out,
        announce=tuple(Announcement(prefix) for prefix in bgp.announce),
        hold_time_s=bgp.hold_time_s,
    )


class Session:
    """The BGP session of one tunnel."""

    def __init__(
        self,
        configuration: Configuration,
        tunnel: Tunnel,
        routes: RouteTable,
        layer: Layer,
        failed: Callable[[Exception], None],
    ) -> None:
        self._name = tunnel.name
        self._routes = routes
        self._layer = layer
        self._running = False
        self._peer = Peer(session_config(configuration, tunnel), entropy)
        interface = tunnel.interface
        self._driver = BgpDriver(
            self._peer,
            interface.address.ip,
            interface.remote_address,
            interface.name,
            tunnel.bgp.password,
            on_event=self._happened,
            failed=failed,
            tunnel_mtu=interface.mss + _TCP_AND_IP_HEADERS,
        )

    def start(self) -> None:
        """Listen and connect, unless that is so already."""
        if not self._running:
            self._running = True
            self._layer.become(State.CONNECTING, f"connecting to {self._peer.config.remote_address}")
            self._driver.start()

    def stop(self, reason: str) -> None:
        """End the session; its routes are gone when this returns."""
        if self._running:
            self._running = False
            self._driver.stop(reason)
            self._routes.clear(self._name)
            self._layer.become(State.DOWN, reason)
        else:
            self._layer.explain(reason)

    async def closed(self, timeout_s: float) -> None:
        """Wait until the connection has delivered its last message."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._driver.drained(), timeout_s)

    def summary(self) -> dict[str, Any]:
        """What `status` tells of it."""
        snapshot = self._peer.snapshot()
        return {
            "peer": str(snapshot.remote_address),
            "fsm": snapshot.state.name.lower(),
            "prefixes_received": snapshot.prefixes_accepted,
            "prefixes_denied": snapshot.prefixes_denied,
            "prefixes_advertised": snapshot.prefixes_advertised,
            "last_error": str(snapshot.last_reset) if snapshot.last_reset else None,
        }

    def snapshot(self) -> tuple[PeerSnapshot, TcpSnapshot]:
        """What `show bgp` tells."""
        return self._peer.snapshot(), self._driver.snapshot()

    def _happened(self, event: Event) -> None:
        match event:
            case Up(router_id, hold_time_s):
                self._layer.become(State.UP, f"established with {router_id}, hold time {hold_time_s} s")
            case Down(reason) | Failed(reason) if self._running:
                self._layer.become(State.CONNECTING, reason)
            case RouteChanged(prefix, None):
                self._routes.withdraw(self._name, prefix)
            case RouteChanged(prefix, next_hop):
                _LOG.info("%s %s learned, next hop %s", self._name, prefix, next_hop)
                self._routes.announce(self._name, prefix)
            case _:
                pass
