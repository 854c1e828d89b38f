"""The routes of one session: Adj-RIB-In and Adj-RIB-Out (RFC 4271 3.2).

Everything that the peer sends is kept, also what may not be used, with the reason: an operator asks first
why a route is missing. Of two tunnels' routes the kernel picks by prefix and metric, so there is no Loc-RIB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vcstack.bgp.events import RouteChanged
from vcstack.bgp.iana import Origin
from vcstack.bgp.policy import denial
from vcstack.bgp.wire.as_path import AsPath, sequence
from vcstack.bgp.wire.attribute import PathAttributes
from vcstack.bgp.wire.update import Update

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv4Network

    from vcstack.bgp.config import Announcement, SessionConfig

_PREFIXES_PER_UPDATE = 500  # of five octets at most, beside the few attributes we send
_LOCAL_PREF = 100


@dataclass(frozen=True, slots=True)
class ReceivedRoute:
    """A route of the peer; `denied` says why it is not used, None that it is.

    A stale one is used like any other until the peer renews it, or does not (RFC 4724 4.2, RFC 7313 4).
    """

    prefix: IPv4Network
    next_hop: IPv4Address
    attributes: PathAttributes
    received_at: float
    denied: str | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """A route that we want to announce; `denied` says why it is not, None that it may be."""

    prefix: IPv4Network
    next_hop: IPv4Address
    attributes: PathAttributes
    denied: str | None


class AdjRibIn:
    """What the peer has sent in this session, and what is still kept of the one before."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._routes: dict[IPv4Network, ReceivedRoute] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def routes(self) -> tuple[ReceivedRoute, ...]:
        """All routes in the order of their prefixes."""
        return tuple(sorted(self._routes.values(), key=lambda route: route.prefix))

    def apply(self, update: Update, now: float) -> list[RouteChanged]:
        """Take an UPDATE over; a prefix that is both withdrawn and announced is announced (RFC 4271 4.3)."""
        before = {prefix: self._used(prefix) for prefix in _prefixes(update)}
        for prefix in update.withdrawn:
            self._routes.pop(prefix, None)
        if update.attributes is not None:
            for prefix, next_hop in update.reachable():
                if next_hop is not None:
                    self._put(prefix, next_hop, update.attributes, now)
        return [
            RouteChanged(prefix, self._used(prefix))
            for prefix, used in before.items()
            if used != self._used(prefix)
        ]

    @property
    def stale(self) -> int:
        """How many routes the peer has yet to renew."""
        return sum(route.stale for route in self._routes.values())

    def mark_stale(self) -> None:
        """Keep every route until the peer sends it again, or until it is purged."""
        self._routes = {prefix: replace(route, stale=True) for prefix, route in self._routes.items()}

    def purge_stale(self) -> list[RouteChanged]:
        """Forget what the peer has not sent again."""
        return self._forget([route for route in self.routes() if route.stale])

    def clear(self) -> list[RouteChanged]:
        """Forget everything, as the end of a session does."""
        return self._forget(self.routes())

    def _forget(self, routes: Iterable[ReceivedRoute]) -> list[RouteChanged]:
        for route in routes:
            del self._routes[route.prefix]
        return [RouteChanged(route.prefix, None) for route in routes if route.denied is None]

    def _put(
        self, prefix: IPv4Network, next_hop: IPv4Address, attributes: PathAttributes, now: float
    ) -> None:
        denied = _import_denial(self._config, prefix, next_hop, attributes)
        self._routes[prefix] = ReceivedRoute(prefix, next_hop, attributes, now, denied)

    def _used(self, prefix: IPv4Network) -> IPv4Address | None:
        route = self._routes.get(prefix)
        return route.next_hop if route is not None and route.denied is None else None


class AdjRibOut:
    """What we want the peer to have, and what it has got in this session."""

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self._wanted = {item.prefix: item for item in config.announce}
        self._sent: dict[IPv4Network, Announcement] = {}

    def announce(self, announcement: Announcement) -> None:
        """Want a route to be announced, in place of one of the same prefix."""
        self._wanted[announcement.prefix] = announcement

    def withdraw(self, prefix: IPv4Network) -> None:
        """Want a prefix not to be announced any more."""
        self._wanted.pop(prefix, None)

    def forget_sent(self) -> None:
        """Begin again: the session is new, or the peer has asked for a refresh."""
        self._sent.clear()

    def routes(self) -> tuple[OwnRoute, ...]:
        """Everything wanted, in the order of the prefixes."""
        return tuple(self._route(item) for _, item in sorted(self._wanted.items()))

    def sent(self) -> tuple[OwnRoute, ...]:
        """What the peer has got."""
        return tuple(self._route(item) for _, item in sorted(self._sent.items()))

    def updates(self) -> Iterator[Update]:
        """Bring the peer up to date: withdrawals, then routes, never both in one UPDATE (RFC 7606 5.1)."""
        allowed = {route.prefix: self._wanted[route.prefix] for route in self.routes() if not route.denied}
        gone = sorted(self._sent.keys() - allowed.keys())
        new = [item for item in allowed.values() if self._sent.get(item.prefix) != item]
        self._sent = allowed
        for part in _parts(gone):
            yield Update(withdrawn=part)
        for med in sorted({item.med for item in new}, key=lambda med: (med is not None, med or 0)):
            for part in _parts([item.prefix for item in new if item.med == med]):
                yield Update(attributes=_own_attributes(self._config, med), announced=part)

    def _route(self, item: Announcement) -> OwnRoute:
        denied = denial(self._config.policy_out, item.prefix, "export")
        attributes = _own_attributes(self._config, item.med)
        return OwnRoute(item.prefix, self._config.local_address, attributes, denied)


def _import_denial(
    config: SessionConfig, prefix: IPv4Network, next_hop: IPv4Address, attributes: PathAttributes
) -> str | None:
    path = attributes.as_path
    if config.local_as in path.asns:
        return f"own AS {config.local_as} in the path"  # RFC 4271 9.1.2
    if not config.internal and path.first != config.remote_as:
        return f"the path does not start with the peer's AS {config.remote_as}"  # RFC 4271 6.3
    if next_hop == config.local_address:
        return f"next hop {next_hop} is this speaker"  # RFC 4271 6.3 a
    if not config.internal and next_hop != config.remote_address:
        return (
            f"next hop {next_hop} is not the peer"  # RFC 4271 6.3 b: one hop away, on a point-to-point link
        )
    return denial(config.policy_in, prefix, "import")


def _own_attributes(config: SessionConfig, med: int | None) -> PathAttributes:
    return PathAttributes(
        origin=Origin.IGP,
        as_path=AsPath() if config.internal else sequence(config.local_as),
        next_hop=config.local_address,
        med=med,
        local_pref=_LOCAL_PREF if config.internal else None,
    )


def _prefixes(update: Update) -> Iterable[IPv4Network]:
    return dict.fromkeys((*update.withdrawn, *(prefix for prefix, _ in update.reachable())))


def _parts(prefixes: list[IPv4Network]) -> Iterator[tuple[IPv4Network, ...]]:
    for at in range(0, len(prefixes), _PREFIXES_PER_UPDATE):
        yield tuple(prefixes[at : at + _PREFIXES_PER_UPDATE])
