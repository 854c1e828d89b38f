from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.gre.packet import Decapsulated, Protocol, Reject, encapsulate
from vcstack.gre.tunnel import (
    CE,
    ECT_0,
    ECT_1,
    NOT_ECT,
    RESTART_RUN,
    Sequencer,
    Tunnel,
    TunnelConfig,
    join_congestion,
)
from vcstack.wire.ipv4 import Ipv4Header

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LAN, SERVER = IPv4Address("10.0.0.9"), IPv4Address("10.77.0.9")


def inner(payload: bytes = b"voice", **fields: Any) -> bytes:
    return Ipv4Header(LAN, SERVER, 17, **fields).build(len(payload)) + payload


def ends(**changes: Any) -> tuple[Tunnel, Tunnel]:
    return (
        Tunnel(TunnelConfig(local=NEAR, remote=FAR, **changes)),
        Tunnel(TunnelConfig(local=FAR, remote=NEAR, **changes)),
    )


def payload_of(outcome: Decapsulated | Reject) -> bytes:
    assert isinstance(outcome, Decapsulated)
    return outcome.payload


@pytest.mark.parametrize(("key", "overhead"), [(None, 24), (0, 28), (0xFFFFFFFF, 28)])
def test_a_packet_crosses_the_tunnel(key: int | None, overhead: int) -> None:
    near, far = ends(key=key)
    packet = near.encapsulate(inner(), 99)
    assert len(packet) == len(inner()) + overhead == len(inner()) + near.config.overhead
    assert payload_of(far.decapsulate(packet)) == inner()
    assert far.rejects == {}


def test_the_template_is_the_header_of_an_empty_packet() -> None:
    config = TunnelConfig(local=NEAR, remote=FAR, key=5)
    assert config.template() == encapsulate(b"", NEAR, FAR, key=5)
    assert len(config.template()) == config.overhead
    assert config.expected_words() == (47, int(FAR), int(NEAR))


@pytest.mark.parametrize("copy_df", [False, True])
@pytest.mark.parametrize("dont_fragment", [False, True])
def test_df_is_copied_where_configured(copy_df: bool, dont_fragment: bool) -> None:
    near, _ = ends(copy_df=copy_df)
    header = Ipv4Header.parse(near.encapsulate(inner(dont_fragment=dont_fragment)))
    assert header.dont_fragment == (copy_df and dont_fragment)


@pytest.mark.parametrize(("copy_dscp", "tos"), [(True, 0xB9), (False, 0x01)])
def test_dscp_is_copied_where_configured_and_ecn_always(copy_dscp: bool, tos: int) -> None:
    near, _ = ends(copy_dscp=copy_dscp)
    assert Ipv4Header.parse(near.encapsulate(inner(tos=0xB9))).tos == tos


# RFC 6040 section 4.2, figure 4: inner, outer -> result
RFC_6040 = {
    (NOT_ECT, NOT_ECT): NOT_ECT,
    (NOT_ECT, ECT_0): NOT_ECT,
    (NOT_ECT, ECT_1): NOT_ECT,
    (NOT_ECT, CE): None,
    (ECT_0, NOT_ECT): ECT_0,
    (ECT_0, ECT_0): ECT_0,
    (ECT_0, ECT_1): ECT_1,
    (ECT_0, CE): CE,
    (ECT_1, NOT_ECT): ECT_1,
    (ECT_1, ECT_0): ECT_1,
    (ECT_1, ECT_1): ECT_1,
    (ECT_1, CE): CE,
    (CE, NOT_ECT): CE,
    (CE, ECT_0): CE,
    (CE, ECT_1): CE,
    (CE, CE): CE,
}


@pytest.mark.parametrize("dscp", [0, 0xB8])
@pytest.mark.parametrize(("marks", "expected"), list(RFC_6040.items()))
def test_ecn_is_joined(marks: tuple[int, int], expected: int | None, dscp: int) -> None:
    joined = join_congestion(inner(tos=dscp | marks[0]), marks[1])
    if expected is None:
        assert joined is None
    else:
        assert joined == inner(tos=dscp | expected)


