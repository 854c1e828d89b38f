"""ESP in UDP (RFC 3948) on a socket connected to the peer, with UDP_SEGMENT and UDP_GRO where there are.

The socket stands beside control's unconnected one on the same port: the kernel prefers the connected socket,
so the peer's datagrams, IKE included, come straight here, and a peer that moves is heard by control.
"""

import errno
import select
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address

import numpy as np

from vcstack.io import mmsg
from vcstack.io.mmsg import MessageSender, Runs, runs_of
from vcstack.io.transport import SENT, SendOutcome
from vcstack.wire.batch import Arena, Integers, Rows

UDP_GRO = 104
RECEIVE_BUFFER_BYTES = 8 << 20
"""Half a second at 128 Mbit/s: a burst survives a worker that is not scheduled for a while."""
SEND_BUFFER_BYTES = 1 << 19
"""The kernel doubles it. A device slower than we are holds so much: 84 ms at 100 Mbit/s, and voice waits."""
RESERVE_BYTES = 1 << 18
"""What is dropped last may take this beyond it, doubled likewise."""
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT, _IP_PMTUDISC_DO, _IP_MTU = 10, 0, 2, 14
_DATAGRAM_ROOM = 65_536
_ROWS = 128
_ENOUGH = 16
"""Datagrams in hand with which a batch is worth processing at once."""
_ANCILLARY = 64
_WAIT_MS = 2
_INT = struct.Struct("i")


