"""Batches of a few packets, one packet at a time: the steps of `outbound` and `inbound` without arrays.

Delay is decided here: a packet of a call mostly comes alone, and through arrays it would cost 100 us where
this costs 10. Whatever is not plain IPv4 is left to the batch path, before anything was changed, so both send
and deliver the same bytes.
"""

import struct

import numpy as np

from vcstack.dataplane import vnet
from vcstack.dataplane.intake import Intake
from vcstack.dataplane.mss import Clamper
from vcstack.esp.layout import PAYLOAD_OFFSET
from vcstack.esp.sa import OutboundSa
from vcstack.esp.single import seal_in_place
from vcstack.gre.batch import Encapsulator
from vcstack.wire.batch import Integers, Rows
from vcstack.wire.ipv4 import MINIMUM_HEADER, IpProtocol
from vcstack.wire.tcp import FLAGS_OFFSET, TcpFlags

MOST_SEALED = 14
"""Packets up to which sealing them one by one is cheaper than as a batch: at 12 by 11 %, at 16 no more."""
_PLAIN = 0x45
_TCP, _SYN = int(IpProtocol.TCP), int(TcpFlags.SYN)
_TCP_FLAGS = MINIMUM_HEADER + FLAGS_OFFSET
_START = struct.Struct(">BBH")
_CHECKSUM = struct.Struct(">H")
_UDP_CHECKSUM_OFFSET = 6
_FULL = 65535


Sealed = tuple[Rows, Integers | int]
"""ESP packets and the TOS of the packets in them, one number where it is the same for all."""


class FewSealer:
    """Seals what lies in the first rows of an intake."""

    def __init__(self, intake: Intake, encapsulator: Encapsulator, clamper: Clamper, *, mtu: int) -> None:
        self._intake = intake
        self._encapsulator = encapsulator
        self._clamper = clamper
        self._mtu = mtu
        self._data = intake.arena.data
        self._ahead = PAYLOAD_OFFSET + encapsulator.overhead
        self._offsets = intake.offsets - self._ahead
        self._lone: dict[int, Integers] = {}

    def seal(self, sa: OutboundSa, lengths: list[int]) -> Sealed | None:
        """Seal packets of these sizes; returns ESP packets and TOS, None (and nothing done) for odd ones.

        Raises `esp.sa.Unusable`.
        """
        starts = self._intake.starts
        marks: list[int] = []
        for at, length in zip(starts, lengths, strict=False):
            mark = self._mark(at, length)
            if mark < 0:
                return None
            marks.append(mark)
        overhead = self._encapsulator.overhead
        for at, length, mark in zip(starts, lengths, marks, strict=False):
            self._finish(at, length)
            self._encapsulator.encapsulate_one(self._data, at, length, mark, self._data[at + 6] >> 6 & 1)
        sequence = sa.reserve(len(lengths), sum(lengths) + len(lengths) * overhead)
        sizes = [
            seal_in_place(sa, sequence + index, self._data, starts[index] - self._ahead, length + overhead)
            for index, length in enumerate(lengths)
        ]
        tos = marks[0] if marks.count(marks[0]) == len(marks) else np.array(marks)
        return self._rows(sizes), tos

    def _mark(self, at: int, length: int) -> int:
        """TOS of a packet that is plain, fits and has a checksum that can be finished; -1 for another."""
        version, tos, total = _START.unpack_from(self._data, at)
        if version != _PLAIN or total != length or not MINIMUM_HEADER <= length <= self._mtu:
            return -1
        if self._data[at - vnet.LENGTH] & vnet.NEEDS_CSUM:
            start, offset = vnet.checksum_place(self._data, at)
            if start + offset + 2 > length:
                return -1
        return int(tos)

    def _finish(self, at: int, length: int) -> None:
        """Complete the checksum that the kernel left open, and clamp the MSS of a SYN."""
        data = self._data
        if data[at - vnet.LENGTH] & vnet.NEEDS_CSUM:
            start, offset = vnet.checksum_place(data, at)
            words = int.from_bytes(data[at + start : at + length]) << 8 * (length - start & 1)
            # As `wire.batch.complement` has it, a sum of nothing but zeros included.
            checksum = 65534 - (words - 1) % _FULL if words else _FULL
            if checksum == 0 and offset == _UDP_CHECKSUM_OFFSET:
                checksum = _FULL  # RFC 768: zero would mean "no checksum"
            _CHECKSUM.pack_into(data, at + start + offset, checksum)
        if data[at + 9] == _TCP and data[at + _TCP_FLAGS] & _SYN:
            self._clamper.clamp(data[at : at + length])

    def _rows(self, sizes: list[int]) -> Rows:
        count, pitch, arena = len(sizes), self._intake.pitch, self._intake.arena
        uniform = count if sizes.count(sizes[0]) == count else 0
        if count > 1:
            return Rows(arena, self._offsets[:count], np.array(sizes), pitch, uniform)
        lone = self._lone.get(sizes[0])
        if lone is None:
            lone = self._lone[sizes[0]] = np.array(sizes)
        return Rows(arena, self._offsets[:1], lone, pitch, 1)
