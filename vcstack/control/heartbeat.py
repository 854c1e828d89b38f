"""Whether the forwarder's process still turns: a Ping each second, and a Pong expected to each.

    Ping ---> Pong    alive
    Ping -x           missed; after a few in a row the process is hung: it is killed, and another one starts

What counts is beats, not seconds: when control itself was stopped for a while, or the host slept, answers
that wait to be read are no misses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_S = 1.0
MAX_MISSED = 3
MAX_MISSED_AT_START = 30
"""Until the first answer: a process on a busy host takes a while to start."""


class Heartbeat:
    """`ping` sends one; `hung` is told, once for each forwarder, that it does not answer."""

    def __init__(self, ping: Callable[[], None], hung: Callable[[str], None]) -> None:
        self._ping = ping
        self._hung = hung
        self._missed = 0
        self._limit = MAX_MISSED_AT_START

    def restart(self) -> None:
        """Another process: it has not answered yet."""
        self._missed = 0
        self._limit = MAX_MISSED_AT_START

    def answered(self) -> None:
        """A Pong came."""
        self._missed = 0
        self._limit = MAX_MISSED

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    def beat(self) -> None:
        """Judge the beat before, and send the next Ping."""
        if self._missed == self._limit:
            self._hung(f"it answered none of {self._missed} questions in {self._missed * BEAT_S:.0f} s")
        if self._missed <= self._limit:
            self._missed += 1
            self._ping()
