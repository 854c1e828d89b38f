"""Security associations: the state of one direction of traffic under one key (RFC 4301 section 4.4.2).

```
                       install            soft limit          hard limit
  OutboundSa:  (none) ---------> seals --------------> seals -----------> refuses
                                            |                               ^
                                            +-- sequence numbers run out ---+

  InboundSa:   (none) ---------> opens; the first authenticated packet is told once (FirstUse)
```

What happens to an SA is told as events in a queue that all SAs of a tunnel share: soft and
hard expiry once each, first use once. A hard expiry ends the use here, at once, whatever the
owner of the SA does about it.
"""

from collections import deque
from dataclasses import dataclass

from vcstack.crypto.aead import gcm
from vcstack.crypto.errors import AuthenticationFailed
from vcstack.esp.lifetime import Expiry, Meter, Phase
from vcstack.esp.packet import Drop, Opened, PacketError, check_length, decrypt, seal, trim_tfc, unpad
from vcstack.esp.parameters import SaParameters
from vcstack.esp.replay import ReplayWindow, Verdict
from vcstack.esp.selectors import Selectors
from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import IpProtocol

LAST_SEQUENCE = (1 << 32) - 1
LAST_EXTENDED_SEQUENCE = (1 << 64) - 1
SEQUENCE_RESERVE = 1 << 28
"""Numbers left when a successor is asked for: 40 minutes at 111,000 packets/s."""


@dataclass(frozen=True, slots=True)
class Expired:
    """An SA crossed its soft limit (ask for a successor) or its hard one (it is not used any more)."""

    spi: int
    inbound: bool
    expiry: Expiry


@dataclass(frozen=True, slots=True)
class FirstUse:
    """The peer has sent the first authenticated packet on an inbound SA."""

    spi: int


Event = Expired | FirstUse
Events = deque[Event]


class Unusable(Exception):  # noqa: N818  # a state of the SA, not a fault
    """An outbound SA that must not seal any more; the packets are dropped, never sent otherwise."""


class SequenceExhausted(Unusable):
    """No sequence number is left: another packet would repeat one, and with it an IV."""


class HardExpired(Unusable):
    """The lifetime is over."""


class OutboundSa:
    """Seals; `refused` counts packets that came after the end of its life.

    The IV is the 64-bit sequence number, hence unique per key (RFC 4106 section 3.1): whoever
    seals takes numbers from `reserve` and from nowhere else.
    """

    __slots__ = (
        "_events",
        "_last",
        "_soft",
        "cipher",
        "meter",
        "next_sequence",
        "parameters",
        "refused",
        "spi",
    )

    def __init__(self, parameters: SaParameters, now: float, events: Events) -> None:
        self.parameters = parameters
        self.spi = parameters.spi
        self.cipher = gcm(parameters.key.reveal())
        self.meter = Meter(parameters.lifetime, now)
        self.next_sequence = 1
        self.refused = 0
        self._last = LAST_EXTENDED_SEQUENCE if parameters.esn else LAST_SEQUENCE
        self._soft = self._last - SEQUENCE_RESERVE
        self._events = events

    def reserve(self, count: int, octets: int = 0) -> int:
        """First of `count` consecutive sequence numbers, all of which belong to the caller now.

        `octets` is the size of the payload data to be sealed, for the lifetime. All or nothing:
        SequenceExhausted when fewer numbers are left, HardExpired after a hard limit; ValueError
        for a count that is not positive. Crossing a limit with this batch still seals it.
        """
        if count <= 0:
            raise ValueError(f"{count} sequence numbers")
        first = self.next_sequence
        if self.meter.expired or first + count - 1 > self._last:
            self._refuse(count)
        self.next_sequence = first + count
        expiry = self.meter.account(count, octets)
        if expiry is None and self.next_sequence > self._soft:
            expiry = self.meter.exhaust(Phase.SOFT)
        if expiry is not None:
            self._events.append(Expired(self.spi, False, expiry))
        return first

    def seal(self, payload: bytes, next_header: int = IpProtocol.IPIP) -> bytes:
        """Seal one packet; as `reserve` raises."""
        sequence = self.reserve(1, len(payload))
        high = sequence >> 32 if self.parameters.esn else None
        low = sequence & LAST_SEQUENCE
        return seal(self.cipher, self.spi, low, sequence.to_bytes(8), payload, next_header, esn_high=high)

    def handle_timeout(self, now: float) -> None:
        """Check the lifetime by time."""
        expiry = self.meter.handle_timeout(now)
        if expiry is not None:
            self._events.append(Expired(self.spi, False, expiry))

    def next_timeout(self) -> Deadline | None:
        """Return when the lifetime by time wants to be checked."""
        return self.meter.next_timeout()

    def _refuse(self, count: int) -> None:
        self.refused += count
        if self.meter.expired:
            raise HardExpired(f"ESP SA {self.spi:#010x}: its lifetime is over")
        expiry = self.meter.exhaust(Phase.HARD)
        if expiry is not None:
            self._events.append(Expired(self.spi, False, expiry))
        raise SequenceExhausted(f"ESP SA {self.spi:#010x}: no {count} sequence numbers left")


