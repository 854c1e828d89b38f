"""When the next attempt may be made, and with which OPEN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.bgp.constants import JITTER_FLOOR
from vcstack.bgp.damping import Damping
from vcstack.bgp.events import Side
from vcstack.bgp.iana import CeaseSubcode, ErrorCode
from vcstack.bgp.negotiation import OpenStyle

if TYPE_CHECKING:
    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.events import Reset
    from vcstack.bgp.fsm import State
    from vcstack.bgp.wire.notification import Notification

_SILENCES = frozenset({ErrorCode.HOLD_TIMER_EXPIRED, ErrorCode.SEND_HOLD_TIMER_EXPIRED})


class Retries:
    """Pauses after failures: longer ones after errors, short ones where nobody has answered.

    A peer that did something wrong is not let in again, whoever connects, before the pause is over; so a
    peer whose every session ends in an error cannot make them follow each other at its own pace.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._style = OpenStyle()
        self._soon = False
        self._errors = Damping(config.idle_hold_floor_s, config.idle_hold_ceiling_s)
        self._refusals = Damping(config.idle_hold_floor_s, config.connect_retry_s)
        self._closed_until = 0.0

    @property
    def bare_open(self) -> bool:
        """The next OPEN has no capabilities."""
        return self._style.bare

    def closed(self, now: float) -> bool:
        """Say whether connections of the peer are turned away."""
        return now < self._closed_until

    def forgive(self) -> None:
        """Begin anew, as the operator wants."""
        self._errors.forgive()
        self._refusals.forgive()
        self._style.forget()
        self._closed_until = 0.0

    def established(self) -> None:
        """Forget what stood between the peer and a session, but not how sessions have ended."""
        self._style.forget()
        self._refusals.forgive()

    def ended(self, lasted_s: float) -> None:
        """A session has ended; a long one makes up for the errors before it."""
        if lasted_s >= self._config.stable_s:
            self._errors.forgive()

    def notified(self, notification: Notification, state: State) -> None:
        """Learn from a NOTIFICATION whether capabilities were the trouble."""
        self._soon = self._style.take_notification(notification, state)

    def closed_by_peer(self, state: State, error: str) -> None:
        """Learn from a connection that has ended without a word, if the network did not break it."""
        self._soon = not error and self._style.take_close(state)

    def pause(self, reset: Reset, now: float, *, damp: bool) -> float:
        """Return how long to rest after `reset`, in seconds and before jitter."""
        soon, self._soon = self._soon, False
        if soon or is_collision(reset):
            return self._config.idle_hold_floor_s
        if self._config.max_prefixes_pause_s is not None and _is_too_many(reset):
            pause_s = self._config.max_prefixes_pause_s
        else:
            pause_s = (self._errors if damp else self._refusals).next_pause()
        if _blames_peer(reset):
            self._closed_until = now + JITTER_FLOOR * pause_s
        return pause_s


def is_collision(reset: Reset) -> bool:
    """Say whether a connection has only made way for another one."""
    return is_cease(reset, CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)


def is_cease(reset: Reset, subcode: CeaseSubcode) -> bool:
    """Say whether a reset is a Cease of this kind."""
    notification = reset.notification
    return notification is not None and _kind(notification) == (ErrorCode.CEASE, subcode)


def _kind(notification: Notification) -> tuple[int, int]:
    cause = notification.wrapped or notification
    return cause.code, cause.subcode


def _is_too_many(reset: Reset) -> bool:
    subcode = CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED
    return reset.side is Side.LOCAL and is_cease(reset, subcode)


def _blames_peer(reset: Reset) -> bool:
    if reset.side is not Side.LOCAL or reset.notification is None or reset.notification.code in _SILENCES:
        return False
    return not is_cease(reset, CeaseSubcode.ADMINISTRATIVE_RESET)
