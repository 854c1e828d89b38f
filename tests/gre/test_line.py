from itertools import product

import pytest

from vcstack.gre.line import LINE_UP, TRANSITIONS, Input, State


def test_every_pair_has_a_row() -> None:
    assert set(TRANSITIONS) == set(product(State, Input))


@pytest.mark.parametrize("state", list(State))
def test_stop_ends_everywhere_and_only_answers_take_a_probed_line_up(state: State) -> None:
    assert TRANSITIONS[state, Input.STOP] is State.STOPPED
    risen = {event for event in Input if TRANSITIONS[state, event] in LINE_UP and state not in LINE_UP}
    allowed = {
        State.STOPPED: {Input.ASSUME},
        State.WAITING: {Input.REPLY},
        State.HOLD: {Input.REPLY},
        State.DOWN: {Input.REPLY},
    }
    assert risen == allowed.get(state, set())


@pytest.mark.parametrize("state", list(State))
def test_only_silence_or_a_stop_takes_a_line_down(state: State) -> None:
    if state in LINE_UP:
        fallen = {event for event in Input if TRANSITIONS[state, event] not in LINE_UP}
        assert fallen == ({Input.STOP} if state is State.ASSUMED else {Input.STOP, Input.UNANSWERED})


def test_only_damping_leads_to_hold() -> None:
    into = {event for (state, event), to in TRANSITIONS.items() if to is State.HOLD and state is not to}
    assert into == {Input.TRIAL, Input.RESUME}


def test_every_state_is_reached() -> None:
    reached = {State.STOPPED}
    while True:
        more = {TRANSITIONS[state, event] for state in reached for event in Input} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(State)
