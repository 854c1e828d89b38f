from hypothesis import given, settings
from hypothesis import strategies as st

from vcstack.gre.damping import CEILING, Damper


def answers_until_proved(damper: Damper) -> int:
    damper.fail()
    damper.hold()
    count = 1
    while not damper.prove():
        assert damper.owes
        assert damper.remaining > 0
        count += 1
    assert not damper.owes
    return count


def test_each_failure_demands_twice_as_much_up_to_the_ceiling() -> None:
    damper = Damper(3)
    assert [answers_until_proved(damper) for _ in range(7)] == [3, 6, 12, 24, 48, 48, 48]


def test_a_line_that_stays_up_is_trusted_again() -> None:
    damper = Damper(3)
    for _ in range(3):
        answers_until_proved(damper)
    for _ in range(20):  # the next demand would be 24
        damper.relax()
    assert answers_until_proved(damper) == 4
    for _ in range(100):
        damper.relax()
    assert answers_until_proved(damper) == 3


def test_without_damping_nothing_is_owed() -> None:
    damper = Damper(0)
    damper.fail()
    assert not damper.owes
    assert damper.remaining == 0


@settings(deadline=None)
@given(st.integers(1, 10), st.lists(st.sampled_from(["fail", "relax"]), max_size=60))
def test_the_demand_stays_between_base_and_ceiling(base: int, steps: list[str]) -> None:
    damper = Damper(base)
    for step in steps:
        if step == "fail":
            assert base <= answers_until_proved(damper) <= CEILING * base
        else:
            damper.relax()
