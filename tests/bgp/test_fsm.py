"""RFC 4271 8.2.2 and RFC 9687: the table, and a session that obeys it for every (state, event)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bgp.pair import CPE, DC, entropy
from vcstack.bgp.events import Action, Close, Connect, Reset, Send, Side
from vcstack.bgp.fsm import TRANSITIONS, Event, State, Step
from vcstack.bgp.iana import CeaseSubcode, ErrorCode, MessageType
from vcstack.bgp.negotiation import negotiate, our_open
from vcstack.bgp.session import Session
from vcstack.bgp.wire.notification import Notification, cease, parse_notification

if TYPE_CHECKING:
    from vcstack.bgp.wire.open import Open
    from vcstack.bgp.wire.refresh import RouteRefresh
    from vcstack.bgp.wire.stream import RawMessage
    from vcstack.bgp.wire.update import Update

PAIRS = [(state, event) for state in State for event in Event]
CONNECTED = {State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED}
NOTIFYING = {Step.SEND_CEASE, Step.SEND_HOLD_EXPIRED, Step.SEND_BLOCKED, Step.SEND_FSM_ERROR, Step.SEND_ERROR}
STARTS = [Event(number) for number in (1, 3, 4, 5, 6, 7)]


class FakeOwner:
    """Takes what a session gives and keeps it."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.idle: list[tuple[Reset, bool]] = []
        self.connections = 0

    def next_open(self) -> Open:
        return our_open(CPE, bare=False)

    def new_connection(self) -> int:
        self.connections += 1
        return self.connections

    def emit(self, action: Action) -> None:
        self.actions.append(action)

    def count_message(self, kind: MessageType, now: float, *, sent: bool) -> None: ...

    def open_received(self, session: Session, received: Open, now: float) -> bool:
        return True

    def notification_received(self, session: Session, notification: Notification, now: float) -> None: ...

    def established(self, session: Session, now: float) -> None: ...

    def malformed_update(self, raw: RawMessage, fault: str) -> None: ...

    def message_received(self, session: Session, message: Update | RouteRefresh, now: float) -> None: ...

    def attempt_failed(self, reset: Reset) -> None: ...

    def went_idle(self, session: Session, reset: Reset, now: float, *, damp: bool) -> None:
        self.idle.append((reset, damp))

    def notifications(self) -> list[Notification]:
        sent = [action.data for action in self.actions if isinstance(action, Send)]
        return [parse_notification(data[19:]) for data in sent if data[18] == MessageType.NOTIFICATION]


def session_in(state: State) -> tuple[Session, FakeOwner]:
    """A session that has come to `state` by events."""
    owner = FakeOwner()
    session = Session(CPE, owner, entropy(), outbound=True)
    if state is State.ACTIVE:
        session.signal(Event.MANUAL_START_PASSIVE, 0.0)
    elif state is not State.IDLE:
        session.signal(Event.MANUAL_START, 0.0)
    if state in CONNECTED:
        session.connected(owner.connections, 0.0)
    if state in {State.OPEN_CONFIRM, State.ESTABLISHED}:
        theirs = our_open(CPE, bare=False)
        session.theirs, session.negotiated = (
            theirs,
            negotiate(replace(DC, remote_as=CPE.local_as), session.ours, theirs),
        )
        session.signal(Event.OPEN, 0.0)
    if state is State.ESTABLISHED:
        session.signal(Event.KEEPALIVE, 0.0)
    assert session.state is state
    owner.actions.clear()
    return session, owner


def test_every_state_has_a_row_for_every_event() -> None:
    assert set(TRANSITIONS) == set(PAIRS)
    assert len(PAIRS) == 6 * 29


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_a_session_obeys_the_table(state: State, event: Event) -> None:
    session, owner = session_in(state)
    transition = TRANSITIONS[state, event]
    session.signal(event, 1.0)
    assert session.state is transition.state
    assert len(owner.notifications()) == len(NOTIFYING & set(transition.steps))
    closes = [action for action in owner.actions if isinstance(action, Close)]
    had_connection = state in CONNECTED | {State.CONNECT}
    assert len(closes) == (had_connection and Step.DROP in transition.steps)
    assert any(isinstance(action, Connect) for action in owner.actions) == (Step.CONNECT in transition.steps)
    went_idle = state is not State.IDLE and transition.state is State.IDLE
    assert [damp for _, damp in owner.idle] == ([Step.DAMP in transition.steps] if went_idle else [])
    if session.state is State.IDLE and state is not State.IDLE:
        assert session.connection is None
        left = session.next_timeout()
        assert left is None or (state, event) == (State.ACTIVE, Event.TCP_CONNECTION_FAILS)


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_starts_are_ignored_after_the_first(state: State) -> None:
    for event in STARTS:
        transition = TRANSITIONS[state, event]
        assert (transition.state is state and not transition.steps) == (state is not State.IDLE)


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_a_stop_ends_in_idle_and_forgives(state: State) -> None:
    transition = TRANSITIONS[state, Event.MANUAL_STOP]
    assert transition.state is State.IDLE
    if state is not State.IDLE:
        assert Step.ZERO_COUNTER in transition.steps
        assert (Step.SEND_CEASE in transition.steps) == (state in CONNECTED)
        assert Step.DAMP not in transition.steps


