"""The exchange of routes with a peer (RFC 4271 9), and what becomes of them between two sessions.

            session up              session down, the peer may restart gracefully
    routes ------------> in use --------------------------------------------------> stale, in use
      ^                                                                                  |
      | renewed by an UPDATE                                                             |
      +----------------------------------------------------------------------------------+
                                                                                         v
             End-of-RIB, end of a refresh, no F bit, restart timer or stale timer: withdrawn

Graceful restart is RFC 4724 with RFC 8538. This speaker announces nothing that it has learned, so what it
sends does not wait for what it receives. An enhanced refresh (RFC 7313) uses the same marks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.bgp.events import EndOfRib, Side
from vcstack.bgp.iana import Afi, CeaseSubcode, ErrorCode, RefreshSubtype, Safi
from vcstack.bgp.rib import AdjRibIn, AdjRibOut
from vcstack.bgp.timers import Timer, Timers
from vcstack.bgp.wire.attribute import Outcome
from vcstack.bgp.wire.notification import Notification
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.update import Update

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.events import Event, Reset, RouteChanged
    from vcstack.bgp.negotiation import Negotiated
    from vcstack.bgp.session import Session
    from vcstack.bgp.snapshot import Counters, MalformedUpdate
    from vcstack.wire.deadline import Deadline

_FAMILY = (Afi.IPV4, Safi.UNICAST)
_REFRESH_TIME_S = 180.0
"""How long a refresh may take before what it has not renewed is withdrawn (RFC 7313 4)."""


class Exchange:
    """Both Adj-RIBs of a peer, and the routes that outlive a session of it."""

    def __init__(
        self,
        config: SessionConfig,
        counters: Counters,
        events: deque[Event],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self.counters = counters
        self._events = events
        self._timers = Timers(entropy)
        self.rib_in = AdjRibIn(config)
        self.rib_out = AdjRibOut(config)
        self.version = 0
        self.last_malformed: MalformedUpdate | None = None
        self.restarting = config.graceful is not None and config.graceful.restarting
        """The R bit: the routes of the process before this one are not renewed yet."""
        self.preserved = self.restarting
        """The F bit: packets were forwarded on since the session before."""
        self._session: Session | None = None
        self._terms: Negotiated | None = None
        self._owes_end_of_rib = False
        self._owes_refresh = False
        self._refreshing = False
        self._heard_end_of_rib = False

    # --- sessions -------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to wait for the peer's routes, if the kernel holds some from before."""
        if self.restarting and self._config.graceful is not None:
            self._timers.start(Timer.DEFERRAL, self._config.graceful.deferral_s, now)

    def begin(self, session: Session, now: float) -> None:
        """Send our routes over an established session; what is kept of the peer's must be worth it."""
        self._session, self._terms = session, session.negotiated
        self._refreshing = self._heard_end_of_rib = self._owes_refresh = False
        self._owes_end_of_rib = self._terms is not None and self._terms.graceful is not None
        self._timers.stop(Timer.RESTART)
        self.preserved = self._config.graceful is not None
        family = self._terms.family if self._terms is not None else None
        if family is None or not family.preserved:
            self._purge()
        self.send(now)

    def end(self, reset: Reset, now: float) -> float:
        """Forget what the session gave and was given, or keep it; return for how long, in seconds."""
        keep = self.may_restart and _is_graceful(reset, self._terms)
        restart_time_s = self._terms.graceful.restart_time_s if self._terms and self._terms.graceful else 0
        if keep and self._terms is not None and not self._terms.graceful_notification:
            self._purge()  # RFC 4724 4.2: what the peer has not renewed after one restart survives no second
        self._leave()
        if not keep or self._config.graceful is None:
            self._announce(self.rib_in.clear())
            return 0.0
        self._mark_stale(now)
        self._timers.start(Timer.RESTART, restart_time_s, now)
        return min(float(restart_time_s), self._config.graceful.stale_time_s)

    def clear(self) -> None:
        """Forget everything, because the operator wants no session."""
        self._leave()
        self._timers.stop(Timer.RESTART, Timer.STALE, Timer.DEFERRAL)
        self.restarting = False
        self._announce(self.rib_in.clear())

    def suspend(self, now: float) -> None:
        """Keep the peer's routes over a restart of ours: nobody withdraws them."""
        self._leave()
        self._mark_stale(now)

    @property
    def may_restart(self) -> bool:
        """The peer of this session keeps forwarding while it restarts (RFC 4724 5)."""
        return self._terms is not None and self._terms.family is not None

    @property
    def excess(self) -> Notification | None:
        """What to say to a peer that has sent more prefixes than it may; None when it has not."""
        limit = self._config.max_prefixes
        if len(self.rib_in) <= limit:
            return None
        # RFC 4486 4: the data is AFI, SAFI and the limit
        data = Afi.IPV4.to_bytes(2) + Safi.UNICAST.to_bytes(1) + limit.to_bytes(4)
        return Notification(ErrorCode.CEASE, CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED, data)

    # --- messages -------------------------------------------------------------------------------------

    def take(self, message: Update | RouteRefresh, now: float) -> None:
        """Take a message over."""
        if isinstance(message, RouteRefresh):
            if (message.afi, message.safi) == _FAMILY:
                self._take_refresh(message.subtype, now)
            return
        self._count(message)
        self._announce(self.rib_in.apply(message, now))
        if message.end_of_rib and not self._heard_end_of_rib:
            self._heard_end_of_rib = True
            self._purge()
            self._complete("the peer has sent all its routes")

    def send(self, now: float) -> None:
        """Send what the peer does not have yet, unless it does not read."""
        session = self._session
        if session is None or session.blocked:
            return
        for update in self.rib_out.updates():
            session.send_update(update, now)
        if self._owes_end_of_rib:
            self._owes_end_of_rib = False
            session.send_update(Update(), now)
        if self._owes_refresh:
            self._owes_refresh = False
            self._send_again(session, now)

    # --- time -----------------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Ring the timers that are due."""
        while timer := self._timers.pop_due(now):
            if timer is Timer.DEFERRAL:
                self._complete("the peer has not sent its routes in time")
            else:
                self._purge()

    def next_timeout(self) -> Deadline | None:
        """Return the earliest timer."""
        return self._timers.next_timeout()

    # --- helpers --------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._session = self._terms = None
        self.rib_out.forget_sent()

    def _take_refresh(self, subtype: RefreshSubtype, now: float) -> None:
        """RFC 2918 4 and RFC 7313 4; markers not agreed on, or out of order, mean nothing."""
        enhanced = self._terms is not None and self._terms.enhanced_refresh
        waits = self._terms is not None and self._terms.graceful is not None and not self._heard_end_of_rib
        if subtype is RefreshSubtype.REQUEST:
            self._owes_refresh = True
            self.send(now)
        elif subtype is RefreshSubtype.BEGIN and enhanced and not waits:
            self._refreshing = True
            self._mark_stale(now)
        elif subtype is RefreshSubtype.END and self._refreshing:
            self._refreshing = False
            self._purge()

    def _send_again(self, session: Session, now: float) -> None:
        enhanced = self._terms is not None and self._terms.enhanced_refresh
        if enhanced:
            session.send_refresh(now, RefreshSubtype.BEGIN)
        self.rib_out.forget_sent()
        for update in self.rib_out.updates():
            session.send_update(update, now)
        if enhanced:
            session.send_refresh(now, RefreshSubtype.END)

    def _mark_stale(self, now: float) -> None:
        self.rib_in.mark_stale()
        graceful = self._config.graceful
        if not self._timers.runs(Timer.STALE):
            self._timers.start(Timer.STALE, graceful.stale_time_s if graceful else _REFRESH_TIME_S, now)

    def _purge(self) -> None:
        self._timers.stop(Timer.RESTART, Timer.STALE)
        self._announce(self.rib_in.purge_stale())

    def _complete(self, reason: str) -> None:
        self._timers.stop(Timer.DEFERRAL)
        self.restarting = False
        self._events.append(EndOfRib(reason))

    def _announce(self, changes: list[RouteChanged]) -> None:
        self.version += len(changes)
        self._events.extend(changes)

    def _count(self, update: Update) -> None:
        self.counters.prefixes_announced += sum(1 for _ in update.reachable())
        self.counters.prefixes_withdrawn += len(update.withdrawn)
        outcomes = {fault.outcome for fault in update.faults}
        self.counters.updates_treated_as_withdraw += Outcome.TREAT_AS_WITHDRAW in outcomes
        self.counters.attributes_discarded += sum(
            fault.outcome == Outcome.ATTRIBUTE_DISCARD for fault in update.faults
        )


def _is_graceful(reset: Reset, terms: Negotiated | None) -> bool:
    """RFC 4724 4.2: a connection that broke; RFC 8538 4: also a NOTIFICATION, if it is no Hard Reset."""
    if reset.side is Side.TRANSPORT:
        return True
    notification = reset.notification
    if terms is None or notification is None or notification.is_hard_reset:
        return False
    return terms.graceful_notification
