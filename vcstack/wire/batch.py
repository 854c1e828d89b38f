"""Packets in batches: rows of one buffer, addressed by numpy arrays and by cached memoryviews.

    Arena  |....| row 0 ........ |....| row 1 ..... |......|....| row 2 |............|
                ^offsets[0]           ^offsets[1]               ^offsets[2]
                <-- lengths[0] -->

Three ways to touch many rows without a Python object per packet:

* `Arena.window(n)` is the buffer as an array of overlapping n-byte items, one per byte position:
  `window[offsets]` gathers n bytes of every row, `window[offsets] = block` scatters them, 0.6 to 0.8 us for
  47 rows of 64 bytes, wherever the rows lie.
* strided columns, for rows with a fixed pitch.
* memoryviews for the cipher. Making one costs 0.1 to 0.2 us and four of them cost as much as sealing a
  packet, so rows of fixed pitch and length keep theirs.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
"""Offsets and lengths in bytes."""
Flags = NDArray[np.bool_]

Span = tuple[int, int]
"""Offset and length of one packet."""

MAX_CACHED_VIEWS = 20_000
"""About 4 MiB; a stream needs four views per row, voice of one packet size likewise."""
MAX_WINDOWS = 2_000
ASCENDING: NDArray[np.uint16] = (np.arange(3 << 16) & 0xFFFF).astype(">u2")
"""Slices of it are consecutive identifications."""
CHECKSUMS: NDArray[np.uint16] = (65534 - np.arange(3 << 16) % 65535).astype(">u2")
"""Slices of it are the checksums of headers whose sums ascend by one: that of sum s is at (s - 1) % 65535."""


@cache
def item(size: int) -> np.dtype[np.void]:
    """Type of an opaque item of `size` bytes."""
    return np.dtype(f"V{size}")


class Arena:
    """A buffer for a batch, with its array, windows and views."""

    __slots__ = ("_cached", "_columns", "_views", "_windows", "array", "data")

    def __init__(self, size: int) -> None:
        self.data = memoryview(bytearray(size))
        """The bytes, for system calls and ciphers."""
        self.array: NDArray[np.uint8] = np.frombuffer(self.data, np.uint8)
        self._windows: dict[tuple[int, int], NDArray[np.void]] = {}
        self._columns: dict[tuple[int, int, int], NDArray[np.void]] = {}
        self._views: dict[tuple[int, int, int], list[memoryview]] = {}
        self._cached = 0

    def __len__(self) -> int:
        return len(self.data)

    def window(self, size: int, shift: int = 0) -> NDArray[np.void]:
        """The buffer from `shift` on as overlapping items of `size` bytes, one per position with room."""
        key = (size, shift)
        found = self._windows.get(key)
        if found is None:
            if len(self._windows) > MAX_WINDOWS:
                self._windows.clear()
            count = len(self.data) - size - shift + 1
            found = np.ndarray((count,), item(size), buffer=self.array, offset=shift, strides=(1,))
            self._windows[key] = found
        return found

    def gather(self, offsets: Integers, size: int, shift: int = 0) -> NDArray[np.uint8]:
        """A copy of `size` bytes from `shift` behind each offset, as a matrix of one row each."""
        return self.window(size, shift)[offsets].view(np.uint8).reshape(len(offsets), size)

    def matrix(self, dtype: Any, start: int, pitch: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """Items of `dtype` that follow each other within rows which lie `pitch` bytes apart."""
        size = np.dtype(dtype).itemsize
        strides = (pitch, size)[: len(shape)]
        return np.ndarray(shape, dtype, buffer=self.array, offset=start, strides=strides)

    def column(self, size: int, start: int, pitch: int) -> NDArray[np.void]:
        """Items of `size` bytes that lie `pitch` bytes apart from `start` on, as many as there is room."""
        key = (size, start, pitch)
        found = self._columns.get(key)
        if found is None:
            if len(self._columns) > MAX_WINDOWS:
                self._columns.clear()
            count = max(0, (len(self.data) - start - size) // pitch + 1)
            found = np.ndarray((count,), item(size), buffer=self.array, offset=start, strides=(pitch,))
            self._columns[key] = found
        return found

    def views(self, start: int, pitch: int, length: int, count: int) -> list[memoryview]:
        """Cached views of at least `count` rows of one length; the list is not to be changed."""
        key = (start, pitch, length)
        views = self._views.get(key)
        if views is None:
            if self._cached > MAX_CACHED_VIEWS:
                self._views.clear()
                self._cached = 0
            views = self._views[key] = []
        if len(views) < count:
            missing = range(start + len(views) * pitch, start + count * pitch, pitch)
            views += [self.data[at : at + length] for at in missing]
            self._cached += len(missing)
        return views


@dataclass(slots=True)
class Rows:
    """Packets of an arena: `offsets` and `lengths` in bytes, int64.

    `pitch` is the distance of neighbours where it is the same for all, else 0. `uniform` counts the leading
    rows that have the first one's length; it may be too small, never too large.
    """

    arena: Arena
    offsets: Integers
    lengths: Integers
    pitch: int = 0
    uniform: int = 0

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def even(self) -> bool:
        """Whether the rows have one pitch and one length, but for the last, which may be shorter.

        What the kernel's segmentation makes and UDP_GRO brings is even, and so is voice of one codec. What
        is then the same for all rows is a number, not an array: half of the array operations of a batch.
        """
        return self.pitch > 0 and 0 < self.uniform >= len(self.offsets) - 1

    def total(self) -> int:
        """Sum of the lengths."""
        if self.even:
            return (len(self.offsets) - 1) * self.lengths.item(0) + self.lengths.item(-1)
        return int(self.lengths.sum())

    def select(self, rows: Flags | Integers) -> Self:
        """The rows chosen by a mask or by indices; they count as irregular."""
        return type(self)(self.arena, self.offsets[rows], self.lengths[rows])

    def views(self, front: int, back: int) -> list[memoryview]:
        """Views of the rows less `front` bytes before and `back` bytes behind; at least as many as rows."""
        count, uniform = len(self.offsets), self.uniform
        if not (self.pitch and uniform):
            return self._fresh_views(0, front, back)
        start, length = self.offsets.item(0) + front, self.lengths.item(0) - front - back
        views = self.arena.views(start, self.pitch, length, uniform)
        if uniform == count:
            return views
        return views[:uniform] + self._fresh_views(uniform, front, back)

    def heads(self, length: int) -> list[memoryview]:
        """Views of the first `length` bytes of each row; at least as many as rows."""
        if self.pitch:
            return self.arena.views(self.offsets.item(0), self.pitch, length, len(self.offsets))
        data = self.arena.data
        return [data[at : at + length] for at in self.offsets.tolist()]

    def _fresh_views(self, first: int, front: int, back: int) -> list[memoryview]:
        data = self.arena.data
        starts, lengths = self.offsets[first:].tolist(), self.lengths[first:].tolist()
        return [data[at + front : at + size - back] for at, size in zip(starts, lengths, strict=True)]


@dataclass(slots=True)
class Run:
    """Even rows told by numbers alone: `count` rows of `length` bytes, the last of `last`, `pitch` apart.

    A column of a run costs one slice, where the same of `Rows` takes arithmetic with their offsets.
    """

    arena: Arena
    start: int
    pitch: int
    count: int
    length: int
    last: int

    @property
    def full(self) -> int:
        """How many rows have the full length."""
        return self.count if self.last == self.length else self.count - 1

    def total(self) -> int:
        """Sum of the lengths."""
        return (self.count - 1) * self.length + self.last

    def column(self, size: int, shift: int) -> NDArray[np.void]:
        """`size` bytes from `shift` on of every row."""
        return self.arena.column(size, self.start + shift, self.pitch)[: self.count]

    def views(self, front: int, back: int) -> list[memoryview]:
        """Views of the rows less `front` bytes before and `back` bytes behind; at least as many as rows."""
        start, arena = self.start + front, self.arena
        views = arena.views(start, self.pitch, self.length - front - back, self.full)
        if self.last == self.length:
            return views
        at = start + (self.count - 1) * self.pitch
        return [*views[: self.count - 1], arena.data[at : at + self.last - front - back]]

    def spans(self) -> list[Span]:
        """Where each row lies."""
        starts = range(self.start, self.start + self.count * self.pitch, self.pitch)
        spans = [(at, self.length) for at in starts]
        spans[-1] = starts[-1], self.last
        return spans

    def rows(self) -> Rows:
        """The same as `Rows`."""
        offsets = np.arange(self.start, self.start + self.count * self.pitch, self.pitch)
        lengths = np.full(self.count, self.length)
        lengths[-1] = self.last
        return Rows(self.arena, offsets, lengths, self.pitch, self.full)


@cache
def _repeated(size: int, count: int) -> tuple[int, int]:
    """Numbers that, written as `count` items of `size` bytes, are 1, 1, 1 ... and 0, 1, 2 ..."""
    bits = size * 8
    positions = range(bits * (count - 1), -1, -bits)
    return sum(1 << at for at in positions), sum(index << at for index, at in enumerate(positions))


def ascends(items: bytes, size: int, first: int, step: int) -> bool:
    """Whether a string of big-endian items of `size` bytes is `first`, `first + step` and so on.

    Arithmetic of long integers: one subtraction settles all items, at 1.5 us for 45 of eight bytes. An item
    that comes round to 0 does not ascend.
    """
    count = len(items) // size
    if first + (count - 1) * step >> size * 8:
        return False
    ones, steps = _repeated(size, count)
    return int.from_bytes(items) - first * ones == step * steps


def complement(sums: Integers) -> Integers:
    """Internet checksums of positive sums of 16-bit words (RFC 1071), in two array operations.

    2^16 is 1 modulo 2^16 - 1, and the remainder is taken of sum - 1 so that a multiple of 2^16 - 1 folds to
    0xFFFF, as adding with end-around carry would.
    """
    checksums: Integers = 65534 - (sums - 1) % 65535
    return checksums
