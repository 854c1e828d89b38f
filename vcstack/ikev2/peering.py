"""The will to have one IKE SA and one child with a peer, whatever the two ends do at the same time.

Several IKE SAs may live side by side: a rekeyed one and its successor, two of a simultaneous
initiation, one that authenticates anew. Which of them stays, and when to try again, is decided here.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from vcstack.ikev2 import collision, inspection
from vcstack.ikev2.children import ChildTable
from vcstack.ikev2.constants import IKE_SPI_LENGTH, NO_SPI
from vcstack.ikev2.events import Event, IkeDown, IkeRekeyed, IkeUp, PfsJudged
from vcstack.ikev2.exchanges.ike_sa_init import IkeSaInit
from vcstack.ikev2.facts import Timers
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.missing_child import replace_missing_child
from vcstack.ikev2.path import IKE_PORT, Datagram, Path
from vcstack.ikev2.states import IkeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.ikev2.config import PeerConfig

_FIRST_ESP_SPI = 256
"""Those below are reserved (RFC 4303 section 2.1)."""
_TRYING = (IkeState.INITIATING, IkeState.AUTHENTICATING)


class Peering:
    """What the IKE SAs with one peer have in common, and ask for (host.Host)."""

    def __init__(self, config: PeerConfig, entropy: Callable[[int], bytes], now: float) -> None:
        self.config = config
        self.entropy = entropy
        self.counters: Counter[str] = Counter()
        self.children = ChildTable(self.emit)
        self.ike_sas: dict[bytes, IkeSa] = {}
        self.status = inspection.Status(since=now)
        self._events: deque[Event] = deque()
        self._datagrams: list[Datagram] = []
        self.may_prove_pfs = True
        self._is_up = False
        self._is_closed = False
        self._at_once = False
        """The next attempt does not wait."""

    def random(self) -> float:
        """From 0 to 1, for jitter."""
        return int.from_bytes(self.entropy(4), "big") / 0xFFFFFFFF

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)

    def transmit(self, messages: tuple[bytes, ...], path: Path) -> None:
        """Queue datagrams."""
        self._datagrams.extend(Datagram(message, path) for message in messages)

    def count(self, name: str) -> None:
        """Count something by its name."""
        self.counters[name] += 1

    def report(self, text: str, now: float) -> None:
        """Keep the last thing that went wrong."""
        self.status.last_error, self.status.last_error_at = text, now

    def judge_pfs(self, verdict: str, *, is_proven: bool) -> None:
        """Keep the last verdict on perfect forward secrecy, and tell it when it is news."""
        if verdict != self.status.pfs:
            self.status.pfs = verdict
            self.emit(PfsJudged(is_proven, verdict))

    def new_ike_spi(self) -> bytes:
        """Random, not zero, not in use."""
        while True:
            spi = self.entropy(IKE_SPI_LENGTH)
            if spi != NO_SPI and spi not in self.ike_sas:
                return spi

    def new_child_spi(self) -> int:
        """Random, not reserved, not in use."""
        while True:
            spi = int.from_bytes(self.entropy(4), "big")
            if spi >= _FIRST_ESP_SPI and self.children.get(spi) is None:
                return spi

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
        spi_i, spi_r = (local_spi, peer_spi) if is_initiator else (peer_spi, local_spi)
        sa = IkeSa(self, is_initiator, spi_i, spi_r, path, state, Timers(created_at=now, heard_at=now))
        self.ike_sas[local_spi] = sa
        return sa

    def forget(self, sa: IkeSa) -> None:
        """Receive messages for an IKE SA no longer."""
        self.ike_sas.pop(sa.local_spi, None)

    def is_alone(self, sa: IkeSa) -> bool:
        """Whether no other IKE SA is up."""
        return not any(other is not sa for other in self._up())

    def established(self, sa: IkeSa, now: float) -> None:
        """The peer is authenticated on a new IKE SA."""
        identity = sa.peer.identity
        assert identity is not None
        self.status.retry_at = None
        if self._is_up:
            self.emit(IkeRekeyed(sa.spi_i, sa.spi_r, sa.path, "established anew"))
            return
        self._is_up = True
        self.status.enter("up", f"{identity} authenticated", now)
        self.emit(IkeUp(sa.spi_i, sa.spi_r, sa.path, identity))

    def settled(self, sa: IkeSa, now: float) -> None:
        """End the other IKE SAs: this one is complete, and one is enough."""
        for other in tuple(self.ike_sas.values()):
            if other is sa:
                continue
            if other.state is IkeState.INITIATING:
                # The peer knows nothing worth deleting of it.
                other.fail("the peer was faster", now)
            elif other.is_up:
                self._resolve(sa, other, now)

    def superseded(self, sa: IkeSa, now: float) -> None:
        """The peer made another IKE SA and did not delete this one, which it may have forgotten."""
        sa.timers.cleanup_at = None
        if not self.is_alone(sa):
            sa.close("superseded by another IKE SA", now)

    def taken_over(self, old: IkeSa, new: IkeSa, reason: str, now: float) -> None:  # noqa: ARG002
        """An IKE SA was rekeyed."""
        self.count("IKE SA rekeyed")
        self.emit(IkeRekeyed(new.spi_i, new.spi_r, new.path, reason))

    def gone(self, sa: IkeSa, reason: str, now: float) -> None:
        """An IKE SA has ended: without another one, try again later."""
        remaining = self._up()
        if remaining:
            replace_missing_child(remaining[0], now)
            return
        never_up = sa.timers.established_at is None
        if never_up and not sa.is_initiator:
            self.count("half-open IKE SA given up")
            return
        self._is_up = False
        self._wait(sa, reason, now)

    def reinitiate(self, now: float, reason: str) -> None:
        """Start over from IKE_SA_INIT at once; what is up is closed."""
        self.report(reason, now)
        self.status.failures, self._at_once = 0, True
        for sa in tuple(self.ike_sas.values()):
            sa.close(reason, now)
        self._at_once = False
        if self.config.initiate and not self._is_closed:
            self.status.retry_at = now

    def reauthenticate(self, now: float, reason: str) -> None:
        """Start another IKE SA beside the present one, which `settled` closes then."""
        self.report(reason, now)
        if self.config.initiate and not self._is_closed and not self._is_trying():
            self._start_ike_sa(now)

    def _up(self) -> list[IkeSa]:
        return [sa for sa in self.ike_sas.values() if sa.is_up]

    def _is_trying(self) -> bool:
        return any(sa.state in _TRYING for sa in self.ike_sas.values())

    def _start_ike_sa(self, now: float) -> None:
        assert self.config.remote_address is not None
        path = Path(self.config.local_address, IKE_PORT, self.config.remote_address, IKE_PORT)
        self.count("attempt")
        sa = self.new_ike_sa(
            path,
            now,
            is_initiator=True,
            local_spi=self.new_ike_spi(),
            peer_spi=NO_SPI,
            state=IkeState.INITIATING,
        )
        sa.submit(IkeSaInit(), now)

    def _wait(self, sa: IkeSa, reason: str, now: float) -> None:
        """Plan the next attempt; an IKE SA that lasted starts the back-off anew."""
        policy, since = self.config.retry, sa.timers.established_at
        if since is not None and now - since > policy.ceiling_s:
            self.status.failures = 0
        self.status.failures += 1
        if self._is_closed or not self.config.initiate:
            self.status.enter("idle", reason, now)
            self.emit(IkeDown(reason, None))
        elif self._is_trying():
            self.status.enter("connecting", reason, now)
            self.emit(IkeDown(reason, 0.0))
        else:
            wait = 0.0 if self._at_once else policy.wait_s(self.status.failures, self.random())
            self.status.retry_at = now + wait
            self.status.enter("waiting", reason, now)
            self.emit(IkeDown(reason, wait))

    def _resolve(self, sa: IkeSa, other: IkeSa, now: float) -> None:
        """Of two complete IKE SAs one goes: that of the lowest nonce if simultaneous, else the older."""
        if _are_simultaneous(sa, other):
            self.count("simultaneous IKE SA resolved")
            loser = sa if collision.loses(_nonces(sa), _nonces(other)) else other
            # Not at once: the peer may still wait for our answer on the other one.
            patience = 1 if loser.is_initiator else 2
            loser.timers.cleanup_at = now + patience * self.config.redundant_child_s
        elif sa.peer.is_first_contact:
            other.fail("the peer started anew (INITIAL_CONTACT)", now)
        elif sa.is_initiator:
            other.close("replaced by a new IKE SA", now)
        else:
            other.timers.cleanup_at = now + self.config.redundant_child_s


def _are_simultaneous(sa: IkeSa, other: IkeSa) -> bool:
    """Whether the two ends began these two before either was complete."""
    established = other.timers.established_at
    overlap = established is not None and established >= sa.timers.created_at
    return overlap and bool(other.init.initiator_nonce) and sa.is_initiator is not other.is_initiator


def _nonces(sa: IkeSa) -> collision.Nonces:
    return collision.Nonces(sa.init.initiator_nonce, sa.init.responder_nonce)
