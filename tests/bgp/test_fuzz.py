"""Any bytes, calls and timers in any order: a Peer raises nothing, keeps its promises, and stays small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bgp.pair import CPE, HALF, OTHER_HALF, REGION
from tests.bgp.script import KEEPALIVE, Script, route, their_open
from tests.bgp.strategies import notifications, opens, refreshes, updates
from vcstack.bgp.config import Announcement, Graceful, SessionConfig
from vcstack.bgp.events import Down, RouteChanged
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import Afi, MessageType, RefreshSubtype, Safi
from vcstack.bgp.policy import DEFAULT_ROUTE
from vcstack.bgp.wire.attribute import Context
from vcstack.bgp.wire.capability import (
    ENHANCED_ROUTE_REFRESH,
    IPV4_UNICAST,
    ROUTE_REFRESH,
    FourOctetAs,
    GracefulRestart,
    RestartFamily,
)
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.stream import build_message
from vcstack.bgp.wire.update import Update

if TYPE_CHECKING:
    from ipaddress import IPv4Network

WITHDRAWAL = Update(withdrawn=(HALF,)).build(Context())
MAX_PREFIXES = 3
PER_MESSAGE = 4096
FAMILY = RestartFamily(Afi.IPV4, Safi.UNICAST, preserved=True)
GOOD_OPENS = tuple(
    their_open(capabilities=capabilities).build()
    for capabilities in (
        (IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(64600)),
        (FourOctetAs(64600), ENHANCED_ROUTE_REFRESH, GracefulRestart(False, True, 5, (FAMILY,))),
        (FourOctetAs(64600), ENHANCED_ROUTE_REFRESH, GracefulRestart(True, False, 4000, (FAMILY,))),
        (),
    )
)
FULL = replace(CPE, graceful=Graceful(restarting=True), enhanced_refresh=True, max_prefixes_pause_s=50)
configs = st.sampled_from(
    [replace(c, max_prefixes=MAX_PREFIXES) for c in (CPE, FULL, replace(FULL, passive=True))]
)
messages = st.one_of(
    st.sampled_from([KEEPALIVE, b"\xff" * 16, Update().build(Context()), *GOOD_OPENS]),
    st.sampled_from(
        [route(HALF), route(HALF, REGION), route(HALF, REGION, OTHER_HALF, DEFAULT_ROUTE), WITHDRAWAL]
    ),
    st.sampled_from(RefreshSubtype).map(lambda subtype: RouteRefresh(subtype=subtype).build()),
    opens.map(lambda value: value.build()),
    updates.map(lambda value: value.build(Context())),
    notifications.map(lambda value: value.build()),
    refreshes.map(lambda value: value.build()),
    st.tuples(st.sampled_from(MessageType), st.binary(max_size=60)).map(lambda m: build_message(*m)),
    st.binary(max_size=60),
)
Step = Callable[[Script, int], object]


def _say(data: bytes, cut: int) -> Step:
    def step(script: Script, number: int) -> None:
        script.peer.data_received(number, data[:cut], script.now)
        script.peer.data_received(number, data[cut:], script.now)

    return step


def _up(offer: bytes, tail: bytes) -> Step:
    """The peer connects, agrees and says something: what a blind choice of steps would rarely do."""

    def step(script: Script, _: int) -> None:
        script.peer.start(script.now)
        number = script.peer.new_connection()
        script.peer.connection_opened(number, script.now, outbound=False)
        script.peer.data_received(number, offer + KEEPALIVE + tail, script.now)

    return step


def _later(seconds: float) -> Step:
    def step(script: Script, _: int) -> None:
        script.now += seconds
        script.peer.handle_timeout(script.now)

    return step


def _due(script: Script, _: int) -> None:
    deadline = script.peer.next_timeout()
    script.now = max(script.now, deadline.at) if deadline is not None else script.now
    script.peer.handle_timeout(script.now)


calls: list[Step] = [
    lambda s, _: s.peer.start(s.now),
    lambda s, _: s.peer.stop(s.now, "words"),
    lambda s, _: s.peer.suspend(s.now),
    lambda s, _: s.peer.reset(s.now),
    lambda s, _: s.peer.reset(s.now, hard=True),
    lambda s, _: s.peer.refresh(s.now),
    lambda s, _: s.peer.announce(Announcement(DEFAULT_ROUTE, med=1), s.now),
    lambda s, _: s.peer.withdraw(DEFAULT_ROUTE, s.now),
    lambda s, n: s.peer.connection_opened(n, s.now, outbound=True),
    lambda s, _: s.peer.connection_opened(s.peer.new_connection(), s.now, outbound=False),
    lambda s, n: s.peer.connection_failed(n, "why", s.now),
    lambda s, n: s.peer.connection_closed(n, s.now),
    lambda s, n: s.peer.connection_closed(n, s.now, "why"),
    lambda s, n: s.peer.connection_blocked(n, s.now),
    lambda s, n: s.peer.connection_unblocked(n, s.now),
    _due,
]
ups = st.builds(_up, st.sampled_from(GOOD_OPENS), messages)
steps = st.one_of(
    st.sampled_from(calls),
    ups,
    st.builds(_say, messages, st.integers(0, 80)),
    st.sampled_from([0.5, 2.0, 6.0, 31.0, 200.0]).map(_later),
)


def check(script: Script, used: set[IPv4Network]) -> None:
    """The promises: what is told agrees with what is shown, and nothing grows."""
    for event in script.events:
        if isinstance(event, RouteChanged):
            (used.discard if event.next_hop is None else used.add)(event.prefix)
        if isinstance(event, Down) and not event.routes_kept_s:
            assert not used
    script.events.clear()
    seen = script.peer.snapshot()
    if seen.reason.startswith("stopped") and "restarting" not in seen.reason:
        assert not seen.received
        assert script.peer.next_timeout() is None
    assert used == {route.prefix for route in seen.received if route.denied is None}
    assert len(seen.received) <= MAX_PREFIXES
    assert seen.last_malformed_update is None or len(seen.last_malformed_update.message) <= 2048
    sessions = script.peer._sessions
    for session in (sessions.outbound, sessions.inbound):
        assert len(session._receiver._stream._buffer) <= PER_MESSAGE
        assert (session is sessions.established) == (session.state is State.ESTABLISHED)
    assert script.peer._actions == script.peer._events == type(script.peer._events)()
    deadline = script.peer.next_timeout()
    assert deadline is None or deadline.at >= script.now
    waits = seen.state is State.ACTIVE and script.peer.config.passive  # somebody else has to call
    assert not script.peer._started or deadline is not None or waits or seen.hold_time_s == 0


@settings(derandomize=True, max_examples=400, deadline=None)
@given(configs, ups, st.lists(st.tuples(steps, st.integers(-4, 2)), max_size=30))
def test_any_bytes_any_calls_any_order(
    config: SessionConfig, first: Step, script_of_calls: list[tuple[Step, int]]
) -> None:
    """No exception, no promise broken and bounded memory, whatever a peer, a network or an owner does."""
    script = Script(config)
    used: set[IPv4Network] = set()
    for step, back in [(first, 0), *script_of_calls]:
        current = script.peer._sessions.leader.connection
        step(script, current if back < 0 and current is not None else script.peer._connections - back)
        script.pump()
        check(script, used)
