"""Neighbouring TCP segments of one flow become one packet again (LRO in a network card, GRO in the kernel).

    | vnet | headers | payload 0 |   | headers | payload 1 |   | headers | payload 2, shorter |
                  becomes one gather write of
    | vnet with gso_size | headers, total length | payload 0 |  + | payload 1 |  + | payload 2 |

Two neighbours belong together when the second continues the first so exactly that cutting the result at
gso_size gives the same two packets back: same addresses, ports, TOS, TTL, DF, acknowledgment, window and
options, consecutive sequence numbers, no flag but ACK (PSH ends a run), equal length (a shorter one ends a
run). Both checksums must hold: the kernel takes a packet with an open checksum on trust.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane.vnet import GSO_TCPV4, LENGTH, NEEDS_CSUM, VnetHeader
from vcstack.wire.batch import Flags, Integers, Rows, Span
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import MAXIMUM_PACKET, IpProtocol
from vcstack.wire.ipv4 import MINIMUM_HEADER as _IP
from vcstack.wire.tcp import CHECKSUM_OFFSET, FLAGS_OFFSET, TcpFlags
from vcstack.wire.tcp import MINIMUM_HEADER as MINIMUM_TCP

HEAD = 80
"""Bytes looked at: IPv4 without options, TCP with up to 40 bytes of them."""
Write = memoryview | list[memoryview]
"""One packet for the TUN behind its vnet header, in one piece or in several."""

PLAIN = VnetHeader().build()
"""The vnet header of a packet that needs nothing."""
_PLAIN_VNET = np.void(PLAIN)
_WORDS = HEAD // 8
_SEQUENCES = 0xFFFFFFFF
_UNFIT = 1 << 20
_NOTHING = (b"", 0)
# Members of an enumeration cost 0.3 us to look up and an operation of flags 1 us: plain integers on this
# path.
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
    size = _one_run(rows, heads) if rows.even else 0
    if size and _checksums_hold(rows, 0, len(rows)):
        packet = _super_packet(rows, 0, len(rows), size)
        return Coalesced([packet], 1, len(rows))
    outcome = alone(rows)
    sizes = _SIZES[heads[:, 32] >> 4]
    payloads = rows.lengths - sizes
    links = _links(heads, payloads)
    if not np.count_nonzero(links):
        return outcome
    return _join(rows, outcome.writes, sizes, payloads, links)


def may_join(data: memoryview, spans: list[Span]) -> bool:
    """Whether one of a few packets seems to continue the one before it; each is IPv4 without options.

    A cheap look: the batch's own comparison decides, this spares packets that have nothing in common with
    their neighbours from it.
    """
    follows = _NOTHING
    for at, length in spans:
        if data[at + 9] != _TCP or length < _IP + MINIMUM_TCP:
            follows = _NOTHING
            continue
        payload = length - _IP - (data[at + 32] >> 4) * 4
        flow, sequence = data[at + 12 : at + 24].tobytes(), int.from_bytes(data[at + 24 : at + 28])
        if payload > 0 and follows == (flow, sequence):
            return True
        follows = (flow, (sequence + payload) & _SEQUENCES) if payload > 0 else _NOTHING
    return False


def alone(rows: Rows) -> Coalesced:
    """Write every packet as it is."""
    rows.arena.window(LENGTH)[rows.offsets - LENGTH] = _PLAIN_VNET
    return Coalesced(list(rows.views(-LENGTH, 0)[: len(rows)]))


def _links(heads: NDArray[np.uint8], payloads: Integers) -> Flags:
    """Whether row i + 1 continues row i."""
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


def _one_run(rows: Rows, heads: NDArray[np.uint8]) -> int:
    """Size of the headers when even rows are one run, the usual batch of a download; 0 when they are not.

    Strings of bytes are compared here, at a third of what the arrays of `_links` cost.
    """
    count, first = len(rows), heads[0]
    size = _SIZES.item(first.item(32) >> 4)
    payload, last = rows.lengths.item(0) - size, rows.lengths.item(-1) - size
    total = size + (count - 1) * payload + last
    if not 0 < last <= payload or total > MAXIMUM_PACKET:
        return 0
    shared = heads.view(np.uint64) & _SHARED[first.item(32) >> 4]
    if np.count_nonzero((shared[0, :5] & _ELIGIBLE_MASK) ^ _ELIGIBLE):
        return 0
    flags = heads[:, 33].tobytes()
    sequences = heads.view(">u4")[:, 6].astype(np.int64)
    wanted = _STEPS[:count] * payload + sequences.item(0)
    if wanted.item(-1) > _SEQUENCES:
        wanted &= _SEQUENCES
    same = shared.tobytes()
    if same != same[:HEAD] * count or sequences.tobytes() != wanted.tobytes():
        return 0
    return size if flags.count(_ACK, 0, count - 1) == count - 1 else 0  # a PSH ends a run


def _join(rows: Rows, views: list[Write], sizes: Integers, payloads: Integers, links: Flags) -> Coalesced:
    ends = [*(np.flatnonzero(~links) + 1).tolist(), len(rows)]
    writes: list[Write] = []
    supers = joined = start = 0
    for end in ends:
        for first, last in _bounded(sizes.item(start), payloads.item(start), start, end):
            if last - first > 1 and _checksums_hold(rows, first, last):
                writes.append(_super_packet(rows, first, last, sizes.item(first)))
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
    length, tail = rows.lengths.item(first), rows.lengths.item(last - 1)
    if tail != length and not _checksum_holds(rows, last - 1):
        return False
    offsets = rows.offsets[first : last if tail == length else last - 1]
    arena, at = rows.arena, offsets.item(0)
    segment = length - _IP
    if rows.pitch:
        words = arena.matrix("<u2", at + _IP, rows.pitch, (len(offsets), segment // 2))
    else:
        words = arena.gather(offsets, segment // 2 * 2, _IP).view("<u2")
    sums = np.add.reduce(words, axis=1, dtype=np.uint32)
    if segment % 2:
        sums += arena.array[offsets + (length - 1)]
    # Sums of little-endian words: the pseudo-header is brought to that order by the factor 256.
    sums += np.uint32(_pseudo_sum(arena.data[at : at + _IP], segment) * 256 % 65535)
    sums %= 65535
    return not np.count_nonzero(sums)


def _checksum_holds(rows: Rows, index: int) -> bool:
    at, length = rows.offsets.item(index), rows.lengths.item(index)
    packet = rows.arena.data[at : at + length]
    return internet_checksum(packet[_IP:], _pseudo_sum(packet, length - _IP)) == 0


def _ip_checksums_hold(rows: Rows, first: int, last: int) -> bool:
    """Rows of irregular batches may have come by the scalar way, which leaves that to the host."""
    headers = rows.arena.gather(rows.offsets[first:last], _IP).view(np.uint16)
    return not np.count_nonzero(np.add.reduce(headers, axis=1, dtype=np.uint32) % 65535)


def _pseudo_sum(header: memoryview, length: int) -> int:
    return int.from_bytes(header[12:20]) + _TCP + length


def _super_packet(rows: Rows, first: int, last: int, size: int) -> Write:
    """Rewrite the first row's headers for the whole run; the payloads stay where they are."""
    data, at = rows.arena.data, rows.offsets.item(first)
    payload, end = rows.lengths.item(first) - size, rows.offsets.item(last - 1)
    total = size + (last - first - 1) * payload + rows.lengths.item(last - 1) - size
    header = data[at : at + size]
    header[2:4] = total.to_bytes(2)
    header[10:12] = b"\0\0"
    header[10:12] = internet_checksum(header[:_IP]).to_bytes(2)
    header[_IP + FLAGS_OFFSET] |= data[end + _IP + FLAGS_OFFSET] & _PSH
    open_sum = _pseudo_sum(header, total - _IP) % 65535
    header[_IP + CHECKSUM_OFFSET : _IP + CHECKSUM_OFFSET + 2] = open_sum.to_bytes(2)
    vnet = VnetHeader(NEEDS_CSUM, GSO_TCPV4, size, payload, _IP, CHECKSUM_OFFSET)
    data[at - LENGTH : at] = vnet.build()
    front = data[at - LENGTH : at + size + payload]
    return [front, *rows.views(size, 0)[first + 1 : last]]
