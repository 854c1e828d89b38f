"""What two OPEN messages agree on, and the OPENs that are refused (RFC 4271 6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.bgp.constants import KEEPALIVES_PER_HOLD_TIME, MIN_HOLD_TIME_S
from vcstack.bgp.errors import OpenError
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import Afi, CapabilityCode, ErrorCode, OpenSubcode, Safi
from vcstack.bgp.wire.attribute import Context
from vcstack.bgp.wire.capability import (
    ENHANCED_ROUTE_REFRESH,
    IPV4_UNICAST,
    ROUTE_REFRESH,
    Capability,
    FourOctetAs,
    GracefulRestart,
    Multiprotocol,
    RestartFamily,
    build_capabilities,
)
from vcstack.bgp.wire.open import Open, two_octet_as

if TYPE_CHECKING:
    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.wire.notification import Notification


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The terms of a session; a hold time of 0 means that neither side sends keepalives."""

    hold_time_s: int
    context: Context
    route_refresh: bool
    enhanced_refresh: bool = False
    graceful: GracefulRestart | None = None
    """What the peer said of graceful restart, if both sides speak it."""

    @property
    def family(self) -> RestartFamily | None:
        """What the peer can keep of our family over a restart."""
        return self.graceful.family(Afi.IPV4, Safi.UNICAST) if self.graceful else None

    @property
    def graceful_notification(self) -> bool:
        """A NOTIFICATION restarts gracefully too; we offer that with every graceful restart (RFC 8538 4)."""
        return self.graceful is not None and self.graceful.notification

    @property
    def keepalive_s(self) -> float:
        """The keepalive interval before jitter (RFC 4271 4.4)."""
        return self.hold_time_s / KEEPALIVES_PER_HOLD_TIME


def our_open(config: SessionConfig, *, bare: bool, restarting: bool = False, preserved: bool = False) -> Open:
    """Make our OPEN; a bare one has no capabilities at all."""
    capabilities: list[Capability] = [IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(config.local_as)]
    if config.graceful is not None:
        family = RestartFamily(Afi.IPV4, Safi.UNICAST, preserved)
        restart_time_s = config.graceful.restart_time_s
        notification = True  # RFC 8538 4: wanted whenever graceful restart is
        capabilities.append(GracefulRestart(restarting, notification, restart_time_s, (family,)))
    if config.enhanced_refresh:
        capabilities.append(ENHANCED_ROUTE_REFRESH)
    return Open(
        two_octet_as(config.local_as),
        config.hold_time_s,
        config.router_id,
        () if bare else tuple(capabilities),
    )


def negotiate(config: SessionConfig, ours: Open, theirs: Open) -> Negotiated:
    """Agree; OpenError when their OPEN is one that must be refused."""
    _check_speaker(config, theirs)
    _check_hold_time(theirs)
    _check_family(theirs)

    def both(code: CapabilityCode) -> bool:
        return ours.offers(code) and theirs.offers(code)

    return Negotiated(
        hold_time_s=min(ours.hold_time_s, theirs.hold_time_s),
        context=Context(four_octet_as=both(CapabilityCode.FOUR_OCTET_AS), internal=config.internal),
        route_refresh=theirs.offers(CapabilityCode.ROUTE_REFRESH),
        enhanced_refresh=both(CapabilityCode.ENHANCED_ROUTE_REFRESH),
        graceful=theirs.graceful_restart if ours.graceful_restart is not None else None,
    )


def _check_speaker(config: SessionConfig, theirs: Open) -> None:
    if theirs.asn != config.remote_as:  # AS 0 can never be configured (RFC 7607 2)
        detail = f"the peer is AS {theirs.asn}, AS {config.remote_as} is configured"
        raise OpenError(OpenSubcode.BAD_PEER_AS, detail)
    router_id = theirs.router_id
    # RFC 6286 2.2: any number but zero, unique in its AS
    if not int(router_id) or (config.internal and router_id == config.router_id):
        raise OpenError(OpenSubcode.BAD_BGP_IDENTIFIER, f"router ID {router_id}")


def _check_hold_time(theirs: Open) -> None:
    if 0 < theirs.hold_time_s < MIN_HOLD_TIME_S:
        raise OpenError(OpenSubcode.UNACCEPTABLE_HOLD_TIME, f"hold time of {theirs.hold_time_s} s")


def _check_family(theirs: Open) -> None:
    """A peer that names its families must name ours; one that names none speaks it (RFC 4760 8)."""
    families = [c for c in theirs.capabilities if isinstance(c, Multiprotocol)]
    if families and IPV4_UNICAST not in families:
        named = ", ".join(map(str, families))
        wanted = build_capabilities((IPV4_UNICAST,))  # RFC 5492 5: the capability that is missed
        raise OpenError(OpenSubcode.UNSUPPORTED_CAPABILITY, f"the peer speaks {named} only", wanted)


_DISLIKES_CAPABILITIES = frozenset(
    {
        OpenSubcode.UNSPECIFIC,
        OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER,
        OpenSubcode.UNSUPPORTED_CAPABILITY,
    }
)
_SILENT_CLOSES = 2
"""A listener without a session for us closes too, so one connection that dies of silence proves nothing."""


class OpenStyle:
    """Decides whether the next OPEN carries capabilities.

    Some speakers end the session on a capability they do not know, some without a word (CSCva92216), and
    RFC 5492 3 asks for another attempt without. Both styles alternate until one of them works.
    """

    def __init__(self) -> None:
        self.bare = False
        self._silent_closes = 0

    def take_notification(self, notification: Notification, state: State) -> bool:
        """Learn from a NOTIFICATION; True when the next OPEN will be of the other style."""
        if state not in {State.OPEN_SENT, State.OPEN_CONFIRM}:
            return False
        if notification.code != ErrorCode.OPEN_MESSAGE_ERROR:
            return False
        return notification.subcode in _DISLIKES_CAPABILITIES and self._switch()

    def take_close(self, state: State) -> bool:
        """Learn from a connection that the peer closed without a word; True as above."""
        if state is State.OPEN_CONFIRM:  # it had said its OPEN, and then it saw ours
            return self._switch()
        self._silent_closes += state is State.OPEN_SENT
        return self._silent_closes >= _SILENT_CLOSES and self._switch()

    def forget(self) -> None:
        """Start over with capabilities, when a session was established or the operator starts anew."""
        self.bare = False
        self._silent_closes = 0

    def _switch(self) -> bool:
        self.bare = not self.bare
        self._silent_closes = 0
        return True
