"""One tunnel: the place where its four protocols meet. Nobody else passes anything from one to another.

                    ikev2 (Ipsec) --- SAs, path ---> forwarder (process: TUN, ESP, GRE, keepalives)
                          ^   <--- expiry, first use, IKE ---  |
                          |                                    | LineState
esp up and line not down -+--> bgp (Session) starts            v
                                    | RouteChanged ---> routes ---> kernel

A tunnel is usable while a child SA carries traffic and the line is not down: then BGP runs. When either goes,
session is stopped and the routes go at once, whatever timers the peer has.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vcstack.control import log, translate
from vcstack.control.heartbeat import Heartbeat
from vcstack.control.ipsec import Ipsec
from vcstack.control.layers import Layer, State
from vcstack.control.session import Session
from vcstack.dataplane.counters import Counter
from vcstack.io import channel, clock
from vcstack.io.netlink import KernelRefusedError
from vcstack.io.process import ForwarderProcess
from vcstack.io.shared import create_counters, map_counters
from vcstack.io.tun import Tun, TunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from vcstack.control.config import Configuration, Tunnel
    from vcstack.control.routes import RouteTable
    from vcstack.ikev2.child_sa import ChildSa
    from vcstack.io.ike_socket import IkeSocket
    from vcstack.io.netlink import Netlink

_LIVENESS_POLL_S = 1.0
"""How often the counters are asked whether authenticated packets came: below any sensible DPD interval."""
_RESTART_FLOOR_S = 0.1
_RESTART_CEILING_S = 5.0
_BUSY_S = 2.0
_BUSY_POLL_S = 0.05
_STABLE_S = 10.0
"""A forwarder that lived this long is forgiven: its successor starts at once."""
_CLOSE_S = 1.0
"""How long the peer may take to answer our DELETE."""
_FAREWELL_S = 0.2
"""For BGP's NOTIFICATION to leave through the tunnel before the SAs go."""
_LOG = log.get("site")


class InterfaceLostError(Exception):
    """The tunnel's interface was deleted by somebody else."""


@dataclass(frozen=True, slots=True)
class Host:
    """What all tunnels share."""

    configuration: Configuration
    netlink: Netlink
    routes: RouteTable
    sockets: dict[IPv4Address, IkeSocket]


