"""Which routes may pass: exact prefix lists, and nothing at all without one (RFC 8212).

The service exchanges four prefixes at most, so a policy is the set of prefixes that it permits. A more
specific or less specific prefix than a permitted one is another prefix, and is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")


@dataclass(frozen=True, slots=True)
class Policy:
    """A list of prefixes that pass; `name` is what a denial quotes."""

    name: str
    permitted: frozenset[IPv4Network]


def permit(name: str, prefixes: Iterable[IPv4Network]) -> Policy:
    """Make a policy that permits exactly these prefixes."""
    return Policy(name, frozenset(prefixes))


def denial(policy: Policy | None, prefix: IPv4Network, direction: str) -> str | None:
    """Return why `prefix` must not pass, or None when it may; `direction` is "import" or "export"."""
    if policy is None:
        return f"no {direction} policy (RFC 8212)"
    if prefix not in policy.permitted:
        return f"not permitted by the {direction} policy {policy.name}"
    return None


def customer_edge(region: IPv4Network) -> tuple[Policy, Policy]:
    """Import and export policy of a CPE: the region and its two halves in, the default route out."""
    inbound = permit(f"region {region}", (region, *region.subnets()))
    return inbound, permit("default route only", (DEFAULT_ROUTE,))


def headend(region: IPv4Network, half: IPv4Network) -> tuple[Policy, Policy]:
    """Import and export policy of a data centre: the default route in, its half and the region out."""
    inbound = permit("default route only", (DEFAULT_ROUTE,))
    return inbound, permit(f"{half} and {region}", (half, region))
