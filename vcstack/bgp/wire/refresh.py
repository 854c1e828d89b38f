"""The ROUTE-REFRESH message (RFC 2918 3).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |              AFI              |   Subtype     |     SAFI      |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

The subtype octet was reserved and is that of RFC 7313 3.2, whose markers stand around the answer to a
request. Outbound route filters may follow a request (RFC 5291).
"""

from dataclasses import dataclass

from vcstack.bgp.errors import RefreshError
from vcstack.bgp.iana import Afi, MessageType, RefreshSubcode, RefreshSubtype, Safi
from vcstack.bgp.wire.stream import build_message
from vcstack.wire.reader import Reader


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """A wish to see the routes of one family again, or a marker around the answer."""

    afi: Afi = Afi.IPV4
    safi: Safi = Safi.UNICAST
    subtype: RefreshSubtype = RefreshSubtype.REQUEST

    def build(self) -> bytes:
        """Build the whole message."""
        body = self.afi.to_bytes(2) + bytes((self.subtype, self.safi))
        return build_message(MessageType.ROUTE_REFRESH, body)


def parse_refresh(body: bytes, *, enhanced: bool) -> RouteRefresh:
    """Parse a ROUTE-REFRESH; filters behind it were never negotiated and are not looked at.

    RefreshError for a marker of a wrong length, between speakers of RFC 7313.
    """
    reader = Reader(body, "ROUTE-REFRESH")
    afi, subtype, safi = Afi(reader.u16()), RefreshSubtype(reader.u8()), Safi(reader.u8())
    if enhanced and subtype in {RefreshSubtype.BEGIN, RefreshSubtype.END} and reader.remaining:
        detail = f"ROUTE-REFRESH {subtype.name} of {len(body)} bytes"
        message = build_message(MessageType.ROUTE_REFRESH, body)  # RFC 7313 5
        raise RefreshError(RefreshSubcode.INVALID_MESSAGE_LENGTH, detail, message)
    return RouteRefresh(afi, safi, subtype)
