"""The random source that every machine's `entropy` argument is."""

from __future__ import annotations

import os


def entropy(length: int) -> bytes:
    """`length` unpredictable bytes from the kernel's generator, fit for keys, nonces and SPIs."""
    return os.urandom(length)
