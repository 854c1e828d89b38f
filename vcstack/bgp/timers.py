"""The timers of a state machine and of its routes (RFC 4271 8.1.3, 10; RFC 4724; RFC 9687)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from vcstack.bgp.constants import JITTER_FLOOR
from vcstack.wire.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Enum):
    """Which timer; the value says why it rings."""

    CONNECT_RETRY = "ConnectRetryTimer"
    HOLD = "HoldTimer"
    KEEPALIVE = "KeepaliveTimer"
    IDLE_HOLD = "IdleHoldTimer"
    SEND_HOLD = "SendHoldTimer"
    RESTART = "restart timer"
    STALE = "stale timer"
    DEFERRAL = "Selection_Deferral_Timer"


class Timers:
    """Running timers on the caller's clock, in seconds."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._running: dict[Timer, float] = {}

    def start(self, timer: Timer, delay_s: float, now: float) -> None:
        """Start or restart a timer."""
        self._running[timer] = now + delay_s

    def start_jittered(self, timer: Timer, delay_s: float, now: float) -> None:
        """Start or restart a timer with 0.75 to 1.0 of `delay_s` (RFC 4271 10)."""
        share = int.from_bytes(self._entropy(2)) / 0xFFFF
        self.start(timer, delay_s * (JITTER_FLOOR + (1 - JITTER_FLOOR) * share), now)

    def stop(self, *timers: Timer) -> None:
        """Stop timers, whether they run or not."""
        for timer in timers:
            self._running.pop(timer, None)

    def runs(self, timer: Timer) -> bool:
        """Say whether a timer runs."""
        return timer in self._running

    def next_timeout(self) -> Deadline | None:
        """Return the earliest deadline."""
        return min((Deadline(at, timer.value) for timer, at in self._running.items()), default=None)

    def pop_due(self, now: float) -> Timer | None:
        """Take the earliest timer that is due out, or return None."""
        earliest = self.next_timeout()
        if earliest is None or earliest.at > now:
            return None
        timer = Timer(earliest.reason)
        del self._running[timer]
        return timer
