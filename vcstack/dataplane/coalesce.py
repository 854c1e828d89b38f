"""Neighbouring TCP segments of one flow become one packet again (what a network card calls LRO, the kernel GRO).

    | vnet | headers | payload 0 |   | headers | payload 1 |   | headers | payload 2, shorter |
                  becomes one gather write of
    | vnet with gso_size | headers, total length | payload 0 |  + | payload 1 |  + | payload 2 |

Two neighbours belong together when the second continues the first so exactly that cutting the result at
gso_size gives the same two packets back: same addresses, ports, TOS, TTL, DF, acknowledgment, window and options,
consecutive sequence numbers, no flag but ACK (PSH ends a run), equal length (a shorter one ends a run). Both
checksums must hold: the kernel takes a packet with an open checksum on trust.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane.vnet import GSO_TCPV4, LENGTH, NEEDS_CSUM, VnetHeader
from vcstack.wire.batch import Flags, Integers, Rows
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import MINIMUM_HEADER as _IP
from vcstack.wire.ipv4 import MAXIMUM_PACKET, IpProtocol
from vcstack.wire.tcp import CHECKSUM_OFFSET, FLAGS_OFFSET, TcpFlags

HEAD = 80
"""Bytes looked at: IPv4 without options, TCP with up to 40 bytes of them."""
Write = memoryview | list[memoryview]
"""One packet for the TUN behind its vnet header, in one piece or in several."""

_PLAIN_VNET = np.void(VnetHeader().build())
_WORDS = HEAD // 8
_SEQUENCES = 0xFFFFFFFF
_UNFIT = 1 << 20
# Members of an enumeration cost 0.3 us to look up and an operation of flags 1 us: plain integers on this path.
_PSH, _ACK, _TCP = int(TcpFlags.PSH), int(TcpFlags.ACK), int(IpProtocol.TCP)
_STEPS: Integers = np.arange(1024)


def _tables() -> tuple[NDArray[np.uint64], Integers]:
    """By data offset: which bits two segments of a run share, and the size of both headers."""
    shared = bytearray(b"\xff" * HEAD)
    for start, end in ((2, 6), (10, 12), (24, 28), (36, 38)):  # lengths, identification, checksums, sequence
        shared[start:end] = bytes(end - start)
    shared[33] &= 0xFF ^ _PSH
    masks, sizes = [], []
    for offset in range(16):
        length = _IP + offset * 4
        masks.append(np.frombuffer(bytes(shared[:length]).ljust(HEAD, b"\0"), np.uint64))
        sizes.append(length if offset >= 5 else _UNFIT)
    return np.array(masks), np.array(sizes)


_SHARED, _SIZES = _tables()


def _eligible() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    mask, expected = bytearray(HEAD), bytearray(HEAD)
    for at, bits, value in (
        (0, 0xFF, 0x45),
        (6, 0xBF, 0),  # no fragment, and no reserved bit
        (7, 0xFF, 0),
        (9, 0xFF, _TCP),
        (33, 0xFF ^ _PSH, _ACK),
    ):
        mask[at], expected[at] = bits, value
    return np.frombuffer(mask, np.uint64)[:5], np.frombuffer(expected, np.uint64)[:5]


_ELIGIBLE_MASK, _ELIGIBLE = _eligible()


@dataclass(frozen=True, slots=True)
class Coalesced:
    """What to write, in order, and how many packets went into super-packets, of which there are `supers`."""

    writes: list[Write]
    supers: int = 0
    joined: int = 0


def coalesce(rows: Rows, heads: NDArray[np.uint8]) -> Coalesced:
    """Join what can be joined; `heads` holds the first 80 bytes of each inner packet, `rows` are whole.

    Every row has at least 10 bytes of arena in front, which take the vnet header.
    """
    outcome = alone(rows)
    sizes = _SIZES[heads[:, 32] >> 4]
    payloads = rows.lengths - sizes
    links = _links(heads, payloads)
    if not np.count_nonzero(links):
        return outcome
    return _join(rows, outcome.writes, sizes, payloads, links)


def alone(rows: Rows) -> Coalesced:
    """Write every packet as it is."""
    rows.arena.window(LENGTH)[rows.offsets - LENGTH] = _PLAIN_VNET
    return Coalesced(list(rows.views(-LENGTH, 0)[: len(rows)]))


def _links(heads: NDArray[np.uint8], payloads: Integers) -> Flags:
    """Whether row i + 1 continues row i."""
    if _is_one_run(heads, payloads):
        return np.ones(len(heads) - 1, np.bool_)
    words = heads.view(np.uint64)
    shared = words & _SHARED[heads[:, 32] >> 4]
    differ = np.bitwise_or.reduce(shared[1:] ^ shared[:-1], axis=1)
    differ |= np.bitwise_or.reduce((words[:-1, :5] & _ELIGIBLE_MASK) ^ _ELIGIBLE, axis=1)
    links: Flags = differ == 0
    sequences = heads.view(">u4")[:, 6].astype(np.int64)
    first, second = payloads[:-1], payloads[1:]
    links &= ((sequences[:-1] + first - sequences[1:]) & _SEQUENCES) == 0
    links &= (second > 0) & (second <= first)
    links &= (heads[:-1, 33] & _PSH) == 0
    # A row shorter than the one it continues is the last of its run.
    links[1:] &= ~(links[:-1] & (second < first)[:-1])
    return links


def _is_one_run(heads: NDArray[np.uint8], payloads: Integers) -> bool:
    """Whether all rows are one run: the usual batch of a download, told by comparing strings of bytes."""
    count, payload, last = len(heads), payloads.item(0), payloads.item(-1)
    first = heads[0]
    shared = (heads.view(np.uint64) & _SHARED[first.item(32) >> 4]).tobytes()
    if shared != shared[:HEAD] * count or not 0 < last <= payload < _UNFIT:
        return False
    if np.count_nonzero((first.view(np.uint64)[:5] & _ELIGIBLE_MASK) ^ _ELIGIBLE):
        return False
    if np.count_nonzero(payloads[:-1] == payload) != count - 1:
        return False
    if heads[:-1, 33].tobytes().count(_ACK) != count - 1:
        return False  # a PSH before the end
    sequences = heads.view(">u4")[:, 6].astype(np.int64)
    wanted = (_STEPS[:count] * payload + sequences.item(0)) & _SEQUENCES
    return sequences.tobytes() == wanted.tobytes()


def _join(
    rows: Rows, views: list[Write], sizes: Integers, payloads: Integers, links: Flags
) -> Coalesced:
    ends = [*(np.flatnonzero(~links) + 1).tolist(), len(rows)]
    writes: list[Write] = []
    supers = joined = start = 0
    for end in ends:
        for first, last in _bounded(sizes.item(start), payloads.item(start), start, end):
            if last - first > 1 and _checksums_hold(rows, first, last):
                writes.append(_super_packet(rows, first, last, sizes.item(first), payloads))
                supers, joined = supers + 1, joined + last - first
            else:
                writes += views[first:last]
        start = end
    return Coalesced(writes, supers, joined)


def _bounded(headers: int, payload: int, start: int, end: int) -> list[tuple[int, int]]:
    """A run in pieces that fit the 16-bit total length of IPv4."""
    if end - start < 2:
        return [(start, end)]
    most = (MAXIMUM_PACKET - headers) // payload
    return [(first, min(first + most, end)) for first in range(start, end, most)]


def _checksums_hold(rows: Rows, first: int, last: int) -> bool:
    """Whether the TCP checksums of a run hold; all but the last are of one length."""
    if not rows.pitch and not _ip_checksums_hold(rows, first, last):
        return False
    offsets, length = rows.offsets[first : last - 1], rows.lengths.item(first)
    arena, at = rows.arena, offsets.item(0)
    segment = length - _IP
    if rows.pitch:
        words = arena.matrix("<u2", at + _IP, rows.pitch, (len(offsets), segment // 2))
    else:
        words = arena.gather(offsets + _IP, segment // 2 * 2).view("<u2")
    sums = np.add.reduce(words, axis=1, dtype=np.uint32)
    if segment % 2:
        sums += arena.array[offsets + (length - 1)]
    # Sums of little-endian words: the pseudo-header is brought to that order by the factor 256.
    pseudo = _pseudo_sum(arena.data[at : at + _IP], segment) * 256 % 65535
    if np.count_nonzero((sums + np.uint32(pseudo)) % 65535):
        return False
    at, length = rows.offsets.item(last - 1), rows.lengths.item(last - 1)
    pseudo = _pseudo_sum(arena.data[at : at + _IP], length - _IP)
    return internet_checksum(arena.data[at + _IP : at + length], pseudo) == 0


def _ip_checksums_hold(rows: Rows, first: int, last: int) -> bool:
    """Rows of irregular batches may have come by the scalar way, which leaves that to the host."""
    headers = rows.arena.gather(rows.offsets[first:last], _IP).view(np.uint16)
    return not np.count_nonzero(np.add.reduce(headers, axis=1, dtype=np.uint32) % 65535)


def _pseudo_sum(header: memoryview, length: int) -> int:
    return int.from_bytes(header[12:20]) + _TCP + length


def _super_packet(rows: Rows, first: int, last: int, size: int, payloads: Integers) -> Write:
    """Rewrite the first row's headers for the whole run; the payloads stay where they are."""
    data, at = rows.arena.data, rows.offsets.item(first)
    total = size + int(payloads[first:last].sum())
    header = data[at : at + size]
    header[2:4] = total.to_bytes(2)
    header[10:12] = bytes(2)
    header[10:12] = internet_checksum(header[:_IP]).to_bytes(2)
    end = rows.offsets.item(last - 1)
    header[_IP + FLAGS_OFFSET] |= data[end + _IP + FLAGS_OFFSET] & _PSH
    open_sum = _pseudo_sum(header, total - _IP) % 65535
    header[_IP + CHECKSUM_OFFSET : _IP + CHECKSUM_OFFSET + 2] = open_sum.to_bytes(2)
    vnet = VnetHeader(NEEDS_CSUM, GSO_TCPV4, size, payloads.item(first), _IP, CHECKSUM_OFFSET)
    data[at - LENGTH : at] = vnet.build()
    return [rows.views(-LENGTH, 0)[first], *rows.views(size, 0)[first + 1 : last]]
