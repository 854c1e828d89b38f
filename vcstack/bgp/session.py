"""One TCP connection and its state machine (RFC 4271 8.2.1.2); fsm.py has the diagram and the table.

A Session does what the table's steps say: it keeps the connection's timers, cuts the byte stream into
messages, and speaks OPEN, KEEPALIVE and NOTIFICATION. What lies beyond one connection (collisions, damping,
routes) is its owner's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from vcstack.bgp.errors import RemoteProtocolError
from vcstack.bgp.events import Action, Close, Connect, Reset, Send, Side
from vcstack.bgp.fsm import TRANSITIONS, Event, State, Step
from vcstack.bgp.iana import ErrorCode, FsmSubcode, MessageType, OpenSubcode
from vcstack.bgp.negotiation import Negotiated, negotiate, our_open
from vcstack.bgp.timers import Timer, Timers
from vcstack.bgp.wire.notification import Notification, notification_for, parse_notification
from vcstack.bgp.wire.open import Open, parse_open
from vcstack.bgp.wire.refresh import RouteRefresh, parse_refresh
from vcstack.bgp.wire.stream import RawMessage, Stream, build_message
from vcstack.bgp.wire.update import Update, parse_update

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.bgp.config import SessionConfig
    from vcstack.wire.deadline import Deadline

_TIMER_EVENTS = {
    Timer.CONNECT_RETRY: Event.CONNECT_RETRY_TIMER_EXPIRES,
    Timer.HOLD: Event.HOLD_TIMER_EXPIRES,
    Timer.KEEPALIVE: Event.KEEPALIVE_TIMER_EXPIRES,
    Timer.IDLE_HOLD: Event.IDLE_HOLD_TIMER_EXPIRES,
}
_FSM_SUBCODES = {
    State.OPEN_SENT: FsmSubcode.UNEXPECTED_MESSAGE_IN_OPENSENT,
    State.OPEN_CONFIRM: FsmSubcode.UNEXPECTED_MESSAGE_IN_OPENCONFIRM,
    State.ESTABLISHED: FsmSubcode.UNEXPECTED_MESSAGE_IN_ESTABLISHED,
}
NO_SYN_ANSWER = "no answer to our SYN: peer down, TCP 179 filtered, or BGP password differs"


class Owner(Protocol):
    """What a session needs of the peer it belongs to."""

    @property
    def bare_open(self) -> bool:
        """The next OPEN has no capabilities."""

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
        self._timers = Timers(entropy)
        self._stream = Stream()
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
            self._steps[step](self, now)
        if before is not State.IDLE and transition.state is State.IDLE:
            self._owner.went_idle(self, self._reset, now, damp=Step.DAMP in transition.steps)

    def connected(self, connection: int, now: float) -> None:
        """TCP is up."""
        self.connection = connection
        self._stream = Stream()
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
        connection = self.connection
        self._stream.feed(data)
        while self.connection is not None and self.connection == connection:
            try:
                raw = self._stream.next_message()
            except RemoteProtocolError as error:
                self._refuse(Event.HEADER_ERROR, error, now)
                return
            if raw is None:
                return
            self._owner.count_message(raw.type, now, sent=False)
            self._handlers[raw.type](self, raw, now)

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

    def send_refresh(self, now: float) -> None:
        """Ask for the peer's routes again."""
        self._send(MessageType.ROUTE_REFRESH, RouteRefresh().build(), now)

    # --- messages -------------------------------------------------------------------------------------

    def _receive_open(self, raw: RawMessage, now: float) -> None:
        if self.state is not State.OPEN_SENT:
            self._receive_unexpected(raw, Event.OPEN, now)
            return
        try:
            theirs = parse_open(raw.body)
            negotiated = negotiate(self._config, self.ours, theirs)
        except RemoteProtocolError as error:
            self._refuse(Event.OPEN_ERROR, error, now)
            return
        if self._owner.open_received(self, theirs, now):
            self.theirs, self.negotiated = theirs, negotiated
            self.signal(Event.OPEN, now)

    def _receive_update(self, raw: RawMessage, now: float) -> None:
        if self.state is not State.ESTABLISHED or self.negotiated is None:
            self._receive_unexpected(raw, Event.UPDATE, now)
            return
        try:
            self._message = parse_update(raw.body, self.negotiated.context)
        except RemoteProtocolError as error:
            self._refuse(Event.UPDATE_ERROR, error, now)
            return
        self.signal(Event.UPDATE, now)

    def _receive_refresh(self, raw: RawMessage, now: float) -> None:
        if self.state is not State.ESTABLISHED:
            self._receive_unexpected(raw, Event.UPDATE, now)
            return
        self._message = parse_refresh(raw.body)
        self.signal(Event.UPDATE, now)

    def _receive_keepalive(self, raw: RawMessage, now: float) -> None:
        self._receive_unexpected(raw, Event.KEEPALIVE, now)

    def _receive_notification(self, raw: RawMessage, now: float) -> None:
        notification = parse_notification(raw.body)
        self._owner.notification_received(self, notification, now)
        wrong_version = (ErrorCode.OPEN_MESSAGE_ERROR, OpenSubcode.UNSUPPORTED_VERSION_NUMBER)
        is_version = (notification.code, notification.subcode) == wrong_version
        event = Event.NOTIFICATION_VERSION_ERROR if is_version else Event.NOTIFICATION
        self.signal(event, now, Reset(Side.REMOTE, "", now, notification))

    def _receive_unexpected(self, raw: RawMessage, event: Event, now: float) -> None:
        """Raise `event`; where the table has no use for it, the FSM error names the message (RFC 6608 4)."""
        subcode = _FSM_SUBCODES.get(self.state, FsmSubcode.UNSPECIFIED_ERROR)
        notification = Notification(ErrorCode.FSM_ERROR, subcode, bytes((raw.type,)))
        detail = f"{raw.type.name} in {self.state.value}"
        self.signal(event, now, Reset(Side.LOCAL, detail, now, notification))

    _handlers = {  # noqa: RUF012  a class constant beside its methods
        MessageType.OPEN: _receive_open,
        MessageType.UPDATE: _receive_update,
        MessageType.KEEPALIVE: _receive_keepalive,
        MessageType.NOTIFICATION: _receive_notification,
        MessageType.ROUTE_REFRESH: _receive_refresh,
    }

    def _refuse(self, event: Event, error: RemoteProtocolError, now: float) -> None:
        self.signal(event, now, Reset(Side.LOCAL, error.detail, now, notification_for(error)))

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
        self._timers.stop(Timer.HOLD, Timer.KEEPALIVE)
        self.theirs = self.negotiated = self._message = None

    def _zero_counter(self, _: float) -> None:
        self.retries = 0

    def _count(self, _: float) -> None:
        self.retries += 1

    def _damp(self, _: float) -> None:
        """Leave the pause to the owner, who learns of it when the machine is Idle."""

    def _send_open(self, now: float) -> None:
        self.ours = our_open(self._config, bare=self._owner.bare_open)
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

    def _send_cease(self, now: float) -> None:
        self._send_notification(Notification(ErrorCode.CEASE), now)

    def _send_hold_expired(self, now: float) -> None:
        self._send_notification(Notification(ErrorCode.HOLD_TIMER_EXPIRED), now)

    def _send_fsm_error(self, now: float) -> None:
        self._send_notification(Notification(ErrorCode.FSM_ERROR), now)

    def _send_error(self, now: float) -> None:
        self._send_notification(Notification(ErrorCode.CEASE), now)

    def _establish(self, now: float) -> None:
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
        Step.SEND_CEASE: _send_cease,
        Step.SEND_HOLD_EXPIRED: _send_hold_expired,
        Step.SEND_FSM_ERROR: _send_fsm_error,
        Step.SEND_ERROR: _send_error,
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
        self.signal(event, now, reset)

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
