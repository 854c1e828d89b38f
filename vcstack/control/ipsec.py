"""IKEv2 of one tunnel, and the SAs that it negotiates: events become commands to the forwarder.

ikev2.InboundReady   ->  InstallInbound   before the message that lets the peer use it leaves
ikev2.OutboundReady  ->  SetPath, InstallOutbound: all that is sent takes the new SA
ikev2.ChildRetired   ->  Retire: outbound at once, inbound after the last late packet
SoftExpired, HardExpired, InboundUsed, IkeDatagram of the forwarder  ->  ikev2
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from vcstack.control import log
from vcstack.control.layers import Layer, State
from vcstack.control.translate import SaLimits, inbound_sa, outbound_sa
from vcstack.ikev2 import events
from vcstack.ikev2.endpoint import Endpoint
from vcstack.ikev2.path import NAT_TRAVERSAL_PORT, Path
from vcstack.io import channel, clock
from vcstack.io.driver import Driver
from vcstack.io.entropy import entropy

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from vcstack.ikev2.child_sa import ChildSa
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.snapshot import EndpointSnapshot
    from vcstack.io.ike_socket import IkeSocket

LINGER_S = 5.0
"""How long a retired inbound SA still takes packets that were on their way."""
_LOG = log.get("ipsec")


class Ipsec:
    """`send` reaches the forwarder; `carrying` is told which child carries traffic from now on, or None."""

    def __init__(
        self,
        config: PeerConfig,
        limits: SaLimits,
        socket: IkeSocket,
        send: Callable[..., None],
        layers: tuple[Layer, Layer],
        carrying: Callable[[ChildSa | None], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.remote_address = config.remote_address
        self.current: ChildSa | None = None
        self.usage: dict[tuple[int, bool], channel.SaUsage] = {}
        """The last report on each SA, by SPI and whether it is inbound."""
        self._name = config.name
        self._local = config.local_address
        self._initiate = config.initiate
        self._limits = limits
        self._socket = socket
        self._send = send
        self._ike, self._esp = layers
        self._carrying = carrying
        self._children: dict[int, ChildSa] = {}
        self._path: Path | None = None
        self._has_forwarder = True
        self._closing = False
        self._gone = asyncio.Event()
        self._endpoint = Endpoint(config, entropy, clock.now())
        self._driver = Driver(self._endpoint, self._drain, failed)

    def start(self) -> None:
        """Answer the peer, and initiate where the configuration says so."""
        self._socket.attach(self)
        self._ike.become(State.CONNECTING, "starting" if self._initiate else "waiting for the peer")
        self._esp.explain("IKE is not up")
        self._driver.call(self._endpoint.start)

    async def shut(self, timeout_s: float) -> None:
        """Send the DELETEs, and give the peer some time to answer."""
        self._closing = True
        self._driver.call(self._endpoint.close)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), timeout_s)

    def close(self) -> None:
        """Stop taking part, without a word to the peer."""
        self._driver.close()
        self._socket.detach(self)

    def snapshot(self) -> EndpointSnapshot:
        """What `show ikev2` and `show ipsec` tell."""
        return self._endpoint.snapshot(clock.now())

    # ---- what arrives on control's sockets (io.ike_socket.Listener)

    def owns_ike(self, message: bytes) -> bool:
        """Whether the message belongs to an IKE SA of this tunnel."""
        return self._endpoint.owns_spi(message)

    def owns_esp(self, spi: int) -> bool:
        """Whether this tunnel receives with that SPI."""
        return spi in self._children

    def ike_received(self, message: bytes, path: Path) -> None:
        """Take an IKE message."""
        self._driver.call(lambda now: self._endpoint.receive_datagram(message, path, now))

    def esp_received(self, data: bytes, source: IPv4Address, port: int) -> None:
        """Take ESP that did not come by the forwarder's own socket."""
        self._send(channel.SlowPathEsp(data, source, port))

    # ---- what the forwarder reports

    def reported(self, report: channel.Report) -> bool:
        """Take a report that concerns IPsec; False for any other."""
        handler = self._REPORTS.get(type(report))
        if handler is None:
            return False
        handler(self, report)
        return True

    def traffic_seen(self) -> None:
        """Authenticated ESP has arrived: the peer lives."""
        self._driver.call(self._endpoint.traffic_seen)

    def doubt(self) -> None:
        """Ask the peer for a sign of life now, whatever the timers say."""
        self._driver.call(self._endpoint.doubt)

    def forwarder_lost(self, reason: str) -> None:
        """Nothing is carried until another forwarder has started; IKE goes on meanwhile."""
        self._has_forwarder = False
        self._path = None
        self._use(None, reason)

    def forwarder_started(self) -> None:
        """Replace all child SAs: with the forwarder their sequence numbers were lost, and none may repeat."""
        self._has_forwarder = True
        for spi in list(self._children):
            self._expire(spi, "the forwarder was restarted")

    def _ike_datagram(self, report: channel.IkeDatagram) -> None:
        path = Path(self._local, NAT_TRAVERSAL_PORT, report.source, report.port)
        self.ike_received(report.data, path)

    def _soft_expired(self, report: channel.SoftExpired) -> None:
        spi = self._inbound_spi(report.spi)
        self._driver.call(lambda now: self._endpoint.child_soft_expired(spi, report.reason, now))

    def _hard_expired(self, report: channel.HardExpired) -> None:
        self._expire(self._inbound_spi(report.spi), report.reason)

    def _expire(self, spi: int, reason: str) -> None:
        self._driver.call(lambda now: self._endpoint.child_hard_expired(spi, reason, now))

    def _inbound_used(self, report: channel.InboundUsed) -> None:
        self._driver.call(lambda now: self._endpoint.inbound_used(report.spi, now))

    def _esp_moved(self, report: channel.PeerMoved) -> None:
        if self._path is not None and self.current is not None:
            self._driver.call(lambda _: self._endpoint.peer_moved(report.address, report.port))
            moved = Path(self._path.local, self._path.local_port, report.address, report.port)
            self._move(moved, udp_encapsulation=self.current.udp_encapsulation)

    def _used(self, report: channel.SaUsage) -> None:
        if self._inbound_spi(report.spi) in self._children:  # a retired one lingers in the forwarder
            self.usage[report.spi, report.inbound] = report

    def _inbound_spi(self, spi: int) -> int:
        """The inbound SPI of the child that has this SPI in either direction."""
        if spi in self._children:
            return spi
        return next((child.spi_in for child in self._children.values() if child.spi_out == spi), spi)

    _REPORTS: ClassVar[dict[type, Callable[[Ipsec, Any], None]]] = {
        channel.IkeDatagram: _ike_datagram,
        channel.SoftExpired: _soft_expired,
        channel.HardExpired: _hard_expired,
        channel.InboundUsed: _inbound_used,
        channel.PeerMoved: _esp_moved,
        channel.SaUsage: _used,
    }

    # ---- what the machine has to say

    def _drain(self) -> None:
        # Events first: an inbound SA is installed before the answer that lets the peer use it leaves.
        while (event := self._endpoint.next_event()) is not None:
            self._EVENTS[type(event)](self, event)
        self._socket.send(self._endpoint.datagrams_to_send())
        if self._closing and all(sa.state == "dead" for sa in self.snapshot().ike_sas):
            self._gone.set()

    def _inbound_ready(self, event: events.InboundReady) -> None:
        child = event.child
        self._children[child.spi_in] = child
        if not self._has_forwarder:
            return
        if self.current is None:
            self._move(child.path, udp_encapsulation=child.udp_encapsulation)
        self._send(channel.InstallInbound(inbound_sa(child, self._limits)))

    def _outbound_ready(self, event: events.OutboundReady) -> None:
        child = event.child
        if not self._has_forwarder:
            return
        self._move(child.path, udp_encapsulation=child.udp_encapsulation)
        self._send(channel.InstallOutbound(outbound_sa(child, self._limits)))
        self._use(child, f"{_suite(child)}, SPI {child.spi_in:#010x} in, {child.spi_out:#010x} out")

    def _child_retired(self, event: events.ChildRetired) -> None:
        if self._children.pop(event.spi_in, None) is None:
            return
        self._send(channel.Retire(event.spi_in, LINGER_S, inbound=True))
        self._send(channel.Retire(event.spi_out, 0.0, inbound=False))
        for key in ((event.spi_in, True), (event.spi_out, False)):
            self.usage.pop(key, None)
        _LOG.info("%s child SA %#010x retired: %s", self._name, event.spi_in, event.reason)
        if self.current is not None and self.current.spi_in == event.spi_in:
            self._use(None, event.reason)

    def _ike_up(self, event: events.IkeUp) -> None:
        self._ike.become(State.UP, f"{event.peer_id} authenticated, {event.path}")

    def _ike_rekeyed(self, event: events.IkeRekeyed) -> None:
        _LOG.info("%s IKE SA rekeyed: %s", self._name, event.reason)

    def _ike_down(self, event: events.IkeDown) -> None:
        self._ike.become(State.DOWN if event.retry_in_s is None else State.CONNECTING, event.reason)
        if self.current is None:
            self._esp.explain("IKE is not up")

    def _peer_moved(self, event: events.PeerMoved) -> None:
        _LOG.info("%s peer moved to %s:%d", self._name, event.path.remote, event.path.remote_port)
        if self.current is not None:
            self._move(event.path, udp_encapsulation=self.current.udp_encapsulation)

    def _child_failed(self, event: events.ChildFailed) -> None:
        self._esp.become(self._esp.state, event.reason)

    def _pfs_judged(self, event: events.PfsJudged) -> None:
        level = _LOG.info if event.is_proven else _LOG.warning
        level("%s %s", self._name, event.verdict)

    _EVENTS: ClassVar[dict[type, Callable[[Ipsec, Any], None]]] = {
        events.InboundReady: _inbound_ready,
        events.OutboundReady: _outbound_ready,
        events.ChildRetired: _child_retired,
        events.IkeUp: _ike_up,
        events.IkeRekeyed: _ike_rekeyed,
        events.IkeDown: _ike_down,
        events.PeerMoved: _peer_moved,
        events.ChildFailed: _child_failed,
        events.PfsJudged: _pfs_judged,
    }

    def _move(self, path: Path, *, udp_encapsulation: bool) -> None:
        if path != self._path:
            self._path = path
            ends = (path.local, path.local_port, path.remote, path.remote_port)
            self._send(channel.SetPath(*ends, udp_encapsulation=udp_encapsulation))

    def _use(self, child: ChildSa | None, reason: str) -> None:
        if child is self.current:
            return
        self.current = child
        self._esp.become(State.DOWN if child is None else State.UP, reason)
        self._carrying(child)


def _suite(child: ChildSa) -> str:
    road = "in UDP" if child.udp_encapsulation else "as protocol 50"
    return f"{child.encryption}-{child.key_bits} {road}"
