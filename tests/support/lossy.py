"""A live end behind a wire that loses and reorders, and a list of what became of every numbered packet."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.support.ike_process import LiveEnd
from vcstack.esp import packet
from vcstack.ikev2.events import ChildRetired
from vcstack.io import clock

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address

    from tests.support.netns import Namespace
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.path import Datagram, Path

LINGER_S = 5.0
"""How long the data path keeps a retired inbound SA; later packets on it are lost, by us."""


class LossyEnd(LiveEnd):
    """Loses a share of all datagrams, IKE and ESP, in both directions, and delays the others by chance."""

    def __init__(
        self, namespace: Namespace, config: PeerConfig, rng: random.Random, loss: float, delay_s: float
    ) -> None:
        super().__init__(namespace, config)
        self._rng, self._loss, self._delay_s = rng, loss, delay_s
        self.lost_out: list[bytes] = []
        """Inner packets of ours that the wire lost."""
        self.lost_in: list[bytes] = []
        """The peer's."""
        self.lost_ike = 0
        self.late: list[str] = []
        """Packets on SAs that had been retired for too long."""
        self.most_children = 0
        self._retired: dict[int, float] = {}
        self._seen = 0
        self._straight = self._socket.send
        self._socket.send = self._send_ike  # type: ignore[method-assign]

    def send(self, inner: bytes) -> None:
        """Seal now, and let it travel."""
        assert self.outbound is not None
        sealed = self.outbound.seal(inner)
        self._carry(lambda: self._send_esp(sealed), lambda: self.lost_out.append(inner))

    def ike_received(self, message: bytes, path: Path) -> None:
        """What came through."""
        arrive = super().ike_received
        self._carry(lambda: arrive(message, path), self._count_ike)

    def esp_received(self, data: bytes, source: IPv4Address, port: int) -> None:
        """What came through; of what did not the packet inside is noted, without any check of its number."""
        arrive, spi = super().esp_received, int.from_bytes(data[:4])
        retired = self._retired.get(spi)
        if retired is not None and clock.now() > retired + LINGER_S:
            self.late.append(f"{spi:08x} {clock.now() - retired:.1f} s")
        inner = bytes(packet.open(self.inbound[spi].cipher, data).payload)
        self._carry(lambda: arrive(data, source, port), lambda: self.lost_in.append(inner))

    def calm(self) -> None:
        """From now on nothing is lost."""
        self._loss = 0.0

    @property
    def foreign_esp(self) -> int:
        """Packets on SAs that this end does not have."""
        return self._socket.counters["drop_foreign_spi"]

    def _drain(self) -> None:
        super()._drain()
        self.most_children = max(self.most_children, len(self.endpoint.children))
        for event in self.events[self._seen :]:
            if isinstance(event, ChildRetired):
                self._retired[event.spi_in] = clock.now()
        self._seen = len(self.events)

    def _carry(self, arrive: Callable[[], object], lose: Callable[[], object]) -> None:
        if self._rng.random() < self._loss:
            lose()
        else:
            asyncio.get_running_loop().call_later(self._rng.random() * self._delay_s, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], object]) -> None:
        try:
            arrive()
        except Exception as error:  # noqa: BLE001 (shown by whoever waits next)
            self._failed(error)

    def _send_ike(self, datagrams: Iterable[Datagram]) -> None:
        for datagram in datagrams:
            self._carry(partial(self._straight, [datagram]), self._count_ike)

    def _count_ike(self) -> None:
        self.lost_ike += 1
