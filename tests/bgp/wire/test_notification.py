"""RFC 4271 4.5, RFC 4486, RFC 9003, RFC 8538, RFC 7313."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.strategies import notifications, quick, refreshes
from vcstack.bgp.errors import RefreshError, UpdateError
from vcstack.bgp.iana import CeaseSubcode, ErrorCode, MessageType, RefreshSubtype, UpdateSubcode
from vcstack.bgp.wire.notification import (
    Notification,
    cease,
    hard_reset,
    notification_for,
    parse_notification,
)
from vcstack.bgp.wire.refresh import RouteRefresh, parse_refresh
from vcstack.bgp.wire.stream import build_message


@quick
@given(notifications)
def test_round_trip_and_text(value: Notification) -> None:
    assert parse_notification(value.build()[19:]) == value
    assert f"({int(value.code)}/{value.subcode})" in str(value)


@quick
@given(refreshes)
def test_refresh_round_trip(value: RouteRefresh) -> None:
    assert parse_refresh(value.build()[19:], enhanced=True) == value
    assert parse_refresh(value.build()[19:] + b"filters", enhanced=False) == value


@pytest.mark.parametrize("subtype", [RefreshSubtype.BEGIN, RefreshSubtype.END])
def test_a_marker_of_a_wrong_length(subtype: RefreshSubtype) -> None:
    """RFC 7313 5: the data is the whole message."""
    body = RouteRefresh(subtype=subtype).build()[19:] + b"x"
    with pytest.raises(RefreshError) as caught:
        parse_refresh(body, enhanced=True)
    assert caught.value.data == build_message(MessageType.ROUTE_REFRESH, body)
    assert parse_refresh(body, enhanced=False).subtype == subtype


def test_a_hard_reset_tells_its_cause() -> None:
    """RFC 8538 3.1, 5.2."""
    cause = cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, "going home")
    notification = hard_reset(cause)
    assert parse_notification(notification.build()[19:]).wrapped == cause
    assert str(notification) == 'Cease/Hard Reset (6/9): Cease/Administrative Shutdown (6/2): "going home"'
    assert str(hard_reset(notification)) == "Cease/Hard Reset (6/9): Cease/Hard Reset (6/9)"
    bare = Notification(ErrorCode.CEASE, CeaseSubcode.HARD_RESET)
    assert (bare.wrapped, str(bare)) == (None, "Cease/Hard Reset (6/9)")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Notification(ErrorCode(2), 2), "OPEN Message Error/Bad Peer AS (2/2)"),
        (Notification(ErrorCode(1), 1), "Message Header Error/Connection Not Synchronized (1/1)"),
        (Notification(ErrorCode(4)), "Hold Timer Expired (4/0)"),
        (Notification(ErrorCode(5), 3), "FSM Error/Unexpected Message in Established (5/3)"),
        (Notification(ErrorCode(3), 2), "UPDATE Message Error/Unrecognized Well-known Attribute (3/2)"),
        (Notification(ErrorCode(6), 1), "Cease/Maximum Number of Prefixes Reached (6/1)"),
        (Notification(ErrorCode(6), 99), "Cease/Unassigned 99 (6/99)"),
        (Notification(ErrorCode(77), 5), "Unassigned 77 (77/5)"),
        (Notification(ErrorCode(6), 2, b"\x03abc"), 'Cease/Administrative Shutdown (6/2): "abc"'),
        (Notification(ErrorCode(6), 2, b"\x00"), "Cease/Administrative Shutdown (6/2)"),
        (Notification(ErrorCode(6), 1, b"\x03abc"), "Cease/Maximum Number of Prefixes Reached (6/1)"),
    ],
)
def test_text(value: Notification, text: str) -> None:
    assert str(value) == text


@pytest.mark.parametrize("data", [b"\x04abc", b"\x02abc", b"\x02\xff\xfe", b"\x02\xc0\xaf"])
def test_malformed_communication_is_shown_in_hex(data: bytes) -> None:
    assert Notification(ErrorCode.CEASE, 4, data).communication == f"malformed communication {data.hex()}"


def test_communication_cannot_forge_log_lines() -> None:
    text = Notification(ErrorCode.CEASE, 2, b"\x05a\nb\x1bc").communication
    assert text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


@quick
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_cease_fits_every_receiver_and_stays_utf8(text: str) -> None:
    value = cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, text)
    assert len(value.data) <= 129
    if value.data:
        assert value.data[0] == len(value.data) - 1
        assert text.startswith(value.data[1:].decode())
    else:
        assert not text


def test_cease_of_another_kind_has_no_words() -> None:
    assert cease(CeaseSubcode.CONNECTION_REJECTED, "text").data == b""


def test_data_never_makes_the_answer_too_long() -> None:
    error = UpdateError(UpdateSubcode.OPTIONAL_ATTRIBUTE_ERROR, "x", bytes(5000))
    assert len(notification_for(error).build()) <= 4096
