"""Vendor ID payload (RFC 7296 3.12): octets that mean something to those who know them; here only shown."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.iana import PayloadType
from vcstack.wire.reader import Reader

_NAMES_BY_PREFIX: Final = (
    (b"CISCO-DELETE-REASON", "Cisco delete reason"),
    (b"CISCO(COPYRIGHT)", "Cisco"),
    (b"CISCO-DYNAMIC-ROUTE", "Cisco dynamic route"),
    (b"CISCO-GRE-MODE", "Cisco GRE mode"),
    (b"FLEXVPN-SUPPORTED", "Cisco FlexVPN"),
    (bytes.fromhex("4048b7d56ebce88525e7de7f00d6c2d3"), "Cisco fragmentation"),
    (bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb"), "strongSwan"),
)


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor ID, ASCII with some vendors, an MD5 hash with others."""

    payload_type: ClassVar[PayloadType] = PayloadType.VENDOR

    data: bytes

    @property
    def name(self) -> str | None:
        """The vendor or feature it stands for, None when it is not one of the few known here."""
        return next((name for prefix, name in _NAMES_BY_PREFIX if self.data.startswith(prefix)), None)

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header: anything goes."""
        return cls(body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return self.data
