"""What one peer can cost: a peer that does not read, sends too much, or fails for ever."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from tests.bgp.pair import CPE, HALF, OTHER_HALF, REGION
from tests.bgp.script import KEEPALIVE, Script, route, their_open
from vcstack.bgp.config import Announcement
from vcstack.bgp.events import Down
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import CeaseSubcode, ErrorCode, MessageType
from vcstack.bgp.policy import DEFAULT_ROUTE, permit
from vcstack.bgp.wire.notification import Notification, cease
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.stream import build_message

BAD_UPDATE = build_message(MessageType.UPDATE, bytes.fromhex("0000 0000 21"))


# --- RFC 9687 -----------------------------------------------------------------------------------------


def keep_alive(script: Script, number: int, seconds: float) -> None:
    """Let the peer live on for a while without reading."""
    until = script.now + seconds
    while script.now < until and script.closed == []:
        script.wait(min(10, until - script.now))
        if script.closed == []:
            script.say(number, KEEPALIVE)


@pytest.mark.parametrize(("configured", "expected_s"), [(None, 480), (31.0, 31)])
def test_a_peer_that_does_not_read_is_left(configured: float | None, expected_s: float) -> None:
    script = Script(replace(CPE, send_hold_time_s=configured))
    number = script.establish()
    start = script.now
    script.peer.connection_blocked(number, script.now)
    keep_alive(script, number, 600)
    assert script.now - start == pytest.approx(expected_s, abs=10)
    assert script.notification(number) == Notification(ErrorCode.SEND_HOLD_TIMER_EXPIRED)
    assert script.events[-1] == Down(
        "we said: Send Hold Timer Expired (8/0): the peer does not read what we send"
    )


def test_a_long_hold_time_makes_a_longer_send_hold_time() -> None:
    assert replace(CPE, hold_time_s=300).send_hold_s(300) == 600
    assert CPE.send_hold_s(0) == 0


@pytest.mark.parametrize("configured", [0.0, None])
def test_no_send_hold_timer(configured: float | None) -> None:
    """RFC 9687 3.3: neither with a send hold time of zero nor with a hold time of zero."""
    script = Script(replace(CPE, send_hold_time_s=configured))
    number = script.start()
    hold_time_s = 0 if configured is None else 30
    script.say(number, their_open(hold_time_s=hold_time_s).build(), KEEPALIVE)
    script.peer.connection_blocked(number, script.now)
    keep_alive(script, number, 1000)
    assert script.peer.state is State.ESTABLISHED


def test_a_peer_that_reads_again_is_forgiven() -> None:
    script = Script()
    number = script.establish()
    for _ in range(4):
        script.peer.connection_blocked(number, script.now)
        keep_alive(script, number, 400)
        script.peer.connection_unblocked(number, script.now)
    assert script.peer.state is State.ESTABLISHED


def test_a_peer_that_read_nothing_before_it_was_established() -> None:
    script = Script()
    number = script.start()
    script.peer.connection_blocked(number, script.now)
    script.say(number, their_open().build(), KEEPALIVE)
    keep_alive(script, number, 500)
    assert script.notification(number).code == ErrorCode.SEND_HOLD_TIMER_EXPIRED


def test_the_next_connection_of_a_peer_that_did_not_read_begins_anew() -> None:
    script = Script()
    number = script.establish()
    script.peer.connection_blocked(number, script.now)
    script.close(number)
    deadline = script.peer.next_timeout()
    assert deadline is not None
    assert deadline.at <= script.now + 1
    script.wait_for_connect()
    number = script.open_outbound()
    script.say(number, their_open().build(), KEEPALIVE)
    assert MessageType.UPDATE in script.kinds(number)
    keep_alive(script, number, 1000)
    assert script.peer.state is State.ESTABLISHED


def test_a_send_hold_time_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="RFC 9687"):
        replace(CPE, send_hold_time_s=30.0)


def test_a_blocked_peer_gets_no_routes_until_it_reads() -> None:
    """A peer that asks for routes again and again, and reads no answer, must not fill our memory."""
    script = Script(replace(CPE, policy_out=permit("all", [DEFAULT_ROUTE, HALF])))
    number = script.establish()
    script.peer.connection_blocked(number, script.now)
    before = len(script.sent[number])
    for _ in range(1000):
        script.say(number, RouteRefresh().build())
    script.peer.announce(Announcement(HALF), script.now)
    script.peer.withdraw(DEFAULT_ROUTE, script.now)
    script.pump()
    assert len(script.sent[number]) == before
    script.peer.connection_unblocked(number, script.now)
    script.pump()
    assert script.kinds(number)[before:] == [MessageType.UPDATE] * 3  # withdrawn, announced, all again


def test_reports_about_connections_that_are_gone() -> None:
    script = Script()
    script.peer.connection_blocked(9, 0.0)
    script.peer.connection_unblocked(9, 0.0)
    number = script.start()
    script.peer.connection_unblocked(number, 0.0)
    assert script.peer.state is State.OPEN_SENT


# --- pauses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [None, 300.0])
def test_too_many_prefixes_and_the_time_to_the_next_session(pause_s: float | None) -> None:
    script = Script(replace(CPE, max_prefixes=2, max_prefixes_pause_s=pause_s))
    number = script.establish()
    script.say(number, route(HALF, REGION, OTHER_HALF))
    before = script.now
    refused = script.open_inbound()
    assert script.notification(refused) == cease(CeaseSubcode.CONNECTION_REJECTED)
    script.tick()
    nominal_s = pause_s or CPE.idle_hold_floor_s
    assert 0.75 * nominal_s <= script.now - before <= nominal_s
    assert len(script.connects) == 2
    script.say(script.open_outbound(), their_open().build(), KEEPALIVE, route(HALF))
    assert script.peer.state is State.ESTABLISHED


def test_an_operator_who_starts_again_does_not_wait() -> None:
    script = Script(replace(CPE, max_prefixes=0, max_prefixes_pause_s=300))
    script.say(script.establish(), route(HALF))
    script.peer.stop(script.now)
    script.peer.start(script.now)
    script.pump()
    assert len(script.connects) == 2
    accepted = script.open_inbound()
    assert script.kinds(accepted) == [MessageType.OPEN]


def test_a_peer_that_connects_itself_cannot_flap_faster() -> None:
    """FRR issue 22358, seen from the listener: every session ends with a malformed UPDATE."""
    script = Script(replace(CPE, idle_hold_ceiling_s=16))
    script.peer.start(0.0)
    script.pump()
    sessions = 0
    while script.now < 300:
        number = script.open_inbound()
        script.say(number, their_open().build(), KEEPALIVE, BAD_UPDATE)
        sessions += script.notification(number).code == ErrorCode.UPDATE_MESSAGE_ERROR
        script.wait(0.1)
    assert sessions < 5 + 300 / (0.75 * 16) + 5


def test_pauses_survive_established_but_not_a_long_session() -> None:
    script = Script(replace(CPE, passive=True, idle_hold_ceiling_s=8))
    script.peer.start(0.0)
    for nominal_s in (1, 2, 4, 8):
        number = script.open_inbound()
        script.say(number, their_open(hold_time_s=0).build(), KEEPALIVE, BAD_UPDATE)
        before = script.now
        while script.peer.state is State.IDLE:
            script.tick()
        assert 0.75 * nominal_s <= script.now - before <= nominal_s
    number = script.open_inbound()
    script.say(number, their_open(hold_time_s=0).build(), KEEPALIVE)
    script.wait(CPE.stable_s)
    before = script.now
    script.say(number, BAD_UPDATE)
    script.tick()
    assert script.now - before <= 1


# --- evidence -----------------------------------------------------------------------------------------


def test_the_last_malformed_update_is_kept_also_when_it_ends_the_session() -> None:
    script = Script()
    number = script.establish()
    script.say(number, BAD_UPDATE)
    kept = script.peer.snapshot().last_malformed_update
    assert kept is not None
    assert bytes.fromhex(kept.message) == BAD_UPDATE
    assert kept.length == len(BAD_UPDATE)
    assert "33" in kept.fault


def test_of_a_long_malformed_update_the_beginning_is_kept() -> None:
    script = Script()
    number = script.establish()
    many = [IPv4Network((n << 8, 24)) for n in range(800)]
    message = bytearray(route(*many))
    message[-4] = 99  # the length of the last prefix
    script.say(number, bytes(message))
    kept = script.peer.snapshot().last_malformed_update
    assert kept is not None
    assert bytes.fromhex(kept.message) == message[:1024]
    assert kept.length == len(message)


@pytest.mark.parametrize(
    ("attributes", "subcode"),
    [
        ("40010103", 6),  # ORIGIN 3
        ("400101 00 4002 02 02ff", 11),  # an AS_PATH that ends too early
        ("800404 000000", 1),  # MULTI_EXIT_DISC that runs over the end
        ("800403 000000", 5),  # MULTI_EXIT_DISC of three bytes
    ],
)
def test_a_malformed_attribute_without_prefixes_ends_the_session(attributes: str, subcode: int) -> None:
    """RFC 7606 5.2, FRR issue 22563: no prefix could be treated as withdrawn."""
    script = Script()
    number = script.establish()
    field = bytes.fromhex(attributes)
    script.say(number, build_message(MessageType.UPDATE, b"\0\0" + len(field).to_bytes(2) + field))
    said = script.notification(number)
    assert (said.code, said.subcode) == (ErrorCode.UPDATE_MESSAGE_ERROR, subcode)
