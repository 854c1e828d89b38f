"""The security associations of one tunnel (RFC 4301 section 4.4.2).

A rekey never loses a packet: the new inbound SA is installed first, the outbound one is
switched by installing it, and the old inbound SA lingers for packets that are still on the way.

```
inbound   ---- old ----------------------- retire -- linger ---|
                      |---- new ------------------------------------
outbound  ---- old -------|  (the latest installed seals)
                          |---- new --------------------------------
```
"""

from collections import deque
from collections.abc import Iterator

from vcstack.esp.packet import Drop
from vcstack.esp.parameters import SaParameters
from vcstack.esp.sa import Event, Events, InboundSa, OutboundSa
from vcstack.wire.deadline import Deadline


class Sad:
    """Inbound SAs by SPI, outbound SAs in the order of their installation.

    `events` is the queue that all of them share: drain it with `next_event`.
    """

    __slots__ = ("_drops", "_inbound", "_outbound", "_retired", "current", "events")

    def __init__(self) -> None:
        self.events: Events = deque()
        self.current: OutboundSa | None = None
        """The SA to seal with; None: there is none, and nothing may leave."""
        self._inbound: dict[int, InboundSa] = {}
        self._outbound: dict[int, OutboundSa] = {}
        self._retired: dict[int, float] = {}
        self._drops: dict[Drop, int] = {}

    def install_inbound(self, parameters: SaParameters, now: float) -> InboundSa:
        """Start accepting on an SPI of ours; ValueError when it is in use."""
        if parameters.spi in self._inbound:
            raise ValueError(f"inbound SPI {parameters.spi:#010x} is installed already")
        sa = InboundSa(parameters, now, self.events)
        self._inbound[parameters.spi] = sa
        return sa

    def install_outbound(self, parameters: SaParameters, now: float) -> OutboundSa:
        """Seal with this SA from now on; ValueError when its SPI is in use: no counter starts again."""
        if parameters.spi in self._outbound:
            raise ValueError(f"outbound SPI {parameters.spi:#010x} is installed already")
        sa = OutboundSa(parameters, now, self.events)
        self._outbound[parameters.spi] = sa
        self.current = sa
        return sa

    def inbound(self, spi: int) -> InboundSa | None:
        """Return the SA for an SPI of ours, a retired one included while it lingers."""
        return self._inbound.get(spi)

    def open(self, data: bytes) -> bytes | None:
        """Inner IPv4 packet of one ESP packet of any SA; None, and a count, for a packet that is dropped."""
        sa = self._inbound.get(int.from_bytes(data[:4]))
        if sa is None:
            self.drop(Drop.UNKNOWN_SPI)
            return None
        return sa.open(data)

    def retire_inbound(self, spi: int, until: float) -> None:
        """Let an SA linger until that time and then forget it; unknown SPIs are ignored."""
        if spi in self._inbound:
            self._retired[spi] = min(until, self._retired.get(spi, until))

    def retire_outbound(self, spi: int) -> None:
        """Forget an SA now; the latest installed of those that are left, if any, seals."""
        self._outbound.pop(spi, None)
        self.current = next(reversed(self._outbound.values()), None)

    def retire_all(self) -> None:
        """Forget every SA now."""
        for spi in tuple(self._inbound):
            self._forget(spi)
        self._outbound.clear()
        self.current = None

    def drop(self, reason: Drop, count: int = 1) -> None:
        """Count packets that belong to no SA."""
        self._drops[reason] = self._drops.get(reason, 0) + count

    @property
    def drops(self) -> dict[Drop, int]:
        """Packets dropped so far, by reason: without SA, by every SA installed, and by those forgotten."""
        total = dict(self._drops)
        for sa in self._inbound.values():
            for reason, count in sa.drops.items():
                total[reason] = total.get(reason, 0) + count
        return total

    def __iter__(self) -> Iterator[InboundSa | OutboundSa]:
        """Every SA installed, inbound ones first."""
        yield from self._inbound.values()
        yield from self._outbound.values()

    def is_retired(self, spi: int) -> bool:
        """Whether the inbound SA with that SPI lingers after its retirement."""
        return spi in self._retired

    def handle_timeout(self, now: float) -> None:
        """Forget inbound SAs that have lingered long enough; check lifetimes by time."""
        for spi in [spi for spi, until in self._retired.items() if until <= now]:
            self._forget(spi)
        for sa in self._in_service():
            sa.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return when `handle_timeout` has something to do."""
        deadlines = [Deadline(until, "retired inbound SA ends") for until in self._retired.values()]
        deadlines += [deadline for sa in self._in_service() if (deadline := sa.next_timeout()) is not None]
        return min(deadlines, default=None)

    def next_event(self) -> Event | None:
        """Take the oldest event, None when there is none."""
        return self.events.popleft() if self.events else None

    def _in_service(self) -> list[InboundSa | OutboundSa]:
        """Every SA that is not retired: a retired one has its successor and asks for none."""
        return [sa for sa in self if isinstance(sa, OutboundSa) or sa.spi not in self._retired]

    def _forget(self, spi: int) -> None:
        self._retired.pop(spi, None)
        for reason, count in self._inbound.pop(spi).drops.items():
            self.drop(reason, count)
