"""GRE keepalives as IOS sends them; no RFC has them.

A request carries its own answer: the far end only decapsulates and forwards what is inside.
A is the end that asks, B the one that answers, both by their transport addresses:

```
request   IPv4 A > B, TTL 255 | GRE 0x0800 [key] | IPv4 B > A, TTL 255 | GRE 0x0000 [key]
answer                                             IPv4 B > A, TTL 254 | GRE 0x0000 [key]
```

Requests and answers go straight to ESP: their outer addresses are those of the traffic selector.

`Prober` asks and decides whether the line is up:

```
                +---------------- stop ----------------+------------------+
                v                                      |                  |
             STOPPED --- start ---> WAITING --reply--> UP --unanswered--> DOWN
                |                   |    ^             ^                  |
                |                   |    +-(nothing)   +------reply-------+
              assume                +----unanswered----------------------> DOWN
                v
             ASSUMED (no keepalives configured: the line counts as up)
```

The line is up in UP and ASSUMED. `unanswered` comes when as many probes as configured
went out since the last answer and the next one is due, in WAITING after the same time with
more probes; probes continue in DOWN.

`Reflector` answers, whatever our own line state is: two ends that wait for each other would
stay down for ever.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum

from vcstack.gre.packet import Header, Protocol, Reject, decapsulate, encapsulate, parse_header
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.checksum import checksum_update
from vcstack.wire.deadline import Deadline
from vcstack.wire.ipv4 import CHECKSUM_OFFSET, IpProtocol, Ipv4Header
from vcstack.wire.reader import WireError

FIRST_INTERVAL_S = 1.0
"""Longer intervals are cut to this until the first answer: a peer that is just starting misses a probe."""
INTERNETWORK_CONTROL = 0xC0
"""TOS of routing and keepalive traffic, as IOS marks it."""
_TTL_OFFSET = 8
_PROTOCOL_OFFSET = 9
_SOURCE = slice(12, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveConfig:
    """How to probe and how much to reflect.

    The defaults of 10 s and 3 are those of IOS: down 30 s after the first unanswered probe.
    `reflect_per_s` with `reflect_burst_pkts` bounds what a peer can make us send; OpenBSD, too,
    heeds 10 a second. ValueError for a value out of range.
    """

    enabled: bool = True
    interval_s: float = 10.0
    retries: int = 3
    tos: int = INTERNETWORK_CONTROL
    reflect_per_s: float = 10.0
    reflect_burst_pkts: int = 10

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.reflect_per_s <= 0:
            raise ValueError("keepalive interval and reflection rate must be positive")
        if self.retries < 1 or self.reflect_burst_pkts < 1:
            raise ValueError("keepalive retries and reflection burst must be at least 1")


class State(Enum):
    """How the line stands; the value says why."""

    STOPPED = "keepalives not started"
    WAITING = "no keepalive answered yet"
    UP = "keepalive answered"
    DOWN = "keepalives unanswered"
    ASSUMED = "keepalives disabled, line assumed up"


class Input(Enum):
    """What moves the line."""

    START = "start"
    ASSUME = "assume"
    REPLY = "reply"
    UNANSWERED = "unanswered"
    STOP = "stop"


LINE_UP = frozenset({State.UP, State.ASSUMED})

TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.STOPPED, Input.START): State.WAITING,
    (State.STOPPED, Input.ASSUME): State.ASSUMED,
    (State.STOPPED, Input.REPLY): State.STOPPED,
    (State.STOPPED, Input.UNANSWERED): State.STOPPED,
    (State.STOPPED, Input.STOP): State.STOPPED,
    (State.WAITING, Input.START): State.WAITING,
    (State.WAITING, Input.ASSUME): State.WAITING,
    (State.WAITING, Input.REPLY): State.UP,
    (State.WAITING, Input.UNANSWERED): State.DOWN,
    (State.WAITING, Input.STOP): State.STOPPED,
    (State.UP, Input.START): State.UP,
    (State.UP, Input.ASSUME): State.UP,
    (State.UP, Input.REPLY): State.UP,
    (State.UP, Input.UNANSWERED): State.DOWN,
    (State.UP, Input.STOP): State.STOPPED,
    (State.DOWN, Input.START): State.DOWN,
    (State.DOWN, Input.ASSUME): State.DOWN,
    (State.DOWN, Input.REPLY): State.UP,
    (State.DOWN, Input.UNANSWERED): State.DOWN,
    (State.DOWN, Input.STOP): State.STOPPED,
    (State.ASSUMED, Input.START): State.ASSUMED,
    (State.ASSUMED, Input.ASSUME): State.ASSUMED,
    (State.ASSUMED, Input.REPLY): State.ASSUMED,
    (State.ASSUMED, Input.UNANSWERED): State.ASSUMED,
    (State.ASSUMED, Input.STOP): State.STOPPED,
}


@dataclass(frozen=True, slots=True)
class LineState:
    """The line went up or down, and why."""

    up: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberSnapshot:
    """For `show tunnel`; times are those of the caller's clock, None: never."""

    enabled: bool
    interval_s: float
    retries: int
    state: State
    line_up: bool
    reason: str
    since: float | None
    unanswered: int
    sent: int
    received: int
    last_received_at: float | None
    round_trip_s: float | None
    went_down: int


