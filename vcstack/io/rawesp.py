"""ESP as IP protocol 50 (RFC 4303 section 2) on a raw socket connected to the peer.

The kernel writes the outer IPv4 header when sending and leaves it in place when receiving. A raw socket has
no segmentation offload: one message per packet, many messages per system call.
"""

import errno
import socket
from ipaddress import IPv4Address

import numpy as np

from vcstack.io import mmsg
from vcstack.io.mmsg import MessageReceiver, MessageSender, runs_of
from vcstack.io.transport import SENT, SendOutcome
from vcstack.io.udp import (
    RESERVE_BYTES,
    SEND_BUFFER_BYTES,
    path_mtu,
    prepare,
    send_message,
    set_send_buffer,
    wait_for_room,
)
from vcstack.wire.batch import Arena, Integers, Rows
from vcstack.wire.ipv4 import MINIMUM_HEADER

_PROTOCOL = 50
_ROWS = 64
_PITCH = 65_536 + 2_112
"""Room for any packet. Memory that no packet reaches is none; an odd multiple of 64 spares the cache."""
_ROOM_BEHIND = 256
_NONE: Integers = np.zeros(0, np.int64)


class RawEspTransport:
    """One peer's ESP without UDP. Raises `OSError` when the socket cannot be had."""

    udp = False

    def __init__(
        self,
        local: IPv4Address,
        remote: IPv4Address,
        *,
        sendmmsg: bool = True,
        path_mtu_discovery: bool = True,
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOL)
        try:
            prepare(self._socket, path_mtu_discovery=path_mtu_discovery)
            self._socket.bind((str(local), 0))
            self._socket.connect((str(remote), 0))
        except OSError:
            self._socket.close()
            raise
        usable = sendmmsg and mmsg.available
        self._sender = MessageSender(self.fileno(), segment=False) if usable else None
        self._arena = Arena(_ROWS * _PITCH + _ROOM_BEHIND)
        self._starts = np.arange(_ROWS) * _PITCH
        self._receiver = MessageReceiver(self.fileno(), self._arena, _PITCH, _ROWS) if usable else None

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what is in use."""
        return ("sendmmsg", "recvmmsg") if self._sender else ()

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
        """Take the packets that wait, each in its row behind its IPv4 header."""
        sizes = self._receive_many() if self._receiver is not None else self._receive_each()
        if not len(sizes):
            return None
        first = self._arena.array[: len(sizes) * _PITCH : _PITCH]
        headers = (first & 0x0F).astype(np.int64) << 2
        lengths, starts = sizes - headers, self._starts[: len(sizes)] + headers
        if np.count_nonzero(headers != MINIMUM_HEADER) == 0 and lengths.min() >= 0:
            same = int(np.count_nonzero(lengths == lengths[0]))
            return Rows(self._arena, starts, lengths, _PITCH, same if same == len(lengths) else 0)
        good = (headers >= MINIMUM_HEADER) & (lengths >= 0)
        return Rows(self._arena, starts, lengths).select(good) if np.count_nonzero(good) else None

    def _receive_many(self) -> Integers:
        assert self._receiver is not None, "the caller looked"
        for _ in range(2):
            try:
                return self._receiver.receive()
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error that an earlier packet met; reading it clears it
        return _NONE

    def _receive_each(self) -> Integers:
        sizes: list[int] = []
        for at in self._starts.tolist():
            try:
                sizes.append(self._socket.recv_into(self._arena.data[at : at + _PITCH]))
            except BlockingIOError:
                break
            except OSError:
                sizes.append(0)
        return np.array(sizes, np.int64)

    def send(self, rows: Rows, tos: Integers | int) -> SendOutcome:
        """Send a batch, one packet per message."""
        runs = runs_of(rows, tos, segment=False)
        first = dropped = failures = 0
        too_big = False
        while first < len(runs):
            try:
                if self._sender is not None:
                    first += self._sender.send(rows, runs, first)
                else:
                    first += send_message(self._socket, rows, runs, first, segment=False)
                failures = 0
            except OSError as error:
                failures += 1
                full = error.errno in mmsg.RETRY_ERRORS
                if failures == 1 and (not full or wait_for_room(self._socket)):
                    continue  # an ICMP error that an earlier packet met is told once, by the next call
                if full:
                    return SendOutcome(dropped + len(rows) - first, too_big, full=True)
                too_big = too_big or error.errno == errno.EMSGSIZE
                first, dropped, failures = first + 1, dropped + 1, 0
        return SendOutcome(dropped, too_big) if dropped else SENT

    def wait_for_room(self) -> bool:
        """Wait until the socket takes packets, or has some, 2 ms at most."""
        return wait_for_room(self._socket)

    def set_reserve(self, *, on: bool) -> None:
        """Let the socket take more than its bound."""
        set_send_buffer(self._socket, SEND_BUFFER_BYTES + RESERVE_BYTES * on)

    def send_datagram(self, data: bytes, remote: IPv4Address, port: int) -> bool:  # noqa: ARG002  # no IKE here
        """IKE does not travel on protocol 50: it is not taken."""
        return False
