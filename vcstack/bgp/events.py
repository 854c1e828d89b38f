"""What a Peer asks of the transport (actions) and tells its owner (events)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from vcstack.bgp.wire.notification import Notification


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a TCP connection to the peer and call it `connection`."""

    connection: int


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes to the connection."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, or give up opening it, after what was sent before has left."""

    connection: int


Action = Connect | Send | Close


class Side(Enum):
    """Who ended a session."""

    LOCAL = "we said"
    REMOTE = "peer said"
    TRANSPORT = "TCP"


@dataclass(frozen=True, slots=True)
class Reset:
    """Why a session or an attempt ended; `at` is on the caller's clock, in seconds."""

    side: Side
    detail: str
    at: float
    notification: Notification | None = None

    def __str__(self) -> str:
        said = [str(self.notification)] if self.notification else []
        return f"{self.side.value}: " + ": ".join(said + ([self.detail] if self.detail else []))


@dataclass(frozen=True, slots=True)
class Up:
    """The session is established."""

    router_id: IPv4Address
    hold_time_s: int


@dataclass(frozen=True, slots=True)
class Down:
    """An established session ended; its routes are gone, each by an event of its own before this one.

    With `routes_kept_s` they stay in use that long, at most, for a peer that restarts gracefully.
    """

    reason: str
    routes_kept_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended before it was established, for another reason than the attempt before it."""

    reason: str


@dataclass(frozen=True, slots=True)
class RouteChanged:
    """A route of the peer that passed the import policy is new, has moved, or (None) is gone."""

    prefix: IPv4Network
    next_hop: IPv4Address | None


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """The peer has sent all its routes, or a restart waits for them no longer.

    What a process before this one has left in the kernel, and no RouteChanged has named, must go now.
    """

    reason: str


Event = Up | Down | Failed | RouteChanged | EndOfRib
