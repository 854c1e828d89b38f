"""The header before every packet of a TUN with offloads (struct virtio_net_hdr, virtio 1.2 section 5.1.6).

    flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16     host byte order

The kernel leaves checksums unfinished (NEEDS_CSUM: the field holds the sum of the pseudo-header, the rest is
to be added from csum_start to the end) and hands over bursts of one flow as one packet (gso_type, gso_size).
"""

import struct
from typing import NamedTuple, Self

import numpy as np

from vcstack.wire.batch import Arena, Integers, Rows

LENGTH = 10
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_UDP, GSO_TCPV6, GSO_UDP_L4 = 0, 1, 3, 4, 5
GSO_ECN = 0x80
GSO_TYPE_OFFSET = 1
_STRUCT = struct.Struct("=BBHHHH")
FIELDS = np.dtype(
    [("flags", "u1"), ("type", "u1"), ("header", "u2"), ("size", "u2"), ("start", "u2"), ("offset", "u2")]
)
_PLACE = struct.Struct("=HH")
_PLACE_LENGTH = 4
_UDP_CHECKSUM_OFFSET = 6
_WRAPPED = (1 << 32) - 1
"""What taken from 65534 leaves 0xFFFF in 32 bits, and so in 16."""


class VnetHeader(NamedTuple):
    """One header as a value; `header_length`, `gso_size` and `csum_start` in bytes."""

    flags: int = 0
    gso_type: int = GSO_NONE
    header_length: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    @classmethod
    def parse(cls, data: memoryview | bytes) -> Self:
        """Read the first 10 bytes of `data`."""
        return cls._make(_STRUCT.unpack_from(data))

    def build(self) -> bytes:
        """The 10 bytes."""
        return _STRUCT.pack(*self)


def checksum_place(data: memoryview, at: int) -> tuple[int, int]:
    """csum_start and csum_offset of the header that ends at `at`."""
    start, offset = _PLACE.unpack_from(data, at - _PLACE_LENGTH)
    return start, offset


def finish_checksums(rows: Rows) -> int:
    """Finish the checksums of the packets that ask for it; returns how many asks made no sense.

    Each packet has its vnet header in front. Rows with the same length and checksum position are done at
    once; in a batch of voice that is all of them.
    """
    arena, offsets, lengths = rows.arena, rows.offsets, rows.lengths
    headers = arena.window(LENGTH)[offsets - LENGTH]
    raw = headers.tobytes()
    if lengths.item(0) == lengths.item(-1) and raw == raw[:LENGTH] * len(headers):
        first = VnetHeader.parse(raw)
        if not first.flags & NEEDS_CSUM:
            return 0
        if np.count_nonzero(lengths == lengths[0]) == len(lengths):
            return _finish(arena, offsets, _key(lengths.item(0), first.csum_start, first.csum_offset))
    fields = headers.view(FIELDS)
    wanting = (fields["flags"] & NEEDS_CSUM).nonzero()[0]
    if not len(wanting):
        return 0
    starts = fields["start"][wanting].astype(np.int64)
    keys = (lengths[wanting] << 32 | starts << 16) | fields["offset"][wanting]
    if np.count_nonzero(keys == keys[0]) == len(keys):
        return _finish(arena, offsets[wanting], keys.item(0))
    bad = 0
    for key in set(keys.tolist()):
        bad += _finish(arena, offsets[wanting[keys == key]], key)
    return bad


def _key(length: int, start: int, field: int) -> int:
    return length << 32 | start << 16 | field


def _finish(arena: Arena, offsets: Integers, key: int) -> int:
    length, start, field = key >> 32, key >> 16 & 0xFFFF, key & 0xFFFF
    if start + field + 2 > length:
        return len(offsets)
    # An odd last byte counts as the first of its word; the byte after it is masked.
    odd = (length - start) & 1
    words = arena.gather(offsets, length - start + odd, start)
    if odd:
        words[:, -1] = 0
    sums = np.add.reduce(words.view(np.uint16), axis=1, dtype=np.uint32)
    # Sums and result stay in host byte order: the one's complement sum does not mind (RFC 1071 section 2).
    sums -= 1
    sums %= 65535
    if field == _UDP_CHECKSUM_OFFSET and (zeros := sums == 65534).any():
        sums[zeros] = _WRAPPED  # RFC 768: zero would mean "no checksum"
    arena.window(2, start + field)[offsets] = (65534 - sums).astype(np.uint16).view("V2")
    return 0
