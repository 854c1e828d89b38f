"""The transition tables: every pair of state and input either is in the table or is refused."""

from itertools import product

import pytest

from vcstack.ikev2.states import (
    CHILD_TRANSITIONS,
    IKE_TRANSITIONS,
    ChildInput,
    ChildState,
    IkeInput,
    IkeState,
    TransitionError,
    advance_child,
    advance_ike,
)


@pytest.mark.parametrize(("state", "event"), list(product(IkeState, IkeInput)))
def test_every_pair_of_an_ike_sa(state: IkeState, event: IkeInput) -> None:
    if (state, event) in IKE_TRANSITIONS:
        assert advance_ike(state, event) is IKE_TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionError, match="IKE SA"):
            advance_ike(state, event)


@pytest.mark.parametrize(("state", "event"), list(product(ChildState, ChildInput)))
def test_every_pair_of_a_child(state: ChildState, event: ChildInput) -> None:
    if (state, event) in CHILD_TRANSITIONS:
        assert advance_child(state, event) is CHILD_TRANSITIONS[state, event]
    else:
        with pytest.raises(TransitionError, match="child SA"):
            advance_child(state, event)


def test_everything_ends() -> None:
    """From every state there is a way out, and from the last one there is none."""
    for state in IkeState:
        assert ((state, IkeInput.GONE) in IKE_TRANSITIONS) is (state is not IkeState.DEAD)
    for child in ChildState:
        assert ((child, ChildInput.GONE) in CHILD_TRANSITIONS) is (child is not ChildState.RETIRED)


def test_nothing_leaves_the_last_state() -> None:
    assert not [pair for pair in IKE_TRANSITIONS if pair[0] is IkeState.DEAD]
    assert not [pair for pair in CHILD_TRANSITIONS if pair[0] is ChildState.RETIRED]
