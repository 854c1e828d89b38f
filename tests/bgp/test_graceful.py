"""RFC 4724 and RFC 8538: routes that outlive their session; RFC 7313: routes that a refresh renews."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.bgp.pair import CPE, DC, HALF, REGION, Pair
from tests.bgp.script import KEEPALIVE, Script, route, their_open
from vcstack.bgp.config import Announcement, Graceful, SessionConfig
from vcstack.bgp.events import Down, EndOfRib, Failed, RouteChanged, Up
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import Afi, ErrorCode, MessageType, RefreshSubtype, Safi
from vcstack.bgp.policy import DEFAULT_ROUTE
from vcstack.bgp.wire.attribute import Context
from vcstack.bgp.wire.capability import (
    ENHANCED_ROUTE_REFRESH,
    IPV4_UNICAST,
    ROUTE_REFRESH,
    FourOctetAs,
    GracefulRestart,
    OtherCapability,
    RestartFamily,
    parse_capabilities,
)
from vcstack.bgp.wire.notification import Notification, cease, hard_reset
from vcstack.bgp.wire.open import Open, parse_open
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.bgp.wire.update import Update, parse_update

if TYPE_CHECKING:
    from vcstack.bgp.wire.capability import Capability

GRACEFUL = replace(CPE, graceful=Graceful(restart_time_s=90, stale_time_s=180, deferral_s=60))
END_OF_RIB = Update().build(Context())
BEGIN = RouteRefresh(subtype=RefreshSubtype.BEGIN).build()
END = RouteRefresh(subtype=RefreshSubtype.END).build()
GONE = {RouteChanged(HALF, None), RouteChanged(REGION, None)}


def capable(
    *,
    restarting: bool = False,
    notification: bool = False,
    preserved: bool | None = True,
    restart_time_s: int = 40,
    more: tuple[Capability, ...] = (),
) -> bytes:
    """The peer's OPEN with a graceful restart capability; without our family when `preserved` is None."""
    families = () if preserved is None else (RestartFamily(Afi.IPV4, Safi.UNICAST, preserved),)
    graceful = GracefulRestart(restarting, notification, restart_time_s, families)
    return their_open(capabilities=(IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(64600), graceful, *more)).build()


class Helped(Script):
    """A session with a peer of graceful restart, which has sent both its routes."""

    def __init__(self, config: SessionConfig = GRACEFUL, **values: bool | None) -> None:
        super().__init__(config)
        self.number = self.start()
        self.say(self.number, capable(**values), KEEPALIVE, route(HALF, REGION), END_OF_RIB)  # type: ignore[arg-type]
        self.events.clear()

    def back(self, *messages: bytes, **values: bool | None) -> int:
        """The peer connects again."""
        self.wait_for_connect()
        number = self.open_outbound()
        self.say(number, capable(**values), KEEPALIVE, *messages)  # type: ignore[arg-type]
        assert self.peer.state is State.ESTABLISHED
        return number

    @property
    def changes(self) -> set[object]:
        return {event for event in self.events if isinstance(event, RouteChanged)}

    @property
    def stale(self) -> int:
        return self.peer.snapshot().prefixes_stale


def our_capabilities(script: Script, number: int) -> GracefulRestart | None:
    return parse_open(script.sent[number][0][19:]).graceful_restart


# --- the capability -----------------------------------------------------------------------------------


def test_golden_capability() -> None:
    """R and N set, 120 s, IPv4 unicast with F."""
    value = GracefulRestart(True, True, 120, (RestartFamily(Afi.IPV4, Safi.UNICAST, preserved=True),))
    assert value.value.hex() == "c078" + "00010180"
    assert parse_capabilities(bytes.fromhex("4006c07800010180")) == (value,)
    assert str(value) == "graceful restart"
    assert value.family(Afi.IPV6, Safi.UNICAST) is None


def test_a_malformed_capability_is_one_we_do_not_know() -> None:
    (found,) = parse_capabilities(bytes.fromhex("4003 000000"))
    assert isinstance(found, OtherCapability)


