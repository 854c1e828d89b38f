"""All child SAs with one peer, whichever IKE SA controls them, and which of them carries the traffic.

This is the only place that emits `InboundReady`, `OutboundReady` and `ChildRetired`, so that the
order of these events holds whatever the exchanges and their collisions do: a successor is switched
to before its predecessor is retired.
"""

from collections.abc import Callable, Iterator

from vcstack.ikev2.child_sa import Child
from vcstack.ikev2.events import ChildRetired, Event, InboundReady, OutboundReady
from vcstack.ikev2.states import ChildInput, ChildState


class ChildTable:
    """Child SAs by their inbound SPI."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._by_spi: dict[int, Child] = {}
        self.carrying: Child | None = None

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._by_spi.values()))

    def __len__(self) -> int:
        return len(self._by_spi)

    def get(self, spi_in: int) -> Child | None:
        """The child that receives on that SPI."""
        return self._by_spi.get(spi_in)

    def owned_by(self, owner: object) -> list[Child]:
        """The children that an IKE SA controls."""
        return [child for child in self if child.owner is owner]

    def find_outbound(self, owner: object, spi_out: int) -> Child | None:
        """The child that the peer names by the SPI it receives on."""
        return next((child for child in self.owned_by(owner) if child.sa.spi_out == spi_out), None)

    def install(self, child: Child) -> None:
        """Make it ready to receive on."""
        self._by_spi[child.sa.spi_in] = child
        self._emit(InboundReady(child.sa))

    def switch(self, child: Child, *, predecessor_cleanup_at: float | None = None) -> None:
        """Send everything on `child` from now on; what it replaces only receives."""
        child.switch_at = None
        if not child.may_carry or child is self.carrying:
            return
        before = self.carrying
        self.carrying = child
        if child.state is not ChildState.ACTIVE:
            child.advance(ChildInput.SWITCHED)
        self._emit(OutboundReady(child.sa))
        for old in {before, child.predecessor} - {None, child}:
            if old is not None and old.state is ChildState.ACTIVE:
                old.advance(ChildInput.SUPERSEDED)
                old.cleanup_at = predecessor_cleanup_at

    def switch_when_proven(self, child: Child, fallback_at: float | None) -> None:
        """As responder: send on `child` once the peer proves to have it, at once if there is no other.

        Without `fallback_at` nothing but a packet on it is proof.
        """
        if any(other.may_carry for other in self if other is not child):
            child.switch_at = fallback_at
        else:
            self.switch(child)

    def lose(self, child: Child, cleanup_at: float | None) -> None:
        """Never send on it: the rekeying that made it gave way to another."""
        child.switch_at = None
        child.cleanup_at = cleanup_at
        if child.state is ChildState.PENDING:
            child.advance(ChildInput.LOST)

    def begin_delete(self, child: Child) -> None:
        """Our DELETE of it goes out: send on another one, if there is another."""
        child.advance(ChildInput.DELETE)
        child.cleanup_at = child.switch_at = None
        if child is self.carrying:
            self._switch_away(child)

    def retire(self, child: Child, reason: str) -> None:
        """Forget it, after traffic was switched to the best of the others; a second time does nothing."""
        if self._by_spi.pop(child.sa.spi_in, None) is None:
            return
        child.advance(ChildInput.GONE)
        if child is self.carrying:
            self._switch_away(child)
        if child is self.carrying:
            self.carrying = None
        self._emit(ChildRetired(child.sa.spi_in, child.sa.spi_out, reason))

    def _switch_away(self, child: Child) -> None:
        successor = max(
            (other for other in self if other.may_carry and other is not child),
            key=lambda other: (other.predecessor is child, other.created_at),
            default=None,
        )
        if successor is not None:
            self.switch(successor)
