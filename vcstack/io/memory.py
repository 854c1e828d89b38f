"""A TUN and a transport in memory: two forwarders joined by `join` exchange packets without a kernel.

They take the same calls as the real ones; a `tap` may drop, repeat or reorder what passes.
"""

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address

import numpy as np

from vcstack.dataplane.coalesce import Write
from vcstack.dataplane.vnet import LENGTH, VnetHeader
from vcstack.io.transport import SENT, SendOutcome
from vcstack.wire.batch import Arena, Integers, Rows

Tap = Callable[[bytes], list[bytes]]
_ROWS = 128
_DATAGRAM_ROOM = 65_536
_ARENA = _ROWS * 2048 + _DATAGRAM_ROOM


class MemoryTun:
    """A device fed by `inject`; what is written to it is taken from `written`, vnet header included."""

    name = "memory"
    offloads: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._waiting: deque[bytes] = deque()
        self._control: deque[bytes] = deque()

    def fileno(self) -> int:
        """There is none."""
        return -1

    def inject(self, packet: bytes, header: VnetHeader | None = None) -> None:
        """Queue a packet as if the kernel had routed it here."""
        self._waiting.append((header or VnetHeader()).build() + packet)

    def inject_control(self, packet: bytes) -> None:
        """Queue a packet where control traffic waits."""
        self._control.append(VnetHeader().build() + packet)

    def read(self, view: memoryview) -> int:
        """Read one packet behind its vnet header; 0 when none waits."""
        if not self._waiting:
            return 0
        packet = self._waiting.popleft()
        view[: len(packet)] = packet
        return len(packet)

    def read_control(self, view: memoryview) -> int:
        """Read one packet of control traffic; 0 when none waits."""
        if not self._control:
            return 0
        packet = self._control.popleft()
        view[: len(packet)] = packet
        return len(packet)

    def write(self, packet: Write) -> bool:
        """Keep one packet."""
        self.written.append(b"".join(packet) if isinstance(packet, list) else bytes(packet))
        return True

    def drops(self) -> int:
        """The queue has no bound."""
        return 0

    def packets(self) -> list[bytes]:
        """Take what was written, without vnet headers."""
        taken, self.written = [data[LENGTH:] for data in self.written], []
        return taken


class MemoryTransport:
    """One end of a link; datagrams go to `peer`."""

    offloads: tuple[str, ...] = ("memory",)

    def __init__(self, *, udp: bool = True, mtu: int | None = None) -> None:
        self.udp = udp
        self.peer: MemoryTransport | None = None
        self.tap: Tap | None = None
        """Sees every datagram that is sent; what it returns is what travels on."""
        self.sent_tos: list[int] = []
        self.mtu = mtu
        """Largest datagram that passes; None: any."""
        self._arena = Arena(_ARENA)
        self._waiting: deque[bytes] = deque()

    def fileno(self) -> int:
        """There is none."""
        return -1

    def receive(self) -> Rows | None:
        """Take a batch of datagrams, laid end to end as UDP_GRO does while they are of one size."""
        position = 0
        offsets: list[int] = []
        lengths: list[int] = []
        while self._waiting and len(offsets) < _ROWS and position + _DATAGRAM_ROOM <= len(self._arena):
            data = self._waiting.popleft()
            self._arena.data[position : position + len(data)] = data
            offsets.append(position)
            lengths.append(len(data))
            position += len(data)
        if not offsets:
            return None
        same = lengths[:-1].count(lengths[0]) == len(lengths) - 1
        pitch = lengths[0] if same else 0
        uniform = lengths.count(lengths[0]) if same else 0
        return Rows(self._arena, np.array(offsets), np.array(lengths), pitch, uniform)

    def send(self, rows: Rows, tos: Integers | int) -> SendOutcome:
        """Hand the datagrams to the peer."""
        dropped = 0
        tos = np.full(len(rows), tos) if isinstance(tos, int) else tos
        for at, length, mark in zip(rows.offsets.tolist(), rows.lengths.tolist(), tos.tolist(), strict=True):
            if self.mtu is not None and length > self.mtu:
                dropped += 1
                continue
            self.sent_tos.append(mark)
            self._hand_over(bytes(rows.arena.data[at : at + length]))
        return SendOutcome(dropped, too_big=True) if dropped else SENT

    def send_datagram(self, data: bytes, remote: IPv4Address, port: int) -> bool:  # noqa: ARG002  # one peer
        """Hand one datagram to the peer."""
        self._hand_over(data)
        return True

    def deliver(self, data: bytes) -> None:
        """Queue one datagram as if it had arrived."""
        self._waiting.append(data)

    def wait_for_room(self) -> bool:
        """There is room as long as there is memory."""
        return True

    def set_reserve(self, *, on: bool) -> None:
        """Nothing is held back here."""

    def path_mtu(self) -> int | None:
        """The largest datagram that passes, if there is a limit."""
        return self.mtu

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _hand_over(self, data: bytes) -> None:
        for datagram in [data] if self.tap is None else self.tap(data):
            if self.peer is not None:
                self.peer.deliver(datagram)


def join(*, udp: bool = True) -> tuple[MemoryTransport, MemoryTransport]:
    """Two ends of one link."""
    one, other = MemoryTransport(udp=udp), MemoryTransport(udp=udp)
    one.peer, other.peer = other, one
    return one, other
