"""Two peers against each other; time is virtual."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bgp.pair import CPE, DC, HALF, OTHER_HALF, REGION, Pair
from tests.bgp.script import KEEPALIVE
from vcstack.bgp.config import Announcement
from vcstack.bgp.events import Down, Failed, RouteChanged, Up
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import MessageType
from vcstack.bgp.policy import DEFAULT_ROUTE
from vcstack.bgp.session import NO_SYN_ANSWER


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
    assert pair.cpe.peer.snapshot().counters.messages_received["update"] == 2
    assert pair.dc.peer.snapshot().counters.messages_received["route_refresh"] == 1


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
