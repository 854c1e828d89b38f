"""The monotonic clock that every machine's `now` comes from."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since an arbitrary point, never going back, and counting while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall() -> float:
    """Seconds since 1970, as far as this machine knows: for what is valid until a date."""
    return time.time()
