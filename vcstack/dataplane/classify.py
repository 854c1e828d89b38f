"""What a datagram on the tunnel's socket is (RFC 3948 section 2).

one byte 0xFF                    NAT keepalive       forgotten
four zero bytes, IKE message     non-ESP marker      to control
SPI above 255                    ESP                 to the SA of that SPI
"""

from dataclasses import dataclass, field

import numpy as np

from vcstack.esp.layout import MINIMUM_LENGTH
from vcstack.wire.batch import Rows, Span

MARKER = bytes(4)
"""The non-ESP marker in front of an IKE message (RFC 3948 section 2.2)."""
NAT_KEEPALIVE = b"\xff"
_LEAST_ESP = 8


@dataclass(slots=True)
class Classified:
    """ESP packets in runs of one SPI, in order of arrival; IKE messages without marker; the rest counted."""

    esp: list[tuple[int, Rows]] = field(default_factory=list)
    ike: list[bytes] = field(default_factory=list)
    nat_keepalives: int = 0
    others: int = 0


def all_esp(data: memoryview, spans: list[Span]) -> bool:
    """Whether a few datagrams all look like ESP packets of a possible size."""
    for at, length in spans:
        if length < MINIMUM_LENGTH or length & 3 or data[at : at + 4] == MARKER:
            return False
    return True


def classify(rows: Rows, *, udp: bool) -> Classified:
    """Sort a batch of datagrams; without UDP encapsulation everything is ESP or nothing."""
    found = Classified()
    spis = rows.arena.window(4)[rows.offsets].view(">u4")
    raw = spis.tobytes()
    least = rows.lengths.item(-1) if rows.even else 0
    if least >= _LEAST_ESP and raw[:4] != MARKER and raw == raw[:4] * len(rows):
        found.esp.append((int.from_bytes(raw[:4]), rows))
        return found
    special = (spis == 0) | (rows.lengths < _LEAST_ESP)
    if np.count_nonzero(special):
        for index in np.flatnonzero(special).tolist():
            at = rows.offsets.item(index)
            _note(found, bytes(rows.arena.data[at : at + rows.lengths.item(index)]), udp=udp)
        rows, spis = rows.select(~special), spis[~special]
    if not len(rows):
        return found
    first = spis.item(0)
    if np.count_nonzero(spis == first) == len(rows):
        found.esp.append((first, rows))
        return found
    ends = [*(np.flatnonzero(spis[1:] != spis[:-1]) + 1).tolist(), len(rows)]
    start = 0
    for end in ends:
        found.esp.append((spis.item(start), rows.select(np.arange(start, end))))
        start = end
    return found


def _note(found: Classified, data: bytes, *, udp: bool) -> None:
    if udp and data == NAT_KEEPALIVE:
        found.nat_keepalives += 1
    elif udp and len(data) > len(MARKER) and data.startswith(MARKER):
        found.ike.append(data[len(MARKER) :])
    else:
        found.others += 1
