"""Two peers against each other, and one peer against scripted bytes; time is virtual."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bgp.pair import CPE, DC, HALF, OTHER_HALF, REGION, Pair, entropy
from vcstack.bgp.config import Announcement, SessionConfig
from vcstack.bgp.events import Close, Connect, Down, Failed, RouteChanged, Send, Side, Up
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import Afi, CapabilityCode, CeaseSubcode, ErrorCode, MessageType, Origin, Safi
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
from vcstack.bgp.wire.notification import Notification, cease, parse_notification
from vcstack.bgp.wire.open import Open, parse_open
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.stream import build_message
from vcstack.bgp.wire.update import Update, parse_update

KEEPALIVE = build_message(MessageType.KEEPALIVE)
ROUTE = PathAttributes(Origin.IGP, sequence(64600), IPv4Address("100.64.1.1"))


class Script:
    """One peer, and a test that plays the other end byte for byte."""

    def __init__(self, config: SessionConfig = CPE) -> None:
        self.peer = Peer(config, entropy())
        self.now = 0.0
        self.events: list[object] = []
        self.sent: dict[int, list[bytes]] = {}
        self.closed: list[int] = []
        self.connects: list[int] = []

    def pump(self) -> None:
        for action in self.peer.actions():
            match action:
                case Connect(number):
                    self.connects.append(number)
                case Send(number, data):
                    self.sent.setdefault(number, []).append(data)
                case Close(number):
                    self.closed.append(number)
        while (event := self.peer.next_event()) is not None:
            self.events.append(event)

    def start(self) -> int:
        """Start, and let the first connection come up."""
        self.peer.start(self.now)
        self.pump()
        return self.open_outbound()

    def open_outbound(self) -> int:
        number = self.connects[-1]
        self.peer.connection_opened(number, self.now, outbound=True)
        self.pump()
        return number

    def open_inbound(self) -> int:
        number = self.peer.new_connection()
        self.peer.connection_opened(number, self.now, outbound=False)
        self.pump()
        return number

    def say(self, number: int, *messages: bytes) -> None:
        self.peer.data_received(number, b"".join(messages), self.now)
        self.pump()

    def close(self, number: int, error: str = "") -> None:
        self.peer.connection_closed(number, self.now, error)
        self.pump()

    def tick(self) -> None:
        """Jump to the next deadline."""
        deadline = self.peer.next_timeout()
        assert deadline is not None
        self.now = deadline.at
        self.peer.handle_timeout(self.now)
        self.pump()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.peer.next_timeout()) is not None and deadline.at <= until:
            self.tick()
        self.now = until

    def kinds(self, number: int) -> list[MessageType]:
        return [MessageType(data[18]) for data in self.sent.get(number, [])]

    def notification(self, number: int) -> Notification:
        last = self.sent[number][-1]
        assert last[18] == MessageType.NOTIFICATION
        return parse_notification(last[19:])

    def establish(self) -> int:
        number = self.start()
        self.say(number, their_open().build(), KEEPALIVE)
        assert self.peer.state is State.ESTABLISHED
        return number


def their_open(**changes: object) -> Open:
    values: dict[str, object] = {
        "two_octet_as": 64600,
        "hold_time_s": 30,
        "router_id": IPv4Address("100.64.1.1"),
        "capabilities": (IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(64600)),
    }
    return Open(**(values | changes))  # type: ignore[arg-type]


def route(*prefixes: IPv4Network, attributes: PathAttributes = ROUTE) -> bytes:
    return Update(attributes=attributes, announced=prefixes).build(Context())


# --- two peers ----------------------------------------------------------------------------------------


def test_a_session_comes_up_and_exchanges_exactly_what_the_roles_permit() -> None:
    pair = Pair()
    pair.start()
    assert pair.run_until(lambda: pair.established) < 0.2
    pair.run(1)
    assert pair.cpe.events[0] == Up(DC.router_id, 30)
    assert set(pair.cpe.events[1:]) == {
        RouteChanged(HALF, DC.local_address),
        RouteChanged(REGION, DC.local_address),
    }
    assert pair.dc.events == [Up(CPE.router_id, 30), RouteChanged(DEFAULT_ROUTE, CPE.local_address)]
    assert [route.prefix for route in pair.cpe.peer.snapshot().advertised] == [DEFAULT_ROUTE]


@pytest.mark.parametrize("segment", [1, 7, 19, 20, 4096])
def test_messages_cut_by_the_network(segment: int) -> None:
    pair = Pair()
    pair.segment_bytes = segment
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(1)
    assert pair.cpe.peer.snapshot().prefixes_accepted == 2


@pytest.mark.parametrize("ours_higher", [True, False])
def test_simultaneous_connections_leave_the_one_of_the_higher_router_id(ours_higher: bool) -> None:
    """RFC 4271 6.8."""
    router_id = IPv4Address("100.64.1.9" if ours_higher else "100.64.0.9")
    pair = Pair(cpe=replace(CPE, router_id=router_id))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(5)
    assert pair.established
    assert [wire.opened_by for wire in pair.wires if wire.up] == ["cpe" if ours_higher else "dc"]
    assert pair.cpe.peer.snapshot().outbound is ours_higher
    assert [type(event) for event in pair.cpe.events].count(Up) == 1
    assert pair.cpe.peer.snapshot().last_reset is None


def test_equal_router_ids_leave_the_connection_of_the_larger_as() -> None:
    """RFC 6286 2.3."""
    pair = Pair(cpe=replace(CPE, router_id=DC.router_id))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(5)
    assert [wire.opened_by for wire in pair.wires if wire.up] == ["dc"]


@pytest.mark.parametrize("passive", ["cpe", "dc"])
def test_one_side_waits(passive: str) -> None:
    pair = Pair(cpe=replace(CPE, passive=passive == "cpe"), dc=replace(DC, passive=passive == "dc"))
    pair.start()
    pair.run_until(lambda: pair.established)
    assert [wire.opened_by for wire in pair.wires] == ["dc" if passive == "cpe" else "cpe"]


def test_a_late_peer_is_found() -> None:
    pair = Pair()
    pair.cpe.peer.start(0.0)
    pair.run(40)
    assert "connection refused" in pair.cpe.peer.snapshot().reason
    pair.dc.peer.start(pair.now)
    assert pair.run_until(lambda: pair.established) < 10.5
    failures = [event for event in pair.cpe.events if isinstance(event, Failed)]
    assert failures == [Failed("TCP: connection refused")]  # said once


def test_the_hold_timer_ends_a_silent_session_and_it_comes_back() -> None:
    pair = Pair()
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(100)
    pair.reachable = False
    pair.run(31)
    assert isinstance(pair.cpe.events[-1], Down | Failed)
    downs = [event for event in pair.cpe.events if isinstance(event, Down)]
    assert downs == [Down("we said: Hold Timer Expired (4/0): nothing heard for 30 s")]
    assert RouteChanged(HALF, None) in pair.cpe.events
    pair.run(60)
    assert pair.cpe.peer.snapshot().reason == f"TCP: {NO_SYN_ANSWER}"
    reset = pair.cpe.peer.snapshot().last_reset
    assert reset is not None
    assert "Hold Timer Expired" in str(reset)  # the first cause is kept
    pair.reachable = True
    assert pair.run_until(lambda: pair.established) < 15


def test_keepalives_are_jittered_and_keep_the_session() -> None:
    """RFC 4271 4.4 and 10: a third of the hold time, less up to a quarter."""
    pair = Pair()
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(3600)
    times = [at for at, name, data in pair.sent if name == "cpe" and data == KEEPALIVE][5:]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 7.49 <= min(gaps) < 8
    assert 9.5 < max(gaps) <= 10.01
    assert pair.established


def test_hold_time_zero_means_no_keepalives() -> None:
    pair = Pair(cpe=replace(CPE, hold_time_s=0))
    pair.start()
    pair.run_until(lambda: pair.established)
    before = len(pair.sent)
    pair.run(1000)
    assert pair.established
    assert len(pair.sent) - before <= 4
    assert pair.cpe.peer.snapshot().hold_time_s == 0


def test_the_smaller_hold_time_counts() -> None:
    pair = Pair(dc=replace(DC, hold_time_s=3))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(60)
    assert pair.established
    assert pair.cpe.peer.snapshot().hold_time_s == 3
    assert pair.cpe.peer.snapshot().keepalive_s == 1.0


def test_stop_says_why_and_start_begins_at_once() -> None:
    pair = Pair()
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.cpe.peer.stop(pair.now, "line down: no keepalive came back")
    pair.run(1)
    words = 'Cease/Administrative Shutdown (6/2): "line down: no keepalive came back"'
    assert pair.cpe.events[-1] == Down(f"we said: {words}")
    assert Down(f"peer said: {words}") in pair.dc.events
    assert pair.cpe.peer.snapshot().reason == "stopped: line down: no keepalive came back"
    pair.run(300)
    assert pair.cpe.state is State.IDLE
    assert pair.cpe.peer.next_timeout() is None
    pair.cpe.peer.start(pair.now)
    assert pair.run_until(lambda: pair.established) < 1


def test_a_reset_comes_back_by_itself() -> None:
    pair = Pair()
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.cpe.peer.reset(pair.now, "new policy")
    pair.run(0.1)
    assert "Administrative Reset (6/4)" in str(pair.dc.events[-1])
    assert pair.run_until(lambda: pair.established) < 5


def test_announcements_change_while_established() -> None:
    pair = Pair(dc=replace(DC, announce=()))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(1)
    pair.dc.peer.announce(Announcement(HALF, med=5), pair.now)
    pair.run(1)
    assert pair.cpe.events[-1] == RouteChanged(HALF, DC.local_address)
    assert pair.cpe.peer.snapshot().received[0].attributes.med == 5
    pair.dc.peer.withdraw(HALF, pair.now)
    pair.run(1)
    assert pair.cpe.events[-1] == RouteChanged(HALF, None)
    pair.dc.peer.announce(Announcement(OTHER_HALF), pair.now)
    pair.run(1)
    assert pair.cpe.peer.snapshot().received == ()
    denied = [route.denied for route in pair.dc.peer.snapshot().wanted]
    assert denied == ["not permitted by the export policy 10.77.0.0/25 and 10.77.0.0/24"]


def test_route_refresh_sends_everything_again() -> None:
    """RFC 2918 4."""
    pair = Pair()
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(1)
    assert pair.cpe.peer.refresh(pair.now)
    pair.run(1)
    assert pair.cpe.peer.snapshot().messages_received["update"] == 2
    assert pair.dc.peer.snapshot().messages_received["route_refresh"] == 1


def test_four_octet_as_numbers() -> None:
    big = 4_200_000_001
    pair = Pair(cpe=replace(CPE, local_as=big), dc=replace(DC, remote_as=big))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(1)
    assert str(pair.dc.peer.snapshot().received[0].attributes.as_path) == str(big)


def test_wrong_as_is_told_on_both_sides_and_retried_for_ever() -> None:
    pair = Pair(dc=replace(DC, remote_as=64999))
    pair.start()
    pair.run(600)
    detail = "the peer is AS 64512, AS 64999 is configured"
    assert pair.dc.peer.snapshot().reason == f"we said: OPEN Message Error/Bad Peer AS (2/2): {detail}"
    assert pair.cpe.peer.snapshot().reason == "peer said: OPEN Message Error/Bad Peer AS (2/2)"
    attempts = [at for at, name, data in pair.sent if name == "cpe" and data[18] == MessageType.OPEN]
    assert max(b - a for a, b in pairwise(attempts)) <= 31
    assert 20 <= len(attempts) <= 150


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.tuples(st.booleans(), st.floats(0.1, 40)), max_size=6))
def test_cuts_of_any_length_are_survived(seed: int, cuts: list[tuple[bool, float]]) -> None:
    """Whatever was cut and when, a reachable pair is established in the end, with the routes in place."""
    pair = Pair(delay_s=0.001 + seed % 97 / 500)
    pair.start()
    for reachable, seconds in cuts:
        pair.reachable = reachable
        pair.run(seconds)
    pair.reachable = True
    pair.run_until(lambda: pair.established)
    pair.run(61)
    assert pair.established
    assert pair.cpe.peer.snapshot().prefixes_accepted == 2
    assert pair.dc.peer.snapshot().prefixes_accepted == 1
    assert len([wire for wire in pair.wires[-2:] if wire.up]) >= 1


# --- one peer and a script ----------------------------------------------------------------------------


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
    assert script.peer.snapshot().connections_refused == 1


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
    assert (seen.updates_treated_as_withdraw, seen.last_update_fault) == (1, "NEXT_HOP is missing")
    assert script.events[-1] == RouteChanged(HALF, None)
    assert script.peer.state is State.ESTABLISHED


def test_refresh_of_another_family_is_ignored() -> None:
    script = Script()
    number = script.establish()
    before = len(script.sent[number])
    script.say(number, RouteRefresh(Afi.IPV6).build(), RouteRefresh(subtype=1).build())
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