class InboundSa:
    """Opens; `window` guards against replays, `selectors` says which inner packets may come this way.

    A batch does what `open` does, in its order: `meter.expired`, `window.extend_batch` with ESN,
    `window.check_batch`, decrypt, `window.commit_batch`, `account` for the rows that passed it,
    then padding, next header, inner length, `selectors`; what is dropped after or beside the
    window is told to `drop`.
    """

    __slots__ = ("_drops", "_events", "cipher", "esn", "meter", "parameters", "selectors", "spi", "window")

    def __init__(self, parameters: SaParameters, now: float, events: Events) -> None:
        self.parameters = parameters
        self.spi = parameters.spi
        self.esn = parameters.esn
        self.cipher = gcm(parameters.key.reveal())
        self.window = ReplayWindow(parameters.replay_window)
        self.selectors = Selectors(
            sources=parameters.remote_selectors, destinations=parameters.local_selectors
        )
        self.meter = Meter(parameters.lifetime, now)
        self._drops: dict[Drop, int] = {}
        self._events = events

    @property
    def used(self) -> bool:
        """Whether an authenticated packet has arrived."""
        return self.meter.packets > 0

    @property
    def drops(self) -> dict[Drop, int]:
        """Packets dropped so far, by reason, those of the replay window included."""
        window = {Drop.REPLAYED: self.window.replayed, Drop.TOO_OLD: self.window.too_old}
        return self._drops | {reason: count for reason, count in window.items() if count}

    def drop(self, reason: Drop, count: int = 1) -> None:
        """Count packets that are dropped."""
        self._drops[reason] = self._drops.get(reason, 0) + count

    def account(self, packets: int, octets: int) -> None:
        """Count authenticated, fresh packets and the bytes of their payload data (TFC padding included)."""
        if self.meter.packets == 0:
            self._events.append(FirstUse(self.spi))
        expiry = self.meter.account(packets, octets)
        if expiry is not None:
            self._events.append(Expired(self.spi, True, expiry))

    def open(self, data: bytes) -> bytes | None:
        """Inner IPv4 packet of one ESP packet; None, and a count, for a packet that is dropped."""
        try:
            return self._open(data)
        except PacketError as error:
            self.drop(error.reason)
        except AuthenticationFailed:
            self.drop(Drop.AUTHENTICATION_FAILED)
        return None

    def handle_timeout(self, now: float) -> None:
        """Check the lifetime by time."""
        expiry = self.meter.handle_timeout(now)
        if expiry is not None:
            self._events.append(Expired(self.spi, True, expiry))

    def next_timeout(self) -> Deadline | None:
        """Return when the lifetime by time wants to be checked."""
        return self.meter.next_timeout()

    def _open(self, data: bytes) -> bytes | None:
        check_length(data)
        if self.meter.expired:
            raise PacketError(Drop.EXPIRED, f"SA {self.spi:#010x}")
        low = int.from_bytes(data[4:8])
        sequence = self.window.extend(low) if self.esn else low
        if self.window.check(sequence) is not Verdict.ACCEPTED:
            return None
        plaintext = decrypt(self.cipher, data, esn_high=sequence >> 32 if self.esn else None)
        if self.window.commit(sequence) is not Verdict.ACCEPTED:
            return None
        payload, next_header = unpad(plaintext)
        self.account(1, len(payload))
        return self._admit(Opened(self.spi, low, next_header, payload))

    def _admit(self, opened: Opened) -> bytes:
        if opened.is_dummy:
            raise PacketError(Drop.DUMMY, "to be discarded")
        if opened.next_header != IpProtocol.IPIP:
            raise PacketError(Drop.NOT_TUNNELLED_IPV4, str(opened.next_header))
        inner = trim_tfc(opened.payload)
        if not self.selectors.permit(inner[9], int.from_bytes(inner[12:16]), int.from_bytes(inner[16:20])):
            raise PacketError(Drop.SELECTOR_MISMATCH, f"protocol {inner[9]}")
        return inner
