"""Answers to the peer's keepalives: what is inside a request goes back to where it wants to go.

An answer is sent whatever our own line state is: two ends that wait for each other would stay down for
ever. It never leaves in clear, and never to a place that the security association does not cover.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vcstack.gre.dialect import Classifier, Dialect, Refusal, Request
from vcstack.gre.keepalive import KeepaliveConfig
from vcstack.gre.packet import Decapsulated, encapsulate
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.checksum import checksum_update
from vcstack.wire.ipv4 import CHECKSUM_OFFSET, IpProtocol

_TTL_OFFSET = 8
_FADING = 0.75

Permits = Callable[[int, int, int], bool]
"""Whether the outbound SA admits a packet of that protocol, source and destination (as integers)."""


@dataclass(frozen=True, slots=True)
class ReflectorSnapshot:
    """For `show tunnel`; times are those of the caller's clock, None: never.

    `dialect` is that of the last request, `asked_every_s` the interval that the peer keeps as far as seen,
    `unanswerable` tells whether the last request had an answer that we may not send.
    """

    reflected: int
    last_reflected_at: float | None
    dialect: Dialect | None
    last_request_at: float | None
    asked_every_s: float | None
    unanswerable: bool
    requests: dict[Dialect, int]
    refused: dict[Refusal, int]


class Reflector:
    """Turns a keepalive request into the packet that goes back into ESP.

    Lenient within the SA, where only the peer can put packets: TOS, TTL, identification, key,
    checksum and sequence number of the answer, and any payload behind it, are the asker's own
    and go back as they came. `permits` says what the SA admits; without it, what the tunnel's ends
    send each other and nothing else.
    """

    def __init__(self, config: KeepaliveConfig, tunnel: TunnelConfig, permits: Permits | None = None) -> None:
        self._tunnel = tunnel
        self._classifier = Classifier(tunnel)
        self._permits = permits or self._is_tunnels_own
        self._per_s = config.reflect_per_s
        self._burst = float(config.reflect_burst_pkts)
        self._tokens = self._burst
        self._filled_at: float | None = None
        self._reflected = 0
        self._last_reflected_at: float | None = None
        self._dialect: Dialect | None = None
        self._last_request_at: float | None = None
        self._asked_every_s: float | None = None
        self._unanswerable = False
        self._requests: dict[Dialect, int] = {}
        self._refused: dict[Refusal, int] = {}

    def claims(self, outcome: Decapsulated) -> bool:
        """Whether a packet out of the tunnel is for `reflect`, and not user traffic."""
        return self._classifier.claims(outcome)

    def reflect(self, outcome: Decapsulated, now: float) -> bytes | None:
        """Packet to seal as it is; None, and a count, when there is none."""
        judged = self._judge(outcome, now)
        if isinstance(judged, Refusal):
            self._refused[judged] = self._refused.get(judged, 0) + 1
            return None
        self._reflected += 1
        self._last_reflected_at = now
        return self._forward(judged)

    def snapshot(self) -> ReflectorSnapshot:
        """Everything worth showing."""
        return ReflectorSnapshot(
            reflected=self._reflected,
            last_reflected_at=self._last_reflected_at,
            dialect=self._dialect,
            last_request_at=self._last_request_at,
            asked_every_s=self._asked_every_s,
            unanswerable=self._unanswerable,
            requests=dict(self._requests),
            refused=dict(self._refused),
        )

    def _judge(self, outcome: Decapsulated, now: float) -> Request | Refusal:
        request = self._classifier.classify(outcome)
        if isinstance(request, Refusal):
            return request
        self._note(request, now)
        obstacle = self._obstacle(request)
        self._unanswerable = obstacle is not None
        if obstacle is None and not self._take_token(now):
            obstacle = Refusal.RATE
        return obstacle or request

    def _note(self, request: Request, now: float) -> None:
        if self._last_request_at is not None:
            gap = now - self._last_request_at
            # Some send two requests at once: the longest gap counts, and fades.
            self._asked_every_s = max(gap, (self._asked_every_s or 0.0) * _FADING)
        self._last_request_at = now
        self._dialect = request.dialect
        self._requests[request.dialect] = self._requests.get(request.dialect, 0) + 1

    def _obstacle(self, request: Request) -> Refusal | None:
        header = request.header
        if header.ttl <= 1:
            return Refusal.TTL
        if request.dialect is Dialect.VELOCLOUD:
            return None
        ends = int(header.source), int(header.destination)
        return None if self._permits(IpProtocol.GRE, *ends) else Refusal.SELECTOR

    def _forward(self, request: Request) -> bytes:
        answer, tunnel = decrement_ttl(request.answer), self._tunnel
        if request.dialect is not Dialect.VELOCLOUD:
            return answer
        return encapsulate(
            answer,
            tunnel.local,
            tunnel.remote,
            key=tunnel.key,
            tos=request.header.tos,
            identification=request.header.identification,
            ttl=tunnel.ttl,
        )

    def _is_tunnels_own(self, protocol: int, source: int, destination: int) -> bool:
        return (protocol, source, destination) == (
            IpProtocol.GRE,
            int(self._tunnel.local),
            int(self._tunnel.remote),
        )

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
