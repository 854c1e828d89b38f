"""A cursor over received bytes that never reads past their end.

Every parser of the stack reads through it, so that a truncated message is one
kind of error wherever the truncation happens, and a length field can only
narrow what its owner already holds.
"""

from typing import Self


class WireError(ValueError):
    """Bytes from outside that do not have the form their RFC demands."""


class Reader:
    """Big-endian fields from `data`, in order; `what` names them in errors."""

    __slots__ = ("_end", "_position", "_view", "_what")

    def __init__(self, data: bytes | bytearray | memoryview, what: str = "message") -> None:
        self._view = memoryview(data)
        self._position = 0
        self._end = len(self._view)
        self._what = what

    @property
    def position(self) -> int:
        """Bytes consumed so far."""
        return self._position

    @property
    def remaining(self) -> int:
        """Bytes not consumed yet."""
        return self._end - self._position

    def u8(self) -> int:
        """One byte."""
        return self._view[self._advance(1)]

    def u16(self) -> int:
        """Two bytes, network order."""
        return self._integer(2)

    def u32(self) -> int:
        """Four bytes, network order."""
        return self._integer(4)

    def u64(self) -> int:
        """Eight bytes, network order."""
        return self._integer(8)

    def take(self, length: int) -> bytes:
        """Copy out the next `length` bytes; WireError when fewer are left."""
        start = self._advance(length)
        return bytes(self._view[start : start + length])

    def sub(self, length: int, what: str | None = None) -> Self:
        """Return a reader confined to the next `length` bytes, and step over them."""
        start = self._advance(length)
        return type(self)(self._view[start : start + length], what or self._what)

    def rest(self) -> bytes:
        """Copy out everything that is left."""
        return self.take(self.remaining)

    def check_end(self) -> None:
        """Raise WireError when bytes are left over."""
        if self.remaining:
            raise WireError(f"{self._what}: {self.remaining} bytes after the end at byte {self._position}")

    def _integer(self, length: int) -> int:
        start = self._advance(length)
        return int.from_bytes(self._view[start : start + length])

    def _advance(self, length: int) -> int:
        if not 0 <= length <= self.remaining:
            raise WireError(
                f"{self._what}: {length} bytes expected at byte {self._position}, {self.remaining} are left"
            )
        start = self._position
        self._position += length
        return start
