"""One Endpoint on real sockets of a network namespace, with the scalar ESP of its children; no TUN.

    async with LiveEnd(namespace, config) as end:
        end.start()
        await end.until(lambda: end.is_up, "the tunnel")
        end.send(packet)                     # sealed by the present child, in UDP from port 4500
        await end.until(lambda: end.received, "an answer")

The sockets belong to the namespace, all else to the calling test: its state can be looked at, and changed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

import pytest
from pyroute2 import netns

from vcstack.control.translate import SaLimits, inbound_sa, outbound_sa
from vcstack.esp.sa import InboundSa, OutboundSa
from vcstack.ikev2.endpoint import Endpoint
from vcstack.ikev2.events import ChildRetired, InboundReady, OutboundReady
from vcstack.ikev2.path import NAT_TRAVERSAL_PORT
from vcstack.ikev2.states import IkeState
from vcstack.ikev2.wire.header import parse_header
from vcstack.io import clock
from vcstack.io.driver import Driver
from vcstack.io.entropy import entropy
from vcstack.io.ike_socket import IkeSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Address

    from tests.support.netns import Namespace
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.events import Event
    from vcstack.ikev2.path import Path
    from vcstack.ikev2.wire.header import Header

T = TypeVar("T")
LIMITS = SaLimits(replay_window=1024, bytes=None, packets=None)
_POLL_S = 0.005


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Sockets that are made here belong to the namespace."""
    netns.pushns(namespace.name)
    try:
        yield
    finally:
        netns.popns()


