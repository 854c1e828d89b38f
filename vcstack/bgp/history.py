"""Why there is no session, in words, and the error that brought the last one down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.bgp.events import Failed
from vcstack.bgp.iana import CeaseSubcode
from vcstack.bgp.retry import is_cease

if TYPE_CHECKING:
    from vcstack.bgp.events import Reset


class History:
    """Keeps the first cause: attempts that come to nothing because of it do not hide it."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._told: Reset | None = None
        self.reason = "not started"
        self.last_reset: Reset | None = None

    def started(self) -> None:
        """The operator begins anew."""
        self.reason = "connecting"
        self._told = None

    def stopped(self, reason: str) -> None:
        """The operator wants no session."""
        self.reason = f"stopped: {reason}" if reason else "stopped"

    def established(self) -> None:
        """What was wrong before is over."""
        self._told = None

    def ended(self, reset: Reset) -> None:
        """An established session has ended."""
        self.last_reset = reset
        self.reason = str(reset)

    def attempt_failed(self, reset: Reset) -> Failed | None:
        """Keep why; return an event if it is news."""
        if self._is_echo(reset):
            return None
        if reset.notification is not None:
            self.last_reset = self._told = reset
        before, self.reason = self.reason, str(reset)
        return Failed(self.reason) if self.reason != before else None

    def _is_echo(self, reset: Reset) -> bool:
        """Say whether a connection was only turned away because of an error that was told before.

        Both sides pause after an error and take no connection meanwhile; that must not hide the error.
        """
        turned_away = reset.notification is None or is_cease(reset, CeaseSubcode.CONNECTION_REJECTED)
        return turned_away and self._told is not None and reset.at - self._told.at < self._memory_s
