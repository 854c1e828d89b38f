"""How long a security association may be used (RFC 4301 section 4.4.2.1).

A soft limit asks for a successor, a hard limit ends the use. Each is crossed by time,
bytes or packets, whichever comes first, or by the sequence number, and each is told once:

```
            soft limit              hard limit
  FRESH ----------------> SOFT ----------------> HARD
    |                    hard limit                ^
    +----------------------------------------------+
```
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from vcstack.wire.deadline import Deadline

_NEVER = 1 << 128
"""Above every count of bytes or packets."""


class Limit(StrEnum):
    """What ran out."""

    TIME = "time"
    BYTES = "bytes"
    PACKETS = "packets"
    SEQUENCE = "sequence"


class Phase(Enum):
    """How far an SA has come in its life."""

    FRESH = 0
    SOFT = 1
    HARD = 2


@dataclass(frozen=True, slots=True)
class Expiry:
    """A limit was crossed: `phase` is SOFT or HARD."""

    phase: Phase
    limit: Limit

    @property
    def hard(self) -> bool:
        """Whether the SA must not be used any more."""
        return self.phase is Phase.HARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """Limits of one SA; None: no limit of that kind.

    Seconds count from installation, bytes are those of the ESP payload data, packets those
    sealed or accepted. ValueError for a limit that is not positive or a soft one above its hard one.
    """

    soft_s: float | None = None
    hard_s: float | None = None
    soft_bytes: int | None = None
    hard_bytes: int | None = None
    soft_packets: int | None = None
    hard_packets: int | None = None

    def __post_init__(self) -> None:
        for unit in ("s", "bytes", "packets"):
            soft, hard = getattr(self, f"soft_{unit}"), getattr(self, f"hard_{unit}")
            if any(limit is not None and limit <= 0 for limit in (soft, hard)):
                raise ValueError(f"lifetime in {unit}: a limit must be positive")
            if soft is not None and hard is not None and soft > hard:
                raise ValueError(f"lifetime in {unit}: soft limit {soft} exceeds hard limit {hard}")


class Meter:
    """Counts the use of one SA against its lifetime; `packets` and `octets` are the counts so far."""

    __slots__ = ("_installed_at", "_lifetime", "_next_octets", "_next_packets", "octets", "packets", "phase")

    def __init__(self, lifetime: Lifetime, now: float) -> None:
        self.packets = 0
        self.octets = 0
        self.phase = Phase.FRESH
        self._lifetime = lifetime
        self._installed_at = now
        self._set_next()

    @property
    def expired(self) -> bool:
        """Whether a hard limit was crossed."""
        return self.phase is Phase.HARD

    def account(self, packets: int, octets: int) -> Expiry | None:
        """Count a batch; the expiry it caused, the hard one where both were crossed at once."""
        self.packets += packets
        self.octets += octets
        if self.packets < self._next_packets and self.octets < self._next_octets:
            return None
        limits = self._lifetime
        return self._cross(Phase.HARD, self._volume(limits.hard_bytes, limits.hard_packets)) or self._cross(
            Phase.SOFT, self._volume(limits.soft_bytes, limits.soft_packets)
        )

    def handle_timeout(self, now: float) -> Expiry | None:
        """Check the clock; the expiry that came due, the hard one where both did."""
        age = now - self._installed_at
        return self._cross(Phase.HARD, _limit_of_time(age, self._lifetime.hard_s)) or self._cross(
            Phase.SOFT, _limit_of_time(age, self._lifetime.soft_s)
        )

    def next_timeout(self) -> Deadline | None:
        """Return when a limit by time is crossed next, None when none is ahead."""
        if self.phase is Phase.HARD:
            return None
        candidates = [(self._lifetime.hard_s, "SA lifetime ends")]
        if self.phase is Phase.FRESH:
            candidates.append((self._lifetime.soft_s, "SA wants a successor"))
        return min(
            (Deadline(self._installed_at + after, why) for after, why in candidates if after is not None),
            default=None,
        )

    def exhaust(self, phase: Phase) -> Expiry | None:
        """Tell that the sequence numbers run low (SOFT) or out (HARD)."""
        return self._cross(phase, Limit.SEQUENCE)

    def _volume(self, octets: int | None, packets: int | None) -> Limit | None:
        if octets is not None and self.octets >= octets:
            return Limit.BYTES
        if packets is not None and self.packets >= packets:
            return Limit.PACKETS
        return None

    def _cross(self, phase: Phase, limit: Limit | None) -> Expiry | None:
        if limit is None or self.phase.value >= phase.value:
            return None
        self.phase = phase
        self._set_next()
        return Expiry(phase, limit)

    def _set_next(self) -> None:
        """Keep the nearest thresholds at hand, so that a batch below them costs two comparisons."""
        limits, fresh = self._lifetime, self.phase is Phase.FRESH
        octets = [limits.hard_bytes, limits.soft_bytes if fresh else None]
        packets = [limits.hard_packets, limits.soft_packets if fresh else None]
        if self.phase is Phase.HARD:
            octets, packets = [], []
        self._next_octets = min((limit for limit in octets if limit is not None), default=_NEVER)
        self._next_packets = min((limit for limit in packets if limit is not None), default=_NEVER)


def _limit_of_time(age: float, limit: float | None) -> Limit | None:
    return Limit.TIME if limit is not None and age >= limit else None
