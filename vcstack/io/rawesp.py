"""ESP as IP protocol 50 (RFC 4303 section 2) on a raw socket connected to the peer.

The kernel writes the outer IPv4 header when sending and leaves it in place when receiving. A raw socket has
no segmentation offload: one message per packet, many messages per system call.
"""

import errno
import socket
from ipaddress import IPv4Address

import numpy as np

from vcstack.io import mmsg
from vcstack.io.mmsg import MessageSender, runs_of
from vcstack.io.transport import SENT, SendOutcome
from vcstack.io.udp import (
    RESERVE_BYTES,
    SEND_BUFFER_BYTES,
    prepare,
    send_message,
    set_send_buffer,
    wait_for_room,
)
from vcstack.wire.batch import Arena, Integers, Rows
from vcstack.wire.ipv4 import MINIMUM_HEADER

_PROTOCOL = 50
_ROWS = 64
_LARGEST = 65_536
_PITCH = 2048
_IP_MTU = 14


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
        self._arena = Arena(_ROWS * _PITCH + _LARGEST)
        self._views = [self._arena.data[at : at + _LARGEST] for at in range(0, _ROWS * _PITCH, _PITCH)]

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what is in use."""
        return ("sendmmsg",) if self._sender else ()

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def path_mtu(self) -> int | None:
        """The kernel's path MTU towards the peer."""
        try:
            return self._socket.getsockopt(socket.IPPROTO_IP, _IP_MTU)
        except OSError:
            return None

    def receive(self) -> Rows | None:
        """Take the packets that wait, each in its row behind its IPv4 header; a huge one ends the batch."""
        lengths: list[int] = []
        starts: list[int] = []
        for index, view in enumerate(self._views):
            try:
                size = self._socket.recv_into(view)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error that an earlier packet met
            header = (view[0] & 0x0F) * 4
            if size < max(header, MINIMUM_HEADER):
                continue
            starts.append(index * _PITCH + header)
            lengths.append(size - header)
            if size > _PITCH:
                break
        if not lengths:
            return None
        regular = starts[-1] - starts[0] == (len(starts) - 1) * _PITCH and all(
            at % _PITCH == MINIMUM_HEADER for at in starts
        )
        uniform = len(lengths) if regular and lengths.count(lengths[0]) == len(lengths) else 0
        return Rows(self._arena, np.array(starts), np.array(lengths), _PITCH if regular else 0, uniform)

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
