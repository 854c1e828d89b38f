"""TCP for one BGP peer: it obeys a bgp.Peer's actions and feeds it what happens, on the running event loop.

The sockets are the kernel's and are bound to the tunnel's address and device, so that BGP leaves through the
tunnel like everything else; tcp_socket.py makes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from vcstack.bgp.constants import PORT
from vcstack.bgp.events import Close, Connect, Send
from vcstack.io import clock
from vcstack.io.driver import Driver
from vcstack.io.tcp_socket import (
    IP_AND_TCP_HEADERS,
    USER_TIMEOUT_S,
    TcpOptions,
    check_password,
    describe,
    open_socket,
    set_password,
    ttl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ipaddress import IPv4Address

    from vcstack.bgp.events import Action, Event
    from vcstack.bgp.peer import Peer
    from vcstack.wire.secret import Secret

_IP_FREEBIND = 15
_BACKLOG = 4
_LINGER_S = 2.0
"""How long a closed connection may take to deliver its NOTIFICATION."""
_LISTEN_RETRY_S = 5.0


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
        check_password(password)
        send_hold_s = peer.config.send_hold_s(peer.config.hold_time_s)
        user_timeout_s = send_hold_s + _LINGER_S if send_hold_s else USER_TIMEOUT_S
        self.peer = peer
        self.options = TcpOptions(interface, password, tunnel_mtu, gtsm, user_timeout_s)
        self._local, self._remote, self._port = str(local), str(remote), port
        self._driver = Driver(peer, self._drain, failed, now)
        self._on_event = on_event
        self._running = False
        self._listener: socket.socket | None = None
        self._listen_error = ""
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._connecting: dict[int, socket.socket] = {}
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

    def suspend(self) -> None:
        """Close without a word and listen no more: this process restarts, and the peer keeps our routes."""
        if self._running:
            self._running = False
            self._stop_listening()
            self._driver.call(self.peer.suspend)

    def set_password(self, password: Secret | None) -> None:
        """Change the TCP MD5 key of every socket; ValueError when it is too long.

        Connections to come use it, and so does the one that stands: its session survives if the peer changes
        its key too before the hold time is over.
        """
        check_password(password)
        self.options = replace(self.options, password=password)
        listener = [self._listener] if self._listener is not None else []
        for sock in (*listener, *self._connecting.values()):
            set_password(sock, self._remote, password)
        for connection in self._connections.values():
            connection.set_password(self._remote, password)

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
            ttl=ttl(self.options),
            gtsm=self.options.gtsm,
            md5=self.options.password is not None,
            max_segment_bytes=mtu - IP_AND_TCP_HEADERS if mtu else None,
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

    def blocked(self, number: int) -> None:
        """What was written does not leave."""
        self._driver.call(lambda now: self.peer.connection_blocked(number, now))

    def unblocked(self, number: int) -> None:
        """Everything that was written has left."""
        self._driver.call(lambda now: self.peer.connection_unblocked(number, now))

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
                sock = undo.enter_context(open_socket(self._remote, self.options))
                self._connecting[number] = sock
                sock.bind((self._local, 0))
                await asyncio.get_running_loop().sock_connect(sock, (self._remote, self._port))
                await self._adopt(number, sock, outbound=True)
                undo.pop_all()
        except OSError as error:
            reason = describe(error)
            self._driver.call(lambda now: self.peer.connection_failed(number, reason, now))
        finally:
            self._connecting.pop(number, None)

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
            listener = undo.enter_context(open_socket(self._remote, self.options))
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
        self._transport.set_write_buffer_limits(high=0)  # one byte that stays is worth a report
        self._driver.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._driver.received(self.number, data)

    def pause_writing(self) -> None:
        """The kernel takes no more: the peer does not read."""
        self._driver.blocked(self.number)

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._driver.unblocked(self.number)

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

    def set_password(self, remote: str, password: Secret | None) -> None:
        """Change the TCP MD5 key; both event loops lend the descriptor, but not every method of a socket."""
        if self._transport is not None:
            descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
            with socket.socket(fileno=descriptor) as sock, contextlib.suppress(OSError):
                set_password(sock, remote, password)  # an old kernel keeps the old key here

    def address(self, which: str) -> tuple[str, int] | None:
        """Return "sockname" or "peername"."""
        return self._transport.get_extra_info(which) if self._transport is not None else None
