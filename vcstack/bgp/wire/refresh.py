"""The ROUTE-REFRESH message (RFC 2918 3).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |              AFI              |   Subtype     |     SAFI      |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

The subtype octet was reserved and is that of RFC 7313; outbound route filters may follow (RFC 5291).
"""

from dataclasses import dataclass

from vcstack.bgp.iana import Afi, MessageType, Safi
from vcstack.bgp.wire.stream import build_message
from vcstack.wire.reader import Reader


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """A wish to see the routes of one family again, when `subtype` is zero."""

    afi: Afi = Afi.IPV4
    safi: Safi = Safi.UNICAST
    subtype: int = 0

    def build(self) -> bytes:
        """Build the whole message."""
        body = self.afi.to_bytes(2) + bytes((self.subtype, self.safi))
        return build_message(MessageType.ROUTE_REFRESH, body)


def parse_refresh(body: bytes) -> RouteRefresh:
    """Parse a ROUTE-REFRESH; filters behind it were never negotiated and are not looked at."""
    reader = Reader(body, "ROUTE-REFRESH")
    afi, subtype, safi = Afi(reader.u16()), reader.u8(), Safi(reader.u8())
    return RouteRefresh(afi, safi, subtype)
