"""One BGP peer: two state machines, their collisions, damping, routes and what operators want to see.

              actions()                       next_event()
      Connect, Send, Close                Up, Down, RouteChanged
               ^                                 ^
      +--------+---------------------------------+--------+
      |  Peer   outbound Session    inbound Session       |
      |         (we connect)        (the peer connects)   |
      |         Adj-RIB-In          Adj-RIB-Out           |
      +---------------------------------------------------+
               ^                                 ^
      connection_*(), data_received()      start(), stop()

RFC 4271 8.2.1 wants a machine per connection. The one of the peer's connections waits in Active from the
start, so both ends may connect at once; when both connections live, 6.8 decides which one stays. A peer that
was started is retried for ever: at once after a stop, after a growing pause when sessions end in errors.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from vcstack.bgp.damping import Damping
from vcstack.bgp.events import Action, Close, Down, Event, Failed, Reset, Send, Side, Up
from vcstack.bgp.exchange import Exchange
from vcstack.bgp.fsm import Event as FsmEvent
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import Afi, CeaseSubcode, ErrorCode, MessageType, Safi
from vcstack.bgp.negotiation import OpenStyle
from vcstack.bgp.session import Session
from vcstack.bgp.snapshot import Counters, PeerSnapshot, describe
from vcstack.bgp.wire.notification import Notification, cease

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network

    from vcstack.bgp.config import Announcement, SessionConfig
    from vcstack.bgp.wire.open import Open
    from vcstack.bgp.wire.refresh import RouteRefresh
    from vcstack.bgp.wire.update import Update
    from vcstack.wire.deadline import Deadline

_PROGRESS = (
    State.IDLE,
    State.ACTIVE,
    State.CONNECT,
    State.OPEN_SENT,
    State.OPEN_CONFIRM,
    State.ESTABLISHED,
)
_CONNECTED = frozenset({State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED})


class Peer:
    """A speaker for one neighbour; inputs never raise for what the neighbour does."""

    def __init__(self, config: SessionConfig, entropy: Callable[[int], bytes]) -> None:
        self.config = config
        self._outbound = Session(config, self, entropy, outbound=True)
        self._inbound = Session(config, self, entropy, outbound=False)
        self._started = False
        self._established: Session | None = None
        self._established_at = 0.0
        self._style = OpenStyle()
        self._retry_soon = False
        self._errors = Damping(config.idle_hold_floor_s, config.idle_hold_ceiling_s)
        self._refusals = Damping(config.idle_hold_floor_s, config.connect_retry_s)
        self._actions: deque[Action] = deque()
        self._events: deque[Event] = deque()
        self._connections = 0
        self._counters = Counters()
        self._exchange = Exchange(config, self._counters)
        self._last_reset: Reset | None = None
        self._told: Reset | None = None
        self._reason = "not started"

    # --- the operator's side --------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect and listen, now and for ever; without effect on a peer that was started."""
        if self._started:
            return
        self._started = True
        self._reason = "connecting"
        self._told = None
        self._errors.forgive()
        self._refusals.forgive()
        self._style.forget()
        self._inbound.signal(FsmEvent.MANUAL_START_PASSIVE, now)
        if not self.config.passive:
            self._outbound.signal(FsmEvent.MANUAL_START, now)

    def stop(self, now: float, reason: str = "") -> None:
        """End the session with a Cease that carries `reason`, and stay Idle until the next start."""
        self._started = False
        notification = cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, reason)
        for session in (self._outbound, self._inbound):
            session.signal(FsmEvent.MANUAL_STOP, now, Reset(Side.LOCAL, "", now, notification))
            session.rest()
        self._reason = f"stopped: {reason}" if reason else "stopped"

    def reset(self, now: float, reason: str = "") -> None:
        """End the established session and begin another one after a pause."""
        if self._established is not None:
            notification = cease(CeaseSubcode.ADMINISTRATIVE_RESET, reason)
            reset = Reset(Side.LOCAL, "", now, notification)
            self._established.signal(FsmEvent.AUTOMATIC_STOP, now, reset)

    def announce(self, announcement: Announcement, now: float) -> None:
        """Announce a route, if the export policy permits it, now and in every session to come."""
        self._exchange.rib_out.announce(announcement)
        self._send_routes(now)

    def withdraw(self, prefix: IPv4Network, now: float) -> None:
        """Announce a prefix no more."""
        self._exchange.rib_out.withdraw(prefix)
        self._send_routes(now)

    def refresh(self, now: float) -> bool:
        """Ask the peer for its routes again (RFC 2918); False when it cannot or there is no session."""
        session = self._established
        if session is None or session.negotiated is None or not session.negotiated.route_refresh:
            return False
        session.send_refresh(now)
        return True

    # --- the transport's side -------------------------------------------------------------------------

    def connection_opened(self, connection: int, now: float, *, outbound: bool) -> None:
        """TCP is up: one that Connect asked for, or one of the peer's, numbered by new_connection()."""
        if outbound:
            if self._outbound.connection == connection and self._outbound.state is State.CONNECT:
                self._outbound.connected(connection, now)
        elif self._makes_room(now):
            self._inbound.connected(connection, now)
        else:
            self._counters.connections_refused += 1
            self.emit(Send(connection, cease(CeaseSubcode.CONNECTION_REJECTED).build()))
            self.emit(Close(connection))

    def connection_failed(self, connection: int, error: str, now: float) -> None:
        """TCP did not come up; `error` says why, in words."""
        if self._outbound.connection == connection and self._outbound.state is State.CONNECT:
            self._outbound.lost(error, now)

    def connection_closed(self, connection: int, now: float, error: str = "") -> None:
        """TCP is down, by the peer or by an error of the network."""
        session = self._session_of(connection)
        if session is not None:
            self._retry_soon = not error and self._style.take_close(session.state)
            session.lost(error or "the peer closed the connection", now)

    def data_received(self, connection: int, data: bytes, now: float) -> None:
        """Take bytes of a connection; those of one that is gone are dropped."""
        session = self._session_of(connection)
        if session is not None:
            session.receive(data, now)

    def actions(self) -> list[Action]:
        """Return what the transport must do, in order; call it after every input."""
        actions = list(self._actions)
        self._actions.clear()
        return actions

    def handle_timeout(self, now: float) -> None:
        """Ring the timers that are due; without effect when none is."""
        for session in (self._outbound, self._inbound):
            session.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return when handle_timeout wants to be called, which every input may change."""
        deadlines = (session.next_timeout() for session in (self._outbound, self._inbound))
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
        return self._leader.state

    def snapshot(self) -> PeerSnapshot:
        """Return everything there is to show; times are those of the inputs."""
        deadline = self.next_timeout()
        return describe(
            self.config,
            self._leader,
            self._exchange,
            self._counters,
            reason="" if self._established else self._reason,
            last_reset=self._last_reset,
            connect_retries=self._outbound.retries + self._inbound.retries,
            next_timeout=deadline.reason if deadline else None,
        )

    # --- the sessions' side ---------------------------------------------------------------------------

    @property
    def bare_open(self) -> bool:
        """The next OPEN has no capabilities."""
        return self._style.bare

    def emit(self, action: Action) -> None:
        """Pass an action to the transport."""
        self._actions.append(action)

    def count_message(self, kind: MessageType, now: float, *, sent: bool) -> None:
        """Count a message."""
        counters, name = self._counters, kind.name.lower()
        if sent:
            counters.messages_sent[name] += 1
            counters.last_write_at = now
        else:
            counters.messages_received[name] += 1
            counters.last_read_at = now

    def open_received(self, session: Session, received: Open, now: float) -> bool:
        """Detect a collision (RFC 4271 6.8, RFC 6286 2.3); False when `session` has lost it and is gone.

        The connection of the speaker with the higher router ID stays, of two equal ones that with the higher
        AS number; but an established session is never given up for a new one.
        """
        other = self._other(session)
        if other.state is State.ESTABLISHED:
            loser = session
        elif other.state is State.OPEN_CONFIRM:
            ours = (self.config.router_id, self.config.local_as)
            keep_outbound = ours > (received.router_id, received.asn)
            loser = self._inbound if keep_outbound else self._outbound
        else:
            return True
        self._dump(loser, now)
        return loser is not session

    def notification_received(self, session: Session, notification: Notification, now: float) -> None:
        """Learn whether capabilities were the trouble."""
        del now
        self._retry_soon = self._style.take_notification(notification, session.state)

    def established(self, session: Session, now: float) -> None:
        """Send our routes, and end what else was tried."""
        self._established, self._established_at = session, now
        self._told = None
        self._counters.connections_established += 1
        self._style.forget()
        self._refusals.forgive()
        other = self._other(session)
        if other.state is not State.IDLE and not (other is self._inbound and other.state is State.ACTIVE):
            self._dump(other, now)
        if other is self._outbound:
            other.rest()
        if session.theirs is not None and session.negotiated is not None:
            self._events.append(Up(session.theirs.router_id, session.negotiated.hold_time_s))
        self._exchange.send(session, now)

    def message_received(self, session: Session, message: Update | RouteRefresh, now: float) -> None:
        """Take routes over, and end the session when they are too many."""
        self._events.extend(self._exchange.take(session, message, now))
        if self._exchange.too_many:
            limit = self.config.max_prefixes
            # RFC 4486 4: the data is AFI, SAFI and the limit
            data = Afi.IPV4.to_bytes(2) + Safi.UNICAST.to_bytes(1) + limit.to_bytes(4)
            subcode = CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED
            notification = Notification(ErrorCode.CEASE, subcode, data)
            reset = Reset(Side.LOCAL, f"more than {limit} prefixes", now, notification)
            session.signal(FsmEvent.AUTOMATIC_STOP, now, reset)

    def attempt_failed(self, reset: Reset) -> None:
        """Keep why, and say so once; a second connection beside an established session is no news."""
        if not self._started or self._established is not None or self._is_echo(reset):
            return
        if reset.notification is not None:
            self._last_reset = reset
            self._told = reset
        if self._reason != str(reset):
            self._events.append(Failed(str(reset)))
        self._reason = str(reset)

    def went_idle(self, session: Session, reset: Reset, now: float, *, damp: bool) -> None:
        """A machine has come to its end; see that there is another try."""
        if session is self._established:
            self._end_session(reset, now)
        elif not _is_collision(reset):
            self.attempt_failed(reset)
        if self._started:
            self._plan_retry(session, self._pause(reset, damp=damp), now)

    # --- helpers --------------------------------------------------------------------------------------

    @property
    def _leader(self) -> Session:
        return max((self._outbound, self._inbound), key=lambda session: _PROGRESS.index(session.state))

    def _is_echo(self, reset: Reset) -> bool:
        """Say whether a connection was only turned away because of an error that was told before.

        Both sides pause after an error and take no connection meanwhile; that must not hide the error.
        """
        turned_away = reset.notification is None or _is_cease(reset, CeaseSubcode.CONNECTION_REJECTED)
        memory_s = 2 * self.config.idle_hold_ceiling_s
        return turned_away and self._told is not None and reset.at - self._told.at < memory_s

    def _other(self, session: Session) -> Session:
        return self._inbound if session is self._outbound else self._outbound

    def _session_of(self, connection: int) -> Session | None:
        for session in (self._outbound, self._inbound):
            if session.connection == connection and session.state in _CONNECTED:
                return session
        return None

    def _makes_room(self, now: float) -> bool:
        """Say whether an incoming connection is taken; a peer that connects anew gave up its last try."""
        if self._inbound.state in {State.OPEN_SENT, State.OPEN_CONFIRM}:
            self._dump(self._inbound, now)
            self._inbound.rest()
            self._inbound.signal(FsmEvent.AUTOMATIC_START_DAMPED_PASSIVE, now)
        return self._inbound.state is State.ACTIVE

    def _dump(self, session: Session, now: float) -> None:
        notification = cease(CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)
        session.signal(FsmEvent.COLLISION_DUMP, now, Reset(Side.LOCAL, "", now, notification))

    def _end_session(self, reset: Reset, now: float) -> None:
        if now - self._established_at >= self.config.stable_s:
            self._errors.forgive()
        self._established = None
        self._last_reset = reset
        self._reason = str(reset)
        self._counters.connections_dropped += 1
        self._events.extend(self._exchange.end())
        self._events.append(Down(str(reset)))

    def _pause(self, reset: Reset, *, damp: bool) -> float:
        retry_soon, self._retry_soon = self._retry_soon, False
        if retry_soon or _is_collision(reset):
            return self.config.idle_hold_floor_s
        return (self._errors if damp else self._refusals).next_pause()

    def _plan_retry(self, session: Session, pause_s: float, now: float) -> None:
        """Start `session` again after the pause, and the other one with it if nothing else would."""
        other = self._other(session)
        for candidate in (session, other):
            calls = candidate is self._outbound
            if calls and (self.config.passive or self._inbound.state in _CONNECTED):
                continue
            if candidate.rests:
                candidate.hold_idle(pause_s, now)

    def _send_routes(self, now: float) -> None:
        if self._established is not None:
            self._exchange.send(self._established, now)


def _is_collision(reset: Reset) -> bool:
    return _is_cease(reset, CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)


def _is_cease(reset: Reset, subcode: CeaseSubcode) -> bool:
    notification = reset.notification
    return notification is not None and (notification.code, notification.subcode) == (
        ErrorCode.CEASE,
        subcode,
    )
