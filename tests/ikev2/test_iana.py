import pytest

from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType, PayloadType


def test_unknown_numbers_are_kept() -> None:
    unknown = NotifyType(40999)
    assert (unknown.value, unknown.name, str(unknown)) == (40999, "UNKNOWN_40999", "UNKNOWN_40999")
    assert not unknown.is_known
    assert unknown == NotifyType(40999)
    assert {unknown: 1}[NotifyType(40999)] == 1
    assert isinstance(unknown, NotifyType)


def test_known_numbers_are_the_members() -> None:
    assert NotifyType(16390) is NotifyType.COOKIE
    assert NotifyType.COOKIE.is_known
    assert str(ExchangeType(36)) == "CREATE_CHILD_SA"


def test_asking_for_an_unknown_number_does_not_make_it_known() -> None:
    PayloadType(250)
    assert not PayloadType(250).is_known
    assert 250 not in [member.value for member in PayloadType]


@pytest.mark.parametrize("value", [-1, 65536, "14"])
def test_what_is_no_number_of_a_registry(value: object) -> None:
    with pytest.raises(ValueError, match="not a valid DhGroup"):
        DhGroup(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "is_error"), [(0, False), (1, True), (24, True), (16383, True), (16384, False), (65535, False)]
)
def test_errors_by_range(number: int, is_error: bool) -> None:
    assert NotifyType(number).is_error is is_error
