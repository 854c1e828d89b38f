"""Super-packets cut into the packets that a network card would have sent (TSO and USO in software).

    | headers H | payload: 64 KiB at most                                     |   one read from the TUN

    | room | H' | size bytes | room | H' | size bytes | ... | room | H' | rest |   rows of one matrix

The pitch is the size of a full ESP packet, so that the sealed rows lie end to end as UDP_SEGMENT wants them.
Headers are copied by one broadcast; total length, identification, sequence number and both checksums are
columns, written for all rows at once. A layout (columns, offsets, views) depends on the sizes alone and is
kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane.vnet import GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VnetHeader
from vcstack.esp.layout import esp_size
from vcstack.wire.batch import ASCENDING, CHECKSUMS, Arena, Integers, Rows
from vcstack.wire.ipv4 import IpProtocol
from vcstack.wire.tcp import TcpFlags

MAX_ROWS = 128
MAX_LAYOUTS = 64
_LARGEST = 65_536
_ROW_ROOM = 160
"""Most that headers, encapsulation and trailer add to the payload of a row."""
_IPV4_HEADER, _IPV6_HEADER, _TCP_HEADER, _UDP_HEADER = 20, 40, 20, 8
_FULL = 65535
_SEQUENCES = 1 << 32
# Members of an enumeration cost 0.3 us to look up and an operation of flags 1 us: plain integers on this
# path.
_CWR = int(TcpFlags.CWR)
_ALL_BUT_CWR = 0xFF ^ _CWR
_NEITHER_CWR_NOR_LAST = _ALL_BUT_CWR & ~int(TcpFlags.FIN | TcpFlags.PSH)
_TCP, _UDP = int(IpProtocol.TCP), int(IpProtocol.UDP)


class Malformed(ValueError):  # noqa: N818  # a finding about a packet, which is then dropped
    """A super-packet whose headers do not fit together."""


class Headers(NamedTuple):
    """What a super-packet's headers say; sizes in bytes, `size` that of a full segment's payload."""

    data: bytes
    version: int
    transport: int
    tcp: bool
    size: int
    payload: int

    @property
    def length(self) -> int:
        """Size of all headers."""
        return len(self.data)

    @property
    def segments(self) -> int:
        """Packets that it becomes."""
        return -(-self.payload // self.size)

    @property
    def tos(self) -> int:
        """TOS or Traffic Class."""
        return self.data[1] if self.version == 4 else (self.data[0] << 4 | self.data[1] >> 4) & 0xFF

    @property
    def dont_fragment(self) -> int:
        """1 when the packets may not be fragmented on the way."""
        return self.data[6] >> 6 & 1 if self.version == 4 else 1


def read_headers(packet: memoryview, vnet: VnetHeader) -> Headers:
    """Find the headers of a super-packet. Raises `Malformed`."""
    kind = vnet.gso_type & ~GSO_ECN
    tcp, transport = kind in (GSO_TCPV4, GSO_TCPV6), vnet.csum_start
    version = packet[0] >> 4 if len(packet) else 0
    minimum = _IPV4_HEADER if version == 4 else _IPV6_HEADER if version == 6 else None
    known = (tcp and version == (4 if kind == GSO_TCPV4 else 6)) or kind == GSO_UDP_L4
    if minimum is None or not known or not vnet.flags & NEEDS_CSUM or not vnet.gso_size:
        raise Malformed(f"GSO type {vnet.gso_type} of {vnet.gso_size} bytes on IP version {version}")
    if transport < minimum or len(packet) < transport + (_TCP_HEADER if tcp else _UDP_HEADER):
        raise Malformed(f"transport header at {transport} in {len(packet)} bytes")
    length = transport + ((packet[transport + 12] >> 4) * 4 if tcp else _UDP_HEADER)
    if not transport + _UDP_HEADER <= length < len(packet) or transport % 2:
        raise Malformed(f"headers of {length} in {len(packet)} bytes")
    return Headers(bytes(packet[:length]), version, transport, tcp, vnet.gso_size, len(packet) - length)


@dataclass(slots=True)
class _Layout:
    """Columns of the rows for one combination of sizes."""

    offsets: Integers
    header: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    words: NDArray[np.uint16]
    last_byte: NDArray[np.uint8]
    identification: NDArray[Any]
    ip_checksum: NDArray[Any]
    sequence: NDArray[Any]
    checksum: NDArray[Any]
    positions: Integers
    pitch: int


class Segmenter:
    """Cuts super-packets; `overhead` is what GRE puts in front, `front` all room before an inner packet."""

    def __init__(self, overhead: int, front: int) -> None:
        self.arena = Arena(_LARGEST + MAX_ROWS * _ROW_ROOM)
        self._overhead = overhead
        self._front = front
        self._layouts: dict[tuple[int, int, int, bool], _Layout] = {}

    def split(self, packet: NDArray[np.uint8], headers: Headers) -> Iterator[Rows]:
        """Cut a packet, which is not in this arena; yields inner packets, at most `MAX_ROWS` at a time.

        Rows are only valid until the next ones are asked for.
        """
        layout = self._layout(headers)
        capacity = min(MAX_ROWS, len(layout.header))
        for first in range(0, headers.segments, capacity):
            count = min(capacity, headers.segments - first)
            yield self._fill(layout, headers, packet, first, count)

    def _fill(
        self, layout: _Layout, headers: Headers, packet: NDArray[np.uint8], first: int, count: int
    ) -> Rows:
        size = headers.size
        final = first + count == headers.segments
        rest = headers.payload - (headers.segments - 1) * size if final else size
        full = count if rest == size else count - 1
        start = headers.length + first * size
        layout.payload[:full] = packet[start : start + full * size].reshape(full, size)
        if full < count:
            layout.payload[full, :rest] = packet[start + full * size :]
            layout.payload[full, rest:] = 0  # the checksum runs over the full width
        sums = np.add.reduce(layout.words[:count], axis=1, dtype=np.uint32)
        if size % 2:
            sums += layout.last_byte[:count]
        _write_headers(layout, headers, sums, first, count, rest)
        lengths = np.empty(count, np.int64)
        lengths.fill(headers.length + size)
        lengths[-1] = headers.length + rest
        return Rows(self.arena, layout.offsets[:count], lengths, layout.pitch, full)

    def _layout(self, headers: Headers) -> _Layout:
        key = (headers.length, headers.transport, headers.size, headers.tcp)
        found = self._layouts.get(key)
        if found is None:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[key] = self._new_layout(headers)
        return found

    def _new_layout(self, headers: Headers) -> _Layout:
        front, length, size = self._front, headers.length, headers.size
        pitch = esp_size(self._overhead + length + size)
        rows = min(MAX_ROWS, len(self.arena) // pitch)
        transport = front + headers.transport
        matrix = self.arena.matrix

        def column(dtype: str, at: int) -> NDArray[Any]:
            return matrix(dtype, at, pitch, (rows,))

        return _Layout(
            offsets=np.arange(rows) * pitch + front,
            header=matrix("u1", front, pitch, (rows, length)),
            payload=matrix("u1", front + length, pitch, (rows, size)),
            words=matrix("<u2", front + length, pitch, (rows, size // 2)),
            last_byte=column("u1", front + length + size - 1),
            identification=column(">u2", front + 4),
            ip_checksum=column(">u2", front + 10),
            sequence=column(">u4", transport + 4),
            checksum=column(">u2", transport + (16 if headers.tcp else 6)),
            positions=np.arange(rows) * size,
            pitch=pitch,
        )


def _write_headers(
    layout: _Layout, headers: Headers, sums: NDArray[np.uint32], first: int, count: int, rest: int
) -> None:
    """Write the headers of `count` rows whose payloads add up to `sums`; the last has `rest` bytes."""
    whole, transport = _middle_header(headers), headers.transport
    layout.header[:count] = np.frombuffer(whole, np.uint8)
    # The payload was added as little-endian words: 256 times that, modulo 65535, is the big-endian sum.
    sums %= _FULL
    sums <<= 8
    totals = _write_sequences(layout, headers, first, count) if headers.tcp else np.zeros(count, np.int64)
    totals += sums
    totals += _transport_sum(headers, whole) - 1
    if headers.tcp and first == 0 and headers.segments > 1 and headers.data[transport + 13] & _CWR:
        # RFC 3168 section 6.1.2: only the first packet says that the window was reduced.
        layout.header[0, transport + 13] |= _CWR
        totals[0] += _CWR
    if first + count == headers.segments:
        totals[-1] += _finish_last(layout.header[count - 1], headers, whole, rest)
    totals %= _FULL  # as `wire.batch.complement` does, in place
    np.subtract(65534, totals, out=totals)
    if not headers.tcp:
        totals[totals == 0] = _FULL  # RFC 768: zero would mean "no checksum"
    layout.checksum[:count] = totals
    if headers.version == 4:
        _write_ip_headers(layout, headers, _sum(whole[:transport]), first, count, headers.size - rest)


def _write_sequences(layout: _Layout, headers: Headers, first: int, count: int) -> Integers:
    """Write the TCP sequence numbers; returns them."""
    sequence = int.from_bytes(headers.data[headers.transport + 4 : headers.transport + 8])
    sequences = layout.positions[:count] + (sequence + first * headers.size)
    if sequences.item(-1) >= _SEQUENCES:
        sequences &= _SEQUENCES - 1
    layout.sequence[:count] = sequences
    return sequences


def _finish_last(row: NDArray[np.uint8], headers: Headers, whole: bytes, rest: int) -> int:
    """Give the last row its length and its flags; returns what that adds to the sum for its checksum."""
    transport, short = headers.transport, headers.size - rest
    length = headers.length + rest
    at, value = (2, length) if headers.version == 4 else (4, length - _IPV6_HEADER)
    row[at], row[at + 1] = value >> 8, value & 0xFF
    if not headers.tcp:
        length -= transport
        row[transport + 4], row[transport + 5] = length >> 8, length & 0xFF
        return -2 * short  # in the UDP header and in the pseudo-header
    flags = headers.data[transport + 13]
    if headers.segments > 1:
        flags &= _ALL_BUT_CWR
    row[transport + 13] = flags
    return flags - whole[transport + 13] - short


def _write_ip_headers(
    layout: _Layout, headers: Headers, fixed: int, first: int, count: int, short: int
) -> None:
    """Identifications ascend by one, and so do the sums of the headers: both columns are slices of tables."""
    identification = int.from_bytes(headers.data[4:6]) + first & _FULL
    layout.identification[:count] = ASCENDING[identification : identification + count]
    before = min(count, _FULL + 1 - identification)  # the others have come round to 0
    at = (fixed + identification - 1) % _FULL
    layout.ip_checksum[:before] = CHECKSUMS[at : at + before]
    if before < count:
        at = (fixed - 1) % _FULL
        layout.ip_checksum[before:count] = CHECKSUMS[at : at + count - before]
    if short:
        at = fixed - short + (identification + count - 1 & _FULL) - 1
        layout.ip_checksum[count - 1] = 65534 - at % _FULL


def _middle_header(headers: Headers) -> bytes:
    """Headers of a full segment between others; checksums and fields that differ in every row are zero."""
    data, transport = bytearray(headers.data), headers.transport
    length = headers.length + headers.size
    if headers.version == 4:
        data[2:6] = (length << 16).to_bytes(4)
        data[10:12] = b"\0\0"
    else:
        data[4:6] = (length - _IPV6_HEADER).to_bytes(2)
    if headers.tcp:
        data[transport + 4 : transport + 8] = b"\0\0\0\0"
        data[transport + 13] &= _NEITHER_CWR_NOR_LAST
        data[transport + 16 : transport + 18] = b"\0\0"
    else:
        data[transport + 4 : transport + 8] = (length - transport << 16).to_bytes(4)
    return bytes(data)


def _transport_sum(headers: Headers, whole: bytes) -> int:
    """Sum of pseudo-header and transport header of a full segment, but for what differs in every row."""
    addresses = whole[12:20] if headers.version == 4 else whole[8:40]
    length = headers.length - headers.transport + headers.size
    protocol = _TCP if headers.tcp else _UDP
    return _sum(addresses) + protocol + length + _sum(whole[headers.transport :])


def _sum(data: bytes) -> int:
    """A number that equals the sum of the big-endian 16-bit words modulo 65535."""
    return int.from_bytes(data) % _FULL