def test_the_last_of_several_counts() -> None:
    """RFC 4724 3."""
    first, last = GracefulRestart(False, False, 1), GracefulRestart(False, False, 2)
    assert Open(1, 0, CPE.router_id, (first, last)).graceful_restart == last


def test_nothing_is_offered_unless_configured() -> None:
    script = Script()
    number = script.start()
    assert our_capabilities(script, number) is None
    script.say(number, capable(notification=True), KEEPALIVE, route(HALF))
    assert not script.peer.snapshot().graceful_restart
    script.close(number)
    assert RouteChanged(HALF, None) in script.events


def test_what_is_offered() -> None:
    family = RestartFamily(Afi.IPV4, Safi.UNICAST, preserved=False)
    script = Script(GRACEFUL)
    assert our_capabilities(script, script.start()) == GracefulRestart(False, True, 90, (family,))
    again = Helped()
    again.close(again.number)
    offered = our_capabilities(again, again.back())
    assert offered == GracefulRestart(False, True, 90, (replace(family, preserved=True),))


@pytest.mark.parametrize("changes", [{"restart_time_s": 4096}, {"stale_time_s": 0.0}, {"deferral_s": -1.0}])
def test_impossible_times(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="time"):
        Graceful(**changes)  # type: ignore[arg-type]


# --- the helper ---------------------------------------------------------------------------------------


def test_routes_outlive_a_connection_that_broke_and_are_renewed() -> None:
    helped = Helped()
    helped.close(helped.number, "connection reset by the peer")
    assert helped.events == [Down("TCP: connection reset by the peer", routes_kept_s=40)]
    assert (helped.stale, helped.peer.snapshot().prefixes_accepted) == (2, 2)
    number = helped.back(route(HALF), restarting=True)
    assert helped.stale == 1
    helped.say(number, END_OF_RIB)
    assert helped.changes == {RouteChanged(REGION, None)}
    assert helped.stale == 0
    helped.wait(29)
    assert helped.changes == {RouteChanged(REGION, None)}


def test_the_restart_time_is_the_limit_for_coming_back() -> None:
    helped = Helped()
    helped.close(helped.number)
    helped.wait(39.9)
    assert helped.changes == set()
    helped.wait(0.2)
    assert helped.changes == GONE


@pytest.mark.parametrize("preserved", [False, None], ids=["F bit clear", "family not named"])
def test_a_peer_that_has_lost_its_state(preserved: bool | None) -> None:
    helped = Helped()
    helped.close(helped.number)
    helped.back(preserved=preserved)
    assert helped.changes == GONE


def test_a_peer_that_has_lost_the_capability() -> None:
    helped = Helped()
    helped.close(helped.number)
    helped.wait_for_connect()
    helped.say(helped.open_outbound(), their_open().build(), KEEPALIVE)
    assert helped.changes == GONE


def test_the_stale_timer_bounds_a_peer_that_never_ends_its_routes() -> None:
    helped = Helped()
    helped.close(helped.number)
    number = helped.back(route(HALF))
    for _ in range(17):
        helped.wait(10)
        helped.say(number, KEEPALIVE)
    assert helped.changes == set()
    helped.wait(10)
    assert helped.changes == {RouteChanged(REGION, None)}
    assert helped.peer.state is State.ESTABLISHED


@pytest.mark.parametrize("notification", [False, True])
def test_consecutive_restarts(notification: bool) -> None:
    """RFC 4724 4.2: what is stale twice goes; RFC 8538 4.1: not if a NOTIFICATION may be the cause."""
    helped = Helped(notification=notification)
    helped.close(helped.number)
    number = helped.back(route(HALF), notification=notification)
    helped.close(number)
    assert helped.changes == (set() if notification else {RouteChanged(REGION, None)})
    assert helped.stale == (2 if notification else 1)


