"""AS paths (RFC 4271 4.3 b, RFC 6793, RFC 5065).

+----------------------+------------------------+--------------------------+
| Segment Type (1)     | Number of ASes (1)     | AS numbers, 2 or 4 each  |
+----------------------+------------------------+--------------------------+
"""

from __future__ import annotations

from dataclasses import dataclass

from vcstack.bgp.constants import AS_TRANS, MAX_TWO_OCTET_AS
from vcstack.bgp.iana import SegmentType
from vcstack.wire.reader import Reader, WireError

CONFEDERATION = frozenset({SegmentType.AS_CONFED_SEQUENCE, SegmentType.AS_CONFED_SET})


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of AS numbers, ordered or not."""

    type: SegmentType
    asns: tuple[int, ...]

    @property
    def length(self) -> int:
        """What the segment counts for in the path's length (RFC 4271 9.1.2.2, RFC 5065 5.3)."""
        if self.type == SegmentType.AS_SEQUENCE:
            return len(self.asns)
        return 1 if self.type == SegmentType.AS_SET else 0

    def __str__(self) -> str:
        words = " ".join(map(str, self.asns))
        return words if self.type == SegmentType.AS_SEQUENCE else "{" + words.replace(" ", ",") + "}"


@dataclass(frozen=True, slots=True)
class AsPath:
    """The ASes that a route has passed, nearest first."""

    segments: tuple[Segment, ...] = ()

    @property
    def length(self) -> int:
        """The length that route selection compares."""
        return sum(segment.length for segment in self.segments)

    @property
    def asns(self) -> tuple[int, ...]:
        """Every AS number of the path, for loop detection."""
        return tuple(asn for segment in self.segments for asn in segment.asns)

    @property
    def first(self) -> int | None:
        """The leftmost AS when the path starts with a sequence (RFC 4271 6.3)."""
        if not self.segments or self.segments[0].type != SegmentType.AS_SEQUENCE:
            return None
        return self.segments[0].asns[0]

    def __str__(self) -> str:
        return " ".join(map(str, self.segments))


def sequence(*asns: int) -> AsPath:
    """Make a path of one sequence."""
    return AsPath((Segment(SegmentType.AS_SEQUENCE, asns),) if asns else ())


def parse_as_path(data: bytes, octets: int) -> AsPath:
    """Parse AS numbers of 2 or 4 octets; WireError for what RFC 7606 7.2 and RFC 7607 call malformed."""
    reader = Reader(data, "AS path")
    segments: list[Segment] = []
    while reader.remaining:
        segments.append(_parse_segment(reader, octets))
    return AsPath(tuple(segments))


def build_as_path(path: AsPath, octets: int) -> bytes:
    """Build the path; in two octets, AS_TRANS stands for numbers that need four."""
    return b"".join(
        bytes((segment.type, len(segment.asns))) + b"".join(_build_asn(asn, octets) for asn in segment.asns)
        for segment in path.segments
    )


def merge_as4_path(path: AsPath, as4_path: AsPath) -> AsPath:
    """Restore the numbers that an old speaker could not write (RFC 6793 4.2.3)."""
    missing = path.length - as4_path.length
    if missing < 0:
        return path
    leading: list[Segment] = []
    for segment in path.segments:
        if missing <= 0:
            break
        kept = segment.asns[:missing] if segment.type == SegmentType.AS_SEQUENCE else segment.asns
        leading.append(Segment(segment.type, kept))
        missing -= leading[-1].length
    return AsPath((*leading, *as4_path.segments))


def _parse_segment(reader: Reader, octets: int) -> Segment:
    kind, count = reader.u8(), reader.u8()
    if kind not in SegmentType.__members__.values():
        raise WireError(f"segment type {kind}")
    if not count:
        raise WireError("an empty segment")
    values = reader.sub(count * octets)
    asns = tuple(values.u16() if octets == 2 else values.u32() for _ in range(count))
    if 0 in asns:
        raise WireError("AS 0 in the path")  # RFC 7607 2
    return Segment(SegmentType(kind), asns)


def _build_asn(asn: int, octets: int) -> bytes:
    return (AS_TRANS if octets == 2 and asn > MAX_TWO_OCTET_AS else asn).to_bytes(octets)
