"""The NOTIFICATION message (RFC 4271 4.5), with its shutdown communication (RFC 9003 2).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Error code    | Error subcode |   Data (variable)             |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.bgp.constants import SHUTDOWN_COMMUNICATION_BYTES
from vcstack.bgp.iana import SUBCODES, CeaseSubcode, ErrorCode, MessageType
from vcstack.bgp.wire.stream import build_message
from vcstack.wire.reader import Reader

if TYPE_CHECKING:
    from vcstack.bgp.errors import RemoteProtocolError

_WITH_COMMUNICATION = frozenset({CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, CeaseSubcode.ADMINISTRATIVE_RESET})
_MAX_DATA_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Notification:
    """Why one side ends the session."""

    code: ErrorCode
    subcode: int = 0
    data: bytes = b""

    @property
    def name(self) -> str:
        """Code and subcode in the RFCs' words, with both numbers."""
        subcodes = SUBCODES.get(self.code)
        words = f"/{subcodes(self.subcode).words}" if subcodes and self.subcode else ""
        return f"{self.code.words}{words} ({int(self.code)}/{self.subcode})"

    @property
    def communication(self) -> str | None:
        """The operator's words that came with a Cease, made printable; None without any."""
        if self.code != ErrorCode.CEASE or self.subcode not in _WITH_COMMUNICATION or not self.data:
            return None
        length, text = self.data[0], self.data[1:]
        if length != len(text):
            return f"malformed communication {self.data.hex()}"
        try:
            return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.decode())
        except UnicodeDecodeError:
            return f"malformed communication {self.data.hex()}"

    @property
    def wrapped(self) -> Notification | None:
        """What a Hard Reset says of its cause (RFC 8538 3.1)."""
        if not self.is_hard_reset or len(self.data) < 2:
            return None
        return Notification(ErrorCode(self.data[0]), self.data[1], self.data[2:])

    @property
    def is_hard_reset(self) -> bool:
        """RFC 8538 3: no route survives this one."""
        return (self.code, self.subcode) == (ErrorCode.CEASE, CeaseSubcode.HARD_RESET)

    def __str__(self) -> str:
        cause = self.wrapped
        if cause is not None:  # one inside another one is data like any other
            return f"{self.name}: {cause.name if cause.is_hard_reset else cause}"
        said = self.communication
        return f'{self.name}: "{said}"' if said else self.name

    def build(self) -> bytes:
        """Build the whole message."""
        return build_message(MessageType.NOTIFICATION, bytes((self.code, self.subcode)) + self.data)


def parse_notification(body: bytes) -> Notification:
    """Parse a NOTIFICATION; any code, subcode and data are a value."""
    reader = Reader(body, "NOTIFICATION")
    return Notification(ErrorCode(reader.u8()), reader.u8(), reader.rest())


def cease(subcode: CeaseSubcode, communication: str = "") -> Notification:
    """Make a Cease; the communication is cut to the length that every receiver takes."""
    text = communication.encode()[:SHUTDOWN_COMMUNICATION_BYTES].decode(errors="ignore").encode()
    data = bytes((len(text),)) + text if text and subcode in _WITH_COMMUNICATION else b""
    return Notification(ErrorCode.CEASE, subcode, data)


def hard_reset(cause: Notification) -> Notification:
    """Wrap a NOTIFICATION so that the session is not restarted gracefully (RFC 8538 3.1)."""
    data = bytes((cause.code, cause.subcode)) + cause.data
    return Notification(ErrorCode.CEASE, CeaseSubcode.HARD_RESET, data)


def notification_for(error: RemoteProtocolError) -> Notification:
    """Make the answer to what the peer did wrong."""
    return Notification(error.code, error.subcode, error.data[:_MAX_DATA_BYTES])
