"""When a machine wants to be woken, and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A point of the caller's monotonic clock, in seconds; the earliest of several is their `min`."""

    at: float
    reason: str