class LiveEnd:
    """An endpoint that talks; also the only Listener of its own socket."""

    def __init__(self, namespace: Namespace, config: PeerConfig) -> None:
        self.config = config
        self.endpoint = Endpoint(config, entropy, clock.now())
        self.events: list[Event] = []
        self.inbound: dict[int, InboundSa] = {}
        """Retired ones stay: late packets are to be seen."""
        self.outbound: OutboundSa | None = None
        self._sealers: dict[int, OutboundSa] = {}
        self.received: list[tuple[int, bytes]] = []
        """Inner packets, each with the SPI that it came by."""
        self.before_message: Callable[[Header], bool] = lambda _: True
        """Called with the header of an IKE message before the endpoint gets it; False loses the message."""
        self.before_sending: Callable[[Header], bool] = lambda _: True
        """The same for a message of ours."""
        self._namespace = namespace
        self._socket = IkeSocket(config.local_address)
        self._driver = Driver(self.endpoint, self._drain, self._failed)
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        with inside(self._namespace):
            self._socket.open()
        self._socket.attach(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._driver.close()
        self._socket.close()
        if self._failure is not None:
            raise self._failure

    # -- what a test does ------------------------------------------------------------------

    def start(self) -> None:
        """Initiate, if the configuration says so."""
        self.call(self.endpoint.start)

    def call(self, action: Callable[[float], object]) -> None:
        """Give the machine an input; `action` gets the time."""
        self._driver.call(action)

    def rekey_child(self) -> None:
        """Replace the present child."""
        child = self.endpoint.children.carrying
        assert child is not None
        self.call(lambda now: self.endpoint.child_soft_expired(child.sa.spi_in, "a test wants it", now))

    def rekey_ike(self) -> None:
        """Replace the present IKE SA."""
        sa = next(sa for sa in self.endpoint.ike_sas.values() if sa.is_up)
        sa.timers.rekey_at = clock.now()
        self.call(self.endpoint.handle_timeout)

    def send(self, packet: bytes) -> None:
        """Seal a packet with the child that carries, and send it."""
        assert self.outbound is not None
        self._send_esp(self.outbound.seal(packet))

    def _send_esp(self, sealed: bytes) -> None:
        address = str(self.config.remote_address), NAT_TRAVERSAL_PORT
        self._socket._sockets[NAT_TRAVERSAL_PORT].sendto(sealed, address)

    async def until(self, probe: Callable[[], T], what: str, timeout_s: float = 8.0) -> T:
        """Let things happen until `probe` returns something true; fail the test after `timeout_s`."""
        end = time.monotonic() + timeout_s
        while True:
            if self._failure is not None:
                raise self._failure
            found = probe()
            if found:
                return found
            if time.monotonic() > end:
                snapshot = self.endpoint.snapshot(clock.now())
                pytest.fail(f"waited {timeout_s} s in vain for {what}; events {self.events}; {snapshot}")
            await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        """Delete everything, and wait until the peer has confirmed that."""
        self.call(self.endpoint.close)
        await self.until(
            lambda: all(sa.requests.outstanding is None for sa in self.endpoint.ike_sas.values()), "the end"
        )

    @property
    def is_up(self) -> bool:
        """Whether a child carries."""
        return self.endpoint.children.carrying is not None and self.outbound is not None

    @property
    def spi_in(self) -> int:
        """Of the child that carries; 0 without one."""
        child = self.endpoint.children.carrying
        return 0 if child is None else child.sa.spi_in

    @property
    def ike_spis(self) -> set[str]:
        """Of the IKE SAs, by our SPI, those included that are still to be deleted."""
        sas = self.endpoint.ike_sas.values()
        return {sa.local_spi.hex() for sa in sas if sa.state is not IkeState.DEAD}

    @property
    def up_ike_spis(self) -> set[str]:
        """Of the IKE SAs that are in use, by our SPI."""
        return {sa.local_spi.hex() for sa in self.endpoint.ike_sas.values() if sa.is_up}

    @property
    def child_spis(self) -> set[str]:
        """Of the children, by our SPI, those included that are still to be deleted."""
        return {f"{child.sa.spi_in:08x}" for child in self.endpoint.children}

    async def replaced(self, spis: Callable[[], set[str]], old: set[str], what: str) -> None:
        """Wait until there is one SA, and none of the old ones."""
        await self.until(lambda: len(spis()) == 1 and spis().isdisjoint(old), f"a single new SA after {what}")

    def saw(self, kind: type[T]) -> list[T]:
        """The events of a class."""
        return [event for event in self.events if isinstance(event, kind)]

    # -- what the socket does (io.ike_socket.Listener) -------------------------------------

    @property
    def remote_address(self) -> IPv4Address | None:
        """The peer's."""
        return self.config.remote_address

    def owns_ike(self, message: bytes) -> bool:
        """Whether a message belongs to an IKE SA of this end."""
        return self.endpoint.owns_spi(message)

    def owns_esp(self, spi: int) -> bool:
        """Whether this end has received with that SPI."""
        return spi in self.inbound

    def ike_received(self, message: bytes, path: Path) -> None:
        """Take an IKE message."""
        if self.before_message(parse_header(message)):
            self.call(lambda now: self.endpoint.receive_datagram(message, path, now))

    def esp_received(self, data: bytes, source: IPv4Address, port: int) -> None:
        """Open what came in UDP."""
        spi = int.from_bytes(data[:4])
        sa = self.inbound[spi]
        is_first = not sa.used
        packet = sa.open(data)
        assert packet is not None, sa.drops
        self.received.append((spi, packet))
        self.call(self.endpoint.traffic_seen)
        if is_first:
            self.call(lambda now: self.endpoint.inbound_used(spi, now))

    def _drain(self) -> None:
        while (event := self.endpoint.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, InboundReady):
                sa = InboundSa(inbound_sa(event.child, LIMITS), clock.now(), deque())
                self.inbound[event.child.spi_in] = sa
            elif isinstance(event, OutboundReady):
                # Made once: a key must not see its sequence numbers twice.
                fresh = OutboundSa(outbound_sa(event.child, LIMITS), clock.now(), deque())
                self.outbound = self._sealers.setdefault(event.child.spi_out, fresh)
            elif isinstance(event, ChildRetired) and self.outbound and self.outbound.spi == event.spi_out:
                self.outbound = None
        datagrams = self.endpoint.datagrams_to_send()
        self._socket.send(each for each in datagrams if self.before_sending(parse_header(each.data)))

    def _failed(self, error: Exception) -> None:
        self._failure = error