class Site:
    """`failed` is told a bug of ours, after which only `abandon` makes sense."""

    def __init__(self, tunnel: Tunnel, host: Host, failed: Callable[[Exception], None]) -> None:
        self.name = tunnel.name
        self.tunnel = tunnel
        self.mtu = translate.tunnel_mtu(tunnel)
        self.path_mtu: int | None = None
        self.offloads: tuple[str, ...] = ()
        self.keepalives: channel.KeepaliveInfo | None = None
        self._host = host
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self.ike, self.esp, self.gre, self.bgp = (
            Layer(self.name, layer, clock.now) for layer in ("ike", "esp", "gre", "bgp")
        )
        self._counters_fd = create_counters(self.name)
        self.counters = map_counters(self._counters_fd, writable=False)
        self._tun: Tun | None = None
        self.forwarder = ForwarderProcess(self._reported, self._forwarder_died)
        self._heartbeat = Heartbeat(lambda: self.forwarder.send(channel.Ping()), self._forwarder_hung)
        self._hung = ""
        self._has_interface = False
        self._restart_delay_s = _RESTART_FLOOR_S
        self._forwarder_since = clock.now()
        self._authenticated = 0
        self.ipsec = Ipsec(
            translate.peer_config(tunnel),
            translate.sa_limits(tunnel),
            host.sockets[tunnel.ipsec.local_address],
            self.forwarder.send,
            (self.ike, self.esp),
            self._carrying_changed,
            failed,
        )
        self.session = Session(host.configuration, tunnel, host.routes, self.bgp, failed)

    async def start(self) -> None:
        """Create the interface and the forwarder, then start IKE. Raises OSError with a plain reason."""
        interface = self.tunnel.interface
        self._tun = await _open_tun(interface.name)
        self._start_forwarder()
        self.ipsec.start()
        self._spawn(self._watch_traffic())
        self._spawn(self._heartbeat.run())
        await self._host.netlink.interface_up(interface.name, interface.address, self.mtu)
        self._has_interface = True
        self._evaluate()

    async def stop(self) -> None:
        """Leave in order: BGP, routes, IKE, forwarder, interface."""
        self.session.stop("vcstack is stopping")
        self._host.routes.clear(self.name)
        await self.session.closed(_FAREWELL_S)
        await self.ipsec.shut(_CLOSE_S)
        await self.abandon()

    async def abandon(self) -> None:
        """Drop everything without a word to the peer."""
        for task in self._tasks:
            task.cancel()
        self.ipsec.close()
        self.session.stop("stopped")
        self._host.routes.clear(self.name)
        await self.forwarder.stop()
        if self._tun is not None:
            self._tun.close()
            self._tun = None
        self._host.routes.forget(self.name)
        if self._counters_fd >= 0:
            os.close(self._counters_fd)
            self._counters_fd = -1

    def network_changed(self) -> None:
        """Links, addresses or routes of the host have changed: put ours back, ask an absent peer."""
        if self._has_interface:
            self._spawn(self._restore_interface())
        if not self.gre.is_up:
            self.ipsec.doubt()

    async def _restore_interface(self) -> None:
        interface = self.tunnel.interface
        try:
            restored = await self._host.netlink.restore_interface(interface.name, interface.address, self.mtu)
        except KernelRefusedError as error:
            if error.errno == errno.ENODEV:
                raise InterfaceLostError(
                    f"interface {interface.name} was deleted by somebody else"
                ) from error
            _LOG.warning("%s %s", self.name, error.strerror)
            return
        if restored:
            _LOG.warning("%s interface %s was changed by somebody else: restored", self.name, interface.name)

    # ---- the forwarder

    def _start_forwarder(self) -> None:
        assert self._tun is not None, "opened before"
        self.forwarder.start(self._tun.fileno(), self._counters_fd)
        self._forwarder_since = clock.now()
        self._heartbeat.restart()
        self._configure()
        self.gre.explain("no child SA yet")

    def _configure(self) -> None:
        self.forwarder.send(channel.Configure(translate.forwarder_config(self.tunnel, self.mtu)))

    def _reported(self, report: channel.Report) -> None:
        try:
            if not self.ipsec.reported(report):
                self._handle(report)
        except Exception as error:  # noqa: BLE001 (the supervisor restarts this site alone)
            self._failed(error)

    def _handle(self, report: channel.Report) -> None:
        match report:
            case channel.LineState(up, reason):
                if self.gre.become(State.UP if up else State.DOWN, reason):
                    self.ipsec.doubt()  # also when up: a question that went unanswered before is answered now
                self._evaluate()
            case channel.KeepaliveInfo():
                self.keepalives = report
            case channel.PathMtu(path_mtu, tunnel_mtu):
                self.path_mtu = path_mtu
                self._spawn(self._follow_mtu(tunnel_mtu))
            case channel.Offloads(names):
                self.offloads = names
            case channel.Pong():
                self._heartbeat.answered()
            case channel.Fault(text):
                _LOG.warning("%s forwarder: %s", self.name, text)
            case _:
                pass

    def _forwarder_hung(self, reason: str) -> None:
        """It holds the socket that the peer's IKE arrives on, too: only its end helps."""
        if self.forwarder.pid is not None:
            self._hung = f", because {reason}"
            os.kill(self.forwarder.pid, signal.SIGKILL)

    def _forwarder_died(self, reason: str) -> None:
        if clock.now() - self._forwarder_since > _STABLE_S:
            self._restart_delay_s = _RESTART_FLOOR_S
        text = f"the forwarder died: {reason}{self._hung}"
        self._hung = ""
        _LOG.error("%s %s; another starts in %.1f s", self.name, text, self._restart_delay_s)
        self.gre.become(State.DOWN, text)
        self.ipsec.forwarder_lost(text)
        self._evaluate()
        self._spawn(self._restart_forwarder())

    async def _restart_forwarder(self) -> None:
        await asyncio.sleep(self._restart_delay_s)
        self._restart_delay_s = min(2 * self._restart_delay_s, _RESTART_CEILING_S)
        self._start_forwarder()
        self.ipsec.forwarder_started()

    # ---- what the layers mean for each other

    def _carrying_changed(self, child: ChildSa | None) -> None:
        if child is not None:
            self._spawn(self._measure_path(child))
            if not self.gre.is_up:
                self.gre.become(State.CONNECTING, "waiting for the first keepalive")
        self._evaluate()

    def _evaluate(self) -> None:
        """BGP runs while packets can cross; without that the routes must not wait for its timers.

        As with IOS, a line is down only after keepalives were missed: BGP need not wait for the first one.
        """
        if not self._has_interface:
            return
        if self.esp.is_up and self.gre.state is not State.DOWN:
            self.session.start()
        elif not self.esp.is_up:
            self.session.stop(f"no child SA: {self.esp.reason}")
        else:
            self.session.stop(f"line down: {self.gre.reason}")

    async def _watch_traffic(self) -> None:
        while True:
            await asyncio.sleep(_LIVENESS_POLL_S)
            authenticated = self.counters[Counter.INBOUND_AUTHENTICATED]
            if authenticated != self._authenticated:
                self._authenticated = authenticated
                self.ipsec.traffic_seen()

    # ---- MTU

    async def _measure_path(self, child: ChildSa) -> None:
        path = await self._host.netlink.path_to(child.path.remote)
        if path is not None:
            self.path_mtu = path.mtu
            encapsulated = child.udp_encapsulation
            await self._follow_mtu(
                translate.tunnel_mtu(self.tunnel, path.mtu, udp_encapsulation=encapsulated)
            )

    async def _follow_mtu(self, mtu: int) -> None:
        if mtu == self.mtu:
            return
        self.mtu = mtu
        self._configure()
        await self._host.netlink.set_mtu(self.tunnel.interface.name, mtu)
        _LOG.info("%s MTU is %d bytes", self.name, mtu)

    # ---- tasks

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._failed(error)


async def _open_tun(name: str) -> Tun:
    """Open the interface; one that a killed predecessor's forwarder still holds is gone in a moment."""
    end = clock.now() + _BUSY_S
    while True:
        try:
            return Tun.open(name)
        except TunError as error:
            busy = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EBUSY
            if not busy or clock.now() > end:
                raise
        await asyncio.sleep(_BUSY_POLL_S)
