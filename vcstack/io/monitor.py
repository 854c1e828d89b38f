"""What others do to the kernel's routes, links and addresses, as rtnetlink tells (rtnetlink(7)).

     0       4      6       8      12      16
    +-------+------+-------+------+-------+--------------------------------------------+
    | length| type | flags | seq  | pid   | struct rtmsg: 12 bytes                     |
    +-------+------+-------+------+-------+--------------------------------------------+

    struct rtmsg: family, destination length, source length, TOS, table, protocol, ... (one byte each)

Only the type is looked at, whose route it was, and whether it is a default route: what has changed is read
from the kernel afterwards. A link that goes down takes its IPv4 routes with it without a word on each, so
links count as well.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import TYPE_CHECKING

from vcstack.io.netlink import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GROUPS = 0x1 | 0x10 | 0x40 | 0x80  # RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR = 16, 17, 20, 21
_NEWROUTE, _DELROUTE, _DELRULE = 24, 25, 33
_LINKS_AND_ADDRESSES = frozenset({_NEWLINK, _DELLINK, _NEWADDR, _DELADDR})
_REPLACED = 0x100  # NLM_F_REPLACE
_HEADER = struct.Struct("=IHHII")
_DESTINATION_LENGTH, _PROTOCOL = 1, 5  # in struct rtmsg
_RTMSG_BYTES = 12
_MAX_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 18
_BURST = 64
_GATHER_S = 0.05
"""Changes come in bursts: one look at the kernel serves them all."""
_SPACING_S = 0.5
"""Between two looks, however long somebody else goes on."""


class Monitor:
    """`disturbed` is called soon after somebody did what may concern us."""

    def __init__(self, disturbed: Callable[[], None]) -> None:
        self._disturbed = disturbed
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = 0.0

    def open(self) -> None:
        """Listen. Raises OSError."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((0, _GROUPS))
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        for _ in range(_BURST):
            assert self._socket is not None, "a closed one is not read"
            try:
                data = self._socket.recv(_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # more happened than there was room for
                    self._note()
                return
            if concerns_us(data):
                self._note()

    def _note(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time() + _GATHER_S, self._told_at + _SPACING_S), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told_at = asyncio.get_running_loop().time()
        self._disturbed()


def concerns_us(data: bytes) -> bool:
    """Whether one of these messages may mean that something of ours has gone."""
    return any(_concerns_us(kind, flags, body) for kind, flags, body in _messages(data))


def _concerns_us(kind: int, flags: int, body: bytes) -> bool:
    if kind not in {_NEWROUTE, _DELROUTE}:
        return kind == _DELRULE or kind in _LINKS_AND_ADDRESSES
    if len(body) < _RTMSG_BYTES:
        return False
    ours = body[_PROTOCOL] == PROTOCOL
    if kind == _DELROUTE:
        return ours
    return not ours and (bool(flags & _REPLACED) or body[_DESTINATION_LENGTH] == 0)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield kind, flags, data[position + _HEADER.size : position + length]
        position += (length + 3) & ~3
