"""ESP on batches, in place: what `packet` does for one packet, without an object per packet (RFC 4303, 4106).

    seal    reserve n numbers | stamp SPI, sequence, IV | trailer | one cipher call per row
    open    replay check | one cipher call per row | replay commit | trailer

The nonce of a row is salt and IV. Nonces lie in a matrix of their own with cached views; so does the
additional data with ESN, which the packet does not contain in one piece.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcstack.crypto.batch import open_rows, seal_rows
from vcstack.esp.layout import ICV_LENGTH, MINIMUM_LENGTH, PAYLOAD_OFFSET, TRAILER_LENGTH, padding_length
from vcstack.esp.packet import PADDING, Drop
from vcstack.esp.sa import InboundSa, OutboundSa
from vcstack.esp.single import payload_length
from vcstack.wire.batch import Arena, Flags, Integers, Rows, Run, ascends
from vcstack.wire.ipv4 import IpProtocol

_HEADER = np.dtype([("spi", ">u4"), ("sequence", ">u4"), ("iv", "V8")])
_NONCE = np.dtype([("salt", "V4"), ("iv", "V8"), ("filler", "V4")])
_EXTENDED_AAD = np.dtype([("spi", ">u4"), ("high", ">u4"), ("low", ">u4"), ("filler", "V4")])
_SCRATCH_PITCH = 16
_NONCE_LENGTH = 12
_AAD_LENGTH = 8
_IV_LENGTH = 8
_EXTENDED_AAD_LENGTH = 12

_LONGEST = 65536
_IPIP = int(IpProtocol.IPIP)
_TRAILER_ROOM = 5
_LENGTHS = np.arange(_LONGEST)
# Looked up by payload length: one array operation in the place of five.
_SIZES: Integers = PAYLOAD_OFFSET + (_LENGTHS + TRAILER_LENGTH + 3) // 4 * 4 + ICV_LENGTH
_TRAILERS: NDArray[np.void] = np.array(
    [
        np.void((PADDING[:pad] + bytes((pad, _IPIP))).ljust(_TRAILER_ROOM, b"\0"))
        for pad in map(padding_length, range(4))
    ]
)

_EXACT_TRAILERS = tuple(PADDING[:pad] + bytes((pad, _IPIP)) for pad in map(padding_length, range(4)))

_TAIL_BYTES = 8
_TAIL_PADS = _TAIL_BYTES - TRAILER_LENGTH


def _tail_tables() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """For every pad length: which bits of the last eight bytes are checked, and what they have to be."""
    masks, expected = [], []
    for pad in range(256):
        checked = min(pad, _TAIL_PADS)
        tail = PADDING[:pad][pad - checked :] + bytes((pad, _IPIP))
        masks.append((1 << 8 * len(tail)) - 1)
        expected.append(int.from_bytes(tail))
    return np.array(masks, np.uint64), np.array(expected, np.uint64)


_TAIL_MASKS, _TAIL_EXPECTED = _tail_tables()
_EIGHT, _BYTE = np.uint64(8), np.uint64(255)


def trailer_of(length: int) -> bytes:
    """Padding, pad length and next header behind a tunnelled IPv4 packet of `length` bytes."""
    return _EXACT_TRAILERS[length & 3]


class _Scratch:
    """Nonces and extended additional data of a batch of at most `capacity` rows."""

    def __init__(self, capacity: int) -> None:
        size = capacity * _SCRATCH_PITCH
        nonces, extended = Arena(size), Arena(size)
        self.nonce = nonces.array.view(_NONCE)
        self.nonce_words = nonces.array.view(np.uint32).reshape(capacity, 4)
        self.aad = extended.array.view(_EXTENDED_AAD)
        self.ivs = np.ndarray((capacity,), "V8", nonces.array, 4, (_SCRATCH_PITCH,))
        self.lows = np.ndarray((capacity,), "V4", extended.array, 8, (_SCRATCH_PITCH,))
        self.aad_words = extended.array.view(np.uint32).reshape(capacity, 4)
        self.nonces = nonces.views(0, _SCRATCH_PITCH, _NONCE_LENGTH, capacity)
        self.aads = extended.views(0, _SCRATCH_PITCH, _EXTENDED_AAD_LENGTH, capacity)


class Sealer:
    """Seals batches of at most `capacity` rows with one SA at a time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._steps = np.arange(capacity, dtype=np.uint64)
        self._short_steps = np.arange(capacity, dtype=np.uint32)
        self._header = np.zeros(capacity, _HEADER)
        self._header_items = self._header.view("V16")
        self._header_words = self._header.view(np.uint32).reshape(capacity, 4)
        self._high = -1
        self._scratch = _Scratch(capacity)
        self._sa: OutboundSa | None = None

    def seal(self, sa: OutboundSa, rows: Rows) -> Rows:
        """Seal rows in place; returns the same rows as ESP packets.

        Each row of `rows` starts where its ESP header goes and has the length of its payload, which begins
        16 bytes later; 21 bytes behind the payload belong to the row. Raises `esp.sa.Unusable`, and leaves
        the rows as they are, when the SA may not seal them all.
        """
        count = len(rows)
        first = sa.reserve(count, rows.total())
        if sa is not self._sa:
            self._use(sa)
        if (first + count) >> 32 == first >> 32:
            self._stamp_low(rows, first)
        else:
            self._stamp(rows, first)
        _write_trailers(rows)
        sealed = Rows(rows.arena, rows.offsets, _SIZES[rows.lengths], rows.pitch, rows.uniform)
        aads = self._scratch.aads if sa.parameters.esn else sealed.heads(_AAD_LENGTH)
        nonces = self._scratch.nonces[:count]
        plain, out = sealed.views(PAYLOAD_OFFSET, ICV_LENGTH), sealed.views(PAYLOAD_OFFSET, 0)
        seal_rows(sa.cipher, nonces, plain, aads, out)
        return sealed

    def seal_run(
        self, sa: OutboundSa, arena: Arena, first: int, lows: NDArray[np.uint32], pitch: int, last: int
    ) -> None:
        """Seal rows that stand ready from the start of an arena, ESP headers and trailers written.

        They are ESP packets of `pitch` bytes, the last of `last` bytes. `first` is the reserved number of the
        first row, `lows` are the lower halves of all numbers in network order; the upper ones are equal.
        """
        count, scratch = len(lows), self._scratch
        if sa is not self._sa:
            self._use(sa)
        if first >> 32 != self._high:
            self._set_high(first >> 32)
        scratch.nonce_words[:count, 2] = lows
        aads = scratch.aads
        if sa.parameters.esn:
            scratch.aad_words[:count, 2] = lows
        else:
            aads = arena.views(0, pitch, _AAD_LENGTH, count)
        plain = arena.views(PAYLOAD_OFFSET, pitch, pitch - PAYLOAD_OFFSET - ICV_LENGTH, count)
        out = arena.views(PAYLOAD_OFFSET, pitch, pitch - PAYLOAD_OFFSET, count)
        if last != pitch:
            start, end = (count - 1) * pitch + PAYLOAD_OFFSET, (count - 1) * pitch + last
            plain = [*plain[: count - 1], arena.data[start : end - ICV_LENGTH]]
            out = [*out[: count - 1], arena.data[start:end]]
        seal_rows(sa.cipher, scratch.nonces[:count], plain, aads, out)

    def _use(self, sa: OutboundSa) -> None:
        self._sa = sa
        self._header["spi"] = sa.spi
        self._scratch.aad["spi"] = sa.spi
        self._scratch.nonce["salt"] = np.void(sa.cipher.salt)

    def _stamp_low(self, rows: Rows, first: int) -> None:
        """Numbers whose upper halves are equal: only the lower ones are written, in network order."""
        count, scratch = len(rows), self._scratch
        high, low = divmod(first, 1 << 32)
        if high != self._high:
            self._set_high(high)
        lows = (self._short_steps[:count] + np.uint32(low)).byteswap()
        self._header_words[:count, 1::2] = lows[:, np.newaxis]
        scratch.nonce_words[:count, 2] = lows
        scratch.aad_words[:count, 2] = lows
        rows.arena.window(PAYLOAD_OFFSET)[rows.offsets] = self._header_items[:count]

    def _set_high(self, high: int) -> None:
        self._high = high
        network = int.from_bytes(high.to_bytes(4), "little")
        self._header_words[:, 2] = self._scratch.nonce_words[:, 1] = network
        self._scratch.aad["high"] = high

    def _stamp(self, rows: Rows, first: int) -> None:
        """Numbers that pass from one upper half to the next (with ESN, every 2^32 packets)."""
        count = len(rows)
        self._high = -1
        numbers = self._steps[:count] + np.uint64(first)
        # RFC 4106 section 3.1: the IV is the 64-bit sequence number, so it is unique under the key.
        ivs = numbers.byteswap().view("V8")
        self._header["sequence"][:count] = numbers
        self._header["iv"][:count] = ivs
        self._scratch.nonce["iv"][:count] = ivs
        self._scratch.aad["high"][:count] = numbers >> np.uint64(32)
        self._scratch.aad["low"][:count] = numbers
        rows.arena.window(PAYLOAD_OFFSET)[rows.offsets] = self._header_items[:count]


