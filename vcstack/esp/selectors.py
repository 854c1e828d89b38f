"""Which decrypted packets an SA admits (RFC 4301 section 5.2 step 4), in integers for the data path.

Only (protocol, source, destination) is looked at: GRE has no ports, and a fragment of it shows
none. A selector narrowed to some ports therefore admits nothing here, which fails closed.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vcstack.wire.selector import ANY_PROTOCOL, TrafficSelector

Rule = tuple[int, int, int, int, int]
"""Protocol (0: any), first and last source address, first and last destination address."""


class Selectors:
    """Pairs of selectors: a packet is admitted when one pair matches both of its ends.

    `exact` is (protocol, source, destination) when that is the only packet admitted, as with GRE
    between two hosts, else None: the data path may then compare three columns with three numbers.
    """

    __slots__ = ("exact", "rules")

    def __init__(
        self, *, sources: Iterable[TrafficSelector], destinations: Iterable[TrafficSelector]
    ) -> None:
        destinations = tuple(destinations)
        pairs = (_rule(source, destination) for source in sources for destination in destinations)
        self.rules: tuple[Rule, ...] = tuple(rule for rule in pairs if rule is not None)
        self.exact = _exact(self.rules)

    def permit(self, protocol: int, source: int, destination: int) -> bool:
        """Whether a packet with these values, addresses as integers, is admitted."""
        return any(
            rule[0] in (ANY_PROTOCOL, protocol)
            and rule[1] <= source <= rule[2]
            and rule[3] <= destination <= rule[4]
            for rule in self.rules
        )

    def permit_batch(
        self,
        protocols: NDArray[np.unsignedinteger],
        sources: NDArray[np.unsignedinteger],
        destinations: NDArray[np.unsignedinteger],
    ) -> NDArray[np.bool_]:
        """`permit` for every row."""
        permitted = np.zeros(len(protocols), dtype=np.bool_)
        for protocol, first_source, last_source, first_destination, last_destination in self.rules:
            matched = (sources >= first_source) & (sources <= last_source)
            matched &= (destinations >= first_destination) & (destinations <= last_destination)
            if protocol != ANY_PROTOCOL:
                matched &= protocols == protocol
            permitted |= matched
        return permitted


def _rule(source: TrafficSelector, destination: TrafficSelector) -> Rule | None:
    protocol = source.protocol or destination.protocol
    if not all(end.matches(protocol, end.start) for end in (source, destination)):
        return None  # the two ends want different protocols, or ports that are not seen here
    addresses = int(source.start), int(source.end), int(destination.start), int(destination.end)
    return protocol, *addresses


def _exact(rules: tuple[Rule, ...]) -> tuple[int, int, int] | None:
    if len(rules) != 1:
        return None
    protocol, first_source, last_source, first_destination, last_destination = rules[0]
    if protocol == ANY_PROTOCOL or first_source != last_source or first_destination != last_destination:
        return None
    return protocol, first_source, first_destination
