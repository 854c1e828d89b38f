"""TCP has no messages: a whole session, cut at every byte, must leave the same state behind."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.pair import CPE, HALF, OTHER_HALF, REGION
from tests.bgp.script import KEEPALIVE, ROUTE, Script, route, their_open
from tests.bgp.strategies import quick
from vcstack.bgp.wire.attribute import Context
from vcstack.bgp.wire.notification import Notification
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.update import Update

MESSAGES = (
    their_open().build(),
    KEEPALIVE,
    route(HALF, REGION),
    RouteRefresh().build(),
    Update(withdrawn=(HALF,)).build(Context()),
    route(OTHER_HALF, attributes=replace(ROUTE, next_hop=None)),  # treated as withdrawn
    KEEPALIVE,
    Update().build(Context()),
    route(OTHER_HALF),
)
SESSION = b"".join(MESSAGES)


def after(pieces: list[bytes], *, ended: bool = False) -> dict[str, Any]:
    """What a peer remembers of a session that came in these pieces, and what it has told and sent."""
    script = Script(CPE)
    number = script.start()
    for piece in pieces:
        script.say(number, piece)
    if ended:
        script.say(number, Notification(6, 4).build())  # type: ignore[arg-type]
    sent = [data for data in script.sent[number] if data != KEEPALIVE]
    return {**asdict(script.peer.snapshot()), "events": script.events, "sent": sent}


WHOLE = after([SESSION])


def test_the_session_is_worth_the_test() -> None:
    assert {route["prefix"] for route in WHOLE["received"]} == {REGION, OTHER_HALF}
    assert WHOLE["counters"]["updates_treated_as_withdraw"] == 1
    assert WHOLE["last_malformed_update"]["fault"] == "NEXT_HOP is missing"


def test_split_at_every_byte() -> None:
    for at in range(len(SESSION) + 1):
        assert after([SESSION[:at], SESSION[at:]]) == WHOLE


def test_byte_by_byte_and_message_by_message() -> None:
    assert after([bytes((octet,)) for octet in SESSION]) == WHOLE
    assert after(list(MESSAGES)) == WHOLE


@quick
@given(st.lists(st.integers(0, len(SESSION)), max_size=12))
def test_cut_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SESSION)]
    assert after([SESSION[a:b] for a, b in pairwise(places)]) == WHOLE


def test_the_end_of_a_session_joined_to_what_comes_before() -> None:
    end = Notification(6, 4).build()  # type: ignore[arg-type]
    assert after([SESSION + end]) == after([SESSION], ended=True)