@pytest.mark.parametrize(
    ("said", "notification", "kept"),
    [
        (Notification(ErrorCode.CEASE, 4), False, False),
        (Notification(ErrorCode.CEASE, 4), True, True),
        (Notification(ErrorCode.HOLD_TIMER_EXPIRED), True, True),
        (hard_reset(cease(2)), True, False),  # type: ignore[arg-type]
    ],
)
def test_notifications_of_the_peer(said: Notification, notification: bool, kept: bool) -> None:
    helped = Helped(notification=notification)
    helped.say(helped.number, said.build())
    assert helped.changes == (set() if kept else GONE)
    (down,) = (event for event in helped.events if isinstance(event, Down))
    assert down.routes_kept_s == (40 if kept else 0)


@pytest.mark.parametrize("notification", [False, True])
def test_our_hold_timer(notification: bool) -> None:
    """RFC 8538 4."""
    helped = Helped(notification=notification)
    helped.wait(31)
    assert helped.kinds(helped.number)[-1] == MessageType.NOTIFICATION
    assert helped.changes == (set() if notification else GONE)


def test_a_stop_is_final() -> None:
    """RFC 8538 5.1: an administrative shutdown is a Hard Reset, or the peer would keep our routes."""
    helped = Helped(notification=True)
    helped.peer.stop(helped.now, "bye")
    helped.pump()
    said = helped.notification(helped.number)
    assert (said.code, said.subcode) == (6, 9)
    assert str(said.wrapped) == 'Cease/Administrative Shutdown (6/2): "bye"'
    assert helped.changes == GONE
    assert helped.peer.next_timeout() is None


def test_a_stop_while_the_peer_is_away_withdraws_what_was_kept() -> None:
    helped = Helped()
    helped.close(helped.number)
    helped.peer.stop(helped.now)
    helped.pump()
    assert helped.changes == GONE
    assert helped.peer.next_timeout() is None


@pytest.mark.parametrize("hard", [False, True])
def test_a_reset_is_final_if_the_operator_wants_that(hard: bool) -> None:
    helped = Helped(notification=True)
    helped.peer.reset(helped.now, "new policy", hard=hard)
    helped.pump()
    assert helped.notification(helped.number).is_hard_reset is hard
    assert helped.changes == (GONE if hard else set())


def test_too_many_prefixes_are_final() -> None:
    helped = Helped(replace(GRACEFUL, max_prefixes=1), notification=True)
    assert helped.notification(helped.number).is_hard_reset
    assert helped.peer.snapshot().received == ()


def test_a_new_connection_ends_the_session_of_before() -> None:
    """RFC 4724 5: the peer has restarted, and its kernel has not told us."""
    helped = Helped()  # over the connection that we have opened
    helped.wait(6)
    second = helped.open_inbound()
    assert helped.closed == []
    helped.say(second, capable(restarting=True))
    assert helped.closed == [helped.number]
    assert MessageType.NOTIFICATION not in helped.kinds(helped.number)
    helped.say(second, KEEPALIVE, route(HALF, REGION), END_OF_RIB)
    assert helped.peer.state is State.ESTABLISHED
    helped.wait(6)
    assert helped.peer.snapshot().outbound is False
    third = helped.open_inbound()  # now over one of the peer's
    assert helped.closed == [helped.number, second]
    helped.say(third, capable(restarting=True), KEEPALIVE, route(HALF, REGION), END_OF_RIB)
    assert helped.peer.state is State.ESTABLISHED
    assert helped.changes == set()
    assert helped.peer.snapshot().prefixes_stale == 0


def test_a_second_connection_at_once_is_a_collision() -> None:
    helped = Helped()
    second = helped.open_inbound()
    helped.say(second, capable(restarting=True))
    assert helped.closed == [second]
    assert helped.peer.state is State.ESTABLISHED


def test_a_second_connection_of_the_peer_at_once_is_refused() -> None:
    script = Script(replace(GRACEFUL, passive=True))
    script.peer.start(0.0)
    script.say(script.open_inbound(), capable(), KEEPALIVE)
    second = script.open_inbound()
    assert script.notification(second).code == ErrorCode.CEASE
    assert script.peer.state is State.ESTABLISHED


