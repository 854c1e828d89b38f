"""The BGP finite state machine of RFC 4271 8.2.2 as a table.

                 start                       start, passive
      +------------------- Idle ----------------------------+
      v                      ^                               v
   Connect <---------------- | ---------------------------- Active
      |      retry timer     | any error, any stop           |
      |                      |                               |
      +---- TCP is up ---> OpenSent <------- TCP is up ------+
                             |  OPEN
                             v
                         OpenConfirm
                             |  KEEPALIVE
                             v
                         Established

One machine belongs to one TCP connection (8.2.1.2). The table has a row for each of the six states and each
of the 29 events, and a state changes in no other way. DelayOpen is not supported, so events 12 and 20 are
never raised; their rows are those of "any other event".

Where the rows leave the letter of 8.2.2:
* A NOTIFICATION in OpenSent ends the connection silently. 8.2.2 would answer it with an FSM error, which
  6.4 forbids.
* A bad header or a bad OPEN in Established is answered with its own error, as 6.1 and 6.2 demand.
* Event 29 is that of RFC 9687, and Established alone raises it.
* A second OPEN on one connection is an FSM error (RFC 6608 4); collisions lie between two connections.
* An established session that the peer ended is damped too: a peer that resets every session it has
  opened is an oscillation like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(Enum):
    """RFC 4271 8.2.2; the value is the name that operators know."""

    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"


class Event(IntEnum):
    """RFC 4271 8.1 and RFC 9687 3.2, by their numbers."""

    MANUAL_START = 1
    MANUAL_STOP = 2
    AUTOMATIC_START = 3
    MANUAL_START_PASSIVE = 4
    AUTOMATIC_START_PASSIVE = 5
    AUTOMATIC_START_DAMPED = 6
    AUTOMATIC_START_DAMPED_PASSIVE = 7
    AUTOMATIC_STOP = 8
    CONNECT_RETRY_TIMER_EXPIRES = 9
    HOLD_TIMER_EXPIRES = 10
    KEEPALIVE_TIMER_EXPIRES = 11
    DELAY_OPEN_TIMER_EXPIRES = 12
    IDLE_HOLD_TIMER_EXPIRES = 13
    TCP_CONNECTION_VALID = 14
    TCP_REQUEST_INVALID = 15
    TCP_REQUEST_ACKED = 16
    TCP_CONNECTION_CONFIRMED = 17
    TCP_CONNECTION_FAILS = 18
    OPEN = 19
    OPEN_WITH_DELAY_TIMER = 20
    HEADER_ERROR = 21
    OPEN_ERROR = 22
    COLLISION_DUMP = 23
    NOTIFICATION_VERSION_ERROR = 24
    NOTIFICATION = 25
    KEEPALIVE = 26
    UPDATE = 27
    UPDATE_ERROR = 28
    SEND_HOLD_TIMER_EXPIRES = 29


class Step(Enum):
    """The actions that 8.2.2 lists, in its words."""

    START_CONNECT_RETRY_TIMER = "starts the ConnectRetryTimer"
    STOP_CONNECT_RETRY_TIMER = "sets the ConnectRetryTimer to zero"
    CONNECT = "initiates a TCP connection to the other BGP peer"
    DROP = "drops the TCP connection"
    RELEASE = "releases all BGP resources"
    ZERO_COUNTER = "sets ConnectRetryCounter to zero"
    COUNT = "increments the ConnectRetryCounter by 1"
    DAMP = "performs peer oscillation damping"
    SEND_OPEN = "sends an OPEN message to its peer"
    START_LARGE_HOLD_TIMER = "sets the HoldTimer to a large value"
    START_SESSION_TIMERS = "sets the HoldTimer and the KeepaliveTimer by the negotiated value"
    RESTART_HOLD_TIMER = "restarts its HoldTimer"
    SEND_KEEPALIVE = "sends a KEEPALIVE message"
    SEND_CEASE = "sends the NOTIFICATION with a Cease"
    SEND_HOLD_EXPIRED = "sends a NOTIFICATION with the error code Hold Timer Expired"
    SEND_BLOCKED = "sends a NOTIFICATION with the error code Send Hold Timer Expired"
    SEND_FSM_ERROR = "sends the NOTIFICATION with the Error Code Finite State Machine Error"
    SEND_ERROR = "sends a NOTIFICATION message with the appropriate error code"
    ESTABLISH = "exchanges the routes"
    PROCESS = "processes the message"


@dataclass(frozen=True, slots=True)
class Transition:
    """What an event does in a state, in order, and the state after it."""

    steps: tuple[Step, ...]
    state: State


_STARTS = (
    Event.MANUAL_START,
    Event.AUTOMATIC_START,
    Event.MANUAL_START_PASSIVE,
    Event.AUTOMATIC_START_PASSIVE,
    Event.AUTOMATIC_START_DAMPED,
    Event.AUTOMATIC_START_DAMPED_PASSIVE,
)
_TRACKED = (
    Event.TCP_CONNECTION_VALID,
    Event.TCP_REQUEST_INVALID,
    Event.TCP_REQUEST_ACKED,
    Event.TCP_CONNECTION_CONFIRMED,
)
_TCP_UP = (Event.TCP_REQUEST_ACKED, Event.TCP_CONNECTION_CONFIRMED)
_PEER_LEFT = (Event.TCP_CONNECTION_FAILS, Event.NOTIFICATION)
_BAD_MESSAGE = (Event.HEADER_ERROR, Event.OPEN_ERROR)

_CLEAR = (Step.STOP_CONNECT_RETRY_TIMER, Step.RELEASE, Step.DROP)
_STOP = (*_CLEAR, Step.ZERO_COUNTER)
_FAIL = (*_CLEAR, Step.COUNT, Step.DAMP)

_Row = tuple["Iterable[Event]", tuple[Step, ...], State]

_IDLE: tuple[_Row, ...] = (
    (
        (Event.MANUAL_START, Event.AUTOMATIC_START),
        (Step.ZERO_COUNTER, Step.START_CONNECT_RETRY_TIMER, Step.CONNECT),
        State.CONNECT,
    ),
    (
        (Event.AUTOMATIC_START_DAMPED, Event.IDLE_HOLD_TIMER_EXPIRES),
        (Step.START_CONNECT_RETRY_TIMER, Step.CONNECT),
        State.CONNECT,
    ),
    (
        (Event.MANUAL_START_PASSIVE, Event.AUTOMATIC_START_PASSIVE),
        (Step.ZERO_COUNTER, Step.START_CONNECT_RETRY_TIMER),
        State.ACTIVE,
    ),
    ((Event.AUTOMATIC_START_DAMPED_PASSIVE,), (Step.START_CONNECT_RETRY_TIMER,), State.ACTIVE),
)
_CONNECT: tuple[_Row, ...] = (
    (_STARTS, (), State.CONNECT),
    ((Event.MANUAL_STOP,), _STOP, State.IDLE),
    (
        (Event.CONNECT_RETRY_TIMER_EXPIRES,),
        (Step.DROP, Step.START_CONNECT_RETRY_TIMER, Step.CONNECT),
        State.CONNECT,
    ),
    ((Event.TCP_CONNECTION_VALID, Event.TCP_REQUEST_INVALID), (), State.CONNECT),
    (
        _TCP_UP,
        (Step.STOP_CONNECT_RETRY_TIMER, Step.SEND_OPEN, Step.START_LARGE_HOLD_TIMER),
        State.OPEN_SENT,
    ),
    ((Event.TCP_CONNECTION_FAILS,), _CLEAR, State.IDLE),
)
_ACTIVE: tuple[_Row, ...] = (
    (_STARTS, (), State.ACTIVE),
    ((Event.MANUAL_STOP,), _STOP, State.IDLE),
    (
        (Event.CONNECT_RETRY_TIMER_EXPIRES,),
        (Step.START_CONNECT_RETRY_TIMER, Step.CONNECT),
        State.CONNECT,
    ),
    ((Event.TCP_CONNECTION_VALID, Event.TCP_REQUEST_INVALID), (), State.ACTIVE),
    (
        _TCP_UP,
        (Step.STOP_CONNECT_RETRY_TIMER, Step.SEND_OPEN, Step.START_LARGE_HOLD_TIMER),
        State.OPEN_SENT,
    ),
    (
        (Event.TCP_CONNECTION_FAILS,),
        (Step.START_CONNECT_RETRY_TIMER, Step.RELEASE, Step.COUNT, Step.DAMP),
        State.IDLE,
    ),
)
_OPEN_SENT: tuple[_Row, ...] = (
    (_STARTS, (), State.OPEN_SENT),
    (_TRACKED, (), State.OPEN_SENT),
    ((Event.MANUAL_STOP,), (Step.SEND_CEASE, *_STOP), State.IDLE),
    ((Event.AUTOMATIC_STOP, Event.COLLISION_DUMP), (Step.SEND_CEASE, *_FAIL), State.IDLE),
    ((Event.HOLD_TIMER_EXPIRES,), (Step.SEND_HOLD_EXPIRED, *_FAIL), State.IDLE),
    (
        (Event.TCP_CONNECTION_FAILS,),
        (Step.RELEASE, Step.DROP, Step.START_CONNECT_RETRY_TIMER),
        State.ACTIVE,
    ),
    (
        (Event.OPEN,),
        (Step.STOP_CONNECT_RETRY_TIMER, Step.SEND_KEEPALIVE, Step.START_SESSION_TIMERS),
        State.OPEN_CONFIRM,
    ),
    (_BAD_MESSAGE, (Step.SEND_ERROR, *_FAIL), State.IDLE),
    ((Event.NOTIFICATION_VERSION_ERROR,), _CLEAR, State.IDLE),
    ((Event.NOTIFICATION,), _FAIL, State.IDLE),
)
_OPEN_CONFIRM: tuple[_Row, ...] = (
    (_STARTS, (), State.OPEN_CONFIRM),
    (_TRACKED, (), State.OPEN_CONFIRM),
    ((Event.MANUAL_STOP,), (Step.SEND_CEASE, *_STOP), State.IDLE),
    ((Event.AUTOMATIC_STOP, Event.COLLISION_DUMP), (Step.SEND_CEASE, *_FAIL), State.IDLE),
    ((Event.HOLD_TIMER_EXPIRES,), (Step.SEND_HOLD_EXPIRED, *_FAIL), State.IDLE),
    ((Event.KEEPALIVE_TIMER_EXPIRES,), (Step.SEND_KEEPALIVE,), State.OPEN_CONFIRM),
    (_PEER_LEFT, _FAIL, State.IDLE),
    ((Event.NOTIFICATION_VERSION_ERROR,), _CLEAR, State.IDLE),
    (_BAD_MESSAGE, (Step.SEND_ERROR, *_FAIL), State.IDLE),
    ((Event.KEEPALIVE,), (Step.RESTART_HOLD_TIMER, Step.ESTABLISH), State.ESTABLISHED),
)
_ESTABLISHED: tuple[_Row, ...] = (
    (_STARTS, (), State.ESTABLISHED),
    (_TRACKED, (), State.ESTABLISHED),
    ((Event.MANUAL_STOP,), (Step.SEND_CEASE, *_STOP), State.IDLE),
    ((Event.AUTOMATIC_STOP, Event.COLLISION_DUMP), (Step.SEND_CEASE, *_FAIL), State.IDLE),
    ((Event.HOLD_TIMER_EXPIRES,), (Step.SEND_HOLD_EXPIRED, *_FAIL), State.IDLE),
    ((Event.SEND_HOLD_TIMER_EXPIRES,), (Step.SEND_BLOCKED, *_FAIL), State.IDLE),
    ((Event.KEEPALIVE_TIMER_EXPIRES,), (Step.SEND_KEEPALIVE,), State.ESTABLISHED),
    ((*_PEER_LEFT, Event.NOTIFICATION_VERSION_ERROR), _FAIL, State.IDLE),
    ((Event.KEEPALIVE,), (Step.RESTART_HOLD_TIMER,), State.ESTABLISHED),
    ((Event.UPDATE,), (Step.RESTART_HOLD_TIMER, Step.PROCESS), State.ESTABLISHED),
    ((*_BAD_MESSAGE, Event.UPDATE_ERROR), (Step.SEND_ERROR, *_FAIL), State.IDLE),
)


def _complete(
    state: State, rows: tuple[_Row, ...], otherwise: Transition
) -> dict[tuple[State, Event], Transition]:
    table = {(state, event): otherwise for event in Event}
    for events, steps, after in rows:
        table.update({(state, event): Transition(steps, after) for event in events})
    return table


_GIVE_UP = Transition(_FAIL, State.IDLE)
_UNEXPECTED = Transition((Step.SEND_FSM_ERROR, *_FAIL), State.IDLE)

TRANSITIONS: dict[tuple[State, Event], Transition] = {
    **_complete(State.IDLE, _IDLE, Transition((), State.IDLE)),
    **_complete(State.CONNECT, _CONNECT, _GIVE_UP),
    **_complete(State.ACTIVE, _ACTIVE, _GIVE_UP),
    **_complete(State.OPEN_SENT, _OPEN_SENT, _UNEXPECTED),
    **_complete(State.OPEN_CONFIRM, _OPEN_CONFIRM, _UNEXPECTED),
    **_complete(State.ESTABLISHED, _ESTABLISHED, _UNEXPECTED),
}