class Prober:
    """Asks the peer every interval; the line is down until the first answer.

    Start it when packets can leave (an outbound SA is there) and stop it when they cannot.
    """

    def __init__(self, config: KeepaliveConfig, tunnel: TunnelConfig) -> None:
        self._config = config
        self._tunnel = tunnel
        self._state = State.STOPPED
        self._reason = State.STOPPED.value
        self._since: float | None = None
        self._due: float | None = None
        self._patient_until = 0.0
        self._unanswered = 0
        self._sent = 0
        self._received = 0
        self._went_down = 0
        self._sent_at = 0.0
        self._last_received_at: float | None = None
        self._round_trip_s: float | None = None
        self._outbox: list[bytes] = []
        self._events: deque[LineState] = deque()

    @property
    def line_up(self) -> bool:
        """Whether the tunnel may carry traffic."""
        return self._state in LINE_UP

    def start(self, now: float) -> None:
        """Packets can leave: probe at once, or take the line up where keepalives are disabled.

        Does nothing to a prober that runs.
        """
        if self._state is not State.STOPPED:
            return
        if not self._config.enabled:
            self._move(Input.ASSUME, now, State.ASSUMED.value)
            return
        self._move(Input.START, now, State.WAITING.value)
        self._unanswered = 0
        self._patient_until = now + self._config.retries * self._config.interval_s
        self._due = now
        self.handle_timeout(now)

    def stop(self, now: float, reason: str) -> None:
        """Packets cannot leave any more: the line is down for that reason, no probe is sent."""
        self._due = None
        self._outbox.clear()
        self._move(Input.STOP, now, reason)

    def receive(self, packet: bytes, now: float) -> bool:
        """Take a packet that came out of ESP; whether it is an answer to a probe of ours."""
        answer = decapsulate(
            packet, local=self._tunnel.local, remote=self._tunnel.remote, key=self._tunnel.key
        )
        if isinstance(answer, Reject) or answer.protocol != Protocol.KEEPALIVE:
            return False
        self._received += 1
        self._unanswered = 0
        self._last_received_at = now
        if answer.delivery.identification == self._sent & 0xFFFF:
            self._round_trip_s = now - self._sent_at
        if self._state is State.WAITING:
            self._due = self._sent_at + self._config.interval_s
        self._move(Input.REPLY, now, State.UP.value)
        return True

    def handle_timeout(self, now: float) -> None:
        """Send the probe that is due, after counting those without an answer."""
        if self._due is None or now < self._due:
            return
        if self._is_unanswered(now):
            self._move(Input.UNANSWERED, now, f"{self._unanswered} keepalives unanswered")
        self._sent += 1
        self._unanswered += 1
        self._sent_at = now
        self._outbox.append(build_request(self._tunnel, self._sent & 0xFFFF, self._config.tos))
        interval_s = self._config.interval_s
        if self._state is State.WAITING:
            interval_s = min(interval_s, FIRST_INTERVAL_S)
        # A caller that is late by more than an interval gets no burst of probes.
        on_time = self._due + interval_s
        self._due = on_time if on_time > now else now + interval_s

    def next_timeout(self) -> Deadline | None:
        """Return when the next probe is due."""
        return None if self._due is None else Deadline(self._due, "GRE keepalive is due")

    def packets_to_send(self) -> list[bytes]:
        """Take the IPv4 packets to be sealed as they are."""
        packets, self._outbox = self._outbox, []
        return packets

    def next_event(self) -> LineState | None:
        """Take the oldest change of the line, None when there is none."""
        return self._events.popleft() if self._events else None

    def snapshot(self) -> ProberSnapshot:
        """Everything worth showing."""
        return ProberSnapshot(
            enabled=self._config.enabled,
            interval_s=self._config.interval_s,
            retries=self._config.retries,
            state=self._state,
            line_up=self.line_up,
            reason=self._reason,
            since=self._since,
            unanswered=self._unanswered,
            sent=self._sent,
            received=self._received,
            last_received_at=self._last_received_at,
            round_trip_s=self._round_trip_s,
            went_down=self._went_down,
        )

    def _is_unanswered(self, now: float) -> bool:
        if self._state is State.WAITING:
            return now >= self._patient_until
        return self._unanswered >= self._config.retries

    def _move(self, event: Input, now: float, reason: str) -> None:
        was_up, state = self.line_up, TRANSITIONS[self._state, event]
        if state is self._state:
            return
        self._state, self._reason = state, reason
        if self.line_up != was_up or self._since is None:
            self._since = now
        if self.line_up != was_up or state is State.DOWN:
            self._went_down += was_up
            self._events.append(LineState(self.line_up, reason))


