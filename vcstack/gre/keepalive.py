"""GRE keepalives as IOS sends them; no RFC has them.

A request carries its own answer: the far end only decapsulates and forwards what is inside.
A is the end that asks, B the one that answers, both by their transport addresses:

```
request   IPv4 A > B, TTL 255 | GRE 0x0800 [key] | IPv4 B > A, TTL 255 | GRE 0x0000 [key]
answer                                             IPv4 B > A, TTL 254 | GRE 0x0000 [key]
```

Requests and answers go straight to ESP: their outer addresses are those of the traffic selector.

`Prober` asks, and so decides whether the line is up (`line` has its states); what `Reflector` answers
is in `reflector`. `unanswered` comes when as many probes as configured went out since the last answer
and the next one is due, in WAITING after the same time with more probes; probes continue in DOWN and HOLD.
"""

from collections import deque
from dataclasses import dataclass

from vcstack.gre.damping import Damper
from vcstack.gre.line import LINE_UP, TRANSITIONS, Input, LineState, State
from vcstack.gre.packet import Protocol, Reject, decapsulate, encapsulate
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.deadline import Deadline

FIRST_INTERVAL_S = 1.0
"""Longer intervals are cut to this until the first answer: a peer that is just starting misses a probe."""
INTERNETWORK_CONTROL = 0xC0
"""TOS of routing and keepalive traffic, as IOS marks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveConfig:
    """How to probe and how much to reflect.

    The defaults of 10 s and 3 are those of IOS: down 30 s after the first unanswered probe. `damping`
    holds a line that failed down until it has proved itself (`damping` has the rule).
    `reflect_per_s` with `reflect_burst_pkts` bounds what a peer can make us send; OpenBSD, too,
    heeds 10 a second. ValueError for a value out of range.
    """

    enabled: bool = True
    interval_s: float = 10.0
    retries: int = 3
    damping: bool = False
    tos: int = INTERNETWORK_CONTROL
    reflect_per_s: float = 10.0
    reflect_burst_pkts: int = 10

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.reflect_per_s <= 0:
            raise ValueError("keepalive interval and reflection rate must be positive")
        if self.retries < 1 or self.reflect_burst_pkts < 1:
            raise ValueError("keepalive retries and reflection burst must be at least 1")


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
    on_hold_for: int
    """Answers that a line on hold still needs."""
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
        self._damper = Damper(config.retries if config.damping else 0)
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
        if self._damper.owes:
            self._damper.hold()
            self._move(Input.RESUME, now, State.HOLD.value)
        else:
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
        timely, self._unanswered = self._unanswered > 0, 0
        self._last_received_at = now
        if answer.delivery.identification == self._sent & 0xFFFF:
            self._round_trip_s = now - self._sent_at
        if self._state is State.WAITING:
            self._due = self._sent_at + self._config.interval_s
        event = self._weigh(timely=timely)
        self._move(event, now, State.HOLD.value if event is Input.TRIAL else State.UP.value)
        return True

    def handle_timeout(self, now: float) -> None:
        """Send the probe that is due, after counting those without an answer."""
        if self._due is None or now < self._due:
            return
        if self._is_unanswered(now):
            self._damper.fail()
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
            on_hold_for=self._damper.remaining,
            sent=self._sent,
            received=self._received,
            last_received_at=self._last_received_at,
            round_trip_s=self._round_trip_s,
            went_down=self._went_down,
        )

    def _weigh(self, *, timely: bool) -> Input:
        """Whether an answer takes the line up; on hold, one that no probe waited for does not count."""
        damper = self._damper
        if self._state is State.UP:
            damper.relax()
        if self._state is State.DOWN and damper.owes:
            damper.hold()
            return Input.TRIAL
        held = self._state is State.HOLD and not (timely and damper.prove())
        return Input.TRIAL if held else Input.REPLY

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
        if self.line_up != was_up or state in (State.DOWN, State.HOLD):
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
