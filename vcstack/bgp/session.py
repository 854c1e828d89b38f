"""One TCP connection and its state machine (RFC 4271 8.2.1.2); fsm.py has the diagram and the table.

A Session does what the table's steps say: it keeps the connection's timers, cuts the byte stream into
messages that reading.py understands, and speaks OPEN, KEEPALIVE and NOTIFICATION. What lies beyond one
connection (collisions, damping, routes) is its owner's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from vcstack.bgp.errors import RemoteProtocolError
from vcstack.bgp.events import Action, Close, Connect, Reset, Send, Side
from vcstack.bgp.fsm import TRANSITIONS, Event, State, Step
from vcstack.bgp.iana import ErrorCode, MessageType, RefreshSubtype
from vcstack.bgp.negotiation import Negotiated, negotiate, our_open
from vcstack.bgp.reading import Receiver, refusal
from vcstack.bgp.timers import Timer, Timers
from vcstack.bgp.wire.notification import Notification
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.stream import RawMessage, build_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.wire.open import Open
    from vcstack.bgp.wire.update import Update
    from vcstack.wire.deadline import Deadline

_TIMER_EVENTS = {
    Timer.CONNECT_RETRY: Event.CONNECT_RETRY_TIMER_EXPIRES,
    Timer.HOLD: Event.HOLD_TIMER_EXPIRES,
    Timer.KEEPALIVE: Event.KEEPALIVE_TIMER_EXPIRES,
    Timer.IDLE_HOLD: Event.IDLE_HOLD_TIMER_EXPIRES,
    Timer.SEND_HOLD: Event.SEND_HOLD_TIMER_EXPIRES,
}
_NOTIFICATIONS = {
    Step.SEND_CEASE: Notification(ErrorCode.CEASE),
    Step.SEND_HOLD_EXPIRED: Notification(ErrorCode.HOLD_TIMER_EXPIRED),
    Step.SEND_BLOCKED: Notification(ErrorCode.SEND_HOLD_TIMER_EXPIRED),
    Step.SEND_FSM_ERROR: Notification(ErrorCode.FSM_ERROR),
    Step.SEND_ERROR: Notification(ErrorCode.CEASE),
}
"""What these steps send where the reset does not bring a NOTIFICATION of its own."""
NO_SYN_ANSWER = "no answer to our SYN: peer down, TCP 179 filtered, or BGP password differs"


class Owner(Protocol):
    """What a session needs of the peer it belongs to."""

    def next_open(self) -> Open:
        """Return the OPEN for a new connection."""

    def new_connection(self) -> int:
        """Return a number that no connection has had."""

    def emit(self, action: Action) -> None:
        """Pass an action to the transport."""

    def count_message(self, kind: MessageType, now: float, *, sent: bool) -> None:
        """Count a message."""

    def open_received(self, session: Session, received: Open, now: float) -> bool:
        """Detect a collision; False when `session` has lost it and is gone."""

    def notification_received(self, session: Session, notification: Notification, now: float) -> None:
        """A NOTIFICATION arrived; the state is still the one before it."""

    def established(self, session: Session, now: float) -> None:
        """Routes may be exchanged."""

    def malformed_update(self, raw: RawMessage, fault: str) -> None:
        """An UPDATE had an error, whatever becomes of it and of the session."""

    def message_received(self, session: Session, message: Update | RouteRefresh, now: float) -> None:
        """An established session has something to say about routes."""

    def attempt_failed(self, reset: Reset) -> None:
        """A connection came to nothing, and the machine tries on without having been Idle."""

    def went_idle(self, session: Session, reset: Reset, now: float, *, damp: bool) -> None:
        """The machine is Idle again and does nothing until it is started or its IdleHoldTimer rings."""


class Session:
    """The machine of one connection: of ours to the peer when `outbound`, else of the peer's to us."""

    def __init__(
        self,
        config: SessionConfig,
        owner: Owner,
        entropy: Callable[[int], bytes],
        *,
        outbound: bool,
    ) -> None:
        self._config = config
        self._owner = owner
        self.outbound = outbound
        self.state = State.IDLE
        self.state_since = 0.0
        self.connection: int | None = None
        self.ours = our_open(config, bare=False)
        self.theirs: Open | None = None
        self.negotiated: Negotiated | None = None
        self.retries = 0
        self.blocked = False
        """The peer does not read: what was sent has not left yet."""
        self._timers = Timers(entropy)
        self._receiver = Receiver(self, owner)
        self._reset: Reset | None = None
        self._message: Update | RouteRefresh | None = None

    # --- inputs ---------------------------------------------------------------------------------------

    def signal(self, event: Event, now: float, reset: Reset | None = None) -> None:
        """Raise an event; `reset` says why, and with which NOTIFICATION, when the event ends something."""
        before = self.state
        transition = TRANSITIONS[before, event]
        self._reset = reset or Reset(Side.LOCAL, event.name.replace("_", " ").lower(), now)
        self._enter(transition.state, now)
        for step in transition.steps:
            if step in _NOTIFICATIONS:
                self._send_notification(_NOTIFICATIONS[step], now)
            else:
                self._steps[step](self, now)
        if before is not State.IDLE and transition.state is State.IDLE:
            self._owner.went_idle(self, self._reset, now, damp=Step.DAMP in transition.steps)

    def connected(self, connection: int, now: float) -> None:
        """TCP is up."""
        self.connection = connection
        self.blocked = False
        self._receiver = Receiver(self, self._owner)
        self.signal(Event.TCP_REQUEST_ACKED if self.outbound else Event.TCP_CONNECTION_CONFIRMED, now)

    def lost(self, detail: str, now: float) -> None:
        """TCP is down, or never came up."""
        self.connection = None
        reset = Reset(Side.TRANSPORT, detail, now)
        if self.state is State.OPEN_SENT:  # the table goes to Active, as if nothing had happened
            self._owner.attempt_failed(reset)
        self.signal(Event.TCP_CONNECTION_FAILS, now, reset)

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes of the connection; whatever they say becomes events."""
        self._receiver.receive(data, now)

    def agree(self, theirs: Open, now: float) -> None:
        """Take the peer's OPEN, or refuse it."""
        try:
            negotiated = negotiate(self._config, self.ours, theirs)
        except RemoteProtocolError as error:
            self.signal(Event.OPEN_ERROR, now, refusal(error, now))
            return
        if self._owner.open_received(self, theirs, now):
            self.theirs, self.negotiated = theirs, negotiated
            self.signal(Event.OPEN, now)

    def process(self, message: Update | RouteRefresh, now: float) -> None:
        """Pass what an established session says about routes on to the owner."""
        self._message = message
        self.signal(Event.UPDATE, now)

    def block(self, now: float) -> None:
        """What was sent does not leave: the peer must read before the SendHoldTimer rings."""
        self.blocked = True
        self._start_send_hold_timer(now)

    def unblock(self) -> None:
        """Everything that was sent has left."""
        self.blocked = False
        self._timers.stop(Timer.SEND_HOLD)

    def handle_timeout(self, now: float) -> None:
        """Ring the timers that are due, earliest first."""
        while timer := self._timers.pop_due(now):
            self._ring(timer, now)

    def next_timeout(self) -> Deadline | None:
        """Return the earliest timer of this machine."""
        return self._timers.next_timeout()

    def hold_idle(self, delay_s: float, now: float) -> None:
        """Let the machine rest in Idle for `delay_s`, less jitter."""
        self._timers.start_jittered(Timer.IDLE_HOLD, delay_s, now)

    @property
    def rests(self) -> bool:
        """Idle, with nothing that will change it."""
        return self.state is State.IDLE and not self._timers.runs(Timer.IDLE_HOLD)

    def rest(self) -> None:
        """Stay in Idle until something else happens."""
        self._timers.stop(Timer.IDLE_HOLD)

    # --- outputs --------------------------------------------------------------------------------------

    def send_update(self, update: Update, now: float) -> None:
        """Send routes; only while established."""
        if self.negotiated is None:
            raise RuntimeError("an UPDATE without an established session")
        self._send(MessageType.UPDATE, update.build(self.negotiated.context), now)
        self._restart_keepalive_timer(now)

    def send_refresh(self, now: float, subtype: RefreshSubtype = RefreshSubtype.REQUEST) -> None:
        """Ask for the peer's routes again, or mark where ours begin and end."""
        self._send(MessageType.ROUTE_REFRESH, RouteRefresh(subtype=subtype).build(), now)

    # --- steps of the table ---------------------------------------------------------------------------

    def _start_connect_retry_timer(self, now: float) -> None:
        if self.outbound:  # the machine of an incoming connection has nobody to call
            self._timers.start(Timer.CONNECT_RETRY, self._config.connect_retry_s, now)

    def _stop_connect_retry_timer(self, _: float) -> None:
        self._timers.stop(Timer.CONNECT_RETRY)

    def _connect(self, _: float) -> None:
        self.connection = self._owner.new_connection()
        self._owner.emit(Connect(self.connection))

    def _drop(self, _: float) -> None:
        if self.connection is not None:
            self._owner.emit(Close(self.connection))
        self.connection = None

    def _release(self, _: float) -> None:
        self._timers.stop(Timer.HOLD, Timer.KEEPALIVE, Timer.SEND_HOLD)
        self.theirs = self.negotiated = self._message = None

    def _zero_counter(self, _: float) -> None:
        self.retries = 0

    def _count(self, _: float) -> None:
        self.retries += 1

    def _damp(self, _: float) -> None:
        """Leave the pause to the owner, who learns of it when the machine is Idle."""

    def _send_open(self, now: float) -> None:
        self.ours = self._owner.next_open()
        self._send(MessageType.OPEN, self.ours.build(), now)

    def _start_large_hold_timer(self, now: float) -> None:
        self._timers.start(Timer.HOLD, self._config.open_timeout_s, now)

    def _start_session_timers(self, now: float) -> None:
        self._timers.stop(Timer.HOLD)
        self._restart_hold_timer(now)
        self._restart_keepalive_timer(now)

    def _restart_hold_timer(self, now: float) -> None:
        if self.negotiated is not None and self.negotiated.hold_time_s:
            self._timers.start(Timer.HOLD, self.negotiated.hold_time_s, now)

    def _restart_keepalive_timer(self, now: float) -> None:
        if self.negotiated is not None and self.negotiated.hold_time_s:
            self._timers.start_jittered(Timer.KEEPALIVE, self.negotiated.keepalive_s, now)

    def _send_keepalive(self, now: float) -> None:
        self._send(MessageType.KEEPALIVE, build_message(MessageType.KEEPALIVE), now)
        self._restart_keepalive_timer(now)

    def _establish(self, now: float) -> None:
        if self.blocked:
            self._start_send_hold_timer(now)
        self._owner.established(self, now)

    def _process(self, now: float) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._owner.message_received(self, message, now)

    _steps = {  # noqa: RUF012  a class constant beside its methods
        Step.START_CONNECT_RETRY_TIMER: _start_connect_retry_timer,
        Step.STOP_CONNECT_RETRY_TIMER: _stop_connect_retry_timer,
        Step.CONNECT: _connect,
        Step.DROP: _drop,
        Step.RELEASE: _release,
        Step.ZERO_COUNTER: _zero_counter,
        Step.COUNT: _count,
        Step.DAMP: _damp,
        Step.SEND_OPEN: _send_open,
        Step.START_LARGE_HOLD_TIMER: _start_large_hold_timer,
        Step.START_SESSION_TIMERS: _start_session_timers,
        Step.RESTART_HOLD_TIMER: _restart_hold_timer,
        Step.SEND_KEEPALIVE: _send_keepalive,
        Step.ESTABLISH: _establish,
        Step.PROCESS: _process,
    }

    # --- helpers --------------------------------------------------------------------------------------

    def _enter(self, state: State, now: float) -> None:
        if state is not self.state:
            self.state, self.state_since = state, now

    def _ring(self, timer: Timer, now: float) -> None:
        event, reset = _TIMER_EVENTS[timer], None
        if timer is Timer.IDLE_HOLD and not self.outbound:
            event = Event.AUTOMATIC_START_DAMPED_PASSIVE
        elif timer is Timer.CONNECT_RETRY and self.state is State.CONNECT:
            self._owner.attempt_failed(Reset(Side.TRANSPORT, NO_SYN_ANSWER, now))
        elif timer is Timer.HOLD:
            reset = Reset(Side.LOCAL, self._silence(), now)
        elif timer is Timer.SEND_HOLD:
            reset = Reset(Side.LOCAL, "the peer does not read what we send", now)
        self.signal(event, now, reset)

    def _start_send_hold_timer(self, now: float) -> None:
        if self.state is State.ESTABLISHED and self.negotiated is not None:
            delay_s = self._config.send_hold_s(self.negotiated.hold_time_s)
            if delay_s:
                self._timers.start(Timer.SEND_HOLD, delay_s, now)

    def _silence(self) -> str:
        if self.negotiated is None:
            return f"no OPEN within {self._config.open_timeout_s:g} s"
        return f"nothing heard for {self.negotiated.hold_time_s} s"

    def _send_notification(self, default: Notification, now: float) -> None:
        """Send what the reset carries, or the default, and let the reset say so."""
        if self._reset is not None and self.connection is not None:
            notification = self._reset.notification or default
            self._reset = replace(self._reset, notification=notification)
            self._send(MessageType.NOTIFICATION, notification.build(), now)

    def _send(self, kind: MessageType, message: bytes, now: float) -> None:
        if self.connection is not None:
            self._owner.count_message(kind, now, sent=True)
            self._owner.emit(Send(self.connection, message))
