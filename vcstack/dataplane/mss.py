"""MSS clamping: the MSS option of SYN and SYN-ACK segments is lowered, never raised (RFC 9293 section 3.7.1).

Cisco's `ip tcp adjust-mss`. Every option is read, since MSS need not be the first; the checksum is updated
from the two values (RFC 1624). Segments with a MD5 or TCP-AO signature would no longer verify and are left
alone.
"""

from vcstack.dataplane.counters import Counter, Counters
from vcstack.wire.batch import Flags, Rows
from vcstack.wire.checksum import checksum_update
from vcstack.wire.ipv4 import IpProtocol
from vcstack.wire.tcp import CHECKSUM_OFFSET, FLAGS_OFFSET, MINIMUM_HEADER, OptionKind, TcpFlags

_TCP_AUTHENTICATION = 29
_SIGNATURES = frozenset({OptionKind.MD5_SIGNATURE, _TCP_AUTHENTICATION})
_IPV6_HEADER = 40
_IPV6_NEXT_HEADER = 6


class Clamper:
    """Clamps to `mss`, or not at all when it is 0, and counts under `counter`."""

    def __init__(self, mss: int, counters: Counters, counter: Counter) -> None:
        self.mss = mss
        self._counters = counters
        self._counter = counter

    def clamp(self, packet: memoryview) -> None:
        """Lower the MSS option of one packet in place."""
        if self.mss and clamp(packet, self.mss):
            self._counters.add(self._counter)

    def clamp_rows(self, rows: Rows, candidates: Flags) -> None:
        """Lower it in those rows of a batch that may be SYN segments."""
        for index in candidates.nonzero()[0].tolist():
            at = rows.offsets.item(index)
            self.clamp(rows.arena.data[at : at + rows.lengths.item(index)])


def clamp(packet: memoryview, ceiling: int) -> bool:
    """Lower the MSS option of an IPv4 or IPv6 packet in place; whether it was changed.

    Anything but an unfragmented TCP SYN with a larger, complete MSS option is left as it is, malformed
    packets included.
    """
    start = _tcp_start(packet)
    if start is None or len(packet) < start + MINIMUM_HEADER:
        return False
    if not packet[start + FLAGS_OFFSET] & TcpFlags.SYN:
        return False
    end = start + (packet[start + 12] >> 4) * 4
    if end > len(packet):
        return False
    at = _find_mss(packet, start + MINIMUM_HEADER, end)
    if at is None or int.from_bytes(packet[at : at + 2]) <= ceiling:
        return False
    _replace(packet, start, at, ceiling)
    return True


def _tcp_start(packet: memoryview) -> int | None:
    """Where the TCP header of an unfragmented packet stands."""
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        first = not (packet[6] & 0x1F or packet[7])  # a first fragment has the options, too
        return (packet[0] & 0x0F) * 4 if packet[9] == IpProtocol.TCP and first else None
    if version == 6 and len(packet) >= _IPV6_HEADER:
        return _IPV6_HEADER if packet[_IPV6_NEXT_HEADER] == IpProtocol.TCP else None
    return None


def _find_mss(packet: memoryview, at: int, end: int) -> int | None:
    """Where the two bytes of the MSS value stand; None without one, or with a signature over it."""
    found = None
    while at < end and packet[at] != OptionKind.END:
        if packet[at] == OptionKind.NO_OPERATION:
            at += 1
            continue
        length = packet[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end or packet[at] in _SIGNATURES:
            return None
        if packet[at] == OptionKind.MAXIMUM_SEGMENT_SIZE and length == 4 and found is None:
            found = at + 2
        at += length
    return found


def _replace(packet: memoryview, start: int, at: int, value: int) -> None:
    """Write the value and update the checksum, also where the option stands at an odd offset."""
    checksum_at = start + CHECKSUM_OFFSET
    checksum = int.from_bytes(packet[checksum_at : checksum_at + 2])
    first = at - (at - start) % 2
    span = slice(first, first + (2 if first == at else 4))
    before = bytes(packet[span])
    packet[at : at + 2] = value.to_bytes(2)
    after = bytes(packet[span])
    for word in range(0, len(before), 2):
        old, new = before[word : word + 2], after[word : word + 2]
        checksum = checksum_update(checksum, int.from_bytes(old), int.from_bytes(new))
    packet[checksum_at : checksum_at + 2] = checksum.to_bytes(2)
