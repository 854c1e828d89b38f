"""What a session is told; every tunable has its unit in its name and its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.bgp.constants import AS_TRANS, MAX_AS, MIN_HOLD_TIME_S

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from vcstack.bgp.policy import Policy


@dataclass(frozen=True, slots=True)
class Announcement:
    """A route of ours; `med` is sent when it is given."""

    prefix: IPv4Network
    med: int | None = None


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

    @property
    def internal(self) -> bool:
        """Both ends are in one AS."""
        return self.local_as == self.remote_as
