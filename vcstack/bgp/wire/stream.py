"""The byte stream of a connection cut into messages (RFC 4271 4.1, 6.1).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                                                               |
+                                                               +
|                            Marker                             |
+                        16 octets of ones                      +
|                                                               |
+                                                               +
|                                                               |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|            Length             |     Type      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from dataclasses import dataclass

from vcstack.bgp.constants import HEADER_LENGTH, MARKER, MAX_MESSAGE_LENGTH
from vcstack.bgp.errors import HeaderError
from vcstack.bgp.iana import HeaderSubcode, MessageType

_LENGTHS: dict[MessageType, tuple[int, int]] = {
    MessageType.OPEN: (29, MAX_MESSAGE_LENGTH),
    MessageType.UPDATE: (23, MAX_MESSAGE_LENGTH),
    MessageType.NOTIFICATION: (21, MAX_MESSAGE_LENGTH),
    MessageType.KEEPALIVE: (19, 19),
    MessageType.ROUTE_REFRESH: (23, MAX_MESSAGE_LENGTH),
}


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message without its header."""

    type: MessageType
    body: bytes


class Stream:
    """Reassembles messages from whatever pieces TCP delivers; holds less than one message plus one piece."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._buffer += data

    def next_message(self) -> RawMessage | None:
        """Cut the next complete message off; HeaderError as soon as its header shows an error."""
        _check_marker(self._buffer)
        if len(self._buffer) < HEADER_LENGTH:
            return None
        length = int.from_bytes(self._buffer[16:18])
        kind = _check_header(length, self._buffer[18])
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[HEADER_LENGTH:length])
        del self._buffer[:length]
        return RawMessage(kind, body)


def build_message(kind: MessageType, body: bytes = b"") -> bytes:
    """Prepend the header; OverflowError when the message is longer than 4096 bytes."""
    length = HEADER_LENGTH + len(body)
    if length > MAX_MESSAGE_LENGTH:
        raise OverflowError(f"{kind.name} message of {length} bytes")
    return MARKER + length.to_bytes(2) + bytes((kind,)) + body


def _check_marker(buffer: bytearray) -> None:
    if not MARKER.startswith(buffer[: len(MARKER)]):
        raise HeaderError(HeaderSubcode.CONNECTION_NOT_SYNCHRONIZED, "the marker is not all ones")


def _check_header(length: int, type_octet: int) -> MessageType:
    if not HEADER_LENGTH <= length <= MAX_MESSAGE_LENGTH:
        raise _bad_length(f"a message of {length} bytes", length)
    kind = MessageType(type_octet)
    if kind not in _LENGTHS:
        detail = f"unknown message type {type_octet}"
        raise HeaderError(HeaderSubcode.BAD_MESSAGE_TYPE, detail, bytes((type_octet,)))
    minimum, maximum = _LENGTHS[kind]
    if not minimum <= length <= maximum:
        raise _bad_length(f"{kind.name} message of {length} bytes", length)
    return kind


def _bad_length(detail: str, length: int) -> HeaderError:
    return HeaderError(HeaderSubcode.BAD_MESSAGE_LENGTH, detail, length.to_bytes(2))
