"""What the bytes of a connection mean to its machine: messages, events, and the resets they may cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.bgp.errors import RemoteProtocolError, UpdateError
from vcstack.bgp.events import Reset, Side
from vcstack.bgp.fsm import Event, State
from vcstack.bgp.iana import ErrorCode, FsmSubcode, MessageType, OpenSubcode
from vcstack.bgp.wire.notification import Notification, notification_for, parse_notification
from vcstack.bgp.wire.open import Open, parse_open
from vcstack.bgp.wire.refresh import RouteRefresh, parse_refresh
from vcstack.bgp.wire.stream import Stream
from vcstack.bgp.wire.update import Update, parse_update

if TYPE_CHECKING:
    from vcstack.bgp.negotiation import Negotiated
    from vcstack.bgp.session import Owner, Session
    from vcstack.bgp.wire.stream import RawMessage

_FSM_SUBCODES = {
    State.OPEN_SENT: FsmSubcode.UNEXPECTED_MESSAGE_IN_OPENSENT,
    State.OPEN_CONFIRM: FsmSubcode.UNEXPECTED_MESSAGE_IN_OPENCONFIRM,
    State.ESTABLISHED: FsmSubcode.UNEXPECTED_MESSAGE_IN_ESTABLISHED,
}
_VERSION_ERROR = (ErrorCode.OPEN_MESSAGE_ERROR, OpenSubcode.UNSUPPORTED_VERSION_NUMBER)


@dataclass(frozen=True, slots=True)
class Reading:
    """The event of a message, the value in it, and why and with which NOTIFICATION it may end the session.

    `fault` says what was wrong in an UPDATE, also in one that ends nothing.
    """

    event: Event
    value: Open | Update | RouteRefresh | Notification | None = None
    reset: Reset | None = None
    fault: str = ""


def read(raw: RawMessage, state: State, terms: Negotiated | None, now: float) -> Reading:
    """Read a message that arrived in `state`, between speakers that have agreed on `terms`."""
    try:
        return _read(raw, state, terms, now)
    except UpdateError as error:
        return Reading(Event.UPDATE_ERROR, reset=refusal(error, now), fault=error.detail)
    except RemoteProtocolError as error:
        event = Event.OPEN_ERROR if raw.type == MessageType.OPEN else Event.UPDATE_ERROR
        return Reading(event, reset=refusal(error, now))


def refusal(error: RemoteProtocolError, now: float) -> Reset:
    """Make the reset that answers what the peer did wrong."""
    return Reset(Side.LOCAL, error.detail, now, notification_for(error))


def _read(raw: RawMessage, state: State, terms: Negotiated | None, now: float) -> Reading:
    if raw.type == MessageType.NOTIFICATION:
        return _read_notification(raw, now)
    if raw.type == MessageType.OPEN:
        value = parse_open(raw.body) if state is State.OPEN_SENT else None
        return Reading(Event.OPEN, value, _unexpected(raw, state, now))
    if raw.type == MessageType.KEEPALIVE:
        return Reading(Event.KEEPALIVE, reset=_unexpected(raw, state, now))
    if state is not State.ESTABLISHED or terms is None:
        return Reading(Event.UPDATE, reset=_unexpected(raw, state, now))
    if raw.type == MessageType.ROUTE_REFRESH:
        return Reading(Event.UPDATE, parse_refresh(raw.body, enhanced=terms.enhanced_refresh))
    update = parse_update(raw.body, terms.context)
    return Reading(Event.UPDATE, update, fault="; ".join(fault.detail for fault in update.faults))


def _read_notification(raw: RawMessage, now: float) -> Reading:
    notification = parse_notification(raw.body)
    is_version = (notification.code, notification.subcode) == _VERSION_ERROR
    event = Event.NOTIFICATION_VERSION_ERROR if is_version else Event.NOTIFICATION
    return Reading(event, notification, Reset(Side.REMOTE, "", now, notification))


def _unexpected(raw: RawMessage, state: State, now: float) -> Reset:
    """Where the table has no use for a message, the FSM error names it (RFC 6608 4)."""
    subcode = _FSM_SUBCODES.get(state, FsmSubcode.UNSPECIFIED_ERROR)
    notification = Notification(ErrorCode.FSM_ERROR, subcode, bytes((raw.type,)))
    return Reset(Side.LOCAL, f"{raw.type.name} in {state.value}", now, notification)


class Receiver:
    """The receiving end of one TCP connection."""

    def __init__(self, session: Session, owner: Owner) -> None:
        self._session = session
        self._owner = owner
        self._stream = Stream()

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes; nothing behind the message that ends the connection is read."""
        session, connection = self._session, self._session.connection
        self._stream.feed(data)
        while session.connection is not None and session.connection == connection:
            try:
                raw = self._stream.next_message()
            except RemoteProtocolError as error:
                session.signal(Event.HEADER_ERROR, now, refusal(error, now))
                return
            if raw is None:
                return
            self._owner.count_message(raw.type, now, sent=False)
            self._take(raw, now)

    def _take(self, raw: RawMessage, now: float) -> None:
        session = self._session
        reading = read(raw, session.state, session.negotiated, now)
        if reading.fault:
            self._owner.malformed_update(raw, reading.fault)
        match reading.value:
            case Open() as theirs:
                session.agree(theirs, now)
                return
            case Update() | RouteRefresh() as message:
                session.process(message, now)
                return
            case Notification() as notification:
                self._owner.notification_received(session, notification, now)
        session.signal(reading.event, now, reading.reset)
