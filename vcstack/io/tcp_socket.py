"""The kernel's TCP sockets for BGP, bound to the tunnel's address and device.

What they are given before they connect or listen: the TCP MD5 key (RFC 2385), a maximum segment size that
fits the tunnel, and the TTL that keeps strangers away (1, or 255 by RFC 5082).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcstack.wire.secret import Secret

_TCP_MD5SIG = 14  # linux/tcp.h; the key structure is padded to its 80 bytes
MAX_PASSWORD_BYTES = 80
_IP_MINTTL = 21
_TOS_INTERNETWORK_CONTROL = 0xC0  # RFC 4271 appendix E
IP_AND_TCP_HEADERS = 40
USER_TIMEOUT_S = 180.0
"""For a session that no timer of BGP watches over; else TCP gives up later than the SendHoldTimer."""

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
    user_timeout_s: float = USER_TIMEOUT_S
    """How long sent bytes may stay unacknowledged."""


def describe(error: Exception) -> str:
    """Say in words what the network did to us."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        return str(error)
    return _ERRORS.get(code) or os.strerror(code)


def open_socket(remote: str, options: TcpOptions) -> socket.socket:
    """Make a socket that may connect to `remote`, or listen for it; OSError when the kernel refuses."""
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sock.setblocking(False)
        _configure(sock, remote, options)
        undo.pop_all()
    return sock


def _configure(sock: socket.socket, remote: str, options: TcpOptions) -> None:
    if options.interface is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options.interface.encode())
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl(options))
    if options.gtsm:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, 255)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS_INTERNETWORK_CONTROL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    timeout_ms = int(options.user_timeout_s * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    if options.tunnel_mtu is not None:
        mss = options.tunnel_mtu - IP_AND_TCP_HEADERS
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    if options.password is not None:
        set_password(sock, remote, options.password)


def set_password(sock: socket.socket, remote: str, password: Secret | None) -> None:
    """Give a socket the TCP MD5 key for the peer, in place of any other; None takes it away.

    A listening socket hands its key on to the connections that come after. A connected one signs and checks
    with the new key from the next segment on (Linux 5.8 and the stable kernels of its time).
    """
    with contextlib.suppress(FileNotFoundError):  # there was no key to take away
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, _md5_key(remote, password))


def ttl(options: TcpOptions) -> int:
    """Return the TTL to send with."""
    return 255 if options.gtsm else 1


def check_password(password: Secret | None) -> None:
    """ValueError for a password that the kernel cannot take."""
    if password is not None and not 0 < len(password) <= MAX_PASSWORD_BYTES:
        raise ValueError(f"a BGP password has 1 to {MAX_PASSWORD_BYTES} bytes")


def _md5_key(remote: str, password: Secret | None) -> bytes:
    """Build struct tcp_md5sig: sockaddr_storage, flags, prefix length, key length, interface index, key."""
    key = password.reveal() if password is not None else b""
    address = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(remote)).ljust(128, b"\0")
    return address + struct.pack("=BBHi80s", 0, 0, len(key), 0, key)
