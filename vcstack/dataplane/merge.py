"""A batch that is one run of TCP segments becomes one packet: `gre.batch` and `coalesce` for a download.

    | delivery, GRE | IPv4, TCP | payload 0 |   | delivery, GRE | IPv4, TCP | payload 1 |  ...

The first row is judged on its own, as a plain row that may begin a run. The others have to equal it in all
header bytes but identifications, checksums and sequence number, which are compared as one string. Sequence
numbers have to ascend by the payload size, which is one subtraction of long integers. The headers' checksums
then need no more than a look at identification and checksum, the segments' are one reduction over the rows.
Only the last row may be shorter or have PSH.

Whatever does not fit is left to the general path, which finds shorter runs and single packets.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane.vnet import GSO_TCPV4, LENGTH, NEEDS_CSUM, VnetHeader
from vcstack.gre.batch import Decapsulator
from vcstack.wire.batch import Arena, Run, ascends
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import MAXIMUM_PACKET, IpProtocol
from vcstack.wire.ipv4 import MINIMUM_HEADER as _IP
from vcstack.wire.tcp import CHECKSUM_OFFSET, FLAGS_OFFSET, TcpFlags

_TCP = int(IpProtocol.TCP)
_ACK, _PSH = int(TcpFlags.ACK), int(TcpFlags.PSH)
_FLAGS, _CHECKSUM, _SEQUENCE, _DATA_OFFSET = _IP + FLAGS_OFFSET, _IP + CHECKSUM_OFFSET, _IP + 4, _IP + 12
_MINIMUM_TCP = 5
_FULL = 65535
_WORD = 8
MAX_LAYOUTS = 64


@dataclass(slots=True)
class _Layout:
    """Columns of the rows for one place, pitch and size."""

    words: NDArray[np.uint64]
    mask: NDArray[np.uint64]
    width: int
    shorter: int
    """Mask, as a number, for a last row with other lengths."""
    push: int
    identifications: NDArray[np.uint16]
    """Of delivery header and inner header; likewise their checksums."""
    checksums: NDArray[np.uint16]
    segments: NDArray[np.uint16]
    """From the TCP header on."""
    last_byte: NDArray[np.uint8] | None


class Merger:
    """Joins runs; `decapsulator` says what a plain row is."""

    def __init__(self, decapsulator: Decapsulator) -> None:
        self._decapsulator = decapsulator
        self._arena: Arena | None = None
        self._layouts: dict[tuple[int, int, int, int], _Layout] = {}

    def merge(self, run: Run) -> list[memoryview] | None:
        """Pieces of one packet, vnet header in front; None, and nothing changed, for rows that do not fit."""
        data, inner = run.arena.data, run.start + self._decapsulator.overhead
        if not self._decapsulator.matches_one(data, run.start, run.length) or not _may_begin(data, inner):
            return None
        size = _IP + (data[inner + _DATA_OFFSET] >> 4) * 4
        ahead = size + self._decapsulator.overhead
        payload, last, count = run.length - ahead, run.last - ahead, run.count
        if not 0 < last <= payload or size + (count - 1) * payload + last > MAXIMUM_PACKET:
            return None
        layout = self._layout(run, size)
        full = count if last == payload else count - 1
        if len(layout.words) < count or not self._alike(layout, run, full):
            return None
        first = int.from_bytes(data[inner + _SEQUENCE : inner + _SEQUENCE + 4])
        numbers = run.column(4, inner - run.start + _SEQUENCE).tobytes()
        if not ascends(numbers, 4, first, payload) or not self._checksums_hold(layout, run, full):
            return None
        return self._packet(run, size, payload, last)

    def _alike(self, layout: _Layout, run: Run, full: int) -> bool:
        """Whether all rows have the first one's headers; of a shorter last one also that it is plain."""
        width, data = layout.width, run.arena.data
        same = (layout.words[:full] & layout.mask).tobytes()
        first = same[:width]
        if full == run.count:
            # PSH ends a run, and the first row, which has none, stands for all others.
            return same[:-width] == first * (full - 1) and int.from_bytes(first) ^ int.from_bytes(
                same[-width:]
            ) in (0, layout.push)
        at = run.start + full * run.pitch
        differ = int.from_bytes(first) ^ int.from_bytes(data[at : at + width])
        return (
            same == first * full
            and differ & layout.shorter in (0, layout.push)
            and self._decapsulator.matches_one(data, at, run.last)
        )

    def _checksums_hold(self, layout: _Layout, run: Run, full: int) -> bool:
        """Whether those of delivery header, inner header and segment hold in every row."""
        # With all else equal, a header's checksum holds when it makes up for the identification.
        headers = np.add(layout.identifications[:full], layout.checksums[:full], dtype=np.uint32)
        headers %= _FULL
        raw = headers.tobytes()
        if raw != raw[: len(raw) // full] * full:
            return False
        data, inner = run.arena.data, run.start + self._decapsulator.overhead
        sums = np.add.reduce(layout.segments[:full], axis=1, dtype=np.uint32)
        if layout.last_byte is not None:
            sums += layout.last_byte[:full]
        # Words are summed in host order; what is added is brought to that order by the factor 256.
        segment = run.length - self._decapsulator.overhead - _IP
        sums += _pseudo_sum(data, inner, segment) * 256 % _FULL
        sums %= _FULL
        if sums.tobytes() != bytes(sums.nbytes):
            return False
        if full == run.count:
            return True
        at, end = inner + full * run.pitch, run.start + full * run.pitch + run.last
        return internet_checksum(data[at + _IP : end], _pseudo_sum(data, at, end - at - _IP)) == 0

    def _packet(self, run: Run, size: int, payload: int, last: int) -> list[memoryview]:
        """Rewrite the first row's headers for the whole run; the payloads stay where they are."""
        arena, data, pitch, count = run.arena, run.arena.data, run.pitch, run.count
        inner = run.start + self._decapsulator.overhead
        total = size + (count - 1) * payload + last
        data[inner + 2 : inner + 4] = total.to_bytes(2)
        data[inner + 10 : inner + 12] = b"\0\0"
        data[inner + 10 : inner + 12] = internet_checksum(data[inner : inner + _IP]).to_bytes(2)
        data[inner + _FLAGS] = data[inner + (count - 1) * pitch + _FLAGS]
        open_sum = _pseudo_sum(data, inner, total - _IP) % _FULL
        data[inner + _CHECKSUM : inner + _CHECKSUM + 2] = open_sum.to_bytes(2)
        vnet = VnetHeader(NEEDS_CSUM, GSO_TCPV4, size, payload, _IP, CHECKSUM_OFFSET)
        data[inner - LENGTH : inner] = vnet.build()
        start = inner + size
        rest = arena.views(start, pitch, payload, count)[1:count]
        if last != payload:
            at = start + (count - 1) * pitch
            rest[-1] = data[at : at + last]
        return [data[inner - LENGTH : start + payload], *rest]

    def _layout(self, run: Run, size: int) -> _Layout:
        if run.arena is not self._arena or len(self._layouts) > MAX_LAYOUTS:
            self._arena = run.arena
            self._layouts.clear()
        key = (run.start, run.pitch, run.length, size)
        found = self._layouts.get(key)
        if found is None:
            found = self._layouts[key] = self._new_layout(run, size)
        return found

    def _new_layout(self, run: Run, size: int) -> _Layout:
        overhead = self._decapsulator.overhead
        mask = _mask(overhead, size)
        width, inner = len(mask), run.length - overhead
        short = bytearray(mask)
        for at in (2, 3, overhead + 2, overhead + 3):
            short[at] = 0
        rows = max(0, (len(run.arena) - run.start - max(width, run.length)) // run.pitch + 1)
        start, pitch, matrix = run.start, run.pitch, run.arena.matrix
        return _Layout(
            words=matrix(np.uint64, start, pitch, (rows, width // _WORD)),
            mask=np.frombuffer(mask, np.uint64),
            width=width,
            shorter=int.from_bytes(short),
            push=_PSH << 8 * (width - 1 - overhead - _FLAGS),
            identifications=self._both(run, 4, rows),
            checksums=self._both(run, 10, rows),
            segments=matrix("<u2", start + overhead + _IP, pitch, (rows, (inner - _IP) // 2)),
            last_byte=matrix(np.uint8, start + run.length - 1, pitch, (rows,)) if inner % 2 else None,
        )

    def _both(self, run: Run, at: int, rows: int) -> NDArray[np.uint16]:
        """A field of 16 bits of delivery header and inner header."""
        strides = run.pitch, self._decapsulator.overhead
        return np.ndarray((rows, 2), "<u2", run.arena.array, run.start + at, strides)


@cache
def _mask(overhead: int, size: int) -> bytes:
    """Which header bytes two rows of a run share, in whole words of eight bytes."""
    mask = bytearray(b"\xff" * (overhead + size))
    inner = overhead
    for start, end in (
        (4, 6),  # identification and checksum of the delivery header
        (10, 12),
        (inner + 4, inner + 6),
        (inner + 10, inner + 12),
        (inner + _SEQUENCE, inner + _SEQUENCE + 4),
        (inner + _CHECKSUM, inner + _CHECKSUM + 2),
    ):
        mask[start:end] = bytes(end - start)
    return bytes(mask.ljust(-(-len(mask) // _WORD) * _WORD, b"\0"))


def _may_begin(data: memoryview, inner: int) -> bool:
    """Whether the packet, IPv4 without options, is an unfragmented TCP segment with no flag but ACK."""
    return (
        data[inner + 9] == _TCP
        and data[inner + _FLAGS] == _ACK
        and not data[inner + 6] & 0xBF
        and not data[inner + 7]
        and data[inner + _DATA_OFFSET] >> 4 >= _MINIMUM_TCP
    )


def _pseudo_sum(data: memoryview, inner: int, length: int) -> int:
    return int.from_bytes(data[inner + 12 : inner + 20]) + _TCP + length
