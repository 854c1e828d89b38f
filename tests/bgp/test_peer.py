"""One peer against scripted bytes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bgp.pair import CPE, HALF, OTHER_HALF, REGION, entropy
from tests.bgp.script import KEEPALIVE, Script, route, their_open
from vcstack.bgp.config import Announcement
from vcstack.bgp.events import Down, Failed, RouteChanged, Side, Up
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import (
    Afi,
    CapabilityCode,
    CeaseSubcode,
    ErrorCode,
    MessageType,
    Origin,
    RefreshSubtype,
    Safi,
)
from vcstack.bgp.peer import Peer
from vcstack.bgp.policy import DEFAULT_ROUTE, permit
from vcstack.bgp.session import NO_SYN_ANSWER
from vcstack.bgp.wire.as_path import sequence
from vcstack.bgp.wire.attribute import Context, PathAttributes
from vcstack.bgp.wire.capability import (
    IPV4_UNICAST,
    ROUTE_REFRESH,
    FourOctetAs,
    Multiprotocol,
    OtherCapability,
)
from vcstack.bgp.wire.notification import Notification, cease
from vcstack.bgp.wire.open import Open, parse_open
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.stream import build_message
from vcstack.bgp.wire.update import parse_update


def test_our_open_has_the_minimal_capabilities() -> None:
    script = Script()
    number = script.start()
    ours = parse_open(script.sent[number][0][19:])
    assert ours == Open(64512, 30, CPE.router_id, (IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(64512)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"two_octet_as": 64601, "capabilities": ()}, (2, 2)),
        ({"capabilities": (FourOctetAs(64601),)}, (2, 2)),
        ({"two_octet_as": 0, "capabilities": ()}, (2, 2)),
        ({"capabilities": (FourOctetAs(0),)}, (2, 2)),
        ({"router_id": IPv4Address(0)}, (2, 3)),
        ({"hold_time_s": 1}, (2, 6)),
        ({"hold_time_s": 2}, (2, 6)),
        ({"capabilities": (Multiprotocol(Afi.IPV6, Safi.UNICAST), FourOctetAs(64600))}, (2, 7)),
    ],
)
def test_opens_that_are_refused(changes: dict[str, object], expected: tuple[int, int]) -> None:
    script = Script()
    number = script.start()
    script.say(number, their_open(**changes).build())
    answer = script.notification(number)
    assert (answer.code, answer.subcode) == expected
    assert script.closed == [number]
    reset = script.peer.snapshot().last_reset
    assert reset is not None
    assert reset.side is Side.LOCAL


@pytest.mark.parametrize(
    "changes",
    [
        {"hold_time_s": 3},
        {"hold_time_s": 0},
        {"router_id": CPE.router_id},  # RFC 6286: equal is fine between two ASes
        {"capabilities": ()},
        {"capabilities": (OtherCapability(CapabilityCode(222), b"news"), FourOctetAs(64600))},
    ],
)
def test_opens_that_are_accepted(changes: dict[str, object]) -> None:
    script = Script()
    number = script.start()
    script.say(number, their_open(**changes).build(), KEEPALIVE)
    assert script.peer.state is State.ESTABLISHED


def test_an_equal_router_id_inside_an_as_is_refused() -> None:
    script = Script(replace(CPE, remote_as=CPE.local_as))
    number = script.start()
    theirs = their_open(router_id=CPE.router_id, capabilities=(FourOctetAs(CPE.local_as),))
    script.say(number, theirs.build())
    assert (script.notification(number).code, script.notification(number).subcode) == (2, 3)


def test_another_version() -> None:
    script = Script()
    number = script.start()
    message = bytearray(their_open().build())
    message[19] = 5
    script.say(number, bytes(message))
    assert script.notification(number) == Notification(ErrorCode.OPEN_MESSAGE_ERROR, 1, b"\0\x04")


@pytest.mark.parametrize(
    ("state", "message", "expected"),
    [
        (State.OPEN_SENT, KEEPALIVE, Notification(ErrorCode.FSM_ERROR, 1, b"\x04")),
        (State.OPEN_SENT, route(HALF), Notification(ErrorCode.FSM_ERROR, 1, b"\x02")),
        (State.OPEN_CONFIRM, route(HALF), Notification(ErrorCode.FSM_ERROR, 2, b"\x02")),
        (State.OPEN_CONFIRM, RouteRefresh().build(), Notification(ErrorCode.FSM_ERROR, 2, b"\x05")),
        (State.OPEN_CONFIRM, their_open().build(), Notification(ErrorCode.FSM_ERROR, 2, b"\x01")),
        (State.ESTABLISHED, their_open().build(), Notification(ErrorCode.FSM_ERROR, 3, b"\x01")),
        (State.ESTABLISHED, bytes(19), Notification(ErrorCode.MESSAGE_HEADER_ERROR, 1)),
        (State.OPEN_SENT, bytes(19), Notification(ErrorCode.MESSAGE_HEADER_ERROR, 1)),
    ],
)
def test_messages_out_of_place(state: State, message: bytes, expected: Notification) -> None:
    """RFC 6608 4, RFC 4271 6.1."""
    script = Script()
    number = script.start()
    if state is not State.OPEN_SENT:
        script.say(number, their_open().build())
    if state is State.ESTABLISHED:
        script.say(number, KEEPALIVE)
    assert script.peer.state is state
    script.say(number, message)
    assert script.notification(number) == expected
    assert script.closed == [number]


def test_nothing_behind_the_message_that_ends_a_session_is_read() -> None:
    script = Script()
    number = script.establish()
    script.say(number, Notification(ErrorCode.CEASE, 2).build(), route(HALF))
    assert script.peer.snapshot().received == ()
    script.say(number, route(HALF))
    assert [type(event) for event in script.events] == [Up, Down]


@pytest.mark.parametrize("subcode", [0, 4, 7])
def test_capabilities_are_left_out_after_a_speaker_dislikes_them(subcode: int) -> None:
    """RFC 5492 3; CSCva92216."""
    script = Script()
    first = script.start()
    script.say(first, Notification(ErrorCode.OPEN_MESSAGE_ERROR, subcode).build())
    script.tick()
    assert script.now <= 1.0
    second = script.open_outbound()
    assert parse_open(script.sent[second][0][19:]).capabilities == ()
    script.say(second, their_open(capabilities=()).build(), KEEPALIVE, route(HALF))
    assert script.peer.state is State.ESTABLISHED
    assert not script.peer.refresh(script.now)


def test_without_capabilities_paths_have_two_octets() -> None:
    """RFC 6793 4.2: both must have offered four octets."""
    script = Script(replace(CPE, local_as=70000))
    first = script.start()
    script.say(first, Notification(ErrorCode.OPEN_MESSAGE_ERROR, 7).build())
    script.tick()
    second = script.open_outbound()
    assert parse_open(script.sent[second][0][19:]).two_octet_as == 23456
    script.say(second, their_open().build(), KEEPALIVE)
    update = parse_update(script.sent[second][-1][19:], Context(four_octet_as=False))
    assert update.attributes is not None
    assert update.attributes.as_path == sequence(70000)


def test_another_style_is_tried_in_turn() -> None:
    script = Script()
    number = script.start()
    for bare in (False, True, False, True):
        assert (parse_open(script.sent[number][0][19:]).capabilities == ()) == bare
        script.say(number, Notification(ErrorCode.OPEN_MESSAGE_ERROR, 4).build())
        script.tick()
        number = script.open_outbound()


def test_a_close_on_our_open_is_taken_for_a_dislike() -> None:
    """A speaker that had said its OPEN, saw ours and closed without a word."""
    script = Script()
    number = script.start()
    script.say(number, their_open().build())
    script.close(number)
    script.tick()
    assert parse_open(script.sent[script.open_outbound()][0][19:]).capabilities == ()


def test_two_closes_without_an_open_are_taken_for_a_dislike() -> None:
    script = Script()
    number = script.start()
    for bare in (False, False, True):
        assert (parse_open(script.sent[number][0][19:]).capabilities == ()) == bare
        script.close(number)
        assert script.peer.state is State.ACTIVE
        script.tick()
        number = script.open_outbound()


def test_a_broken_connection_is_no_dislike() -> None:
    script = Script()
    number = script.start()
    script.say(number, their_open().build())
    script.close(number, "connection reset by the peer")
    script.tick()
    assert parse_open(script.sent[script.open_outbound()][0][19:]).capabilities != ()


def test_no_answer_to_a_syn_names_the_password() -> None:
    script = Script()
    script.peer.start(0.0)
    script.pump()
    script.tick()
    assert script.now == CPE.connect_retry_s
    assert script.events == [Failed(f"TCP: {NO_SYN_ANSWER}")]
    assert script.closed == [script.connects[0]]
    assert len(script.connects) == 2
    script.tick()
    assert len(script.events) == 1


def test_a_peer_without_an_open_is_left() -> None:
    script = Script()
    number = script.start()
    script.wait(CPE.open_timeout_s)
    assert script.notification(number).code == ErrorCode.HOLD_TIMER_EXPIRED
    assert "no OPEN within 60 s" in script.peer.snapshot().reason


def test_an_established_session_is_never_given_up_for_a_new_one() -> None:
    """RFC 4271 6.8."""
    script = Script()
    first = script.establish()
    second = script.open_inbound()
    script.say(second, their_open().build())
    assert script.notification(second) == cease(CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)
    assert script.closed == [second]
    script.say(first, KEEPALIVE)
    assert script.peer.state is State.ESTABLISHED
    assert [type(event) for event in script.events] == [Up]


def test_a_collision_with_a_connection_that_has_no_open_yet_is_decided_later() -> None:
    script = Script()  # our router ID is the higher one: the outbound connection will stay
    outbound = script.start()
    inbound = script.open_inbound()
    script.say(inbound, their_open().build())
    assert script.closed == []
    script.say(outbound, their_open().build())
    assert script.closed == [inbound]
    script.say(outbound, KEEPALIVE)
    assert script.peer.state is State.ESTABLISHED


def test_a_connection_from_nowhere_is_refused() -> None:
    script = Script()
    number = script.open_inbound()
    assert script.notification(number) == cease(CeaseSubcode.CONNECTION_REJECTED)
    assert script.closed == [number]
    assert script.peer.snapshot().counters.connections_refused == 1


def test_a_peer_that_connects_anew_has_given_up_its_last_try() -> None:
    script = Script(replace(CPE, passive=True))
    script.peer.start(0.0)
    first = script.open_inbound()
    second = script.open_inbound()
    assert script.closed == [first]
    script.say(second, their_open().build(), KEEPALIVE)
    assert script.peer.state is State.ESTABLISHED


def test_the_second_inbound_connection_of_an_established_one_is_refused() -> None:
    script = Script(replace(CPE, passive=True))
    script.peer.start(0.0)
    first = script.open_inbound()
    script.say(first, their_open().build(), KEEPALIVE)
    second = script.open_inbound()
    assert script.notification(second) == cease(CeaseSubcode.CONNECTION_REJECTED)
    assert script.peer.state is State.ESTABLISHED


def test_pauses_grow_while_sessions_are_short_and_start_again_after_a_long_one() -> None:
    """The pause survives Established: a session that is reset by each UPDATE flaps (FRR issue 22358)."""
    script = Script(replace(CPE, idle_hold_ceiling_s=8))
    number = script.start()
    pauses = []
    bad = build_message(MessageType.UPDATE, bytes.fromhex("0000 0000 21"))
    for _ in range(6):
        script.say(number, their_open().build(), KEEPALIVE, bad)
        before = script.now
        script.tick()
        pauses.append(script.now - before)
        number = script.open_outbound()
    for pause, nominal in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * nominal <= pause <= nominal
    script.say(number, their_open(hold_time_s=0).build(), KEEPALIVE)
    script.now += CPE.stable_s
    script.say(number, bad)
    before = script.now
    script.tick()
    assert script.now - before <= 1


def test_too_many_prefixes_end_the_session() -> None:
    """RFC 4271 6.7, RFC 4486 4."""
    script = Script(replace(CPE, max_prefixes=2))
    number = script.establish()
    script.say(number, route(HALF, REGION))
    assert script.peer.state is State.ESTABLISHED
    script.say(number, route(OTHER_HALF))
    assert script.notification(number) == Notification(ErrorCode.CEASE, 1, bytes.fromhex("00010100000002"))
    assert script.events[-1] == Down(
        "we said: Cease/Maximum Number of Prefixes Reached (6/1): more than 2 prefixes"
    )
    assert script.peer.snapshot().received == ()


def test_a_bad_update_is_answered_and_counted() -> None:
    script = Script()
    number = script.establish()
    script.say(number, route(HALF))
    withdrawn = PathAttributes(Origin.IGP, sequence(64600), None)  # no NEXT_HOP
    script.say(number, route(HALF, attributes=withdrawn))
    seen = script.peer.snapshot()
    assert seen.counters.updates_treated_as_withdraw == 1
    assert seen.last_malformed_update is not None
    assert seen.last_malformed_update.fault == "NEXT_HOP is missing"
    assert bytes.fromhex(seen.last_malformed_update.message) == route(HALF, attributes=withdrawn)
    assert script.events[-1] == RouteChanged(HALF, None)
    assert script.peer.state is State.ESTABLISHED


def test_refresh_of_another_family_is_ignored() -> None:
    script = Script()
    number = script.establish()
    before = len(script.sent[number])
    script.say(number, RouteRefresh(Afi.IPV6).build(), RouteRefresh(subtype=RefreshSubtype.BEGIN).build())
    assert len(script.sent[number]) == before
    script.say(number, RouteRefresh().build())
    assert script.kinds(number)[before:] == [MessageType.UPDATE]


def test_calls_out_of_place_do_nothing() -> None:
    script = Script()
    script.peer.handle_timeout(5.0)
    script.peer.stop(5.0)
    script.peer.data_received(3, b"x", 5.0)
    script.peer.connection_closed(3, 5.0)
    script.peer.connection_failed(3, "no", 5.0)
    script.peer.connection_opened(3, 5.0, outbound=True)
    script.peer.reset(5.0)
    script.peer.announce(Announcement(DEFAULT_ROUTE), 5.0)
    script.pump()
    assert (script.connects, script.sent, script.events) == ([], {}, [])
    script.peer.start(5.0)
    script.peer.start(5.0)
    script.pump()
    assert len(script.connects) == 1
    script.peer.handle_timeout(5.0)
    assert script.peer.state is State.CONNECT


def test_a_snapshot_without_a_session() -> None:
    seen = Peer(CPE, entropy()).snapshot()
    assert (seen.state, seen.reason, seen.hold_time_s, seen.last_reset) == (
        State.IDLE,
        "not started",
        None,
        None,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"local_as": 0},
        {"remote_as": 23456},
        {"remote_as": 2**32},
        {"hold_time_s": 2},
        {"hold_time_s": 65536},
        {"router_id": IPv4Address(0)},
        {"connect_retry_s": 0.0},
    ],
)
def test_impossible_configurations(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"AS|hold time|router ID|timer"):
        replace(CPE, **changes)  # type: ignore[arg-type]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.sampled_from([State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED]),
    st.lists(
        st.one_of(
            st.binary(max_size=100),
            st.tuples(st.sampled_from(MessageType), st.binary(max_size=80)).map(lambda m: build_message(*m)),
        ),
        max_size=5,
    ),
)
def test_any_bytes_from_the_peer(state: State, pieces: list[bytes]) -> None:
    """Whatever a peer sends, the machine stays in a state of its own and keeps trying."""
    script = Script(replace(CPE, policy_in=permit("all", [HALF])))
    number = script.start()
    if state is not State.OPEN_SENT:
        script.say(number, their_open().build())
    if state is State.ESTABLISHED:
        script.say(number, KEEPALIVE)
    for piece in pieces:
        script.say(number, piece)
    assert script.peer.next_timeout() is not None
    assert (script.peer.state in {State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED}) == (
        number not in script.closed
    )
    script.wait(120)
    assert len(script.connects) > 1 or number not in script.closed
