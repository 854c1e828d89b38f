"""From the wire to the TUN: batches of datagrams become inner packets in place.

    classify  IKE, NAT keepalives, ESP by SPI                                     classify
    open      replay check, decrypt, replay commit, trailer                       esp.batch
    unwrap    delivery header, GRE, inner header                                  gre.batch
    admit     traffic selectors; keepalives to those that wait for them           here
    clamp     MSS of SYN segments                                                 delivery, mss
    coalesce  neighbouring segments of one flow -> one write                      merge, coalesce

A row that looks exactly like what a plain peer sends goes through arrays alone. Every other authenticated
row is taken by the scalar modules, which know each reason for refusing, and put back in its place: the order
stays. No row raises, and none is logged.
"""

from dataclasses import dataclass, field

import numpy as np

from vcstack.dataplane.classify import Classified, all_esp, classify
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.delivery import Deliver, Delivery
from vcstack.dataplane.merge import Merger
from vcstack.esp.batch import Opened, Opener, esp_run
from vcstack.esp.layout import PAYLOAD_OFFSET
from vcstack.esp.packet import Drop, PacketError, trim_tfc, unpad
from vcstack.esp.sa import InboundSa
from vcstack.esp.sad import Sad
from vcstack.esp.single import open_in_place, payload_length
from vcstack.gre.batch import Decapsulator, ipv6_inner
from vcstack.gre.packet import Decapsulated, Protocol, Reject
from vcstack.gre.reassembly import Reassembler
from vcstack.gre.reflector import Reflector
from vcstack.gre.tunnel import Tunnel
from vcstack.wire.batch import Arena, Flags, Rows, Run, Span
from vcstack.wire.ipv4 import IpProtocol

MAX_ROWS = 128
MOST_OPENED = 10
"""Datagrams up to which opening them one by one is cheaper than as a batch: at 8 by 22 %, at 12 no more."""
BULK = 600
"""Size of datagrams of which even two are mostly a run of TCP, which is cheaper to open as one: by half."""
_NOTHING = b""
_FRAGMENT = 0x3FFF
"""More Fragments, and the offset."""
# Members of an enumeration cost 0.3 us to look up and an operation of flags 1 us: plain integers on this
# path.
_BATCHES = int(Counter.INBOUND_BATCHES)
_DATAGRAMS = int(Counter.INBOUND_DATAGRAMS)
_DATAGRAM_BYTES = int(Counter.INBOUND_DATAGRAM_BYTES)
_AUTHENTICATED = int(Counter.INBOUND_AUTHENTICATED)


@dataclass(slots=True)
class Received:
    """What came of a batch: IKE messages, keepalive packets of both kinds, and what to write to the TUN."""

    ike: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    """Delivery packets with a keepalive that has come back."""
    requests: list[Decapsulated] = field(default_factory=list)
    """What is to be reflected."""
    authenticated: int = 0