def test_what_may_not_be_used_is_kept_as_well() -> None:
    helped = Helped()
    helped.say(helped.number, route(DEFAULT_ROUTE))
    helped.close(helped.number)
    seen = helped.peer.snapshot()
    assert (seen.prefixes_stale, seen.prefixes_denied) == (3, 1)


# --- the restarter ------------------------------------------------------------------------------------


def restarter(**values: float) -> SessionConfig:
    return replace(CPE, graceful=Graceful(restarting=True, deferral_s=60, **values))  # type: ignore[arg-type]


def test_a_restart_says_so_until_the_peer_has_sent_everything() -> None:
    script = Script(restarter())
    number = script.start()
    offered = our_capabilities(script, number)
    assert offered is not None
    assert (offered.restarting, offered.families[0].preserved) == (True, True)
    script.say(number, capable(), KEEPALIVE, route(HALF))
    assert script.peer.snapshot().restarting
    script.say(number, END_OF_RIB, END_OF_RIB)
    assert [type(event) for event in script.events] == [Up, RouteChanged, EndOfRib]
    assert not script.peer.snapshot().restarting
    for _ in range(7):  # the deferral timer is not heard of again
        script.wait(10)
        script.say(number, KEEPALIVE)
    assert [type(event) for event in script.events] == [Up, RouteChanged, EndOfRib]
    script.close(number)
    script.wait_for_connect()
    later = our_capabilities(script, script.open_outbound())
    assert later is not None
    assert not later.restarting


def test_a_restart_does_not_wait_for_ever() -> None:
    script = Script(restarter())
    script.peer.start(0.0)
    script.pump()
    script.wait(61)
    assert script.events[-1] == EndOfRib("the peer has not sent its routes in time")
    assert not script.peer.snapshot().restarting


def test_a_suspended_peer_withdraws_nothing_and_says_nothing() -> None:
    helped = Helped()
    helped.peer.suspend(helped.now)
    helped.pump()
    assert helped.kinds(helped.number)[-1] != MessageType.NOTIFICATION
    assert helped.closed == [helped.number]
    assert helped.changes == set()
    helped.close(helped.number)
    assert helped.connects == [helped.number]
    assert helped.peer.snapshot().reason == "stopped: restarting"


def test_our_end_of_rib_comes_after_our_routes() -> None:
    helped = Helped()
    updates = [
        parse_update(data[19:], Context())
        for data in helped.sent[helped.number]
        if data[18] == MessageType.UPDATE
    ]
    assert [update.end_of_rib for update in updates] == [False, True]


def test_a_restart_of_one_end_keeps_every_route_in_use() -> None:
    """Both ends are ours: the CPE's process is replaced, and neither side withdraws anything."""
    pair = Pair(cpe=GRACEFUL, dc=replace(DC, graceful=Graceful()))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(10)
    pair.cpe.events.clear()
    pair.dc.events.clear()
    pair.cpe.peer.suspend(pair.now)
    pair.run(3)
    assert pair.dc.peer.snapshot().prefixes_stale == 1
    pair.replace_cpe(restarter())
    pair.run_until(lambda: pair.established)
    pair.run(5)
    assert [event for event in pair.dc.events if isinstance(event, RouteChanged)] == []
    kinds = [type(event) for event in pair.cpe.events if not isinstance(event, Failed)]
    assert kinds == [Up, RouteChanged, RouteChanged, EndOfRib]
    assert pair.dc.peer.snapshot().prefixes_stale == 0
    pair.cpe.peer.withdraw(DEFAULT_ROUTE, pair.now)
    pair.run(1)
    assert pair.dc.events[-1] == RouteChanged(DEFAULT_ROUTE, None)


# --- enhanced refresh ---------------------------------------------------------------------------------

ENHANCED = replace(CPE, enhanced_refresh=True)