class UdpTransport:
    """One peer's UDP path. Raises `OSError` when the socket cannot be had."""

    udp = True

    def __init__(
        self,
        local: tuple[IPv4Address, int],
        remote: tuple[IPv4Address, int],
        *,
        segment: bool = True,
        gro: bool = True,
        sendmmsg: bool = True,
        path_mtu_discovery: bool = True,
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            prepare(self._socket, path_mtu_discovery=path_mtu_discovery)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((str(local[0]), local[1]))
            self._socket.connect((str(remote[0]), remote[1]))
        except OSError:
            self._socket.close()
            raise
        self._gro = gro and _accepts(self._socket, UDP_GRO, 1)
        self._segment = segment and _accepts(self._socket, mmsg.UDP_SEGMENT, 0)
        self._sendmmsg = sendmmsg and mmsg.available
        self._senders = {on: MessageSender(self.fileno(), segment=on) for on in (False, True)}
        self._arena = Arena(_ROWS * 2048 + _DATAGRAM_ROOM)

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what is in use."""
        used = {"udp-segment": self._segment, "udp-gro": self._gro, "sendmmsg": self._sendmmsg}
        return tuple(name for name, on in used.items() if on)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def path_mtu(self) -> int | None:
        """The kernel's path MTU towards the peer."""
        return path_mtu(self._socket)

    def receive(self) -> Rows | None:
        """Take what one call brings; small datagrams that come alone are gathered while they last.

        With UDP_GRO one call brings up to 64 datagrams of one size, of which the last may be shorter.
        """
        position, parts = 0, 0
        offsets: list[int] = []
        lengths: list[int] = []
        pitch = uniform = 0
        while len(offsets) < _ENOUGH and position + _DATAGRAM_ROOM <= len(self._arena):
            received = self._receive_one(position)
            if received is None:
                break
            size, segment = received
            full, rest = divmod(size, segment)
            offsets += range(position, position + size, segment)
            lengths += [segment] * full + ([rest] if rest else [])
            pitch, uniform, parts = segment, full, parts + 1
            position = (position + size + 63) & ~63
        if not offsets:
            return None
        if parts > 1:
            pitch = uniform = 0
        return Rows(self._arena, np.array(offsets), np.array(lengths), pitch, uniform)

    def _receive_one(self, position: int) -> tuple[int, int] | None:
        """Bytes received at a position, and the size of the datagrams in them; empty ones are skipped."""
        view = self._arena.data[position : position + _DATAGRAM_ROOM]
        size, ancillary = 0, list[tuple[int, int, bytes]]()
        while not size:
            try:
                size, ancillary, _flags, _address = self._socket.recvmsg_into((view,), _ANCILLARY)
            except BlockingIOError:
                return None
            except OSError:
                continue  # an ICMP error that an earlier datagram met; reading it clears it
        for level, kind, data in ancillary:
            if level == mmsg.SOL_UDP and kind == UDP_GRO:
                return size, _INT.unpack_from(data)[0]
        return size, size

    def send(self, rows: Rows, tos: Integers | int) -> SendOutcome:
        """Send a batch; runs of one size go as one message where the kernel cuts them."""
        runs = runs_of(rows, tos, segment=self._segment)
        first = failures = 0
        while first < len(runs):
            try:
                first += self._send_some(rows, runs, first)
                failures = 0
            except OSError as error:
                failures += 1
                full = error.errno in mmsg.RETRY_ERRORS
                if failures == 1 and (not full or wait_for_room(self._socket)):
                    continue  # an ICMP error that an earlier datagram met is told once, by the next call
                if error.errno in mmsg.SIZE_ERRORS and self._segment:
                    return self._send_alone(rows, runs.starts[first])
                dropped = len(rows) - runs.starts[first]
                return SendOutcome(dropped, too_big=error.errno == errno.EMSGSIZE, full=full)
        return SENT

    def _send_some(self, rows: Rows, runs: Runs, first: int) -> int:
        if self._sendmmsg:
            return self._senders[self._segment].send(rows, runs, first)
        return send_message(self._socket, rows, runs, first, segment=self._segment)

    def _send_alone(self, rows: Rows, start: int) -> SendOutcome:
        """The kernel or the device does not cut this run: datagram by datagram, each with its own verdict."""
        dropped, too_big = 0, False
        data = rows.arena.data
        for at, length in zip(rows.offsets[start:].tolist(), rows.lengths[start:].tolist(), strict=True):
            try:
                self._socket.send(data[at : at + length])
            except OSError as error:
                dropped += 1
                too_big = too_big or error.errno == errno.EMSGSIZE
        if not dropped:
            # Each fits the path on its own: segmentation itself is what this path does not do.
            self._segment = False
        return SendOutcome(dropped, too_big)

    def wait_for_room(self) -> bool:
        """Wait until the socket takes datagrams, or has some, 2 ms at most."""
        return wait_for_room(self._socket)

    def set_reserve(self, *, on: bool) -> None:
        """Let the socket take more than its bound."""
        set_send_buffer(self._socket, SEND_BUFFER_BYTES + RESERVE_BYTES * on)

    def send_datagram(self, data: bytes, remote: IPv4Address, port: int) -> bool:
        """Send one datagram, also to an address that is not the peer's."""
        try:
            self._socket.sendto(data, (str(remote), port))
        except OSError:
            return False
        return True


def path_mtu(sock: socket.socket) -> int | None:
    """The kernel's path MTU of a connected socket, in bytes; None while it has no route."""
    try:
        return sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    except OSError:
        return None


def prepare(sock: socket.socket, *, path_mtu_discovery: bool) -> None:
    """Buffers and DF of a socket that carries ESP."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    set_send_buffer(sock, SEND_BUFFER_BYTES)
    discover = _IP_PMTUDISC_DO if path_mtu_discovery else _IP_PMTUDISC_DONT
    sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, discover)


def set_send_buffer(sock: socket.socket, size: int) -> None:
    """Bound what waits in the socket and in the device behind it, in bytes of packets."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def wait_for_room(sock: socket.socket) -> bool:
    """Wait a little for room in the socket; datagrams that arrive end the wait, and have their turn."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT | select.POLLIN)
    return any(events & select.POLLOUT for _, events in poll.poll(_WAIT_MS))


def send_message(sock: socket.socket, rows: Rows, runs: Runs, index: int, *, segment: bool) -> int:
    """Send one message of a batch with sendmsg(2), where sendmmsg is switched off or missing; returns 1."""
    first, last = runs.starts[index], runs.starts[index + 1]
    ancillary = [(socket.IPPROTO_IP, socket.IP_TOS, _INT.pack(runs.tos[index]))]
    if segment:
        ancillary.append((mmsg.SOL_UDP, mmsg.UDP_SEGMENT, struct.pack("H", rows.lengths.item(first))))
    sock.sendmsg(rows.views(0, 0)[first:last], ancillary, socket.MSG_DONTWAIT)
    return 1


def _accepts(sock: socket.socket, option: int, value: int) -> bool:
    with suppress(OSError):
        sock.setsockopt(mmsg.SOL_UDP, option, value)
        return True
    return False
