"""The counterpart of the reader: big-endian fields appended one by one.

Lengths that precede what they count are written as zero and patched when the
end is known. A value that does not fit its field is a mistake of this stack,
never of a peer, and raises OverflowError.
"""

from typing import Self


class Writer:
    """Bytes under construction; every field method returns the writer itself."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def position(self) -> int:
        """Bytes written so far, which is where the next field will start."""
        return len(self._buffer)

    def u8(self, value: int) -> Self:
        """Append one byte."""
        return self.raw(value.to_bytes(1))

    def u16(self, value: int) -> Self:
        """Append two bytes, network order."""
        return self.raw(value.to_bytes(2))

    def u32(self, value: int) -> Self:
        """Append four bytes, network order."""
        return self.raw(value.to_bytes(4))

    def u64(self, value: int) -> Self:
        """Append eight bytes, network order."""
        return self.raw(value.to_bytes(8))

    def raw(self, data: bytes | bytearray | memoryview) -> Self:
        """Append `data` as it is."""
        self._buffer += data
        return self

    def patch_u16(self, at: int, value: int) -> Self:
        """Overwrite the two bytes that start at position `at`."""
        return self._patch(at, value.to_bytes(2))

    def patch_u32(self, at: int, value: int) -> Self:
        """Overwrite the four bytes that start at position `at`."""
        return self._patch(at, value.to_bytes(4))

    def getvalue(self) -> bytes:
        """Return everything written, patches included."""
        return bytes(self._buffer)

    def _patch(self, at: int, field: bytes) -> Self:
        end = at + len(field)
        if not 0 <= at <= end <= len(self._buffer):
            raise IndexError(f"patch of bytes {at} to {end} in {len(self._buffer)} written bytes")
        self._buffer[at:end] = field
        return self
