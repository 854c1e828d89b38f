"""Runs one sans-IO machine on the event loop: input in, output drained, one timer armed.

input or timer --> machine --> drain (messages to send, events) --> timer at the machine's next deadline
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from vcstack.io import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.wire.deadline import Deadline


class Machine(Protocol):
    """What a driver needs of a machine; how input arrives and output leaves differs from one to the next."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due; a call too early does nothing."""

    def next_timeout(self) -> Deadline | None:
        """When the machine wants `handle_timeout`, or None."""


class Driver:
    """The loop's side of one machine.

    `drain` passes on what the machine has to say, and runs after every input. An exception out of the machine
    or of `drain` is a bug of ours: the driver stops, and `failed` is told.
    """

    def __init__(
        self,
        machine: Machine,
        drain: Callable[[], None],
        failed: Callable[[Exception], None],
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._machine = machine
        self._drain = drain
        self._failed = failed
        self._now = now
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._running = False
        self._closed = False

    def call(self, action: Callable[[float], object]) -> None:
        """Give the machine an input: `action` gets the time. Inside `drain`, the outer call drains on."""
        if self._closed:
            return
        if self._running:
            action(self._now())
            return
        self._running = True
        try:
            action(self._now())
            self._drain()
        except Exception as error:  # noqa: BLE001 (the supervisor restarts the site; nothing may escape into the loop)
            self.close()
            self._failed(error)
        else:
            self._arm()
        finally:
            self._running = False

    def close(self) -> None:
        """Stop the timer; later input is ignored."""
        self._closed = True
        self._disarm()

    def _arm(self) -> None:
        deadline = None if self._closed else self._machine.next_timeout()
        if deadline is None:
            self._disarm()
        elif deadline.at != self._armed_for:
            self._disarm()
            self._armed_for = deadline.at
            delay = max(0.0, deadline.at - self._now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._armed_for = None

    def _fire(self) -> None:
        self._timer = None
        self._armed_for = None
        self.call(self._machine.handle_timeout)
