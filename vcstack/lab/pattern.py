"""The bytes that the lab moves over TCP: the same on both sides, so that the receiver can check every one."""

from __future__ import annotations

import hashlib

LENGTH = 1 << 16
MAX_READ = 1 << 18
BLOCK = hashlib.shake_256(b"vcstack lab").digest(LENGTH)
_REPEATED = BLOCK * (MAX_READ // LENGTH + 1)


def matches(data: bytes | bytearray, position: int) -> bool:
    """Whether `data`, of at most MAX_READ bytes, is the pattern from `position` of the stream on."""
    start = position % LENGTH
    return data == _REPEATED[start : start + len(data)]
