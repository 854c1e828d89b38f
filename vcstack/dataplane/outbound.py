"""From the TUN to the wire: batches of inner packets become ESP packets in place.

    read      ordinary packets, each in its row | one super-packet behind them      intake
    segment   super-packet -> rows                                                  segment
    finish    checksums that the kernel left open                                   vnet
    clamp     MSS of SYN segments                                                   mss
    refuse    too big: fragment, or answer with ICMP                                pmtu
    wrap      delivery headers                                                      gre.batch
    seal      reserve sequence numbers, encrypt                                     esp.batch
    emit      rows of ESP packets, to be sent before the next batch

Packets keep their order. Without an SA nothing is emitted: what was read is dropped and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np
from numpy.typing import NDArray

from vcstack.dataplane import pmtu, vnet
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.few import MOST_SEALED, FewSealer, Sealed
from vcstack.dataplane.intake import CAPACITY, SPARE_ROWS, Intake, Read, Spare
from vcstack.dataplane.mss import Clamper
from vcstack.dataplane.segment import MAX_ROWS, Headers, Malformed, Segmenter, read_headers
from vcstack.dataplane.stream import StreamSealer
from vcstack.esp.batch import Sealer
from vcstack.esp.layout import PAYLOAD_OFFSET
from vcstack.esp.sa import OutboundSa, Unusable
from vcstack.esp.sad import Sad
from vcstack.esp.selectors import Selectors
from vcstack.gre.batch import IPV6_PROTOCOL, Encapsulator, ipv6_traffic_class
from vcstack.gre.packet import Protocol
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.batch import Flags, Integers, Rows
from vcstack.wire.ipv4 import IpProtocol

Emit = Callable[[Rows, Integers | int], None]
"""Takes ESP packets and the TOS of the inner packets, one number where it is the same for all.

