"""The last steps inwards: MSS of SYN segments, neighbours joined, packets handed to the TUN and counted."""

from collections.abc import Callable

import numpy as np

from vcstack.dataplane.coalesce import HEAD, PLAIN, Write, alone, coalesce, may_join
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.mss import Clamper
from vcstack.dataplane.vnet import LENGTH
from vcstack.wire.batch import Arena, Rows, Run, Span
from vcstack.wire.ipv4 import IpProtocol

Deliver = Callable[[Write], bool]
"""Writes one packet to the TUN; False when it was not taken."""

# Members of an enumeration cost 0.3 us to look up: plain integers on this path.
_TCP = int(IpProtocol.TCP)
_PACKETS = int(Counter.INBOUND_PACKETS)
_BYTES = int(Counter.INBOUND_BYTES)
_SUPER_PACKETS = int(Counter.INBOUND_SUPER_PACKETS)
_COALESCED = int(Counter.INBOUND_COALESCED)
_DROP_TUN = int(Counter.INBOUND_DROP_TUN)


class Delivery:
    """Hands inner packets to `deliver`; every row has ten bytes of arena in front for the vnet header."""

    def __init__(self, deliver: Deliver, counters: Counters, *, mss: int) -> None:
        self._deliver = deliver
        self._counters = counters
        self._clamper = Clamper(mss, counters, Counter.INBOUND_MSS_CLAMPED)

    def pass_on(self, inner: Rows) -> None:
        """Deliver a batch in its order."""
        if not len(inner):
            return
        heads = inner.arena.gather(inner.offsets, HEAD)
        # A batch without TCP, voice for example, has nothing to clamp or to coalesce.
        versions, protocols = heads[:, 0].tobytes(), heads[:, 9].tobytes()
        only_ipv4 = versions.count(0x45) == len(inner)
        tcp = protocols.count(_TCP)
        if self._clamper.mss and (tcp or not only_ipv4):
            syn = (heads[:, 33] & 0x02) != 0
            syn |= heads[:, 0] != 0x45
            if np.count_nonzero(syn):
                self._clamper.clamp_rows(inner, syn)
                heads = inner.arena.gather(inner.offsets, HEAD)
        outcome = coalesce(inner, heads) if tcp > 1 else alone(inner)
        refused = 0
        for packet in outcome.writes:
            refused += not self._deliver(packet)
        self._count(len(inner), inner.total(), refused)
        self._counters.add(_SUPER_PACKETS, outcome.supers)
        self._counters.add(_COALESCED, outcome.joined)

    def pass_on_few(self, arena: Arena, spans: list[Span]) -> None:
        """Deliver IPv4 packets without options one by one, unless there is something to join."""
        data, refused = arena.data, 0
        if len(spans) > 1 and may_join(data, spans):
            offsets, lengths = zip(*spans, strict=True)
            self.pass_on(Rows(arena, np.array(offsets), np.array(lengths)))
            return
        for at, length in spans:
            if data[at + 9] == _TCP and data[at + 33] & 0x02:
                self._clamper.clamp(data[at : at + length])
            data[at - LENGTH : at] = PLAIN
            refused += not self._deliver(data[at - LENGTH : at + length])
        self._count(len(spans), sum([length for _at, length in spans]), refused)

    def pass_on_alone(self, packet: bytes) -> None:
        """Deliver one packet that lies in no arena."""
        arena = Arena(LENGTH + len(packet) + HEAD)
        arena.data[LENGTH : LENGTH + len(packet)] = packet
        self.pass_on(Rows(arena, np.array([LENGTH]), np.array([len(packet)])))

    def pass_on_merged(self, packet: Write, run: Run, overhead: int) -> None:
        """Deliver what a run was merged into, each of whose rows has `overhead` bytes around a packet."""
        refused = not self._deliver(packet)
        self._count(run.count, run.total() - run.count * overhead, int(refused))
        self._counters.add(_SUPER_PACKETS)
        self._counters.add(_COALESCED, run.count)

    def _count(self, packets: int, octets: int, refused: int) -> None:
        self._counters.add(_PACKETS, packets)
        self._counters.add(_BYTES, octets)
        if refused:
            self._counters.add(_DROP_TUN, refused)
