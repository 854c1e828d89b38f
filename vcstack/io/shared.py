"""Anonymous memory that the forwarder writes and control reads: the counters of one tunnel."""

import mmap
import os

from vcstack.dataplane.counters import COUNTERS_BYTES, Counters


def create_counters(name: str) -> int:
    """Make the memory of one forwarder's counters, all zero; the descriptor is closed with `os.close`."""
    descriptor = os.memfd_create(f"vcstack-{name}")
    os.ftruncate(descriptor, COUNTERS_BYTES)
    return descriptor


def map_counters(descriptor: int, *, writable: bool) -> Counters:
    """Map the counters behind a descriptor. Raises `ValueError` when the memory is of another size."""
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    return Counters(memoryview(mmap.mmap(descriptor, COUNTERS_BYTES, access=access)))
