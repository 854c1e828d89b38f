"""GRE in IPv4 on batches: what `packet` and `tunnel` do for one packet (RFC 2784, 2890, RFC 6040).

A delivery header differs from the tunnel's template in five fields; the others are broadcast once:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------+-------+---------------+-------------------------------+
    |   template    |     TOS *     |        Total Length *         |
    |       Identification *        |DF *|        template          |
    |           template            |       Header Checksum *       |
    |         source, destination, GRE flags, type *, key           |

Outwards every row takes this way. Inwards it is taken by rows that look exactly like what a plain peer sends;
the rest (options, keepalives, congestion marks, trailing bytes, errors) is left to the scalar `Tunnel`,
which alone knows the reasons for refusing.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcstack.gre.packet import Protocol, Reject, decapsulate
from vcstack.gre.tunnel import ECN_DECAPSULATION, ECN_DROP, ECN_MASK, TunnelConfig
from vcstack.wire.batch import ASCENDING, CHECKSUMS, Flags, Integers, Rows, complement, item
from vcstack.wire.ipv4 import MINIMUM_HEADER, IpProtocol

IPV6_PROTOCOL = 0x86DD
"""Protocol type of IPv6 (RFC 7676)."""
IPV6_HEADER = 40

_FIELDS: list[tuple[str, str]] = [
    ("version", "u1"),
    ("tos", "u1"),
    ("length", ">u2"),
    ("identification", ">u2"),
    ("fragment", ">u2"),
    ("ttl", "u1"),
    ("protocol", "u1"),
    ("checksum", ">u2"),
    ("source", ">u4"),
    ("destination", ">u4"),
    ("flags", ">u2"),
    ("type", ">u2"),
]
_DONT_FRAGMENT = 0x4000
_IDENTIFICATIONS = 1 << 16
_GRE = int(IpProtocol.GRE)
_VERSION, _FULL = 0x45, 65535
_ADDRESSES_OFFSET = 12


class Encapsulator:
    """Writes delivery headers in front of batches of at most `capacity` inner packets."""

    def __init__(self, config: TunnelConfig, capacity: int) -> None:
        self.overhead = config.overhead
        self._tos_mask = 0xFF if config.copy_dscp else ECN_MASK
        self._copy_df = config.copy_df
        self._identification = 0
        self._steps: Integers = np.arange(capacity)
        template = config.template()
        key = [] if config.key is None else [("key", ">u4")]
        dtype = np.dtype([*_FIELDS, *key])
        self._headers: NDArray[Any] = np.frombuffer(bytearray(template * capacity), dtype)
        self._even_fields: tuple[int, ...] = ()
        self._items = self._headers.view(item(config.overhead))
        words = memoryview(template[:MINIMUM_HEADER]).cast("H").tolist()
        total = sum(int.from_bytes(word.to_bytes(2, "little")) for word in words)
        # The sum of the words that stay: without length and checksum of the template.
        self._fixed = total - int.from_bytes(template[2:4]) - int.from_bytes(template[10:12])
        self._tail = template[_ADDRESSES_OFFSET:]
        self._ttl_protocol = int.from_bytes(template[8:10])
        self._header = struct.Struct(f">BBHHHHH{len(self._tail)}s")

    def encapsulate_one(self, data: memoryview, at: int, length: int, tos: int, dont_fragment: int) -> None:
        """Write the header of one IPv4 packet of `length` bytes at `at`, from `at - overhead` on."""
        tos &= self._tos_mask
        length += self.overhead
        fragment = dont_fragment * _DONT_FRAGMENT if self._copy_df else 0
        identification = self._identification
        self._identification = (identification + 1) % _IDENTIFICATIONS
        checksum = 65534 - (self._fixed + tos + length + identification + fragment - 1) % _FULL
        start, kind = at - self.overhead, self._ttl_protocol
        self._header.pack_into(
            data, start, _VERSION, tos, length, identification, fragment, kind, checksum, self._tail
        )

    def first_header(self, count: int, length: int, tos: int, dont_fragment: int) -> bytes | None:
        """Header of the first of `count` IPv4 packets of `length` bytes, whose identifications follow it.

        The header checksums then descend by one. None, and no identification taken, when either of the two
        would come round on the way.
        """
        tos &= self._tos_mask
        length += self.overhead
        fragment = dont_fragment * _DONT_FRAGMENT if self._copy_df else 0
        first = self._identification
        checksum = 65534 - (self._fixed + tos + length + first + fragment - 1) % _FULL
        if first + count > _IDENTIFICATIONS or checksum < count:
            return None
        self._identification = (first + count) % _IDENTIFICATIONS
        kind = self._ttl_protocol
        return self._header.pack(_VERSION, tos, length, first, fragment, kind, checksum, self._tail)

    def encapsulate(
        self, inner: Rows, tos: Integers | int, dont_fragment: Integers | int, protocol: Integers | int
    ) -> Rows:
        """Write the headers; returns the delivery packets. `tos` is the inner one, `dont_fragment` 0 or 1."""
        if not isinstance(tos, int) or not isinstance(dont_fragment, int) or not isinstance(protocol, int):
            return self._encapsulate_each(inner, tos, dont_fragment, protocol)
        if not inner.even or self._identification + len(inner) > _IDENTIFICATIONS:
            return self._encapsulate_each(inner, tos, dont_fragment, protocol)
        return self._encapsulate_even(inner, tos, dont_fragment, protocol)

    def _encapsulate_even(self, inner: Rows, tos: int, dont_fragment: int, protocol: int) -> Rows:
        """One value of everything but identification and checksum, which are slices of tables."""
        count, headers = len(inner), self._headers
        length, last = inner.lengths.item(0) + self.overhead, inner.lengths.item(-1) + self.overhead
        fragment = dont_fragment * _DONT_FRAGMENT if self._copy_df else 0
        fields = (tos & self._tos_mask, length, fragment, protocol)
        if fields != self._even_fields:
            self._even_fields = fields
            for name, value in zip(("tos", "length", "fragment", "type"), fields, strict=True):
                headers[name] = value
        first = self._identification
        self._identification = (first + count) % _IDENTIFICATIONS
        total = self._fixed + fields[0] + length + fragment + first
        at = (total - 1) % 65535
        headers["identification"][:count] = ASCENDING[first : first + count]
        headers["checksum"][:count] = CHECKSUMS[at : at + count]
        offsets = inner.offsets - self.overhead
        window = inner.arena.window(self.overhead)
        window[offsets] = self._items[:count]
        if last != length:
            at = (total + count - 2 + last - length) % 65535
            headers["length"][count - 1], headers["checksum"][count - 1] = last, 65534 - at
            window[offsets.item(-1)] = self._items[count - 1]
            headers["length"][count - 1] = length
        return Rows(inner.arena, offsets, inner.lengths + self.overhead, inner.pitch, inner.uniform)

    def _encapsulate_each(
        self, inner: Rows, tos: Integers | int, dont_fragment: Integers | int, protocol: Integers | int
    ) -> Rows:
        count = len(inner)
        self._even_fields = ()
        headers = self._headers[:count]
        lengths = inner.lengths + self.overhead
        tos = tos & self._tos_mask
        fragment = dont_fragment * _DONT_FRAGMENT if self._copy_df else 0
        identifications = (self._steps[:count] + self._identification) % _IDENTIFICATIONS
        self._identification = (self._identification + count) % _IDENTIFICATIONS
        headers["tos"] = tos
        headers["length"] = lengths
        headers["identification"] = identifications
        headers["fragment"] = fragment
        headers["checksum"] = complement(lengths + identifications + (fragment + tos + self._fixed))
        headers["type"] = protocol
        offsets = inner.offsets - self.overhead
        inner.arena.window(self.overhead)[offsets] = self._items[:count]
        return Rows(inner.arena, offsets, lengths, inner.pitch, inner.uniform)


class Decapsulator:
    """Recognises the rows that hold a plain GRE packet with a plain IPv4 packet of the same length in it."""

    def __init__(self, config: TunnelConfig) -> None:
        self.overhead = config.overhead
        self._size = self.overhead + MINIMUM_HEADER
        template = bytearray(config.template())
        template[12:20] = config.remote.packed + config.local.packed
        expected = bytes(template) + bytes((0x45,)) + bytes(MINIMUM_HEADER - 1)
        # Version, fragment bits but DF, protocol, addresses; the whole GRE header; version of what is inside.
        delivery = bytes((255, 0, 0, 0, 0, 0, 0xBF, 255, 0, 255, 0, 0)) + b"\xff" * 8
        mask = delivery + b"\xff" * config.gre_length + b"\xff" + bytes(MINIMUM_HEADER - 1)
        self._expected = np.frombuffer(expected, np.uint32)
        self._mask = np.frombuffer(mask, np.uint32)
        # An even batch shares lengths, TOS and inner protocol as well.
        even = bytearray(mask)
        for at in (1, 2, 3, *(self.overhead + field for field in (1, 2, 3, 9))):
            even[at] = 0xFF
        self._even_mask = np.frombuffer(bytes(even), np.uint32)
        self._expected_bytes = (self._expected & self._mask).tobytes()
        self._prepare_one(mask)

    def _prepare_one(self, mask: bytes) -> None:
        """The same as numbers, with both lengths: one row is settled by one comparison."""
        ahead, size = self.overhead, self._size
        with_lengths = bytearray(mask)
        for at in (2, 3, ahead + 2, ahead + 3):
            with_lengths[at] = 0xFF
        outer, inner = 1 << (size - 4) * 8, 1 << (size - 4 - ahead) * 8
        self._one_mask = int.from_bytes(with_lengths)
        self._one_step = outer + inner
        template = int.from_bytes(self._expected_bytes) & ~(0xFFFF * outer) & ~(0xFFFF * inner)
        self._one_expected = template - ahead * inner

    def matches_one(self, data: memoryview, at: int, length: int) -> bool:
        """`match` for the row of `length` bytes at `at`."""
        ahead = self.overhead
        if length < self._size:
            return False
        head = data[at : at + self._size].tobytes()
        return (
            int.from_bytes(head) & self._one_mask == self._one_expected + length * self._one_step
            and not (head[1] ^ head[ahead + 1]) & ECN_MASK
            and head[ahead + 9] != _GRE
            and not int.from_bytes(head[:MINIMUM_HEADER]) % _FULL
            and not int.from_bytes(head[ahead : ahead + MINIMUM_HEADER]) % _FULL
        )

    def match(self, rows: Rows) -> tuple[Flags, bool]:
        """Which rows are plain, and whether all are. Rows need 24 bytes of arena behind their start.

        A plain row's inner packet is what follows the first `overhead` bytes.
        """
        block = rows.arena.gather(rows.offsets, self._size)
        if rows.even and self._matches_evenly(rows, block):
            return np.ones(len(rows), np.bool_), True
        words = block.view(np.uint32)
        differ = (words ^ self._expected) & self._mask
        ahead = self.overhead
        shorts = block.view(">u2")
        # One column of numbers, each zero in a plain row; joined so that one comparison settles all.
        lengths = rows.lengths
        odd = np.bitwise_or.reduce(differ, axis=1).astype(np.int64)
        odd |= shorts[:, 1] ^ lengths
        odd |= shorts[:, ahead // 2 + 1] ^ (lengths - ahead)
        odd |= lengths < self._size
        odd |= (block[:, 1] ^ block[:, ahead + 1]) & ECN_MASK
        odd |= block[:, ahead + 9] == _GRE
        odd |= self._checksums(block)
        plain: Flags = odd == 0
        return plain, np.count_nonzero(plain) == len(rows)

    def _matches_evenly(self, rows: Rows, block: NDArray[np.uint8]) -> bool:
        """Whether the rows are plain and, but for the last, of one length, TOS and inner protocol."""
        count, ahead = len(rows), self.overhead
        row = bytearray(self._expected_bytes)
        first = block[0]
        tos, protocol = first.item(1), first.item(ahead + 9)
        if protocol == _GRE or (first.item(ahead + 1) ^ tos) & ECN_MASK:
            return False
        row[1], row[ahead + 1], row[ahead + 9] = tos, first.item(ahead + 1), protocol
        masked = (block.view(np.uint32) & self._even_mask).tobytes()
        length, last = rows.lengths.item(0), rows.lengths.item(-1)
        expected = bytes(self._with_length(row, length)) * (count - 1) + self._with_length(row, last)
        return last >= self._size and masked == expected and not np.count_nonzero(self._checksums(block))

    def _with_length(self, row: bytearray, length: int) -> bytearray:
        row[2:4] = length.to_bytes(2)
        row[self.overhead + 2 : self.overhead + 4] = (length - self.overhead).to_bytes(2)
        return row

    def _checksums(self, block: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Sum of both IPv4 headers of each row, zero where both are right.

        Native byte order serves: a sum of 16-bit words is a multiple of 65535 in either.
        """
        words = np.ndarray(
            (len(block), 2, MINIMUM_HEADER // 2), np.uint16, block, strides=(self._size, self.overhead, 2)
        )
        remainders = np.add.reduce(words, axis=2, dtype=np.uint32) % 65535
        sums: NDArray[np.uint32] = remainders[:, 0] | remainders[:, 1]
        return sums


def ipv6_traffic_class(inner: memoryview | bytes) -> int:
    """Traffic Class, which stands where IPv4 has TOS but four bits on (RFC 8200 section 3)."""
    return (inner[0] << 4 | inner[1] >> 4) & 0xFF


def ipv6_inner(packet: bytes, config: TunnelConfig) -> bytes | None:
    """Inner IPv6 packet of a delivery packet, its ECN field joined (RFC 6040); None when it holds none.

    What is refused here is left to the scalar tunnel, which does not know the protocol type and says so.
    """
    at = (packet[0] & 0x0F) * 4 + 2
    if len(packet) < at + 2 or int.from_bytes(packet[at : at + 2]) != IPV6_PROTOCOL:
        return None
    # All but the protocol type is as with IPv4, so the scalar parser judges it.
    as_ipv4 = packet[:at] + Protocol.IPV4.to_bytes(2) + packet[at + 2 :]
    outcome = decapsulate(as_ipv4, local=config.local, remote=config.remote, key=config.key)
    if isinstance(outcome, Reject) or len(outcome.payload) < IPV6_HEADER or outcome.payload[0] >> 4 != 6:
        return None
    length = IPV6_HEADER + int.from_bytes(outcome.payload[4:6])
    if length > len(outcome.payload):
        return None
    inner, ecn = outcome.payload[:length], outcome.payload[1] >> 4 & ECN_MASK
    joined = ECN_DECAPSULATION[ecn][outcome.delivery.tos & ECN_MASK]
    if joined == ECN_DROP:
        return None
    return inner[:1] + bytes((inner[1] & 0xCF | joined << 4,)) + inner[2:]
