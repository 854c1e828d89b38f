"""RFC 4271 4.1, 6.1: framing and header errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.strategies import quick
from vcstack.bgp.constants import MARKER, MAX_MESSAGE_LENGTH
from vcstack.bgp.errors import HeaderError
from vcstack.bgp.iana import HeaderSubcode, MessageType
from vcstack.bgp.wire.stream import RawMessage, Stream, build_message

MESSAGES = (
    RawMessage(MessageType.KEEPALIVE, b""),
    RawMessage(MessageType.OPEN, bytes(10)),
    RawMessage(MessageType.UPDATE, bytes(MAX_MESSAGE_LENGTH - 19)),
    RawMessage(MessageType.NOTIFICATION, b"\x06\x02"),
    RawMessage(MessageType.ROUTE_REFRESH, b"\0\x01\0\x01"),
)


def drain(stream: Stream) -> list[RawMessage]:
    return list(iter(stream.next_message, None))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.type.name)
def test_split_at_every_byte(message: RawMessage) -> None:
    raw = build_message(message.type, message.body)
    for at in range(len(raw) + 1):
        stream = Stream()
        stream.feed(raw[:at])
        assert drain(stream) == ([message] if at == len(raw) else [])
        stream.feed(raw[at:])
        assert drain(stream) == ([] if at == len(raw) else [message])


@quick
@given(st.lists(st.sampled_from(MESSAGES), max_size=6), st.lists(st.integers(1, 3000), max_size=30))
def test_joined_and_cut_anywhere(messages: list[RawMessage], cuts: list[int]) -> None:
    raw = b"".join(build_message(m.type, m.body) for m in messages)
    stream, found = Stream(), []
    for cut in [*cuts, len(raw)]:
        stream.feed(raw[:cut])
        raw = raw[cut:]
        found += drain(stream)
    assert found == messages


@pytest.mark.parametrize("at", range(16))
def test_a_bad_marker_is_seen_with_its_byte(at: int) -> None:
    stream = Stream()
    stream.feed(MARKER[:at] + b"\xfe")
    with pytest.raises(HeaderError) as caught:
        stream.next_message()
    assert caught.value.subcode == HeaderSubcode.CONNECTION_NOT_SYNCHRONIZED


@pytest.mark.parametrize(
    ("kind", "length"),
    [(1, 0), (1, 18), (1, 28), (1, 4097), (2, 22), (2, 65535), (3, 20), (4, 20), (4, 18), (5, 22), (9, 18)],
)
def test_bad_length_carries_the_length(kind: int, length: int) -> None:
    stream = Stream()
    stream.feed(MARKER + length.to_bytes(2) + bytes((kind,)))
    with pytest.raises(HeaderError) as caught:
        stream.next_message()
    assert caught.value.subcode == HeaderSubcode.BAD_MESSAGE_LENGTH
    assert caught.value.data == length.to_bytes(2)


@pytest.mark.parametrize("kind", [0, 6, 255])
def test_unknown_type_carries_the_type(kind: int) -> None:
    stream = Stream()
    stream.feed(MARKER + (19).to_bytes(2) + bytes((kind,)))
    with pytest.raises(HeaderError) as caught:
        stream.next_message()
    assert (caught.value.subcode, caught.value.data) == (HeaderSubcode.BAD_MESSAGE_TYPE, bytes((kind,)))


@pytest.mark.parametrize(("kind", "length"), [(1, 29), (2, 23), (2, 4096), (3, 21), (4, 19), (5, 23)])
def test_lengths_at_the_edges(kind: int, length: int) -> None:
    stream = Stream()
    stream.feed(MARKER + length.to_bytes(2) + bytes((kind,)) + bytes(length - 19))
    assert stream.next_message() == RawMessage(MessageType(kind), bytes(length - 19))


def test_too_long_a_message_is_our_mistake() -> None:
    with pytest.raises(OverflowError):
        build_message(MessageType.UPDATE, bytes(MAX_MESSAGE_LENGTH - 18))