class Inbound:
    """Opens batches with the SAs of `sad` and delivers what is in them."""

    def __init__(
        self,
        tunnel: Tunnel,
        reflector: Reflector,
        sad: Sad,
        counters: Counters,
        reassembler: Reassembler,
        *,
        mss: int,
        deliver: Deliver,
    ) -> None:
        self._tunnel = tunnel
        self._reflector = reflector
        self._sad = sad
        self._counters = counters
        self._delivery = Delivery(deliver, counters, mss=mss)
        self._reassembler = reassembler
        self._now = 0.0
        self._opener = Opener(MAX_ROWS)
        self._decapsulator = Decapsulator(tunnel.config)
        self._merger = Merger(self._decapsulator)
        self._permitted: InboundSa | None = None
        self._expected = tunnel.config.expected_words()

    def receive(self, rows: Rows, now: float, *, udp: bool) -> Received:
        """Process at most `MAX_ROWS` datagrams, delivering before it returns."""
        self._now = now
        if len(rows) <= MOST_OPENED and not _is_bulk(rows):
            spans = list(zip(rows.offsets.tolist(), rows.lengths.tolist(), strict=True))
            if all_esp(rows.arena.data, spans):
                return self._receive_few(rows.arena, spans)
        run = esp_run(rows)
        if run is not None:
            return self._receive_run(run)
        found = classify(rows, udp=udp)
        self._count(rows, found)
        received = Received(ike=found.ike)
        for spi, packets in found.esp:
            sa = self._sad.inbound(spi)
            if sa is None:
                self._sad.drop(Drop.UNKNOWN_SPI, len(packets))
            else:
                self._open(sa, packets, received)
        if received.authenticated != len(rows):
            self._counters.set_drops("ESP", self._sad.drops)
        return received

    def _count(self, rows: Rows, found: Classified) -> None:
        self._count_datagrams(len(rows), rows.total())
        counters = self._counters
        if found.ike or found.nat_keepalives or found.others:
            counters.add(Counter.INBOUND_IKE, len(found.ike))
            counters.add(Counter.INBOUND_NAT_KEEPALIVES, found.nat_keepalives)
            counters.add(Counter.INBOUND_DROP_OTHER, found.others)

    def _count_datagrams(self, count: int, octets: int) -> None:
        counters = self._counters
        counters.add(_BATCHES)
        counters.add(_DATAGRAMS, count)
        counters.add(_DATAGRAM_BYTES, octets)

    def _receive_few(self, arena: Arena, spans: list[Span]) -> Received:
        """Open a few ESP packets without arrays; delay is decided here."""
        received, ready, data, octets, odd = Received(), list[Span](), arena.data, 0, 0
        ahead = self._decapsulator.overhead
        for at, length in spans:
            octets += length
            sa = self._sad.inbound(int.from_bytes(data[at : at + 4]))
            if sa is None:
                self._sad.drop(Drop.UNKNOWN_SPI)
                continue
            whole = open_in_place(sa, data, at, length)
            if not whole:
                continue
            received.authenticated += 1
            start = at + PAYLOAD_OFFSET
            size = payload_length(data, start, whole)
            sa.account(1, size if size >= 0 else whole)
            if self._permits_tunnel(sa) and self._decapsulator.matches_one(data, start, size):
                ready.append((start + ahead, size - ahead))
                continue
            odd += 1
            regular = size >= 0
            payload = bytes(data[start : start + (size if regular else whole)])
            packet = self._inner_of(sa, payload, received, trailer=not regular)
            if packet:
                self._delivery.pass_on_few(arena, ready)
                ready = []
                self._delivery.pass_on_alone(packet)
        self._delivery.pass_on_few(arena, ready)
        self._count_datagrams(len(spans), octets)
        self._counters.add(_AUTHENTICATED, received.authenticated)
        if odd or received.authenticated != len(spans):
            self._counters.set_drops("ESP", self._sad.drops)
            self._counters.set_drops("GRE", self._tunnel.rejects)
        return received

    def _receive_run(self, run: Run) -> Received:
        """Open one peer's burst, which is told by numbers until something in it turns out odd."""
        received = Received()
        self._count_datagrams(run.count, run.total())
        spi = int.from_bytes(run.arena.data[run.start : run.start + 4])
        sa = self._sad.inbound(spi)
        if sa is None:
            self._sad.drop(Drop.UNKNOWN_SPI, run.count)
        else:
            opened = self._opener.open_run(sa, run)
            if isinstance(opened, Run) and not self._delivered(sa, opened, received):
                opened = Opened(opened.rows(), np.ones(run.count, np.bool_), all_regular=True)
            if isinstance(opened, Opened):
                self._take(sa, opened, received)
        if received.authenticated != run.count:
            self._counters.set_drops("ESP", self._sad.drops)
        return received

    def _delivered(self, sa: InboundSa, run: Run, received: Received) -> bool:
        """Deliver a run as one packet or as a few plain ones; False, and nothing done, for others."""
        if not self._permits_tunnel(sa):
            return False
        packet = self._merger.merge(run) if run.count > 1 else None
        spans = [] if packet is not None or run.count > MOST_OPENED else self._plain_spans(run)
        if packet is None and not spans:
            return False
        received.authenticated += run.count
        sa.account(run.count, run.total())
        self._counters.add(_AUTHENTICATED, run.count)
        if packet is None:
            self._delivery.pass_on_few(run.arena, spans)
        else:
            self._delivery.pass_on_merged(packet, run, self._decapsulator.overhead)
        return True

    def _plain_spans(self, run: Run) -> list[Span]:
        """Inner packets of a run of plain rows; none when one of them is not plain."""
        match, ahead = self._decapsulator.matches_one, self._decapsulator.overhead
        spans = run.spans()
        if not all(match(run.arena.data, at, length) for at, length in spans):
            return []
        return [(at + ahead, length - ahead) for at, length in spans]

    def _permits_tunnel(self, sa: InboundSa) -> bool:
        """Whether an SA admits the tunnel's packets; what it admits does not change."""
        if sa is not self._permitted:
            if not sa.selectors.permit(*self._expected):
                return False
            self._permitted = sa
        return True

    def _open(self, sa: InboundSa, packets: Rows, received: Received) -> None:
        opened = self._opener.open(sa, packets)
        if opened is not None:
            self._take(sa, opened, received)

    def _take(self, sa: InboundSa, opened: Opened, received: Received) -> None:
        rows = opened.rows
        received.authenticated += len(rows)
        self._counters.add(_AUTHENTICATED, len(rows))
        sa.account(len(rows), rows.total())
        plain, all_plain = self._decapsulator.match(rows)
        if not self._permits_tunnel(sa):
            plain, all_plain = np.zeros(len(rows), np.bool_), False
        overhead = self._decapsulator.overhead
        inner = Rows(rows.arena, rows.offsets + overhead, rows.lengths - overhead, rows.pitch, rows.uniform)
        if all_plain and opened.all_regular:
            self._delivery.pass_on(inner)
        else:
            self._inspect(sa, opened, inner, plain & opened.regular, received)

    def _inspect(self, sa: InboundSa, opened: Opened, inner: Rows, plain: Flags, received: Received) -> None:
        """Take rows that are not plain one by one, put back what is in them, and pass on all that is left."""
        keep, data, start = plain.copy(), inner.arena.data, 0
        for index in (~plain).nonzero()[0].tolist():
            at = opened.rows.offsets.item(index)
            payload = bytes(data[at : at + opened.rows.lengths.item(index)])
            packet = self._inner_of(sa, payload, received, trailer=not opened.regular[index])
            if not packet:
                continue
            if len(packet) > inner.lengths.item(index):
                # Reassembled, and larger than its row: it goes alone, behind the rows before it.
                self._delivery.pass_on(inner.select(start + keep[start:index].nonzero()[0]))
                self._delivery.pass_on_alone(packet)
                start = index + 1
            else:
                at = inner.offsets.item(index)
                data[at : at + len(packet)] = packet
                inner.lengths[index] = len(packet)
                keep[index] = True
        self._delivery.pass_on(inner.select(start + keep[start:].nonzero()[0]))
        self._counters.set_drops("ESP", self._sad.drops)
        self._counters.set_drops("GRE", self._tunnel.rejects)

    def _inner_of(self, sa: InboundSa, payload: bytes, received: Received, *, trailer: bool) -> bytes:
        try:
            packet = _admitted(sa, payload, trailer=trailer)
        except PacketError as error:
            sa.drop(error.reason)
            return _NOTHING
        if int.from_bytes(packet[6:8]) & _FRAGMENT:
            self._counters.add(Counter.INBOUND_FRAGMENTS)
            whole = self._reassembler.receive(packet, self._now)
            self._counters.set_drops("FRAGMENT", self._reassembler.discards)
            if whole is None:
                return _NOTHING
            self._counters.add(Counter.INBOUND_REASSEMBLED)
            packet = whole
        inner = ipv6_inner(packet, self._tunnel.config)
        if inner is not None:
            return inner
        outcome = self._tunnel.decapsulate(packet)
        if isinstance(outcome, Reject):
            return _NOTHING
        return self._user_packet(packet, outcome, received)

    def _user_packet(self, packet: bytes, outcome: Decapsulated, received: Received) -> bytes:
        if outcome.protocol == Protocol.KEEPALIVE:
            received.answers.append(packet)
            return _NOTHING
        if self._reflector.claims(outcome):
            received.requests.append(outcome)
            return _NOTHING
        return outcome.payload


def _is_bulk(rows: Rows) -> bool:
    return len(rows) > 1 and rows.even and rows.lengths.item(0) >= BULK


def _admitted(sa: InboundSa, payload: bytes, *, trailer: bool) -> bytes:
    """The tunnelled IPv4 packet of an authenticated payload. Raises `PacketError`."""
    next_header = int(IpProtocol.IPIP)
    if trailer:
        payload, next_header = unpad(payload)
    if next_header == IpProtocol.NO_NEXT_HEADER:
        raise PacketError(Drop.DUMMY, "to be discarded")
    if next_header != IpProtocol.IPIP:
        raise PacketError(Drop.NOT_TUNNELLED_IPV4, str(next_header))
    packet = trim_tfc(payload)
    source, destination = int.from_bytes(packet[12:16]), int.from_bytes(packet[16:20])
    if not sa.selectors.permit(packet[9], source, destination):
        raise PacketError(Drop.SELECTOR_MISMATCH, f"protocol {packet[9]}")
    return packet
