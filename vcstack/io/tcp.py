"""TCP for one BGP peer: it obeys a bgp.Peer's actions and feeds it what happens, on the running event loop.

The sockets are the kernel's and are bound to the tunnel's address and device, so that BGP leaves through the
tunnel like everything else. What they are given before they connect or listen: the TCP MD5 key (RFC 2385),
a maximum segment size that fits the tunnel, and the TTL that keeps strangers away (1, or 255 by RFC 5082).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from vcstack.bgp.constants import PORT
from vcstack.bgp.events import Close, Connect, Send
from vcstack.io import clock
from vcstack.io.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ipaddress import IPv4Address

    from vcstack.bgp.events import Action, Event
    from vcstack.bgp.peer import Peer
    from vcstack.wire.secret import Secret

_TCP_MD5SIG = 14  # linux/tcp.h; the key structure is padded to its 80 bytes
MAX_PASSWORD_BYTES = 80
_IP_MINTTL = 21
_IP_FREEBIND = 15
_TOS_INTERNETWORK_CONTROL = 0xC0  # RFC 4271 appendix E
_IP_AND_TCP_HEADERS = 40
_BACKLOG = 4
_LINGER_S = 2.0
"""How long a closed connection may take to deliver its NOTIFICATION."""
_LISTEN_RETRY_S = 5.0
_USER_TIMEOUT_S = 180.0
"""For a session without a hold time; the others give up on unacknowledged bytes with their hold time."""

_ERRORS = {
    errno.ECONNREFUSED: "connection refused: nothing listens on the peer's TCP 179",
    errno.ECONNRESET: "connection reset by the peer",
    errno.ETIMEDOUT: "no answer from the peer within the TCP timeout",
    errno.EHOSTUNREACH: "the peer's address is unreachable",
    errno.ENETUNREACH: "no route to the peer's address",
    errno.EADDRNOTAVAIL: "the local tunnel address is not on this host",
    errno.ENODEV: "the tunnel interface does not exist",
}


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """What every socket of a peer is given."""

    interface: str | None = None
    """Name of the device that the traffic is bound to."""
    password: Secret | None = None
    """TCP MD5 key, at most 80 bytes."""
    tunnel_mtu: int | None = None
    """Caps the segment size at 40 bytes less; in bytes."""
    gtsm: bool = False
    """RFC 5082: send with TTL 255 and accept nothing that has passed a router; else send with TTL 1."""
    user_timeout_s: float = _USER_TIMEOUT_S
    """How long sent bytes may stay unacknowledged."""


@dataclass(frozen=True, slots=True)
class TcpSnapshot:
    """The transport part of `show ip bgp neighbors`; addresses are None while nothing is connected."""

    local: tuple[str, int] | None
    remote: tuple[str, int] | None
    listening: bool
    listen_error: str
    ttl: int
    gtsm: bool
    md5: bool
    max_segment_bytes: int | None


class BgpDriver:
    """Runs one Peer between the addresses `local` and `remote`.

    `on_event` is called with each event of the peer, on the event loop; `failed` with an exception that only
    a bug of this stack can be the cause of. All methods but `drained` return at once. A driver that was
    stopped can be started again.
    """

    def __init__(
        self,
        peer: Peer,
        local: IPv4Address,
        remote: IPv4Address,
        interface: str | None = None,
        password: Secret | None = None,
        now: Callable[[], float] = clock.now,
        *,
        on_event: Callable[[Event], None],
        failed: Callable[[Exception], None],
        tunnel_mtu: int | None = None,
        gtsm: bool = False,
        port: int = PORT,
    ) -> None:
        if password is not None and len(password) > MAX_PASSWORD_BYTES:
            raise ValueError(f"a BGP password has at most {MAX_PASSWORD_BYTES} bytes")
        user_timeout_s = float(peer.config.hold_time_s or _USER_TIMEOUT_S)
        self.peer = peer
        self.options = TcpOptions(interface, password, tunnel_mtu, gtsm, user_timeout_s)
        self._local, self._remote, self._port = str(local), str(remote), port
        self._driver = Driver(peer, self._drain, failed, now)
        self._on_event = on_event
        self._running = False
        self._listener: socket.socket | None = None
        self._listen_error = ""
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._connections: dict[int, Connection] = {}
        self._closing: set[Connection] = set()
        self._listen_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and let the peer connect; call it on the event loop."""
        if not self._running:
            self._running = True
            self._listen()
            self._driver.call(self.peer.start)

    def stop(self, reason: str = "") -> None:
        """End the session with a Cease that carries `reason`, and listen no more."""
        if self._running:
            self._running = False
            self._stop_listening()
            self._driver.call(lambda now: self.peer.stop(now, reason))

    def call(self, action: Callable[[float], object]) -> None:
        """Use the peer beside the transport: `action` gets the time, as in `call(peer.refresh)`."""
        self._driver.call(action)

    async def drained(self) -> None:
        """Wait until every closed connection has delivered what was sent, two seconds at most."""
        await asyncio.gather(*(connection.lost for connection in self._closing), return_exceptions=True)

    def snapshot(self) -> TcpSnapshot:
        """Describe the transport."""
        connection = next(iter(self._connections.values()), None)
        mtu = self.options.tunnel_mtu
        return TcpSnapshot(
            local=connection.address("sockname") if connection else None,
            remote=connection.address("peername") if connection else None,
            listening=self._listener is not None,
            listen_error=self._listen_error,
            ttl=_ttl(self.options),
            gtsm=self.options.gtsm,
            md5=self.options.password is not None,
            max_segment_bytes=mtu - _IP_AND_TCP_HEADERS if mtu else None,
        )

    # --- what connections report ----------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """TCP is up."""
        number, outbound = connection.number, connection.outbound
        self._attempts.pop(number, None)
        self._connections[number] = connection
        self._driver.call(lambda now: self.peer.connection_opened(number, now, outbound=outbound))

    def received(self, number: int, data: bytes) -> None:
        """Bytes have come; those for a connection that the peer has closed are dropped."""
        if number in self._connections:
            self._driver.call(lambda now: self.peer.data_received(number, data, now))

    def closed(self, number: int, error: str) -> None:
        """The peer or the network has ended a connection."""
        if self._connections.pop(number, None) is not None:
            self._driver.call(lambda now: self.peer.connection_closed(number, now, error))

    # --- actions --------------------------------------------------------------------------------------

    def _drain(self) -> None:
        busy = True
        while busy:
            actions, event = self.peer.actions(), self.peer.next_event()
            for action in actions:
                self._do(action)
            if event is not None:
                self._on_event(event)
            busy = bool(actions) or event is not None

    def _do(self, action: Action) -> None:
        match action:
            case Connect(number):
                self._attempt(number, self._connect(number))
            case Send(number, data):
                if (connection := self._connections.get(number)) is not None:
                    connection.write(data)
            case Close(number):
                self._close(number)

    def _attempt(self, number: int, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._attempts[number] = task
        task.add_done_callback(lambda _: self._attempts.pop(number, None))

    def _close(self, number: int) -> None:
        if (task := self._attempts.get(number)) is not None:
            task.cancel()
        if (connection := self._connections.pop(number, None)) is not None:
            self._closing.add(connection)
            connection.lost.add_done_callback(lambda _: self._closing.discard(connection))
            connection.finish()

    async def _connect(self, number: int) -> None:
        try:
            with contextlib.ExitStack() as undo:
                sock = undo.enter_context(_socket(self._remote, self.options))
                sock.bind((self._local, 0))
                await asyncio.get_running_loop().sock_connect(sock, (self._remote, self._port))
                await self._adopt(number, sock, outbound=True)
                undo.pop_all()
        except OSError as error:
            reason = describe(error)
            self._driver.call(lambda now: self.peer.connection_failed(number, reason, now))

    async def _adopt(self, number: int, sock: socket.socket, *, outbound: bool) -> None:
        connection = Connection(self, number, outbound=outbound)
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=sock)

    # --- the listener ---------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Listen; when that fails, outgoing connections go on and listening is tried again."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = self._open_listener()
        except OSError as error:
            self._listen_error = f"cannot listen on {self._local} TCP {self._port}: {describe(error)}"
            self._listen_timer = loop.call_later(_LISTEN_RETRY_S, self._listen)
            return
        self._listen_error = ""
        loop.add_reader(self._listener.fileno(), self._accept)

    def _open_listener(self) -> socket.socket:
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(_socket(self._remote, self.options))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # the address may come later
            listener.bind((self._local, self._port))
            listener.listen(_BACKLOG)
            undo.pop_all()
        return listener

    def _stop_listening(self) -> None:
        if self._listen_timer is not None:
            self._listen_timer.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, (address, _port) = self._listener.accept()
        except OSError:  # the peer was gone again before we looked
            return
        sock.setblocking(False)
        if address != self._remote:
            sock.close()
            return
        number = self.peer.new_connection()
        self._attempt(number, self._adopt(number, sock, outbound=False))


