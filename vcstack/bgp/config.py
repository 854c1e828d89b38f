"""What a session is told; every tunable has its unit in its name and its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.bgp.constants import (
    AS_TRANS,
    MAX_AS,
    MIN_HOLD_TIME_S,
    MIN_SEND_HOLD_TIME_S,
    SEND_HOLD_TIME_PER_HOLD_TIME,
)
from vcstack.bgp.wire.capability import MAX_RESTART_TIME_S

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from vcstack.bgp.policy import Policy


@dataclass(frozen=True, slots=True)
class Announcement:
    """A route of ours; `med` is sent when it is given."""

    prefix: IPv4Network
    med: int | None = None


@dataclass(frozen=True, slots=True)
class Graceful:
    """Graceful restart (RFC 4724) with support for NOTIFICATION (RFC 8538).

    It suits a tunnel whose packets are forwarded on while this process, or the peer's, starts again.
    ValueError when a time cannot be.
    """

    restarting: bool = False
    """This process follows one that left its routes in the kernel: say so, and tell when they are renewed."""
    restart_time_s: int = 120
    """How long the peer shall wait for us before it drops our routes."""
    stale_time_s: float = 180.0
    """How long the peer's routes may outlive their session at most; RFC 8538 4.1 suggests this value."""
    deferral_s: float = 120.0
    """How long, after a restart, the routes in the kernel may wait to be renewed by the peer."""

    def __post_init__(self) -> None:
        if not 0 <= self.restart_time_s <= MAX_RESTART_TIME_S:
            raise ValueError(
                f"restart time of {self.restart_time_s} s: 0 to {MAX_RESTART_TIME_S} is possible"
            )
        if min(self.stale_time_s, self.deferral_s) <= 0:
            raise ValueError("a timer of zero or less seconds")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One peer. ValueError when a value can never make a session."""

    local_as: int
    remote_as: int
    router_id: IPv4Address
    local_address: IPv4Address
    remote_address: IPv4Address
    policy_in: Policy | None = None
    policy_out: Policy | None = None
    announce: tuple[Announcement, ...] = ()
    hold_time_s: int = 180
    """Proposed; the smaller of both sides' counts. 0 switches keepalives off."""
    passive: bool = False
    """Wait for the peer to connect, never connect."""
    max_prefixes: int = 100
    """Prefixes in the Adj-RIB-In before the session is ended; the service needs three."""
    max_prefixes_pause_s: float | None = None
    """How long to wait after too many prefixes before the next session; None: as after any other error."""
    graceful: Graceful | None = None
    """None sends no such capability: some IOS versions end the session on any that they do not know."""
    enhanced_refresh: bool = False
    """Offer RFC 7313, so that a refresh also removes what the peer has forgotten to withdraw."""
    send_hold_time_s: float | None = None
    """How long the peer may leave what we sent unread (RFC 9687); 0 for ever, None for the RFC's value."""
    connect_retry_s: float = 10.0
    """How long a SYN may stay unanswered, and the ceiling between attempts that fail at once: the peer is
    one hop away, and four SYNs fit in ten seconds."""
    open_timeout_s: float = 60.0
    """How long to wait for the peer's OPEN; RFC 4271 suggests four minutes for peers that are far away."""
    idle_hold_floor_s: float = 1.0
    """The first pause after a session that ended with an error; it doubles with every further one."""
    idle_hold_ceiling_s: float = 30.0
    """The longest pause: a repaired peer is not kept waiting for longer than this."""
    stable_s: float = 60.0
    """How long a session must have been established to be forgiven the errors before it."""

    def __post_init__(self) -> None:
        for asn in (self.local_as, self.remote_as):
            if not 1 <= asn <= MAX_AS or asn == AS_TRANS:
                raise ValueError(f"AS {asn} cannot be the number of a speaker")
        if not int(self.router_id):
            raise ValueError("router ID 0.0.0.0")
        if 0 < self.hold_time_s < MIN_HOLD_TIME_S or not 0 <= self.hold_time_s <= 0xFFFF:
            raise ValueError(f"hold time of {self.hold_time_s} s: 0, or 3 to 65535, is possible")
        if min(self.connect_retry_s, self.open_timeout_s, self.idle_hold_floor_s) <= 0:
            raise ValueError("a timer of zero or less seconds")
        if self.send_hold_time_s and self.send_hold_time_s <= self.hold_time_s:
            raise ValueError("the send hold time is longer than the hold time, or 0 (RFC 9687 3.1)")

    def send_hold_s(self, hold_time_s: int) -> float:
        """Return the send hold time of a session with this hold time, 0 for none (RFC 9687 5)."""
        if not hold_time_s:
            return 0.0
        if self.send_hold_time_s is not None:
            return self.send_hold_time_s
        return max(MIN_SEND_HOLD_TIME_S, float(SEND_HOLD_TIME_PER_HOLD_TIME * hold_time_s))

    @property
    def internal(self) -> bool:
        """Both ends are in one AS."""
        return self.local_as == self.remote_as
