"""The layers of a tunnel as an operator sees them: up or down, since when, and why.

ike  the peer is authenticated          esp  a child SA carries traffic
gre  the line, by keepalives            bgp  the session is established
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vcstack.control import log

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = log.get("state")


class State(StrEnum):
    """What a layer can be."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"


class Layer:
    """One layer of one tunnel. Every change is logged once, with its reason."""

    def __init__(self, tunnel: str, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.state = State.DOWN
        self.reason = "not started"
        self._tunnel = tunnel
        self._clock = clock
        self._since = clock()

    @property
    def is_up(self) -> bool:
        """Whether the layer is up."""
        return self.state is State.UP

    @property
    def since_s(self) -> float:
        """How many seconds the state has lasted."""
        return self._clock() - self._since

    def become(self, state: State, reason: str) -> bool:
        """Enter a state, or renew its reason; whether the state is another one than before."""
        changed = state is not self.state
        if changed:
            self._since = self._clock()
        if changed or reason != self.reason:
            _LOG.info("%s %s %s: %s", self._tunnel, self.name, state, reason)
        self.state, self.reason = state, reason
        return changed

    def explain(self, reason: str) -> None:
        """Renew the reason of a state that lasts, without a line in the log."""
        self.reason = reason

    def report(self) -> dict[str, object]:
        """The layer for `status`."""
        return {"state": str(self.state), "since_s": round(self.since_s, 3), "reason": self.reason}
