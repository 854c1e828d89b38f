"""What a steady flow of numbered packets tells about an interruption: how long, how many, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile, islice

from vcstack.lab.programs.probe import TTL


@dataclass(slots=True)
class Packet:
    """One packet of the flow; hops are routers passed, times are seconds of the monotonic clock."""

    sent_at: float
    received_at: float | None = None
    hops_there: int = 0
    hops_back: int = 0


@dataclass(frozen=True, slots=True)
class Outage:
    """An interruption: from the first packet lost in a row to the next that came back, the longest such row.

    `lost` counts every packet of the period that was never answered, in that row or beside it.
    """

    outage_ms: float
    lost: int
    sent: int


class Flow:
    """The packets so far, fed with the lines that the probe prints."""

    def __init__(self) -> None:
        self.packets: dict[int, Packet] = {}

    def feed(self, line: str) -> None:
        """Take one line of the probe."""
        number, at, *ttls = line.split()
        if not ttls:
            self.packets[int(number)] = Packet(float(at))
            return
        packet = self.packets[int(number)]
        packet.received_at = float(at)
        packet.hops_there, packet.hops_back = (TTL - int(ttl) for ttl in ttls)

    def settled(self, count: int, hops: int, since: float) -> bool:
        """Whether the newest `count` packets of those that are due came back, all over `hops` both ways.

        Packets newer than the newest answered one may still be on their way; all are sent after `since`.
        """
        newest = (packet for packet in reversed(self.packets.values()) if packet.sent_at >= since)
        due = dropwhile(lambda packet: packet.received_at is None, newest)
        last = list(islice(due, count))
        return len(last) == count and all(
            packet.received_at is not None and packet.hops_there == packet.hops_back == hops
            for packet in last
        )

    def outage(self, start: float, end: float) -> Outage:
        """What was lost of the packets sent from `start` to `end`."""
        packets = [packet for packet in self.packets.values() if start <= packet.sent_at <= end]
        longest_s, row_start = 0.0, None
        for packet in packets:
            if packet.received_at is None:
                row_start = packet.sent_at if row_start is None else row_start
            elif row_start is not None:
                longest_s, row_start = max(longest_s, packet.sent_at - row_start), None
        if row_start is not None:
            longest_s = max(longest_s, end - row_start)
        lost = sum(packet.received_at is None for packet in packets)
        return Outage(round(longest_s * 1000, 1), lost, len(packets))

    def first_over(self, hops: int, since: float) -> float | None:
        """When the first packet left, of those sent after `since`, that went over `hops` both ways."""
        for packet in self.packets.values():
            if packet.sent_at >= since and packet.hops_there == packet.hops_back == hops:
                return packet.sent_at
        return None