The rows are overwritten after it returns.
"""
Reply = Callable[[bytes], None]
"""Takes an IP packet for the host behind the TUN."""

_HEAD = 40
_PLAIN = 0x45
_IPV6_HEADER = 40
# Members of an enumeration cost 0.3 us to look up and an operation of flags 1 us: plain integers on this
# path.
_TCP, _IPV4 = int(IpProtocol.TCP), int(Protocol.IPV4)
_BATCHES = int(Counter.OUTBOUND_BATCHES)
_PACKETS = int(Counter.OUTBOUND_PACKETS)
_BYTES = int(Counter.OUTBOUND_BYTES)
_ESP_PACKETS = int(Counter.OUTBOUND_ESP_PACKETS)
_ESP_BYTES = int(Counter.OUTBOUND_ESP_BYTES)
_SUPER_PACKETS = int(Counter.OUTBOUND_SUPER_PACKETS)
_MALFORMED = int(Counter.OUTBOUND_DROP_MALFORMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundConfig:
    """`mtu`: the largest inner packet in bytes; `mss`: 0 for no clamping; `router` sends ICMP errors."""

    tunnel: TunnelConfig
    mtu: int
    mss: int
    router: IPv4Address


class Outbound:
    """Reads batches, seals them with the current SA of `sad` and emits them."""

    def __init__(
        self, config: OutboundConfig, sad: Sad, counters: Counters, *, emit: Emit, reply: Reply
    ) -> None:
        self._config = config
        self._sad = sad
        self._counters = counters
        self._emit = emit
        self._reply = reply
        overhead = config.tunnel.overhead
        self._intake = Intake(config.mtu, overhead)
        self._segmenter = Segmenter(overhead, PAYLOAD_OFFSET + overhead)
        self._spare = Spare(self._intake.pitch)
        self._encapsulator = Encapsulator(config.tunnel, MAX_ROWS)
        self._sealer = Sealer(MAX_ROWS)
        self._clamper = Clamper(config.mss, counters, Counter.OUTBOUND_MSS_CLAMPED)
        self._few = FewSealer(self._intake, self._encapsulator, self._clamper, mtu=config.mtu)
        self._stream = StreamSealer(self._segmenter.arena, self._encapsulator, self._sealer)
        self._checked: OutboundSa | None = None

    def pump(self, read: Read, limit: int = CAPACITY) -> bool:
        """Read and send one batch; whether more packets may wait."""
        lengths, large = self._intake.read(read, limit)
        count = len(lengths)
        if count:
            self._count(count, sum(lengths))
            if self._may_send(count) and not (
                count <= MOST_SEALED and self._sealed(count, lambda sa: self._few.seal(sa, lengths))
            ):
                self._ordinary(self._intake.rows(lengths))
        if large:
            self._count(1, large)
            if self._may_send(1):
                self._large(count, large)
        return bool(large) or count == limit

    def seal_packets(self, packets: list[bytes]) -> bool:
        """Seal whole IPv4 packets as they are, keepalives for example; False when they were dropped."""
        packets = [packet for packet in packets if len(packet) <= self._intake.room]
        if self._sad.current is None or not packets or not self._may_send(len(packets)):
            return False
        rows = self._spare.lay(packets, PAYLOAD_OFFSET)
        tos = np.array([packet[1] for packet in packets])
        payloads = Rows(rows.arena, rows.offsets - PAYLOAD_OFFSET, rows.lengths, rows.pitch)
        return self._seal(payloads, tos)

    def permits(self, protocol: int, source: int, destination: int) -> bool:
        """Whether the current SA admits a packet with these values, addresses as integers."""
        sa = self._sad.current
        return sa is not None and _selectors(sa).permit(protocol, source, destination)

    def _count(self, packets: int, octets: int) -> None:
        counters = self._counters
        counters.add(_BATCHES)
        counters.add(_PACKETS, packets)
        counters.add(_BYTES, octets)

    def _may_send(self, packets: int) -> bool:
        """Whether there is an SA that admits the tunnel's packets."""
        sa = self._sad.current
        if sa is None:
            self._counters.add(Counter.OUTBOUND_DROP_NO_SA, packets)
            return False
        if sa is not self._checked:
            tunnel = self._config.tunnel
            if not _selectors(sa).permit(IpProtocol.GRE, int(tunnel.local), int(tunnel.remote)):
                self._counters.add(Counter.OUTBOUND_DROP_SELECTOR, packets)
                return False
            self._checked = sa
        return True

    def _sealed(self, packets: int, seal: Callable[[OutboundSa], Sealed | None]) -> bool:
        """Send what `seal` makes of some packets; False, and nothing done, when they are not fit for it."""
        sa = self._sad.current
        assert sa is not None, "checked when the batch was read"
        try:
            sealed = seal(sa)
        except Unusable:
            self._counters.add(Counter.OUTBOUND_DROP_EXHAUSTED, packets)
            return True
        if sealed is not None:
            self._send(*sealed)
        return sealed is not None

    def _ordinary(self, rows: Rows) -> None:
        self._counters.add(_MALFORMED, vnet.finish_checksums(rows))
        mtu = self._config.mtu
        if rows.uniform == len(rows) and rows.lengths.item(0) <= mtu:
            self._fitting(rows)
            return
        oversize = rows.lengths > mtu
        if np.count_nonzero(oversize):
            self._around(rows, oversize)
        else:
            self._fitting(rows)

    def _around(self, rows: Rows, oversize: Flags) -> None:
        """Packets that are too big leave, or not, at their place in the order."""
        start = 0
        for index in np.flatnonzero(oversize).tolist():
            self._fitting(rows.select(np.arange(start, index)))
            at = rows.offsets.item(index)
            self._oversize(rows.arena.data[at : at + rows.lengths.item(index)])
            start = index + 1
        self._fitting(rows.select(np.arange(start, len(rows))))

    def _fitting(self, rows: Rows) -> None:
        if not len(rows):
            return
        heads = rows.arena.gather(rows.offsets, _HEAD)
        if rows.uniform == len(rows) and self._alike(rows, heads):
            return
        plain = heads[:, 0] == _PLAIN
        plain &= heads.view(">u2")[:, 1] == rows.lengths
        if np.count_nonzero(plain) != len(rows):
            self._mixed(rows, heads, plain)
            return
        self._clamp_syns(rows, heads)
        self._wrap(rows, heads[:, 1].astype(np.int64), (heads[:, 6] >> 6 & 1).astype(np.int64), _IPV4)

    def _alike(self, rows: Rows, heads: NDArray[np.uint8]) -> bool:
        """Send rows of one length with one TOS and DF; False, and nothing done, when they are not alike.

        Read by column, a batch of voice is a few strings of one byte repeated: bytes.count() tells in 0.1 us
        what an array comparison tells in 1.
        """
        count, length = len(rows), rows.lengths.item(0)
        columns = heads[:, :10].tobytes("F")
        for column, value in ((0, _PLAIN), (1, columns[count]), (2, length >> 8), (3, length & 0xFF)):
            if columns.count(value, column * count, (column + 1) * count) != count:
                return False
        flags = columns[6 * count]
        if columns.count(flags, 6 * count, 7 * count) != count:
            return False
        if columns.count(_TCP, 9 * count):
            self._clamp_syns(rows, heads)
        self._wrap(rows, columns[count], flags >> 6 & 1, _IPV4)
        return True

    def _clamp_syns(self, rows: Rows, heads: NDArray[np.uint8]) -> None:
        if self._clamper.mss:
            syn = (heads[:, 33] & 0x02) != 0
            syn &= heads[:, 9] == _TCP
            self._clamper.clamp_rows(rows, syn)

    def _mixed(self, rows: Rows, heads: NDArray[np.uint8], plain: Flags) -> None:
        """A batch with IPv6, IPv4 options or nonsense in it: what is not plain is looked at on its own."""
        tos, df = heads[:, 1].astype(np.int64), (heads[:, 6] >> 6 & 1).astype(np.int64)
        protocol = np.full(len(rows), _IPV4)
        keep = plain.copy()
        for index in np.flatnonzero(~plain).tolist():
            at = rows.offsets.item(index)
            packet = rows.arena.data[at : at + rows.lengths.item(index)]
            keep[index] = _is_whole(packet)
            if packet[0] >> 4 == 6 and keep[index]:
                tos[index], df[index], protocol[index] = ipv6_traffic_class(packet), 1, IPV6_PROTOCOL
        dropped = len(rows) - int(np.count_nonzero(keep))
        if dropped:
            self._counters.add(_MALFORMED, dropped)
            rows, tos, df, protocol = rows.select(keep), tos[keep], df[keep], protocol[keep]
        if self._clamper.mss:
            self._clamper.clamp_rows(rows, np.ones(len(rows), np.bool_))
        if len(rows):
            self._wrap(rows, tos, df, protocol)

    def _wrap(
        self, rows: Rows, tos: Integers | int, dont_fragment: Integers | int, protocol: Integers | int
    ) -> None:
        delivery = self._encapsulator.encapsulate(rows, tos, dont_fragment, protocol)
        payloads = Rows(
            rows.arena, delivery.offsets - PAYLOAD_OFFSET, delivery.lengths, rows.pitch, rows.uniform
        )
        self._seal(payloads, tos)

    def _seal(self, payloads: Rows, tos: Integers | int) -> bool:
        sa = self._sad.current
        assert sa is not None, "checked when the batch was read"
        try:
            sealed = self._sealer.seal(sa, payloads)
        except Unusable:
            self._counters.add(Counter.OUTBOUND_DROP_EXHAUSTED, len(payloads))
            return False
        self._send(sealed, tos)
        return True

    def _send(self, sealed: Rows, tos: Integers | int) -> None:
        self._counters.add(_ESP_PACKETS, len(sealed))
        self._counters.add(_ESP_BYTES, sealed.total())
        self._emit(sealed, tos)

    def _large(self, index: int, length: int) -> None:
        vnet_header = self._intake.header(index)
        packet = self._intake.packet(index, length)
        if vnet_header.gso_type == vnet.GSO_NONE:
            self._long(index, length)
            return
        try:
            headers = read_headers(packet, vnet_header)
        except Malformed:
            self._counters.add(_MALFORMED)
            return
        self._counters.add(_SUPER_PACKETS)
        self._counters.add(_PACKETS, headers.segments - 1)
        self._burst(self._intake.array(index, length), headers)

    def _burst(self, packet: NDArray[np.uint8], headers: Headers) -> None:
        protocol = _IPV4 if headers.version == 4 else IPV6_PROTOCOL
        fits = headers.length + min(headers.size, headers.payload) <= self._config.mtu
        if fits and self._sealed(headers.segments, lambda sa: self._stream.seal(sa, packet, headers)):
            return
        for rows in self._segmenter.split(packet, headers):
            if fits:
                self._wrap(rows, headers.tos, headers.dont_fragment, protocol)
                continue
            spans = list(zip(rows.offsets.tolist(), rows.lengths.tolist(), strict=True))
            if headers.dont_fragment:
                # One answer tells the sender as much as one for every segment would.
                self._counters.add(Counter.OUTBOUND_DROP_TOO_BIG, len(spans) - 1)
                del spans[1:]
            for at, length in spans:
                self._oversize(rows.arena.data[at : at + length])

    def _long(self, index: int, length: int) -> None:
        """A packet longer than a row and than the tunnel takes; its checksum may be open, too."""
        vnet.finish_checksums(self._intake.row(index, length))
        self._oversize(self._intake.packet(index, length))

    def _oversize(self, packet: memoryview) -> None:
        """Fragment a packet whose DF bit is clear; answer the sender of another (RFC 1191, RFC 791)."""
        if len(packet) <= self._config.mtu:
            self._resend([bytes(packet)])
        elif pmtu.may_fragment(packet):
            fragments = pmtu.fragment(packet, self._config.mtu)
            self._counters.add(Counter.OUTBOUND_FRAGMENTED, 1 if fragments else 0)
            self._counters.add(Counter.OUTBOUND_DROP_TOO_BIG, 0 if fragments else 1)
            self._resend(fragments)
        else:
            self._counters.add(Counter.OUTBOUND_DROP_TOO_BIG)
            answer = pmtu.too_big(packet, self._config.mtu, self._config.router)
            if answer is not None:
                self._counters.add(Counter.OUTBOUND_ICMP_TOO_BIG)
                self._reply(answer)

    def _resend(self, packets: list[bytes]) -> None:
        for start in range(0, len(packets), SPARE_ROWS):
            self._fitting(self._spare.lay(packets[start : start + SPARE_ROWS], self._intake.front))


def _selectors(sa: OutboundSa) -> Selectors:
    """What an outbound SA admits."""
    parameters = sa.parameters
    return Selectors(sources=parameters.local_selectors, destinations=parameters.remote_selectors)


def _is_whole(packet: memoryview) -> bool:
    """Whether the length in an IPv4 or IPv6 header is that of the packet."""
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        return (packet[0] & 0x0F) >= 5 and int.from_bytes(packet[2:4]) == len(packet)
    if version == 6 and len(packet) >= _IPV6_HEADER:
        return int.from_bytes(packet[4:6]) + _IPV6_HEADER == len(packet)
    return False
