"""What an IKE SA asks of the endpoint that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections import Counter

    from vcstack.ikev2.children import ChildTable
    from vcstack.ikev2.config import BackoffPolicy, PeerConfig
    from vcstack.ikev2.events import Event
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.path import Path
    from vcstack.ikev2.states import IkeState


class Host(Protocol):
    """The endpoint, seen from its IKE SAs."""

    config: PeerConfig
    children: ChildTable
    counters: Counter[str]
    may_prove_pfs: bool
    """Whether the early proof of PFS has not cost an IKE SA."""

    def entropy(self, length: int) -> bytes:
        """Random bytes."""

    def random(self) -> float:
        """A random number from 0 to 1, for jitter."""

    def emit(self, event: Event) -> None:
        """Tell the owner."""

    def transmit(self, messages: tuple[bytes, ...], path: Path) -> None:
        """Send datagrams."""

    def count(self, name: str) -> None:
        """Count something by its name."""

    def report(self, text: str, now: float) -> None:
        """Keep what went wrong, and whose doing it was, for the status."""

    def judge_pfs(self, verdict: str, *, is_proven: bool) -> None:
        """A rekeying has shown whether both ends agree on perfect forward secrecy."""

    def new_ike_spi(self) -> bytes:
        """An SPI that no IKE SA here has."""

    def new_child_spi(self) -> int:
        """An SPI that no child SA here has, and no pending offer."""

    def new_ike_sa(
        self,
        path: Path,
        now: float,
        *,
        is_initiator: bool,
        local_spi: bytes,
        peer_spi: bytes,
        state: IkeState,
    ) -> IkeSa:
        """Another IKE SA, whose messages are received from now on."""

    def forget(self, sa: IkeSa) -> None:
        """Receive messages for an IKE SA no longer."""

    def established(self, sa: IkeSa, now: float) -> None:
        """An IKE SA has authenticated its peer."""

    def settled(self, sa: IkeSa, now: float) -> None:
        """An IKE SA from scratch is complete: end others that it makes superfluous."""

    def superseded(self, sa: IkeSa, now: float) -> None:
        """The peer had time to delete this IKE SA after it made another."""

    def taken_over(self, old: IkeSa, new: IkeSa, reason: str, now: float) -> None:
        """An IKE SA was rekeyed; the new one has the children."""

    def gone(self, sa: IkeSa, reason: str, now: float) -> None:
        """An IKE SA has ended."""

    def is_alone(self, sa: IkeSa) -> bool:
        """Whether no other IKE SA with the peer is up (RFC 7296 section 2.4, INITIAL_CONTACT)."""

    def reinitiate(self, now: float, reason: str) -> None:
        """Start over from IKE_SA_INIT; what is up is closed."""

    def reauthenticate(self, now: float, reason: str) -> None:
        """Start another IKE SA beside this one, which is closed when that one is up."""


def backoff_s(host: Host, policy: BackoffPolicy, failures: int) -> float:
    """Seconds until the next attempt."""
    return policy.wait_s(max(failures, 1), host.random())
