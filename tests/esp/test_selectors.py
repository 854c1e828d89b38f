from ipaddress import IPv4Address

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.esp.support import FAR, NEAR
from vcstack.esp.selectors import Selectors
from vcstack.wire.selector import TrafficSelector

ADDRESSES = st.integers(0, 7).map(IPv4Address)
PROTOCOLS = st.sampled_from([0, 6, 47])


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    start, end = sorted((draw(ADDRESSES), draw(ADDRESSES)))
    ports = draw(st.sampled_from([(0, 65535), (65535, 0), (179, 179)]))
    return TrafficSelector(
        protocol=draw(PROTOCOLS), start_port=ports[0], end_port=ports[1], start=start, end=end
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(selectors(), max_size=3),
    st.lists(selectors(), max_size=3),
    st.lists(st.tuples(st.sampled_from([1, 6, 47]), ADDRESSES, ADDRESSES), max_size=8),
)
def test_admits_what_a_pair_of_selectors_matches(
    sources: list[TrafficSelector],
    destinations: list[TrafficSelector],
    packets: list[tuple[int, IPv4Address, IPv4Address]],
) -> None:
    compiled = Selectors(sources=sources, destinations=destinations)
    expected = [
        any(end.matches(protocol, source) for end in sources)
        and any(end.matches(protocol, destination) for end in destinations)
        for protocol, source, destination in packets
    ]
    rows = [(protocol, int(source), int(destination)) for protocol, source, destination in packets]
    assert [compiled.permit(*row) for row in rows] == expected
    columns = np.array(rows, dtype=np.uint32).reshape(-1, 3)
    assert compiled.permit_batch(columns[:, 0], columns[:, 1], columns[:, 2]).tolist() == expected
    if compiled.exact is not None:
        assert [row == compiled.exact for row in rows] == expected


def test_gre_between_two_hosts_is_exact() -> None:
    compiled = Selectors(
        sources=[TrafficSelector.host(NEAR, 47)], destinations=[TrafficSelector.host(FAR, 47)]
    )
    assert compiled.exact == (47, int(NEAR), int(FAR))


def test_anything_wider_is_not_exact() -> None:
    host = TrafficSelector.host(FAR)
    network = TrafficSelector(protocol=47, start=NEAR, end=FAR)
    assert Selectors(sources=[host], destinations=[host]).exact is None
    assert Selectors(sources=[network], destinations=[host]).exact is None
    assert Selectors(sources=[], destinations=[host]).exact is None


def test_a_selector_of_some_ports_admits_nothing() -> None:
    ports = TrafficSelector(protocol=6, start_port=179, end_port=179, start=NEAR, end=NEAR)
    compiled = Selectors(sources=[ports], destinations=[TrafficSelector.host(FAR)])
    assert not compiled.permit(6, int(NEAR), int(FAR))