def enhanced(config: SessionConfig = ENHANCED) -> tuple[Script, int]:
    script = Script(config)
    number = script.start()
    offer = their_open(
        capabilities=(IPV4_UNICAST, ROUTE_REFRESH, ENHANCED_ROUTE_REFRESH, FourOctetAs(64600))
    ).build()
    script.say(number, offer, KEEPALIVE, route(HALF, REGION))
    script.events.clear()
    return script, number


def test_a_request_is_answered_between_markers() -> None:
    script, number = enhanced()
    before = len(script.sent[number])
    script.say(number, RouteRefresh().build())
    first, middle, last = script.sent[number][before:]
    assert (first, last, middle[18]) == (BEGIN, END, MessageType.UPDATE)


def test_what_a_refresh_does_not_renew_is_withdrawn() -> None:
    script, number = enhanced()
    script.say(number, BEGIN, route(HALF))
    assert script.events == []
    script.say(number, END)
    assert script.events == [RouteChanged(REGION, None)]


def test_a_refresh_that_never_ends() -> None:
    script, number = enhanced()
    script.say(number, BEGIN)
    for _ in range(18):
        script.wait(10.1)
        script.say(number, KEEPALIVE)
    assert set(script.events) == GONE
    script.say(number, END)
    assert set(script.events) == GONE


def test_an_end_without_a_beginning_is_ignored() -> None:
    script, number = enhanced()
    script.say(number, END, RouteRefresh(Afi.IPV6, subtype=RefreshSubtype.BEGIN).build(), END)
    assert script.events == []
    assert script.peer.snapshot().prefixes_stale == 0


def test_an_end_without_a_beginning_does_not_end_a_restart() -> None:
    helped = Helped(replace(GRACEFUL, enhanced_refresh=True))
    helped.close(helped.number)
    number = helped.back(END)
    assert helped.stale == 2
    helped.say(number, END_OF_RIB)
    assert helped.stale == 0


def test_beginning_again_buys_no_time() -> None:
    script, number = enhanced()
    for _ in range(18):
        script.say(number, BEGIN)
        script.wait(10.1)
    assert set(script.events) == GONE


def test_markers_that_were_not_agreed_on_are_ignored() -> None:
    script, number = enhanced(CPE)
    script.say(number, BEGIN, END)
    assert script.events == []


def test_a_marker_before_the_end_of_rib_is_ignored() -> None:
    """RFC 7313 4: between speakers of graceful restart."""
    script = Script(replace(GRACEFUL, enhanced_refresh=True))
    number = script.start()
    script.say(number, capable(more=(ENHANCED_ROUTE_REFRESH,)), KEEPALIVE, route(HALF), BEGIN)
    assert script.peer.snapshot().prefixes_stale == 0
    script.say(number, END_OF_RIB, BEGIN)
    assert script.peer.snapshot().prefixes_stale == 1


def test_a_marker_of_a_wrong_length_ends_the_session() -> None:
    """RFC 7313 5."""
    script, number = enhanced()
    message = bytearray(BEGIN + b"x")
    message[17] += 1
    script.say(number, bytes(message))
    said = script.notification(number)
    assert (said.code, said.subcode, said.data) == (7, 1, bytes(message))


def test_two_of_ours_refresh_and_find_what_was_lost() -> None:
    pair = Pair(cpe=ENHANCED, dc=replace(DC, enhanced_refresh=True))
    pair.start()
    pair.run_until(lambda: pair.established)
    pair.run(1)
    assert pair.cpe.peer.refresh(pair.now)
    pair.run(1)
    seen = pair.cpe.peer.snapshot()
    assert (seen.prefixes_accepted, seen.prefixes_stale) == (2, 0)
    assert seen.counters.messages_received["route_refresh"] == 2
    pair.dc.peer.announce(Announcement(HALF, med=9), pair.now)
    pair.run(1)
    assert pair.cpe.peer.snapshot().received[1].attributes.med == 9