def _write_trailers(rows: Rows) -> None:
    """Padding, pad length and next header; what a trailer is shorter than its room lies under the ICV."""
    lengths, window = rows.lengths, rows.arena.window(_TRAILER_ROOM, PAYLOAD_OFFSET)
    if not rows.even:
        window[rows.offsets + lengths] = _TRAILERS[lengths & 3]
        return
    length, last = lengths.item(0), lengths.item(-1)
    window[rows.offsets + length] = _TRAILERS[length & 3]
    if last != length:
        window[rows.offsets.item(-1) + last] = _TRAILERS[last & 3]


@dataclass(slots=True)
class Opened:
    """Authenticated rows: `rows` are payloads, `regular` tells whose trailer is that of tunnelled IPv4.

    Rows that are not regular still end with their trailer: `packet.unpad` has the last word on them.
    """

    rows: Rows
    regular: Flags
    all_regular: bool


class Opener:
    """Opens batches of at most `capacity` rows."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._scratch = _Scratch(capacity)
        self._sa: InboundSa | None = None

    def open(self, sa: InboundSa, rows: Rows) -> Opened | None:
        """Open ESP packets of one SA in place; None when no row passes.

        What does not pass is counted by the SA. Rows that pass keep their order.
        """
        chosen = self._plausible(sa, rows)
        if not len(chosen):
            return None
        header = chosen.arena.window(PAYLOAD_OFFSET)[chosen.offsets].view(_HEADER)
        numbers = header["sequence"].astype(np.uint64)
        if sa.esn:
            numbers = sa.window.extend_batch(numbers)
        passed = sa.window.check_batch(numbers)
        if np.count_nonzero(passed) != len(chosen):
            chosen, header, numbers = chosen.select(passed), header[passed], numbers[passed]
            if not len(chosen):
                return None
        passed = self._authenticate(sa, chosen, header["iv"], numbers)
        if np.count_nonzero(passed) != len(chosen):
            chosen, numbers = chosen.select(passed), numbers[passed]
        fresh = sa.window.commit_batch(numbers)
        if np.count_nonzero(fresh) != len(chosen):
            chosen = chosen.select(fresh)
        return _read_each_trailer(chosen) if len(chosen) else None

    def open_run(self, sa: InboundSa, run: Run) -> Run | Opened | None:
        """Open a run whose sequence numbers ascend by one, as `esp_run` found it; None when no row passes.

        The result is a run of payloads when all rows pass and have one trailer.
        """
        count = run.count
        low = int.from_bytes(run.arena.data[run.start + 4 : run.start + _AAD_LENGTH])
        window = sa.window
        first = window.extend(low) if sa.esn else low
        ahead = first > window.top and (not sa.esn or window.extend(low + count - 1) - first == count - 1)
        if not ahead or sa.meter.expired:
            return self.open(sa, run.rows())
        failed = self._authenticate_run(sa, run, first)
        if not failed:
            window.commit_run(first, count)
            return payload_run(run) or _read_each_trailer(run.rows())
        sa.drop(Drop.AUTHENTICATION_FAILED, len(failed))
        passed = np.ones(count, np.bool_)
        passed[failed] = False
        fresh = np.arange(first, first + count, dtype=np.uint64)[passed]
        window.commit_batch(fresh)
        return _read_each_trailer(run.rows().select(passed)) if len(fresh) else None

    def _authenticate_run(self, sa: InboundSa, run: Run, first: int) -> list[int]:
        count, scratch = run.count, self._scratch
        if sa is not self._sa:
            self._use(sa)
        scratch.ivs[:count] = run.column(_IV_LENGTH, _AAD_LENGTH)
        if sa.esn:
            scratch.aad["high"][:count] = first >> 32
            scratch.lows[:count] = run.column(4, 4)
            aads = scratch.aads
        else:
            aads = run.arena.views(run.start, run.pitch, _AAD_LENGTH, count)
        plain, data = run.views(PAYLOAD_OFFSET, ICV_LENGTH), run.views(PAYLOAD_OFFSET, 0)
        return open_rows(sa.cipher, scratch.nonces[:count], data, aads, plain)

    def _use(self, sa: InboundSa) -> None:
        self._sa = sa
        self._scratch.nonce["salt"] = np.void(sa.cipher.salt)
        self._scratch.aad["spi"] = sa.spi

    def _plausible(self, sa: InboundSa, rows: Rows) -> Rows:
        if sa.meter.expired:
            sa.drop(Drop.EXPIRED, len(rows))
            return rows.select(np.zeros(len(rows), np.bool_))
        if rows.even:
            length, last = rows.lengths.item(0), rows.lengths.item(-1)
            if not (length | last) & 3 and last >= MINIMUM_LENGTH:
                return rows
        short = rows.lengths < MINIMUM_LENGTH
        odd = (rows.lengths & 3) != 0
        bad = short | odd
        count = np.count_nonzero(bad)
        if not count:
            return rows
        shorts = np.count_nonzero(short)
        for reason, dropped in ((Drop.TOO_SHORT, shorts), (Drop.MISALIGNED, count - shorts)):
            if dropped:
                sa.drop(reason, int(dropped))
        return rows.select(~bad)

    def _authenticate(
        self, sa: InboundSa, rows: Rows, ivs: NDArray[np.void], numbers: NDArray[np.uint64]
    ) -> Flags:
        count = len(rows)
        scratch = self._scratch
        if sa is not self._sa:
            self._use(sa)
        scratch.nonce["iv"][:count] = ivs
        if sa.esn:
            scratch.aad["high"][:count] = numbers >> np.uint64(32)
            scratch.aad["low"][:count] = numbers
        aads = scratch.aads if sa.esn else rows.heads(_AAD_LENGTH)
        plain, data = rows.views(PAYLOAD_OFFSET, ICV_LENGTH), rows.views(PAYLOAD_OFFSET, 0)
        failed = open_rows(sa.cipher, scratch.nonces[:count], data, aads, plain)
        passed = np.ones(count, np.bool_)
        if failed:
            passed[failed] = False
            sa.drop(Drop.AUTHENTICATION_FAILED, len(failed))
        return passed


def esp_run(rows: Rows) -> Run | None:
    """Even rows that are ESP packets of one SPI with consecutive sequence numbers, as a peer's burst is."""
    if not rows.even:
        return None
    run = Run(
        rows.arena, rows.offsets.item(0), rows.pitch, len(rows), rows.lengths.item(0), rows.lengths.item(-1)
    )
    if (run.length | run.last) & 3 or not MINIMUM_LENGTH <= run.last <= run.length:
        return None
    heads = run.column(_AAD_LENGTH, 0).tobytes()
    first = int.from_bytes(heads[:_AAD_LENGTH])
    # SPI and number are one item: the lower half must not come round, or the next SPI would follow.
    same_spi = first >> 32 == first + run.count - 1 >> 32 > 0
    return run if same_spi and ascends(heads, _AAD_LENGTH, first, 1) else None


