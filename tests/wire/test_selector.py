from dataclasses import replace
from ipaddress import IPv4Address
from itertools import product

import pytest
from hypothesis import given

from tests.wire.strategies import addresses, selectors, u8, u16
from vcstack.wire.reader import WireError
from vcstack.wire.selector import TrafficSelector, matches_any

HOST = TrafficSelector.host(IPv4Address("198.51.100.1"), 47)
EVERYTHING = TrafficSelector(start=IPv4Address(0), end=IPv4Address("255.255.255.255"))
OPAQUE = replace(HOST, start_port=65535, end_port=0)
# Where drawn selectors can differ: their protocols and one more, their addresses and ports, and no port.
PROBES = list(product((6, 17, 47), map(IPv4Address, range(9)), (*range(9), None)))


def test_gre_host_has_the_bytes_of_rfc_7296() -> None:
    assert HOST.build().hex() == "072f00100000ffffc6336401c6336401"
    assert TrafficSelector.parse(HOST.build()) == HOST


@given(addresses, addresses, u8, u16, u16)
def test_parse_returns_what_was_built(
    one: IPv4Address, other: IPv4Address, protocol: int, low: int, high: int
) -> None:
    start, end = min(one, other), max(one, other)
    selector = TrafficSelector(
        protocol=protocol, start_port=min(low, high), end_port=max(low, high), start=start, end=end
    )
    assert TrafficSelector.parse(selector.build()) == selector


@given(selectors())
def test_opaque_selectors_survive_the_wire(selector: TrafficSelector) -> None:
    assert TrafficSelector.parse(selector.build()) == selector


@pytest.mark.parametrize(
    "malformed",
    [
        "082f00100000ffffc6336401c6336401",  # TS_IPV6_ADDR_RANGE
        "072f000f0000ffffc6336401c6336401",
        "072f00110000ffffc6336401c633640100",
        "072f00100000ffffc6336402c6336401",  # addresses reversed
        "072f001000020001c6336401c6336401",  # ports reversed
        "072f00100000ffffc6336401c63364",
        "072f00100000ffffc6336401c633640100",
        "",
    ],
)
def test_malformed_selectors_are_refused(malformed: str) -> None:
    with pytest.raises(WireError, match="traffic selector"):
        TrafficSelector.parse(bytes.fromhex(malformed))


@given(selectors(), selectors())
def test_intersection_matches_what_both_match(one: TrafficSelector, other: TrafficSelector) -> None:
    both = one.intersect(other)
    assert both == other.intersect(one)
    for probe in PROBES:
        assert (both is not None and both.matches(*probe)) == (one.matches(*probe) and other.matches(*probe))


@given(selectors(), selectors())
def test_covered_selector_matches_nothing_more(one: TrafficSelector, other: TrafficSelector) -> None:
    assert one.covers(one)
    assert EVERYTHING.covers(one)
    if one.covers(other):
        assert all(one.matches(*probe) for probe in PROBES if other.matches(*probe))
        assert one.intersect(other) == other


def test_opaque_is_part_of_any_but_not_of_real_ports() -> None:
    assert HOST.intersect(OPAQUE) == OPAQUE
    assert OPAQUE.intersect(OPAQUE) == OPAQUE
    assert OPAQUE.intersect(replace(HOST, start_port=1, end_port=2)) is None
    assert HOST.covers(OPAQUE)
    assert not OPAQUE.covers(HOST)


def test_packet_matches_by_protocol_address_and_port() -> None:
    web = TrafficSelector(
        protocol=6, start_port=80, end_port=81, start=IPv4Address("10.0.0.0"), end=IPv4Address("10.0.0.255")
    )
    assert web.matches(6, IPv4Address("10.0.0.7"), 80)
    assert not web.matches(17, IPv4Address("10.0.0.7"), 80)
    assert not web.matches(6, IPv4Address("10.0.1.0"), 80)
    assert not web.matches(6, IPv4Address("10.0.0.7"), 82)
    assert not web.matches(6, IPv4Address("10.0.0.7"))
    assert HOST.matches(47, IPv4Address("198.51.100.1"))
    assert OPAQUE.matches(47, IPv4Address("198.51.100.1"))
    assert not OPAQUE.matches(47, IPv4Address("198.51.100.1"), 5)


def test_one_of_several_is_enough() -> None:
    other = TrafficSelector.host(IPv4Address("198.51.100.2"))
    assert matches_any((HOST, other), 6, IPv4Address("198.51.100.2"), 80)
    assert not matches_any((HOST, other), 6, IPv4Address("198.51.100.1"), 80)
    assert not matches_any((), 47, IPv4Address("198.51.100.1"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"end": IPv4Address(0)}, "addresses"), ({"start_port": 2, "end_port": 1}, "ports")],
)
def test_reversed_ranges_cannot_be_made(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(HOST, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (HOST, "198.51.100.1/32[47]"),
        (EVERYTHING, "0.0.0.0/0"),
        (OPAQUE, "198.51.100.1/32[47/opaque]"),
        (replace(HOST, protocol=6, start_port=80, end_port=81), "198.51.100.1/32[6/80-81]"),
        (replace(HOST, protocol=0, end=IPv4Address("198.51.100.2")), "198.51.100.1-198.51.100.2"),
    ],
)
def test_text_form(selector: TrafficSelector, text: str) -> None:
    assert str(selector) == text
