"""The exchange of routes over an established session (RFC 4271 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.bgp.iana import Afi, Safi
from vcstack.bgp.rib import AdjRibIn, AdjRibOut
from vcstack.bgp.wire.attribute import Outcome
from vcstack.bgp.wire.refresh import RouteRefresh

if TYPE_CHECKING:
    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.events import RouteChanged
    from vcstack.bgp.session import Session
    from vcstack.bgp.snapshot import Counters
    from vcstack.bgp.wire.update import Update


class Exchange:
    """Both Adj-RIBs of a peer, with what was wrong in its UPDATEs."""

    def __init__(self, config: SessionConfig, counters: Counters) -> None:
        self._max_prefixes = config.max_prefixes
        self._counters = counters
        self.rib_in = AdjRibIn(config)
        self.rib_out = AdjRibOut(config)
        self.version = 0
        self.last_fault = ""

    @property
    def too_many(self) -> bool:
        """The peer has sent more prefixes than it may (RFC 4271 6.7)."""
        return len(self.rib_in) > self._max_prefixes

    def send(self, session: Session, now: float) -> None:
        """Send what the peer does not have yet."""
        for update in self.rib_out.updates():
            session.send_update(update, now)

    def take(self, session: Session, message: Update | RouteRefresh, now: float) -> list[RouteChanged]:
        """Take a message over and return what changed for the kernel."""
        if isinstance(message, RouteRefresh):
            self._answer_refresh(session, message, now)
            return []
        self._count(message)
        return self._changed(self.rib_in.apply(message, now))

    def end(self) -> list[RouteChanged]:
        """Forget what the session gave and what it was given."""
        self.rib_out.forget_sent()
        return self._changed(self.rib_in.clear())

    def _answer_refresh(self, session: Session, message: RouteRefresh, now: float) -> None:
        """RFC 2918 4: the whole Adj-RIB-Out again; RFC 7313's markers were not negotiated."""
        if (message.afi, message.safi, message.subtype) == (Afi.IPV4, Safi.UNICAST, 0):
            self.rib_out.forget_sent()
            self.send(session, now)

    def _changed(self, changes: list[RouteChanged]) -> list[RouteChanged]:
        self.version += len(changes)
        return changes

    def _count(self, update: Update) -> None:
        self._counters.prefixes_announced += sum(1 for _ in update.reachable())
        self._counters.prefixes_withdrawn += len(update.withdrawn)
        outcomes = {fault.outcome for fault in update.faults}
        self._counters.updates_treated_as_withdraw += Outcome.TREAT_AS_WITHDRAW in outcomes
        self._counters.attributes_discarded += sum(
            fault.outcome == Outcome.ATTRIBUTE_DISCARD for fault in update.faults
        )
        if update.faults:
            self.last_fault = "; ".join(fault.detail for fault in update.faults)