def payload_run(run: Run) -> Run | None:
    """Payloads of decrypted packets, all but the last with the same trailer; None for other trailers."""
    data, start = run.arena.data, run.start + PAYLOAD_OFFSET
    encrypted = run.length - PAYLOAD_OFFSET - ICV_LENGTH
    length = payload_length(data, start, encrypted)
    if length < 0:
        return None
    room = encrypted - length
    trailers = run.column(room, PAYLOAD_OFFSET + length)[: run.full].tobytes()
    last = length
    if trailers != trailers[:room] * run.full:
        return None
    if run.full < run.count:
        at = start + (run.count - 1) * run.pitch
        last = payload_length(data, at, run.last - PAYLOAD_OFFSET - ICV_LENGTH)
    return Run(run.arena, start, run.pitch, run.count, length, last) if last >= 0 else None


def _read_each_trailer(rows: Rows) -> Opened:
    ends = rows.offsets + rows.lengths
    tails = rows.arena.window(_TAIL_BYTES)[ends - (ICV_LENGTH + _TAIL_BYTES)].view(">u8").astype(np.uint64)
    pads = (tails >> _EIGHT) & _BYTE
    regular: Flags = (tails & _TAIL_MASKS[pads]) == _TAIL_EXPECTED[pads]
    pad_lengths = pads.astype(np.int64)
    regular &= pad_lengths <= _TAIL_PADS
    lengths = rows.lengths - (PAYLOAD_OFFSET + TRAILER_LENGTH + ICV_LENGTH) - pad_lengths
    all_regular = np.count_nonzero(regular) == len(rows)
    # Packets of one size may hold payloads of several.
    uniform = rows.uniform if np.count_nonzero(pads == pads[0]) == len(rows) else 0
    if not all_regular:
        # What is odd keeps its trailer until it is looked at on its own.
        lengths = np.where(regular, lengths, rows.lengths - (PAYLOAD_OFFSET + ICV_LENGTH))
        uniform = 0
    payloads = Rows(rows.arena, rows.offsets + PAYLOAD_OFFSET, lengths, rows.pitch, uniform)
    return Opened(payloads, regular, bool(all_regular))
