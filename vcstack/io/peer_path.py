"""The way to the peer as it is now: one transport, replaced when control says so, and what it tells."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from vcstack.dataplane.classify import NAT_KEEPALIVE
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.pmtu import tunnel_mtu
from vcstack.io.channel import ForwarderConfig, SetPath
from vcstack.io.transport import SendOutcome, Transport
from vcstack.wire.batch import Integers, Rows

NAT_KEEPALIVE_S = 20.0
"""RFC 3948 section 4 suggests it; a NAT forgets a UDP flow after 30 s at the earliest."""
_MINIMUM_TUNNEL_MTU = 68

TransportFactory = Callable[[SetPath, ForwarderConfig], Transport]
"""Opens the way to the peer. Raises `OSError`."""


class PeerPath:
    """Sends over the transport in use, if any, and keeps the NAT on the way open."""

    def __init__(self, transports: TransportFactory, counters: Counters, now: float) -> None:
        self._open_transport = transports
        self._counters = counters
        self.copy_dscp = True
        """Show the inner DSCP on the packets that carry ESP."""
        self.transport: Transport | None = None
        self.target: SetPath | None = None
        """Where control wants ESP to go."""
        self.shrank = False
        """Whether the path turned out smaller than something that was sent."""
        self._full = False
        self._is_control = False
        self._sent = False
        self._last_sent_at = now

    def follow(self, target: SetPath, config: ForwarderConfig) -> None:
        """Go this way from now on. Raises `OSError`: there is none then."""
        if target == self.target and self.transport is not None:
            return
        self.close()
        self.target = target
        self.transport = self._open_transport(target, config)

    def close(self) -> None:
        """Give the transport back."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def emit(self, rows: Rows, tos: Integers | int) -> None:
        """Send ESP packets; what is not taken is counted."""
        if self.transport is None:
            self._counters.add(Counter.OUTBOUND_DROP_NO_PATH, len(rows))
            return
        tos = tos if self.copy_dscp else 0
        outcome = self.transport.send(rows, tos)
        self._sent = True
        self._full = outcome.full
        if outcome.full and self._is_control:
            outcome = self._send_beyond(rows, tos, len(rows) - outcome.dropped)
        if outcome.dropped:
            self._counters.add(Counter.OUTBOUND_DROP_SEND, outcome.dropped)
        self.shrank = self.shrank or outcome.too_big

    @property
    def has_room(self) -> bool:
        """Whether it is worth reading what is to be sent; waits a little for a transport that was full."""
        if self._full and self.transport is not None:
            self._full = not self.transport.wait_for_room()
        return not self._full

    @contextmanager
    def control_traffic(self) -> Iterator[None]:
        """What is emitted within has a reserve in a transport that is full."""
        self._is_control = True
        try:
            yield
        finally:
            self._is_control = False

    def _send_beyond(self, rows: Rows, tos: Integers | int, first: int) -> SendOutcome:
        """Send the rows from `first` on out of the reserve."""
        assert self.transport is not None, "it was full"
        left = rows.select(np.arange(first, len(rows)))
        self.transport.set_reserve(on=True)
        try:
            return self.transport.send(left, tos if isinstance(tos, int) else tos[first:])
        finally:
            self.transport.set_reserve(on=False)

    def note_sent(self, now: float) -> None:
        """Remember when something was last sent."""
        if self._sent:
            self._sent = False
            self._last_sent_at = now
            self._counters.set(Counter.LAST_OUTBOUND_US, int(now * 1e6))

    def nat_keepalive_due(self) -> float | None:
        """When the NAT on the way wants to see something; None on a path without UDP."""
        if self.transport is None or not self.transport.udp:
            return None
        return self._last_sent_at + NAT_KEEPALIVE_S

    def send_nat_keepalive(self, now: float) -> None:
        """Send the one byte that only NATs look at (RFC 3948 section 2.3)."""
        self._last_sent_at = now
        if self.transport is not None and self.target is not None:
            self.transport.send_datagram(NAT_KEEPALIVE, self.target.remote, self.target.remote_port)

    def smaller_mtu(self, config: ForwarderConfig) -> tuple[int, int] | None:
        """The path MTU that the kernel has learned and the tunnel MTU that fits it, in bytes.

        None where the kernel tells of none that is smaller than the tunnel was made for.
        """
        self.shrank = False
        known = self.transport.path_mtu() if self.transport is not None else None
        if known is None or self.transport is None:
            return None
        key_present = config.gre_key is not None
        mtu = tunnel_mtu(known, udp_encapsulation=self.transport.udp, key_present=key_present)
        return (known, mtu) if _MINIMUM_TUNNEL_MTU <= mtu < config.tunnel_mtu else None
