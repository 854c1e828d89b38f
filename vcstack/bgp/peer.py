"""One BGP peer: two state machines, their collisions, damping, routes and what operators want to see.

              actions()                       next_event()
      Connect, Send, Close                Up, Down, RouteChanged, EndOfRib
               ^                                 ^
      +--------+---------------------------------+--------+
      |  Peer   outbound Session    inbound Session       |
      |         (we connect)        (the peer connects)   |
      |         Adj-RIB-In          Adj-RIB-Out           |
      +---------------------------------------------------+
               ^                                 ^
      connection_*(), data_received()      start(), stop()

A peer that was started is retried for ever: at once after a stop, after a growing pause when sessions end
in errors.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from vcstack.bgp.events import Action, Close, Down, Event, Reset, Send, Side, Up
from vcstack.bgp.exchange import Exchange
from vcstack.bgp.fsm import Event as FsmEvent
from vcstack.bgp.history import History
from vcstack.bgp.iana import CeaseSubcode, MessageType
from vcstack.bgp.negotiation import our_open
from vcstack.bgp.retry import Retries, is_collision
from vcstack.bgp.sessions import Sessions
from vcstack.bgp.snapshot import Counters, MalformedUpdate, PeerSnapshot, describe
from vcstack.bgp.wire.notification import cease, hard_reset

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network

    from vcstack.bgp.config import Announcement, SessionConfig
    from vcstack.bgp.fsm import State
    from vcstack.bgp.session import Session
    from vcstack.bgp.wire.notification import Notification
    from vcstack.bgp.wire.open import Open
    from vcstack.bgp.wire.refresh import RouteRefresh
    from vcstack.bgp.wire.stream import RawMessage
    from vcstack.bgp.wire.update import Update
    from vcstack.wire.deadline import Deadline


class Peer:
    """A speaker for one neighbour; inputs never raise for what the neighbour does."""

    def __init__(self, config: SessionConfig, entropy: Callable[[int], bytes]) -> None:
        self.config = config
        self._started = False
        self._sessions = Sessions(config, self, entropy)
        self._retries = Retries(config)
        self._history = History(2 * config.idle_hold_ceiling_s)
        self._actions: deque[Action] = deque()
        self._events: deque[Event] = deque()
        self._connections = 0
        self._counters = Counters()
        self._exchange = Exchange(config, self._counters, self._events, entropy)

    # --- the operator's side --------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect and listen, now and for ever; without effect on a peer that was started."""
        if self._started:
            return
        self._started = True
        self._history.started()
        self._retries.forgive()
        self._exchange.start(now)
        self._sessions.start(now)

    def stop(self, now: float, reason: str = "") -> None:
        """End the session with a Cease that carries `reason`, and stay Idle until the next start."""
        self._started = False
        self._sessions.stop(now, self._final(cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, reason)))
        self._exchange.clear()
        self._history.stopped(reason)

    def suspend(self, now: float) -> None:
        """Close without a word and withdraw nothing, so that packets flow on while this process restarts.

        The peer keeps our routes if it speaks graceful restart. A process that starts with
        `Graceful.restarting` takes over.
        """
        self._started = False
        session, self._sessions.established = self._sessions.established, None
        if session is not None:
            self._exchange.suspend(now)
            session.signal(FsmEvent.TCP_CONNECTION_FAILS, now)
        self._sessions.stop(now)
        self._history.stopped("restarting")

    def reset(self, now: float, reason: str = "", *, hard: bool = False) -> None:
        """End the established session and begin another one after a pause; a hard one keeps no route."""
        if self._sessions.established is not None:
            notification = cease(CeaseSubcode.ADMINISTRATIVE_RESET, reason)
            reset = Reset(Side.LOCAL, "", now, self._final(notification) if hard else notification)
            self._sessions.established.signal(FsmEvent.AUTOMATIC_STOP, now, reset)

    def announce(self, announcement: Announcement, now: float) -> None:
        """Announce a route, if the export policy permits it, now and in every session to come."""
        self._exchange.rib_out.announce(announcement)
        self._exchange.send(now)

    def withdraw(self, prefix: IPv4Network, now: float) -> None:
        """Announce a prefix no more."""
        self._exchange.rib_out.withdraw(prefix)
        self._exchange.send(now)

    def refresh(self, now: float) -> bool:
        """Ask the peer for its routes again (RFC 2918); False when it cannot or there is no session."""
        session = self._sessions.established
        if session is None or session.negotiated is None or not session.negotiated.route_refresh:
            return False
        session.send_refresh(now)
        return True

    # --- the transport's side -------------------------------------------------------------------------

    def connection_opened(self, connection: int, now: float, *, outbound: bool) -> None:
        """TCP is up: one that Connect asked for, or one of the peer's, numbered by new_connection()."""
        if outbound:
            if self._sessions.connecting(connection):
                self._sessions.outbound.connected(connection, now)
        elif self._takes_connection(now):
            self._sessions.inbound.connected(connection, now)
        else:
            self._counters.connections_refused += 1
            self.emit(Send(connection, cease(CeaseSubcode.CONNECTION_REJECTED).build()))
            self.emit(Close(connection))

    def connection_failed(self, connection: int, error: str, now: float) -> None:
        """TCP did not come up; `error` says why, in words."""
        if self._sessions.connecting(connection):
            self._sessions.outbound.lost(error, now)

    def connection_closed(self, connection: int, now: float, error: str = "") -> None:
        """TCP is down, by the peer or by an error of the network."""
        session = self._sessions.of(connection)
        if session is not None:
            self._retries.closed_by_peer(session.state, error)
            session.lost(error or "the peer closed the connection", now)

    def connection_blocked(self, connection: int, now: float) -> None:
        """What was sent does not leave, because the peer does not read."""
        session = self._sessions.of(connection)
        if session is not None:
            session.block(now)

    def connection_unblocked(self, connection: int, now: float) -> None:
        """Everything that was sent has left."""
        session = self._sessions.of(connection)
        if session is not None:
            session.unblock()
            if session is self._sessions.established:
                self._exchange.send(now)

    def data_received(self, connection: int, data: bytes, now: float) -> None:
        """Take bytes of a connection; those of one that is gone are dropped."""
        session = self._sessions.of(connection)
        if session is not None:
            session.receive(data, now)

    def actions(self) -> list[Action]:
        """Return what the transport must do, in order; call it after every input."""
        actions = list(self._actions)
        self._actions.clear()
        return actions

    def handle_timeout(self, now: float) -> None:
        """Ring the timers that are due; without effect when none is."""
        self._sessions.handle_timeout(now)
        self._exchange.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return when handle_timeout wants to be called, which every input may change."""
        deadlines = (part.next_timeout() for part in (self._sessions, self._exchange))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def next_event(self) -> Event | None:
        """Return the next thing that has happened, oldest first."""
        return self._events.popleft() if self._events else None

    def new_connection(self) -> int:
        """Return a number that no connection has had."""
        self._connections += 1
        return self._connections

    # --- what operators see ---------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state of the machine that has come furthest."""
        return self._sessions.leader.state

    def snapshot(self) -> PeerSnapshot:
        """Return everything there is to show; times are those of the inputs."""
        deadline = self.next_timeout()
        return describe(
            self.config,
            self._sessions.leader,
            self._exchange,
            history=self._history,
            connect_retries=self._sessions.retries,
            next_timeout=deadline.reason if deadline else None,
        )

    # --- the sessions' side ---------------------------------------------------------------------------

    def next_open(self) -> Open:
        """Return the OPEN for a new connection."""
        restarting, preserved = self._exchange.restarting, self._exchange.preserved
        bare = self._retries.bare_open
        return our_open(self.config, bare=bare, restarting=restarting, preserved=preserved)

    def emit(self, action: Action) -> None:
        """Pass an action to the transport."""
        self._actions.append(action)

    def count_message(self, kind: MessageType, now: float, *, sent: bool) -> None:
        """Count a message."""
        self._counters.count_message(kind, now, sent=sent)

    def open_received(self, session: Session, received: Open, now: float) -> bool:
        """Detect a collision; False when `session` has lost it and is gone."""
        return self._sessions.resolve(session, received, now, may_restart=self._exchange.may_restart)

    def notification_received(self, session: Session, notification: Notification, now: float) -> None:
        """Learn whether capabilities were the trouble."""
        del now
        self._retries.notified(notification, session.state)

    def established(self, session: Session, now: float) -> None:
        """Send our routes, and end what else was tried."""
        self._history.established()
        self._retries.established()
        self._counters.connections_established += 1
        self._sessions.settle(session, now)
        if session.theirs is not None and session.negotiated is not None:
            self._events.append(Up(session.theirs.router_id, session.negotiated.hold_time_s))
        self._exchange.begin(session, now)

    def malformed_update(self, raw: RawMessage, fault: str) -> None:
        """Keep what was malformed, for whoever must explain it to the peer's operator."""
        self._exchange.last_malformed = MalformedUpdate.of(raw, fault)

    def message_received(self, session: Session, message: Update | RouteRefresh, now: float) -> None:
        """Take routes over, and end the session when they are too many."""
        self._exchange.take(message, now)
        excess = self._exchange.excess
        if excess is not None:
            detail = f"more than {self.config.max_prefixes} prefixes"
            session.signal(FsmEvent.AUTOMATIC_STOP, now, Reset(Side.LOCAL, detail, now, self._final(excess)))

    def attempt_failed(self, reset: Reset) -> None:
        """Keep why, and say so once; a second connection beside an established session is no news."""
        if self._started and self._sessions.established is None:
            failed = self._history.attempt_failed(reset)
            if failed is not None:
                self._events.append(failed)

    def went_idle(self, session: Session, reset: Reset, now: float, *, damp: bool) -> None:
        """A machine has come to its end; see that there is another try."""
        if session is self._sessions.established:
            self._end_session(reset, now)
        elif not is_collision(reset):
            self.attempt_failed(reset)
        if self._started:
            self._sessions.plan_retry(session, self._retries.pause(reset, now, damp=damp), now)

    # --- helpers --------------------------------------------------------------------------------------

    def _takes_connection(self, now: float) -> bool:
        if self._retries.closed(now):
            return False
        return self._sessions.make_room(now, may_restart=self._exchange.may_restart)

    def _final(self, notification: Notification) -> Notification:
        """Make it a Hard Reset if the peer would keep our routes after anything else (RFC 8538 5.1)."""
        session = self._sessions.established
        terms = session.negotiated if session is not None else None
        return hard_reset(notification) if terms is not None and terms.graceful_notification else notification

    def _end_session(self, reset: Reset, now: float) -> None:
        self._sessions.established = None
        self._retries.ended(now - self._sessions.established_at)
        self._history.ended(reset)
        self._counters.connections_dropped += 1
        kept_s = self._exchange.end(reset, now)
        self._events.append(Down(str(reset), kept_s))
