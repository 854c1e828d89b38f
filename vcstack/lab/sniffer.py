"""Counts packets on every interface of a namespace where they arrive, without touching them.

The kernel filters and counts; only the first few packets that should not be there are read, to be named.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from typing import TYPE_CHECKING

from vcstack.lab import bpf, namespaces
from vcstack.lab.plan import LAN, REGION, TRANSPORT, TUNNELS
from vcstack.wire.ipv4 import Ipv4Header
from vcstack.wire.reader import WireError

if TYPE_CHECKING:
    from typing import Self

_ETH_P_IP = 0x0800
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SAMPLES = 3


class Counter:
    """A packet socket that counts what one BPF program accepts."""

    def __init__(self, namespace: str, program: bytes) -> None:
        self._total = 0
        self._program = program
        self.samples: list[str] = []
        self._socket = namespaces.made_inside(namespace, self._open)

    def total(self) -> int:
        """How many packets so far, also those that the socket had no room for."""
        for _ in range(_SAMPLES - len(self.samples)):
            with contextlib.suppress(BlockingIOError):
                self.samples.append(describe(self._socket.recv(bpf.SNAP_BYTES)))
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._total += struct.unpack("=II", statistics)[0]  # reading them sets them to zero
        return self._total

    def close(self) -> None:
        """Stop counting."""
        self._socket.close()

    def _open(self) -> socket.socket:
        opened = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_IP)
        )
        memory = ctypes.create_string_buffer(self._program, len(self._program))
        opened.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", len(self._program) // 8, ctypes.addressof(memory)),
        )
        # What came before the filter was in place does not count.
        opened.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        with contextlib.suppress(BlockingIOError):
            while True:
                opened.recv(1)
        return opened


class Sniffer:
    """Cleartext that should not be on the internet, and the encrypted packets that should."""

    def __init__(self, namespace: str) -> None:
        self._leaked = Counter(namespace, bpf.cleartext((REGION, TUNNELS, TRANSPORT, LAN)))
        self._encrypted = Counter(namespace, bpf.encrypted())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leaked.close()
        self._encrypted.close()

    def leaked(self) -> int:
        """Packets in clear so far."""
        return self._leaked.total()

    def encrypted(self) -> int:
        """Packets of ESP and IKE so far."""
        return self._encrypted.total()

    def samples(self) -> list[str]:
        """The first few packets in clear, as text."""
        return self._leaked.samples


def describe(packet: bytes) -> str:
    """A packet in a few words."""
    try:
        header = Ipv4Header.parse(packet)
    except WireError as error:
        return f"{len(packet)} bytes: {error}"
    return f"{header.source} > {header.destination} protocol {int(header.protocol)}"