def build_request(tunnel: TunnelConfig, identification: int = 0, tos: int = INTERNETWORK_CONTROL) -> bytes:
    """IPv4 packet of 48 bytes, 56 with a key, that the peer turns into its answer."""
    answer = encapsulate(
        b"",
        tunnel.remote,
        tunnel.local,
        key=tunnel.key,
        tos=tos,
        identification=identification,
        protocol=Protocol.KEEPALIVE,
    )
    return encapsulate(
        answer, tunnel.local, tunnel.remote, key=tunnel.key, tos=tos, identification=identification
    )


class Refusal(StrEnum):
    """Why a packet with our own source address, out of the tunnel, is not reflected."""

    MALFORMED = "malformed"
    NOT_KEEPALIVE = "not a keepalive"
    DESTINATION = "answer is not for the peer"
    TTL = "TTL expired"
    RATE = "too many"


@dataclass(frozen=True, slots=True)
class ReflectorSnapshot:
    """For `show tunnel`: `last_reflected_at` tells whether the peer probes at all."""

    reflected: int
    last_reflected_at: float | None
    refused: dict[Refusal, int]


class Reflector:
    """Turns what came out of a keepalive request into the packet that goes back into ESP.

    Lenient within the SA, where only the peer can put packets: TOS, TTL, identification, key,
    checksum and sequence number of the answer, and any payload behind it, are the asker's
    own and go back as they came. Its addresses must be ours and the peer's, or the traffic selector
    would not admit it.
    """

    def __init__(self, config: KeepaliveConfig, tunnel: TunnelConfig) -> None:
        self._tunnel = tunnel
        self._local = tunnel.local.packed
        self._per_s = config.reflect_per_s
        self._burst = float(config.reflect_burst_pkts)
        self._tokens = self._burst
        self._filled_at: float | None = None
        self._reflected = 0
        self._last_reflected_at: float | None = None
        self._refused: dict[Refusal, int] = {}

    def claims(self, inner: bytes) -> bool:
        """Whether an IPv4 packet out of the tunnel is for `reflect`: GRE from our own transport address.

        Such a packet never goes to the host behind the tunnel; every other GRE packet is user traffic.
        """
        return (
            len(inner) >= 20 and inner[_PROTOCOL_OFFSET] == IpProtocol.GRE and inner[_SOURCE] == self._local
        )

    def reflect(self, inner: bytes, now: float) -> bytes | None:
        """Packet to seal as it is: `inner` with its TTL less one; None, and a count, when it is refused."""
        outcome = self._judge(inner)
        if isinstance(outcome, Ipv4Header) and not self._take_token(now):
            outcome = Refusal.RATE
        if isinstance(outcome, Refusal):
            self._refused[outcome] = self._refused.get(outcome, 0) + 1
            return None
        self._reflected += 1
        self._last_reflected_at = now
        return decrement_ttl(inner[: outcome.total_length])

    def snapshot(self) -> ReflectorSnapshot:
        """Everything worth showing."""
        return ReflectorSnapshot(self._reflected, self._last_reflected_at, dict(self._refused))

    def _judge(self, inner: bytes) -> Ipv4Header | Refusal:
        try:
            header = Ipv4Header.parse(inner)
        except WireError:
            return Refusal.MALFORMED
        if not self.claims(inner) or header.is_fragment:
            return Refusal.NOT_KEEPALIVE
        gre = _leniently_parsed(inner[header.header_length : header.total_length])
        if gre is None or gre.protocol != Protocol.KEEPALIVE:
            return Refusal.NOT_KEEPALIVE
        if header.destination != self._tunnel.remote:
            return Refusal.DESTINATION
        return Refusal.TTL if header.ttl <= 1 else header

    def _take_token(self, now: float) -> bool:
        """Token bucket: `reflect_per_s` on average, `reflect_burst_pkts` at once."""
        elapsed = 0.0 if self._filled_at is None else max(0.0, now - self._filled_at)
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_s)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def decrement_ttl(packet: bytes) -> bytes:
    """IPv4 packet as a router forwards it: TTL less one, header checksum updated (RFC 1624)."""
    forwarded = bytearray(packet)
    old = int.from_bytes(packet[_TTL_OFFSET : _TTL_OFFSET + 2])
    checksum = int.from_bytes(packet[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 2])
    forwarded[_TTL_OFFSET] -= 1
    updated = checksum_update(checksum, old, old - 0x100)
    forwarded[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 2] = updated.to_bytes(2)
    return bytes(forwarded)


def _leniently_parsed(gre: bytes) -> Header | None:
    """GRE header of an answer; a checksum that does not fit is the asker's own affair."""
    header = parse_header(gre)
    if header is Reject.CHECKSUM:
        return Header(protocol=int.from_bytes(gre[2:4]))
    return None if isinstance(header, Reject) else header
