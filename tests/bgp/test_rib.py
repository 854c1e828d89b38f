"""RFC 4271 9 and RFC 8212: what is taken, what is refused and why, and what is sent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.pair import CPE, DC, HALF, OTHER_HALF, REGION
from tests.bgp.strategies import prefixes, quick
from vcstack.bgp.config import Announcement, SessionConfig
from vcstack.bgp.damping import Damping
from vcstack.bgp.events import RouteChanged
from vcstack.bgp.iana import Origin
from vcstack.bgp.policy import DEFAULT_ROUTE, customer_edge, denial, headend, permit
from vcstack.bgp.rib import AdjRibIn, AdjRibOut
from vcstack.bgp.wire.as_path import AsPath, sequence
from vcstack.bgp.wire.attribute import Context, PathAttributes
from vcstack.bgp.wire.update import Update

PEER = CPE.remote_address
GOOD = PathAttributes(Origin.IGP, sequence(64600), PEER)


def announce(*announced: IPv4Network, attributes: PathAttributes = GOOD) -> Update:
    return Update(attributes=attributes, announced=announced)


def denied(
    config: SessionConfig, attributes: PathAttributes = GOOD, prefix: IPv4Network = HALF
) -> str | None:
    rib = AdjRibIn(config)
    rib.apply(announce(prefix, attributes=attributes), 1.0)
    return rib.routes()[0].denied


def test_the_customer_edge_takes_the_region_and_its_halves_alone() -> None:
    rib = AdjRibIn(CPE)
    smaller, other = IPv4Network("10.77.0.0/26"), IPv4Network("10.77.1.0/24")
    changes = rib.apply(announce(REGION, HALF, OTHER_HALF, smaller, other, DEFAULT_ROUTE), 1.0)
    assert {change.prefix for change in changes} == {REGION, HALF, OTHER_HALF}
    assert {route.prefix for route in rib.routes() if route.denied} == {smaller, other, DEFAULT_ROUTE}


def test_the_headend_takes_the_default_route_alone() -> None:
    attributes = PathAttributes(Origin.IGP, sequence(64512), DC.remote_address)
    for prefix in (HALF, IPv4Network("0.0.0.0/1"), IPv4Network("10.0.0.0/8")):
        assert denied(DC, attributes, prefix) == "not permitted by the import policy default route only"
    assert denied(DC, attributes, DEFAULT_ROUTE) is None


@quick
@given(prefixes)
def test_nothing_passes_without_a_policy(prefix: IPv4Network) -> None:
    assert denial(None, prefix, "import") == "no import policy (RFC 8212)"
    inbound, outbound = customer_edge(REGION)
    assert (denial(outbound, prefix, "export") is None) == (prefix == DEFAULT_ROUTE)
    assert (denial(inbound, prefix, "import") is None) == (prefix in {REGION, HALF, OTHER_HALF})
    inbound, outbound = headend(REGION, HALF)
    assert (denial(outbound, prefix, "export") is None) == (prefix in {REGION, HALF})


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (replace(GOOD, as_path=sequence(64600, 64512)), "own AS 64512 in the path"),
        (replace(GOOD, as_path=sequence(64601)), "the path does not start with the peer's AS 64600"),
        (replace(GOOD, as_path=AsPath()), "the path does not start with the peer's AS 64600"),
        (replace(GOOD, next_hop=CPE.local_address), "next hop 100.64.1.2 is this speaker"),
        (replace(GOOD, next_hop=IPv4Address("10.77.0.1")), "next hop 10.77.0.1 is not the peer"),
        (GOOD, None),
    ],
)
def test_reasons_for_denial(attributes: PathAttributes, reason: str | None) -> None:
    assert denied(CPE, attributes) == reason


def test_no_policy_is_the_last_reason() -> None:
    assert denied(replace(CPE, policy_in=None)) == "no import policy (RFC 8212)"


def test_an_implicit_withdrawal() -> None:
    """RFC 4271 3.1 c: a route replaces the one of the same prefix, also by one that may not be used."""
    rib = AdjRibIn(CPE)
    assert rib.apply(announce(HALF), 1.0) == [RouteChanged(HALF, PEER)]
    assert rib.apply(announce(HALF), 2.0) == []
    looped = replace(GOOD, as_path=sequence(64600, 64512))
    assert rib.apply(announce(HALF, attributes=looped), 3.0) == [RouteChanged(HALF, None)]
    assert rib.routes()[0].received_at == 3.0
    assert rib.apply(announce(HALF), 4.0) == [RouteChanged(HALF, PEER)]


def test_withdrawn_and_announced_in_one_update_is_announced() -> None:
    """RFC 4271 4.3."""
    rib = AdjRibIn(CPE)
    both = Update(withdrawn=(HALF, REGION), attributes=GOOD, announced=(HALF,))
    assert rib.apply(both, 1.0) == [RouteChanged(HALF, PEER)]
    assert rib.apply(both, 2.0) == []
    assert rib.apply(Update(withdrawn=(HALF, REGION)), 3.0) == [RouteChanged(HALF, None)]


def test_clearing_takes_back_what_was_used() -> None:
    rib = AdjRibIn(CPE)
    rib.apply(announce(HALF, REGION, DEFAULT_ROUTE), 1.0)
    assert set(rib.clear()) == {RouteChanged(HALF, None), RouteChanged(REGION, None)}
    assert len(rib) == 0


def test_nothing_goes_out_without_a_policy() -> None:
    out = AdjRibOut(replace(CPE, policy_out=None))
    assert list(out.updates()) == []
    assert [route.denied for route in out.routes()] == ["no export policy (RFC 8212)"]


def test_what_goes_out() -> None:
    out = AdjRibOut(DC)
    (update,) = out.updates()
    assert set(update.announced) == {HALF, REGION}
    assert update.attributes == PathAttributes(Origin.IGP, sequence(64600), DC.local_address)
    assert list(out.updates()) == []
    out.withdraw(HALF)
    out.announce(Announcement(REGION, med=7))
    withdraw, again = out.updates()
    assert (withdraw.withdrawn, withdraw.announced) == ((HALF,), ())
    assert (again.withdrawn, again.announced) == ((), (REGION,))
    assert again.attributes is not None
    assert again.attributes.med == 7
    assert [route.prefix for route in out.sent()] == [REGION]
    out.forget_sent()
    assert [update.announced for update in out.updates()] == [(REGION,)]


def test_inside_an_as_the_path_is_empty() -> None:
    """RFC 4271 5.1.2, 5.1.5."""
    (update,) = AdjRibOut(replace(CPE, remote_as=CPE.local_as)).updates()
    assert update.attributes is not None
    assert (update.attributes.as_path, update.attributes.local_pref) == (AsPath(), 100)


def test_many_prefixes_are_spread_over_messages() -> None:
    many = [IPv4Network((n << 8, 24)) for n in range(1200)]
    config = replace(DC, policy_out=permit("all", many), announce=tuple(map(Announcement, many)))
    updates = list(AdjRibOut(config).updates())
    assert [len(update.announced) for update in updates] == [500, 500, 200]
    assert all(len(update.build(Context())) <= 4096 for update in updates)


@quick
@given(st.floats(0.1, 5), st.floats(0.1, 60))
def test_damping_grows_to_its_ceiling(floor: float, ceiling: float) -> None:
    damping = Damping(floor, ceiling)
    pauses = [damping.next_pause() for _ in range(12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (floor, max(floor, ceiling))
    damping.forgive()
    assert damping.next_pause() == floor