class Connection(asyncio.Protocol):
    """One TCP connection, on either side of the Peer's Close.

    Closing shuts our direction down and waits for the peer to do the same: a socket that is closed with
    unread bytes in it sends a reset, which may overtake the NOTIFICATION.
    """

    def __init__(self, driver: BgpDriver, number: int, *, outbound: bool) -> None:
        self._driver = driver
        self.number = number
        self.outbound = outbound
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which is one of a socket, before any byte arrives."""
        # uvloop's transports have the methods of asyncio.Transport without being instances of it.
        self._transport = cast("asyncio.Transport", transport)
        self._driver.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._driver.received(self.number, data)

    def eof_received(self) -> bool:
        """The peer has closed its direction; the transport closes ours."""
        self._driver.closed(self.number, "")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._driver.closed(self.number, describe(exc) if exc is not None else "")
        if not self.lost.done():
            self.lost.set_result(None)

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until they can be sent."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """Close after what was written has left, in two seconds at the latest."""
        if self._transport is None:
            return
        with contextlib.suppress(OSError, RuntimeError):  # the peer may have closed already
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)

    def address(self, which: str) -> tuple[str, int] | None:
        """Return "sockname" or "peername"."""
        return self._transport.get_extra_info(which) if self._transport is not None else None


def describe(error: Exception) -> str:
    """Say in words what the network did to us."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        return str(error)
    return _ERRORS.get(code) or os.strerror(code)


def _socket(remote: str, options: TcpOptions) -> socket.socket:
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sock.setblocking(False)
        _configure(sock, remote, options)
        undo.pop_all()
    return sock


def _configure(sock: socket.socket, remote: str, options: TcpOptions) -> None:
    if options.interface is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options.interface.encode())
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _ttl(options))
    if options.gtsm:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS_INTERNETWORK_CONTROL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    timeout_ms = int(options.user_timeout_s * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    if options.tunnel_mtu is not None:
        mss = options.tunnel_mtu - _IP_AND_TCP_HEADERS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    if options.password is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, _md5_key(remote, options.password))


def _ttl(options: TcpOptions) -> int:
    return 255 if options.gtsm else 1


def _md5_key(remote: str, password: Secret) -> bytes:
    """Build struct tcp_md5sig: sockaddr_storage, flags, prefix length, key length, interface index, key."""
    key = password.reveal()
    address = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(remote)).ljust(128, b"\0")
    return address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key)