def test_rows_that_8_2_2_spells_out() -> None:
    rows = {
        (State.IDLE, Event.MANUAL_START): State.CONNECT,
        (State.IDLE, Event.MANUAL_START_PASSIVE): State.ACTIVE,
        (State.IDLE, Event.TCP_CONNECTION_CONFIRMED): State.IDLE,
        (State.CONNECT, Event.TCP_REQUEST_ACKED): State.OPEN_SENT,
        (State.CONNECT, Event.TCP_CONNECTION_FAILS): State.IDLE,
        (State.CONNECT, Event.CONNECT_RETRY_TIMER_EXPIRES): State.CONNECT,
        (State.ACTIVE, Event.CONNECT_RETRY_TIMER_EXPIRES): State.CONNECT,
        (State.ACTIVE, Event.TCP_CONNECTION_CONFIRMED): State.OPEN_SENT,
        (State.OPEN_SENT, Event.TCP_CONNECTION_FAILS): State.ACTIVE,
        (State.OPEN_SENT, Event.OPEN): State.OPEN_CONFIRM,
        (State.OPEN_CONFIRM, Event.KEEPALIVE): State.ESTABLISHED,
        (State.OPEN_CONFIRM, Event.KEEPALIVE_TIMER_EXPIRES): State.OPEN_CONFIRM,
        (State.ESTABLISHED, Event.UPDATE): State.ESTABLISHED,
        (State.ESTABLISHED, Event.UPDATE_ERROR): State.IDLE,
        (State.ESTABLISHED, Event.HOLD_TIMER_EXPIRES): State.IDLE,
    }
    assert {pair: TRANSITIONS[pair].state for pair in rows} == rows


def test_a_notification_is_never_answered() -> None:
    """RFC 4271 6.4."""
    for state in State:
        for event in (Event.NOTIFICATION, Event.NOTIFICATION_VERSION_ERROR):
            assert not any(step.name.startswith("SEND_") for step in TRANSITIONS[state, event].steps)


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        (State.OPEN_SENT, Event.HOLD_TIMER_EXPIRES, ErrorCode.HOLD_TIMER_EXPIRED),
        (State.OPEN_CONFIRM, Event.COLLISION_DUMP, ErrorCode.CEASE),
        (State.OPEN_SENT, Event.UPDATE, ErrorCode.FSM_ERROR),
        (State.OPEN_CONFIRM, Event.OPEN, ErrorCode.FSM_ERROR),
        (State.ESTABLISHED, Event.OPEN, ErrorCode.FSM_ERROR),
    ],
)
def test_the_notification_of_an_event(state: State, event: Event, code: ErrorCode) -> None:
    session, owner = session_in(state)
    session.signal(event, 1.0)
    assert [sent.code for sent in owner.notifications()] == [code]
    assert owner.idle[0][0].notification == owner.notifications()[0]


def test_a_reset_brings_its_own_notification() -> None:
    session, owner = session_in(State.ESTABLISHED)
    words = cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, "good night")
    session.signal(Event.MANUAL_STOP, 1.0, Reset(Side.LOCAL, "", 1.0, words))
    assert owner.notifications() == [words]
    assert str(owner.idle[0][0]) == 'we said: Cease/Administrative Shutdown (6/2): "good night"'


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(Event), max_size=25))
def test_any_sequence_of_events(events: list[Event]) -> None:
    """The state follows from the table alone, and no event is too much for a session."""
    session, _ = session_in(State.IDLE)
    state = State.IDLE
    for number, event in enumerate(events):
        session.signal(event, float(number))
        state = TRANSITIONS[state, event].state
        assert session.state is state


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.IDLE}
    while more := {t.state for (s, _), t in TRANSITIONS.items() if s in reached} - reached:
        reached |= more
    assert reached == set(State)
