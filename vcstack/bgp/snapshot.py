"""What `show ip bgp summary` and `show ip bgp neighbors` need to know; times are on the caller's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcstack.bgp.iana import MessageType

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from vcstack.bgp.events import Reset
    from vcstack.bgp.fsm import State
    from vcstack.bgp.rib import OwnRoute, ReceivedRoute


@dataclass(slots=True)
class Counters:
    """Counted over all sessions with the peer since the Peer was made."""

    received: dict[MessageType, int] = field(default_factory=lambda: dict.fromkeys(MessageType, 0))
    sent: dict[MessageType, int] = field(default_factory=lambda: dict.fromkeys(MessageType, 0))
    prefixes_announced: int = 0
    prefixes_withdrawn: int = 0
    updates_treated_as_withdraw: int = 0
    attributes_discarded: int = 0
    connections_established: int = 0
    connections_dropped: int = 0
    connections_refused: int = 0
    last_read_at: float | None = None
    last_write_at: float | None = None


@dataclass(frozen=True, slots=True)
class PeerSnapshot:
    """One peer at one moment."""

    state: State
    state_since: float
    established_since: float | None
    reason: str
    """Why the session is not established; empty when it is."""
    local_as: int
    remote_as: int
    router_id: IPv4Address
    local_address: IPv4Address
    remote_address: IPv4Address
    version: int
    remote_router_id: IPv4Address | None
    outbound: bool | None
    """Whether this side opened the connection of the established session."""
    hold_time_s: int | None
    keepalive_s: float | None
    configured_hold_time_s: int
    connect_retries: int
    capabilities_sent: tuple[str, ...]
    capabilities_received: tuple[str, ...]
    messages_received: dict[str, int]
    messages_sent: dict[str, int]
    last_read_at: float | None
    last_write_at: float | None
    table_version: int
    prefixes_received: int
    prefixes_accepted: int
    prefixes_denied: int
    prefixes_advertised: int
    prefixes_announced_total: int
    prefixes_withdrawn_total: int
    max_prefixes: int
    updates_treated_as_withdraw: int
    attributes_discarded: int
    last_update_fault: str
    connections_established: int
    connections_dropped: int
    connections_refused: int
    last_reset: Reset | None
    next_timeout: str | None
    received: tuple[ReceivedRoute, ...]
    wanted: tuple[OwnRoute, ...]
    advertised: tuple[OwnRoute, ...]


def by_name(counts: dict[MessageType, int]) -> dict[str, int]:
    """Name the message types as the neighbour report does: open, update, notification and so on."""
    return {kind.name.lower(): count for kind, count in counts.items()}
