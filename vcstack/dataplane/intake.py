"""Where packets from the TUN land: each at its final place, with room for everything that goes around it.

    row:  | free | ESP 16 | IPv4 20 | GRE 4 or 8 | inner packet ...... | trailer, ICV 21 | free |
                                 | vnet 10      |^ front               |
          <------------------------------- pitch ------------------------------------------->

A read starts at the vnet header, whose ten bytes are overwritten by the GRE header later, so a packet is
never copied. A super-packet of 64 KiB runs on over the rows behind, which are still free at that moment.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane import vnet
from vcstack.esp.layout import PAYLOAD_OFFSET
from vcstack.wire.batch import Arena, Rows
from vcstack.wire.ipv4 import MAXIMUM_PACKET

CAPACITY = 128
SPARE_ROWS = 64
_TAIL = 24
_LINE = 64

Read = Callable[[memoryview], int]


class Intake:
    """Rows for the packets of one batch of reads, for inner packets of up to `mtu` bytes."""

    def __init__(self, mtu: int, overhead: int) -> None:
        # The inner packet starts on a multiple of four so that its 16-bit words can be summed.
        self.front = -(-(PAYLOAD_OFFSET + overhead) // 4) * 4
        self.pitch = -(-(self.front + mtu + _TAIL) // _LINE) * _LINE
        self.room = self.pitch - self.front - _TAIL
        self.arena = Arena(CAPACITY * self.pitch + self.front + MAXIMUM_PACKET + _TAIL)
        self.offsets = np.arange(CAPACITY) * self.pitch + self.front
        """Where the packet of each row starts."""
        self.starts: list[int] = self.offsets.tolist()
        """The same as numbers."""
        largest = vnet.LENGTH + MAXIMUM_PACKET
        self._views = [self.arena.data[at - vnet.LENGTH :][:largest] for at in self.starts]
        self._types = [at - vnet.LENGTH + vnet.GSO_TYPE_OFFSET for at in self.starts]

    def read(self, read: Read, limit: int = CAPACITY) -> tuple[list[int], int]:
        """Read packets until none waits, a large one comes, or `limit` is reached.

        Returns the sizes of the ordinary packets, and that of the large one that lies in the row behind
        them (0: none came), vnet headers left out. A large one is a super-packet or longer than a row.
        """
        views, types, data = self._views, self._types, self.arena.data
        lengths: list[int] = []
        large = 0
        most = self.room + vnet.LENGTH
        for index in range(limit):
            size = read(views[index])
            if size <= vnet.LENGTH:
                break
            if size > most or data[types[index]]:
                large = size - vnet.LENGTH
                break
            lengths.append(size - vnet.LENGTH)
        return lengths, large

    def rows(self, lengths: list[int]) -> Rows:
        """The first rows, with packets of these sizes in them."""
        count = len(lengths)
        uniform = count if lengths.count(lengths[0]) == count else 0
        return Rows(self.arena, self.offsets[:count], np.array(lengths), self.pitch, uniform)

    def row(self, index: int, length: int) -> Rows:
        """One row alone."""
        return Rows(self.arena, self.offsets[index : index + 1], np.array([length]), self.pitch)

    def packet(self, index: int, length: int) -> memoryview:
        """The packet of a row."""
        at = self.starts[index]
        return self.arena.data[at : at + length]

    def array(self, index: int, length: int) -> NDArray[np.uint8]:
        """The packet of a row as an array."""
        at = self.starts[index]
        return self.arena.array[at : at + length]

    def header(self, index: int) -> vnet.VnetHeader:
        """The vnet header of a row."""
        return vnet.VnetHeader.parse(self._views[index][: vnet.LENGTH])


class Spare:
    """Rows for at most `SPARE_ROWS` packets that were made here: fragments, keepalives."""

    def __init__(self, pitch: int) -> None:
        self._pitch = pitch
        self._arena = Arena(SPARE_ROWS * pitch)

    def lay(self, packets: list[bytes], front: int) -> Rows:
        """Lay packets into rows, each with `front` bytes of room before it."""
        data, offsets = self._arena.data, np.arange(len(packets)) * self._pitch + front
        for at, packet in zip(offsets.tolist(), packets, strict=True):
            data[at : at + len(packet)] = packet
        return Rows(self._arena, offsets, np.array([len(packet) for packet in packets]), self._pitch)
