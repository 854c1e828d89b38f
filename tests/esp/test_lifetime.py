import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.esp.lifetime import Expiry, Lifetime, Limit, Meter, Phase
from vcstack.wire.deadline import Deadline

SOFT_TIME, HARD_TIME = Expiry(Phase.SOFT, Limit.TIME), Expiry(Phase.HARD, Limit.TIME)


def test_time_crosses_each_limit_once() -> None:
    meter = Meter(Lifetime(soft_s=3000, hard_s=3600), now=100.0)
    assert meter.next_timeout() == Deadline(3100.0, "SA wants a successor")
    assert meter.handle_timeout(3099.9) is None
    assert meter.handle_timeout(3100.0) == SOFT_TIME
    assert meter.handle_timeout(3100.0) is None
    assert meter.next_timeout() == Deadline(3700.0, "SA lifetime ends")
    assert meter.handle_timeout(3700.0) == HARD_TIME
    assert meter.handle_timeout(9999.0) is None
    assert meter.next_timeout() is None
    assert meter.expired


def test_volume_crosses_each_limit_once() -> None:
    meter = Meter(Lifetime(soft_bytes=1000, hard_bytes=2000, hard_packets=50), now=0.0)
    assert meter.account(9, 999) is None
    assert meter.account(1, 1) == Expiry(Phase.SOFT, Limit.BYTES)
    assert meter.account(1, 1) is None
    assert meter.account(39, 1) == Expiry(Phase.HARD, Limit.PACKETS)
    assert meter.account(100, 100_000) is None
    assert (meter.packets, meter.octets) == (150, 101_002)


def test_a_batch_across_both_limits_tells_the_hard_one() -> None:
    meter = Meter(Lifetime(soft_packets=10, hard_packets=20), now=0.0)
    assert meter.account(64, 0) == Expiry(Phase.HARD, Limit.PACKETS)


def test_the_first_soft_limit_silences_the_others() -> None:
    meter = Meter(Lifetime(soft_s=10, soft_bytes=10, soft_packets=1), now=0.0)
    assert meter.handle_timeout(10.0) == SOFT_TIME
    assert meter.account(5, 500) is None
    assert meter.exhaust(Phase.SOFT) is None
    assert meter.exhaust(Phase.HARD) == Expiry(Phase.HARD, Limit.SEQUENCE)


def test_bytes_are_not_capped_at_32_bits() -> None:
    meter = Meter(Lifetime(soft_bytes=4_608_000_000), now=0.0)
    assert meter.account(1, (1 << 32) - 1) is None
    assert meter.account(1, 313_032_705) == Expiry(Phase.SOFT, Limit.BYTES)


def test_no_limits_never_expire() -> None:
    meter = Meter(Lifetime(), now=0.0)
    assert meter.account(1 << 40, 1 << 60) is None
    assert meter.handle_timeout(1e12) is None
    assert meter.next_timeout() is None


@pytest.mark.parametrize(
    "limits",
    [{"soft_s": 0}, {"hard_bytes": -1}, {"soft_s": 10, "hard_s": 9}, {"soft_packets": 2, "hard_packets": 1}],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Lifetime(**limits)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4000), st.integers(0, 40)), max_size=40))
def test_any_use_gives_at_most_one_soft_and_then_one_hard(steps: list[tuple[int, int, int]]) -> None:
    meter = Meter(
        Lifetime(soft_s=200, hard_s=300, soft_bytes=9000, hard_bytes=12000, soft_packets=90, hard_packets=99),
        now=0.0,
    )
    now, phases = 0.0, []
    for packets, octets, seconds in steps:
        now += seconds
        told = [meter.account(packets, octets), meter.handle_timeout(now)]
        phases += [expiry.phase for expiry in told if expiry is not None]
    hard = now >= 300 or meter.octets >= 12000 or meter.packets >= 99
    soft = hard or now >= 200 or meter.octets >= 9000 or meter.packets >= 90
    assert phases in ([], [Phase.SOFT], [Phase.HARD], [Phase.SOFT, Phase.HARD])
    assert (Phase.HARD in phases) == hard == meter.expired
    assert bool(phases) == soft
