import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.esp import layout

GRE, GRE_WITH_KEY = 24, 28


@pytest.mark.parametrize(
    ("path_mtu", "udp", "payload", "inner", "mss", "inner_with_key", "mss_with_key"),
    [
        (1500, False, 1446, 1422, 1382, 1418, 1378),
        (1500, True, 1438, 1414, 1374, 1410, 1370),
        (1492, False, 1438, 1414, 1374, 1410, 1370),
        (1492, True, 1430, 1406, 1366, 1402, 1362),
        (1480, True, 1418, 1394, 1354, 1390, 1350),
    ],
)
def test_tunnel_mtu_and_mss_follow_from_the_path_mtu(
    path_mtu: int, udp: bool, payload: int, inner: int, mss: int, inner_with_key: int, mss_with_key: int
) -> None:
    assert layout.max_payload(path_mtu, udp_encapsulation=udp) == payload
    assert layout.max_inner(path_mtu, udp_encapsulation=udp, encapsulation=GRE) == inner
    assert layout.max_mss(inner) == mss
    assert layout.max_inner(path_mtu, udp_encapsulation=udp, encapsulation=GRE_WITH_KEY) == inner_with_key
    assert layout.max_mss(inner_with_key) == mss_with_key


def test_cisco_prints_the_same_plaintext_mtu_for_jumbo_frames() -> None:
    assert layout.max_payload(9184, udp_encapsulation=False) == 9130


@pytest.mark.parametrize(
    ("payload", "esp", "esp_in_udp"),
    [(1390 + GRE, 1468, 1476), (1400 + GRE, 1480, 1488), (200 + GRE, 280, 288), (48, 104, 112), (24, 80, 88)],
)
def test_size_on_the_wire(payload: int, esp: int, esp_in_udp: int) -> None:
    assert layout.wire_size(payload, udp_encapsulation=False) == esp
    assert layout.wire_size(payload, udp_encapsulation=True) == esp_in_udp


@settings(deadline=None)
@given(st.integers(min_value=80, max_value=65535), st.booleans())
def test_the_largest_payload_fits_and_one_byte_more_does_not(path_mtu: int, udp: bool) -> None:
    largest = layout.max_payload(path_mtu, udp_encapsulation=udp)
    assert layout.wire_size(largest, udp_encapsulation=udp) <= path_mtu
    assert layout.wire_size(largest + 1, udp_encapsulation=udp) > path_mtu


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2000), st.sampled_from([4, 16, 64, 256]))
def test_padding_is_the_least_that_aligns(payload: int, pad_to: int) -> None:
    padding = layout.padding_length(payload, pad_to)
    assert 0 <= padding < pad_to
    assert (payload + padding + layout.TRAILER_LENGTH) % pad_to == 0


def test_nothing_fits_a_path_smaller_than_the_headers() -> None:
    assert layout.max_payload(40, udp_encapsulation=True) == 0
    assert layout.max_inner(70, udp_encapsulation=True) == 0
    assert layout.max_mss(39) == 0
