"""Delivery packets that the peer fragmented before encryption, put together again (RFC 791 section 3.2).

A peer that fragments before encryption splits the GRE packet, and ESP carries each piece as a packet of
its own:

    ESP( IPv4 id 7, MF, offset 0    | GRE | first part  )
    ESP( IPv4 id 7,     offset 1400 | rest              )   ->   IPv4 id 7 | GRE | both parts

RFC 815 keeps a list of holes. Here no byte may arrive twice, so a datagram is whole when its last fragment
is there and as many bytes arrived as that one says; two fragments that overlap end the datagram
(RFC 1858 section 4, RFC 5722 section 4 on why).
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address

from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import MAXIMUM_PACKET, MINIMUM_HEADER, Ipv4Header
from vcstack.wire.reader import WireError

UNIT = 8
"""Fragment offsets count these many bytes."""
_CE = 0b11
_Key = tuple[IPv4Address, IPv4Address, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassemblyConfig:
    """What unfinished datagrams may cost. ValueError for a limit under which nothing could be finished.

    RFC 1122 section 3.3.2 waits a minute and more, but the identification has 16 bits: at 250 Mbit/s it
    comes round within seconds, and fragments of two datagrams would be mixed (RFC 4963). Ours left
    one after the other through one SA, so 2 s is long.
    """

    timeout_s: float = 2.0
    max_datagrams: int = 64
    max_bytes: int = 1 << 20
    max_fragments: int = 128
    """Of one datagram: 65,535 bytes in pieces of 512."""

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.max_datagrams < 1 or self.max_fragments < 2:
            raise ValueError("reassembly needs time, one datagram and two fragments")
        if self.max_bytes < MAXIMUM_PACKET:
            raise ValueError(f"reassembly in {self.max_bytes} bytes; {MAXIMUM_PACKET} are expected at least")


class Discard(StrEnum):
    """Why a fragment, or a datagram with all that had arrived of it, is given up."""

    MALFORMED = "malformed fragment"
    TOO_LONG = "datagram longer than 65,535 bytes"
    OVERLAP = "overlapping fragments"
    END = "fragments disagree about the end"
    TOO_MANY = "too many fragments"
    TIMEOUT = "fragments missing"
    EVICTED = "too much unfinished"


@dataclass(frozen=True, slots=True)
class ReassemblySnapshot:
    """`discards` counts single fragments for MALFORMED and TOO_LONG, else datagrams."""

    fragments: int
    duplicates: int
    reassembled: int
    unfinished: int
    unfinished_bytes: int
    discards: dict[Discard, int]


@dataclass(slots=True)
class _Datagram:
    """What has arrived: `starts` in order, and the bytes from each of them."""

    expires_at: float
    header: Ipv4Header | None = None
    congested: bool = False
    end: int | None = None
    length: int = 0
    starts: list[int] = field(default_factory=list)
    parts: dict[int, bytes] = field(default_factory=dict)

    def repeats(self, start: int, body: bytes) -> bool:
        return self.parts.get(start) == body

    def conflict(self, start: int, end: int, *, last: bool, limit: int) -> Discard | None:
        """Why bytes from `start` to `end` cannot belong to the same datagram as the others."""
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] < end:
            return Discard.OVERLAP
        if at and self.starts[at - 1] + len(self.parts[self.starts[at - 1]]) > start:
            return Discard.OVERLAP
        highest = self.starts[-1] if self.starts else -1
        if (self.end is not None and (last or end > self.end)) or (last and highest >= end):
            return Discard.END
        return Discard.TOO_MANY if len(self.starts) >= limit else None

    def add(self, header: Ipv4Header, start: int, body: bytes) -> None:
        self.starts.insert(bisect_left(self.starts, start), start)
        self.parts[start] = body
        self.length += len(body)
        self.congested |= header.tos & _CE == _CE
        if start == 0:
            self.header = header
        if not header.more_fragments:
            self.end = start + len(body)

    def whole(self) -> Ipv4Header | None:
        """Header of the finished datagram; None while something is missing."""
        if self.header is None or self.length != self.end:
            return None
        # RFC 3168 section 5.3: a congestion mark on one fragment is one on the datagram.
        tos = self.header.tos | _CE if self.congested else self.header.tos
        return replace(self.header, more_fragments=False, tos=tos)

    def body(self) -> bytes:
        return b"".join(self.parts[start] for start in self.starts)


class Reassembler:
    """Takes fragments of packets out of ESP; call `handle_timeout` at `next_timeout`."""

    def __init__(self, config: ReassemblyConfig | None = None) -> None:
        self._config = config or ReassemblyConfig()
        # In the order of their first fragments, hence of their expiry.
        self._datagrams: dict[_Key, _Datagram] = {}
        self._bytes = 0
        self._fragments = 0
        self._duplicates = 0
        self._reassembled = 0
        self._discards: dict[Discard, int] = {}

    def receive(self, packet: bytes, now: float) -> bytes | None:
        """Take an IPv4 packet; the datagram when this was what it lacked, else None.

        A packet that is no fragment comes back as it is.
        """
        self.handle_timeout(now)
        try:
            header = Ipv4Header.parse(packet)
        except WireError:
            self._discard(Discard.MALFORMED)
            return None
        if not header.is_fragment:
            return packet
        self._fragments += 1
        body = packet[header.header_length : header.total_length]
        wrong = _defect(header, len(body))
        if wrong is not None:
            self._discard(wrong)
            return None
        return self._add(header, body, now)

    def handle_timeout(self, now: float) -> None:
        """Give up the datagrams whose time is over."""
        expired = []
        for key, datagram in self._datagrams.items():
            if datagram.expires_at > now:
                break
            expired.append(key)
        for key in expired:
            self._give_up(key, Discard.TIMEOUT)

    def next_timeout(self) -> Deadline | None:
        """Return when the oldest unfinished datagram is given up."""
        oldest = next(iter(self._datagrams.values()), None)
        return None if oldest is None else Deadline(oldest.expires_at, "fragments are missing")

    @property
    def discards(self) -> dict[Discard, int]:
        """What was given up so far, by reason."""
        return self._discards

    def snapshot(self) -> ReassemblySnapshot:
        """Everything worth showing."""
        return ReassemblySnapshot(
            fragments=self._fragments,
            duplicates=self._duplicates,
            reassembled=self._reassembled,
            unfinished=len(self._datagrams),
            unfinished_bytes=self._bytes,
            discards=dict(self._discards),
        )

    def _add(self, header: Ipv4Header, body: bytes, now: float) -> bytes | None:
        key = (header.source, header.destination, header.protocol, header.identification)
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._datagrams[key] = _Datagram(now + self._config.timeout_s)
        start = header.fragment_offset * UNIT
        if datagram.repeats(start, body):
            self._duplicates += 1
            return None
        last, limit = not header.more_fragments, self._config.max_fragments
        conflict = datagram.conflict(start, start + len(body), last=last, limit=limit)
        if conflict is not None:
            self._give_up(key, conflict)
            return None
        datagram.add(header, start, body)
        self._bytes += len(body)
        return self._finish(key, datagram)

    def _finish(self, key: _Key, datagram: _Datagram) -> bytes | None:
        header = datagram.whole()
        if header is None:
            self._make_room()
            return None
        if header.header_length + datagram.length > MAXIMUM_PACKET:
            self._give_up(key, Discard.TOO_LONG)
            return None
        self._forget(key)
        self._reassembled += 1
        return header.build(datagram.length) + datagram.body()

    def _make_room(self) -> None:
        config = self._config
        while len(self._datagrams) > config.max_datagrams or self._bytes > config.max_bytes:
            self._give_up(next(iter(self._datagrams)), Discard.EVICTED)

    def _give_up(self, key: _Key, reason: Discard) -> None:
        self._forget(key)
        self._discard(reason)

    def _forget(self, key: _Key) -> None:
        self._bytes -= self._datagrams.pop(key).length

    def _discard(self, reason: Discard) -> None:
        self._discards[reason] = self._discards.get(reason, 0) + 1


def _defect(header: Ipv4Header, length: int) -> Discard | None:
    """Why a fragment with so many bytes of data can be part of nothing."""
    if length == 0 or (header.more_fragments and length % UNIT):
        return Discard.MALFORMED
    end = header.fragment_offset * UNIT + length
    return Discard.TOO_LONG if end > MAXIMUM_PACKET - MINIMUM_HEADER else None