def test_a_congested_packet_without_ecn_is_dropped_and_counted() -> None:
    _, far = ends()
    assert far.decapsulate(encapsulate(inner(), NEAR, FAR, tos=CE)) is Reject.CONGESTION
    assert far.rejects == {Reject.CONGESTION: 1}


@pytest.mark.parametrize(
    "payload", [b"", inner()[:19], inner()[:-1], b"\x60" + inner()[1:], b"\x4f" + inner()[1:]]
)
def test_malformed_inner_packets_are_refused(payload: bytes) -> None:
    _, far = ends()
    assert far.decapsulate(encapsulate(payload, NEAR, FAR)) is Reject.MALFORMED_INNER


def test_what_is_refused_is_counted_by_reason() -> None:
    _, far = ends(key=5)
    for packet in (b"", encapsulate(inner(), NEAR, FAR), encapsulate(inner(), NEAR, FAR, key=6), b""):
        assert isinstance(far.decapsulate(packet), Reject)
    assert far.rejects == {Reject.NOT_IPV4: 2, Reject.KEY_MISSING: 1, Reject.KEY_MISMATCH: 1}


def test_trailing_bytes_are_cut_off() -> None:
    _, far = ends()
    assert payload_of(far.decapsulate(encapsulate(inner() + b"pad", NEAR, FAR))) == inner()


def test_a_keepalive_needs_no_inner_packet() -> None:
    _, far = ends()
    outcome = far.decapsulate(encapsulate(b"nonce", NEAR, FAR, protocol=Protocol.KEEPALIVE))
    assert payload_of(outcome) == b"nonce"


def test_late_packets_with_sequence_numbers_are_refused() -> None:
    _, far = ends()
    sent = [encapsulate(inner(), NEAR, FAR, sequence=sequence) for sequence in (0, 1, 3, 2, 3, 4)]
    outcomes = [far.decapsulate(packet) for packet in sent]
    late = [outcome is Reject.OUT_OF_SEQUENCE for outcome in outcomes]
    assert late == [False, False, False, True, True, False]
    assert far.rejects == {Reject.OUT_OF_SEQUENCE: 2}


@settings(deadline=None)
@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_order_is_modulo_2_to_the_32(last: int, sequence: int) -> None:
    order = Sequencer()
    assert order.accept(0)
    for step in (last // 2, last):  # at most half the circle at a time
        order.accept(step)
    late = (last - sequence) % (1 << 32) < 1 << 31
    assert order.accept(sequence) == (not late)


@pytest.mark.parametrize(("seen", "start"), [([1_000_000], 0), ([], 3_000_000_000)])
def test_a_count_that_began_anew_is_taken_after_a_while(seen: list[int], start: int) -> None:
    """The peer counts from 0 again; or we restarted while its count was beyond half of the circle."""
    order = Sequencer()
    assert all(order.accept(sequence) for sequence in seen)
    outcomes = [order.accept(start + step) for step in range(20)]
    assert outcomes == [False] * (RESTART_RUN - 1) + [True] * (21 - RESTART_RUN)


def test_late_packets_between_others_are_no_restart() -> None:
    order = Sequencer()
    order.accept(1000)
    for step in range(100):
        assert not order.accept(step)
        if step % 10 == 9:
            assert order.accept(1001 + step)


def test_a_sender_that_repeats_itself_has_not_restarted() -> None:
    order = Sequencer()
    order.accept(1000)
    assert not any(order.accept(500) for _ in range(100))


@pytest.mark.parametrize("wrong", [{"remote": NEAR}, {"key": -1}, {"key": 1 << 32}, {"ttl": 0}, {"ttl": 256}])
def test_tunnels_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TunnelConfig(**({"local": NEAR, "remote": FAR} | wrong))
