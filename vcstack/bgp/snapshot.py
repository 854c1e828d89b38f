"""What `show ip bgp summary` and `show ip bgp neighbors` need to know; times are on the caller's clock."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcstack.bgp.constants import VERSION
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import MessageType
from vcstack.bgp.wire.stream import build_message

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.events import Reset
    from vcstack.bgp.exchange import Exchange
    from vcstack.bgp.history import History
    from vcstack.bgp.rib import OwnRoute, ReceivedRoute
    from vcstack.bgp.session import Session
    from vcstack.bgp.wire.stream import RawMessage

_KEPT_BYTES = 1024


def _no_messages() -> dict[str, int]:
    return {kind.name.lower(): 0 for kind in MessageType}


@dataclass(slots=True)
class Counters:
    """Counted over all sessions with the peer since the Peer was made; messages by type, as in "open"."""

    messages_received: dict[str, int] = field(default_factory=_no_messages)
    messages_sent: dict[str, int] = field(default_factory=_no_messages)
    prefixes_announced: int = 0
    prefixes_withdrawn: int = 0
    updates_treated_as_withdraw: int = 0
    attributes_discarded: int = 0
    connections_established: int = 0
    connections_dropped: int = 0
    connections_refused: int = 0
    last_read_at: float | None = None
    last_write_at: float | None = None

    def count_message(self, kind: MessageType, now: float, *, sent: bool) -> None:
        """Count a message."""
        name = kind.name.lower()
        if sent:
            self.messages_sent[name] += 1
            self.last_write_at = now
        else:
            self.messages_received[name] += 1
            self.last_read_at = now


@dataclass(frozen=True, slots=True)
class MalformedUpdate:
    """What was wrong with an UPDATE, and its first 1024 bytes in hexadecimal, the header included."""

    fault: str
    message: str
    length: int

    @classmethod
    def of(cls, raw: RawMessage, fault: str) -> MalformedUpdate:
        """Keep a message."""
        message = build_message(raw.type, raw.body)
        return cls(fault, message[:_KEPT_BYTES].hex(), len(message))


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
    counters: Counters
    table_version: int
    prefixes_received: int
    prefixes_accepted: int
    prefixes_denied: int
    prefixes_advertised: int
    max_prefixes: int
    prefixes_stale: int
    """Received in an earlier session, or before the refresh that goes on, and still in use."""
    restarting: bool
    graceful_restart: bool
    """The peer keeps forwarding, and our routes, over a restart."""
    last_malformed_update: MalformedUpdate | None
    last_reset: Reset | None
    next_timeout: str | None
    received: tuple[ReceivedRoute, ...]
    wanted: tuple[OwnRoute, ...]
    advertised: tuple[OwnRoute, ...]


def describe(
    config: SessionConfig,
    leader: Session,
    exchange: Exchange,
    *,
    history: History,
    connect_retries: int,
    next_timeout: str | None,
) -> PeerSnapshot:
    """Describe a peer by the session that has come furthest and by what is kept beyond sessions."""
    theirs, terms = leader.theirs, leader.negotiated
    established = leader.state is State.ESTABLISHED
    received, advertised = exchange.rib_in.routes(), exchange.rib_out.sent()
    accepted = sum(route.denied is None for route in received)
    return PeerSnapshot(
        state=leader.state,
        state_since=leader.state_since,
        established_since=leader.state_since if established else None,
        reason="" if established else history.reason,
        local_as=config.local_as,
        remote_as=config.remote_as,
        router_id=config.router_id,
        local_address=config.local_address,
        remote_address=config.remote_address,
        version=VERSION,
        remote_router_id=theirs.router_id if theirs else None,
        outbound=leader.outbound if established else None,
        hold_time_s=terms.hold_time_s if terms else None,
        keepalive_s=terms.keepalive_s if terms else None,
        configured_hold_time_s=config.hold_time_s,
        connect_retries=connect_retries,
        capabilities_sent=tuple(map(str, leader.ours.capabilities)),
        capabilities_received=tuple(map(str, theirs.capabilities)) if theirs else (),
        counters=deepcopy(exchange.counters),
        table_version=exchange.version,
        prefixes_received=len(received),
        prefixes_accepted=accepted,
        prefixes_denied=len(received) - accepted,
        prefixes_advertised=len(advertised),
        max_prefixes=config.max_prefixes,
        prefixes_stale=exchange.rib_in.stale,
        restarting=exchange.restarting,
        graceful_restart=exchange.may_restart,
        last_malformed_update=exchange.last_malformed,
        last_reset=history.last_reset,
        next_timeout=next_timeout,
        received=received,
        wanted=exchange.rib_out.routes(),
        advertised=advertised,
    )
