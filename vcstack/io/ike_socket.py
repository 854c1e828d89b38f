"""The UDP sockets of IKE for one local address, shared by all tunnels that start there.

Port 500 carries IKE alone. On port 4500 IKE has the non-ESP marker, four zero bytes, in front
(RFC 7296 section 2.23, RFC 3948 section 2.2); a single 0xFF is a NAT keepalive; all else is ESP:

    +----------------+-------------+        +-------------------+-------------+        +------+
    | 00 00 00 00    | IKE message |        | SPI (not zero)    | ESP         |        | FF   |
    +----------------+-------------+        +-------------------+-------------+        +------+

Once a peer's ESP flows, the forwarder's connected socket takes that peer's datagrams on port 4500.
What arrives here is the beginning, and peers that have moved.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Protocol

from vcstack.ikev2.path import IKE_PORT, NAT_TRAVERSAL_PORT, Datagram, Path

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARKER = bytes(4)
_IKE_HEADER_LENGTH = 28
_ESP_MINIMUM_LENGTH = 8
_NAT_KEEPALIVE = b"\xff"
_MAX_DATAGRAM_BYTES = 65_535
_BURST = 64  # datagrams per wake-up, so that a flood leaves the loop to others
_BUFFER_BYTES = 1 << 20
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0


class Listener(Protocol):
    """One tunnel, as a receiver of datagrams."""

    @property
    def remote_address(self) -> IPv4Address | None:
        """The peer's IPsec address; None where any peer is welcome."""

    def owns_ike(self, message: bytes) -> bool:
        """Whether the message belongs to an IKE SA of this tunnel."""

    def owns_esp(self, spi: int) -> bool:
        """Whether this tunnel receives with that SPI."""

    def ike_received(self, message: bytes, path: Path) -> None:
        """Take an IKE message, without marker."""

    def esp_received(self, data: bytes, source: IPv4Address, port: int) -> None:
        """Take an ESP packet that came in UDP."""


class PortTakenError(OSError):
    """An address and port cannot be bound; the text says which, and why."""


class IkeSocket:
    """Both ports of one local address."""

    def __init__(self, local: IPv4Address) -> None:
        self.local = local
        self.counters: Counter[str] = Counter()
        """Datagrams by what became of them."""
        self._listeners: list[Listener] = []
        self._sockets: dict[int, socket.socket] = {}

    def open(self) -> None:
        """Bind both ports; raises PortTakenError."""
        # A second daemon must not share port 500 silently; on port 4500 the forwarders' sockets have to.
        for port in (IKE_PORT, NAT_TRAVERSAL_PORT):
            self._sockets[port] = _bind(self.local, port, shared=port == NAT_TRAVERSAL_PORT)
        for port, bound in self._sockets.items():
            asyncio.get_running_loop().add_reader(bound, self._readable, bound, port)

    def attach(self, listener: Listener) -> None:
        """Give a tunnel its share of what arrives."""
        self._listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        """Take a tunnel out."""
        self._listeners = [each for each in self._listeners if each is not listener]

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send IKE messages, from the port of their path. A lost one is retransmitted by the machine."""
        for datagram in datagrams:
            path = datagram.path
            marker = _MARKER if path.local_port == NAT_TRAVERSAL_PORT else b""
            try:
                self._sockets[path.local_port].sendto(
                    marker + datagram.data, (str(path.remote), path.remote_port)
                )
            except OSError as error:
                self.counters[f"send_{errno.errorcode.get(error.errno or 0, 'failed').lower()}"] += 1
            else:
                self.counters["ike_sent"] += 1

    def close(self) -> None:
        """Close both ports."""
        for bound in self._sockets.values():
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        self._sockets.clear()

    def _readable(self, bound: socket.socket, port: int) -> None:
        for _ in range(_BURST):
            try:
                data, (host, source_port) = bound.recvfrom(_MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self.counters["receive_failed"] += 1
                return
            path = Path(self.local, port, IPv4Address(host), source_port)
            self.counters[self._dispatch(data, path)] += 1

    def _dispatch(self, data: bytes, path: Path) -> str:
        if path.local_port == NAT_TRAVERSAL_PORT:
            if not data.startswith(_MARKER):
                return self._dispatch_esp(data, path)
            data = data[len(_MARKER) :]
        if len(data) < _IKE_HEADER_LENGTH:
            return "drop_short"
        listener = self._listener_for(data, path.remote)
        if listener is None:
            return "drop_no_peer"
        listener.ike_received(data, path)
        return "ike_received"

    def _dispatch_esp(self, data: bytes, path: Path) -> str:
        if data == _NAT_KEEPALIVE:
            return "nat_keepalive"
        if len(data) < _ESP_MINIMUM_LENGTH:
            return "drop_short"
        spi = int.from_bytes(data[:4])
        for listener in self._listeners:
            if listener.owns_esp(spi):
                listener.esp_received(data, path.remote, path.remote_port)
                return "esp_received"
        return "drop_foreign_spi"

    def _listener_for(self, message: bytes, remote: IPv4Address) -> Listener | None:
        """The tunnel that has this IKE SA, else the one with this peer, else the one that takes any peer."""
        by_address = by_welcome = None
        for listener in self._listeners:
            if listener.owns_ike(message):
                return listener
            if listener.remote_address == remote:
                by_address = by_address or listener
            elif listener.remote_address is None:
                by_welcome = by_welcome or listener
        return by_address or by_welcome


def _bind(local: IPv4Address, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        # RFC 7296 section 2: an IKE message larger than the path's MTU has to be fragmented by IP.
        bound.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        bound.bind((str(local), port))
    except OSError as error:
        bound.close()
        raise PortTakenError(error.errno, _why(local, port, error)) from error
    return bound


def _why(local: IPv4Address, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{local} is not an address of this host"
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} of {local} is taken by another program (another IKE daemon?)"
    if error.errno == errno.EACCES:
        return f"no right to bind UDP port {port} of {local}: run as root"
    return f"UDP port {port} of {local}: {error.strerror}"
