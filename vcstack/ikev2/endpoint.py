"""Everything with one peer: any number of IKE SAs, their children, and the will to have one of each.

```
            start                     IKE_AUTH done
   idle ------------> connecting -------------------> up
                       ^      | no answer, refused     | dead, deleted, expired
                       |      v                        |
                       +-- waiting <-------------------+     back-off up to a ceiling, for ever
   close: DELETE to the peer, then quiet for good
```
The owner calls `receive_datagram`, `handle_timeout` at `next_timeout`, and after each call takes all
events, acts on them, and only then sends `datagrams_to_send`: an inbound SA must be installed before
the message leaves that lets the peer use it.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING

from vcstack.ikev2 import collision, inspection, supervision
from vcstack.ikev2.admission import Admission, is_first_request
from vcstack.ikev2.children import ChildTable
from vcstack.ikev2.constants import HEADER_LENGTH, IKE_SPI_LENGTH, NO_SPI
from vcstack.ikev2.errors import InvalidMajorVersion, RemoteProtocolError
from vcstack.ikev2.events import Event, IkeDown, IkeRekeyed, IkeUp
from vcstack.ikev2.exchanges.ike_sa_init import IkeSaInit
from vcstack.ikev2.facts import Timers
from vcstack.ikev2.iana import ExchangeType
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.missing_child import replace_missing_child
from vcstack.ikev2.path import IKE_PORT, Datagram, Path
from vcstack.ikev2.states import ChildState, IkeState
from vcstack.ikev2.wire.header import Header, parse_header, read_header
from vcstack.wire.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.snapshot import EndpointSnapshot

__all__ = ["Datagram", "Endpoint", "Path"]

_FIRST_ESP_SPI = 256
"""Those below are reserved (RFC 4303 section 2.1)."""
_TRYING = (IkeState.INITIATING, IkeState.AUTHENTICATING)


class Endpoint:
    """The IKEv2 machine of one peer. Peer input never raises; what is wrong with it is counted."""

    def __init__(self, config: PeerConfig, entropy: Callable[[int], bytes], now: float) -> None:
        self.config = config
        self.entropy = entropy
        self.counters: Counter[str] = Counter()
        self.children = ChildTable(self.emit)
        self.ike_sas: dict[bytes, IkeSa] = {}
        self.status = inspection.Status(since=now)
        self._events: deque[Event] = deque()
        self._datagrams: list[Datagram] = []
        self._admission = Admission(self, now)
        self._is_up = False
        self._is_closed = False
        self._at_once = False
        """The next attempt does not wait."""

    # -- what the owner calls --------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect, if it is this end's part to initiate; else wait for the peer."""
        if self.config.initiate and not self._is_closed:
            self._connect(now)

    def receive_datagram(self, data: bytes, path: Path, now: float) -> None:
        """Take an IKE message, without the non-ESP marker of port 4500."""
        try:
            header = parse_header(data)
        except InvalidMajorVersion:
            self._admission.wrong_version(data, path, now)
            return
        except RemoteProtocolError as error:
            self.count(f"rx dropped: {type(error).__name__}")
            return
        sa = self._find(header, data)
        if sa is not None:
            self._deliver(sa, header, data, path, now)
        elif self._is_closed:
            self.count("rx after close")
        elif header.exchange == ExchangeType.IKE_SA_INIT and is_first_request(header):
            half_open = sum(sa.state is IkeState.HALF_OPEN for sa in self.ike_sas.values())
            self._admission.admit(header, data, path, half_open, now)
        else:
            self._admission.unknown_spi(header, path, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due; nothing when it is too early."""
        for sa in tuple(self.ike_sas.values()):
            sa.handle_timeout(now)
        if self.status.retry_at is not None and now >= self.status.retry_at:
            self._connect(now)

    def next_timeout(self) -> Deadline | None:
        """When `handle_timeout` has something to do, unless anything is called before."""
        pending = [deadline for sa in self.ike_sas.values() for deadline in sa.deadlines()]
        if self.status.retry_at is not None:
            pending.append(Deadline(self.status.retry_at, "next attempt"))
        return min(pending, default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """What is to be sent, once: take all events first."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> Event | None:
        """The next thing to act on, None when that was all."""
        return self._events.popleft() if self._events else None

    def owns_spi(self, data: bytes) -> bool:
        """Whether a datagram belongs to an IKE SA here, by its SPIs; nothing of it is verified."""
        return len(data) >= HEADER_LENGTH and self._find(read_header(data), data) is not None

    def child_soft_expired(self, spi_in: int, reason: str, now: float) -> None:
        """A child has carried enough: rekey it while it still works."""
        child = self.children.get(spi_in)
        if child is not None:
            child.rekey_at, child.rekey_reason = min(child.rekey_at, now), reason
            supervision.handle_timeout(self._owner(child), now)

    def child_hard_expired(self, spi_in: int, reason: str, now: float) -> None:
        """A child must not be used any longer."""
        child = self.children.get(spi_in)
        if child is not None and child.state is not ChildState.DELETING:
            supervision.expire(self._owner(child), child, reason, now)

    def rekey_ike(self, now: float) -> None:
        """Rekey the IKE SA now, not at the end of its lifetime."""
        for sa in self._up():
            sa.timers.rekey_at = now
            sa.handle_timeout(now)

    def inbound_used(self, spi_in: int, now: float) -> None:
        """The first authenticated packet came on a new inbound SA: the peer has it, and can receive on it."""
        child = self.children.get(spi_in)
        if child is not None and child.state is ChildState.PENDING:
            supervision.switch(self._owner(child), child, now)

    def traffic_seen(self, now: float) -> None:
        """Authenticated ESP came from the peer: it lives (RFC 7296 section 2.4)."""
        for child in self.children:
            self._owner(child).timers.heard_at = now

    def peer_moved(self, remote: IPv4Address, remote_port: int) -> None:
        """Authenticated ESP came from another address: send IKE there as well (RFC 7296 section 2.23)."""
        for sa in self._up():
            if sa.nat.remote:
                sa.path = replace(sa.path, remote=remote, remote_port=remote_port)

    def reinitiate(self, now: float, reason: str) -> None:
        """Start over from IKE_SA_INIT at once; what is up is closed."""
        self.report(reason, now)
        self.status.failures, self._at_once = 0, True
        for sa in tuple(self.ike_sas.values()):
            sa.close(reason, now)
        self._at_once = False
        if self.config.initiate and not self._is_closed:
            self.status.retry_at = now

    def close(self, now: float) -> None:
        """Delete everything, telling the peer; it is quiet when `next_timeout` returns None."""
        self._is_closed = True
        for sa in tuple(self.ike_sas.values()):
            sa.close("closed here", now)
        self.status.retry_at = None
        self.status.enter("closed", "closed here", now)

    def snapshot(self, now: float) -> EndpointSnapshot:
        """Everything that there is to show."""
        return inspection.endpoint_snapshot(self, now)

    # -- what the IKE SAs call (host.Host) -------------------------------------------------

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

    def reauthenticate(self, now: float, reason: str) -> None:
        """Start another IKE SA beside the present one, which `settled` closes then."""
        self.report(reason, now)
        if self.config.initiate and not self._is_closed and not self._is_trying():
            self._start_ike_sa(now)

    # -- inside ----------------------------------------------------------------------------

    def _find(self, header: Header, data: bytes) -> IkeSa | None:
        if is_first_request(header):
            answered = (sa for sa in self.ike_sas.values() if not sa.is_initiator)
            return next((sa for sa in answered if sa.init.request == data), None)
        return self.ike_sas.get(header.responder_spi if header.is_initiator else header.initiator_spi)

    def _deliver(self, sa: IkeSa, header: Header, data: bytes, path: Path, now: float) -> None:
        try:
            sa.receive(header, data, path, now)
        except RemoteProtocolError as error:
            self.count(f"rx dropped: {type(error).__name__}")

    def _up(self) -> list[IkeSa]:
        return [sa for sa in self.ike_sas.values() if sa.is_up]

    def _is_trying(self) -> bool:
        return any(sa.state in _TRYING for sa in self.ike_sas.values())

    def _owner(self, child: Child) -> IkeSa:
        assert isinstance(child.owner, IkeSa)
        return child.owner

    def _connect(self, now: float) -> None:
        self.status.retry_at = None
        if not self._up() and not self._is_trying():
            # What went wrong before stays the reason until something better is known.
            reason = self.status.reason if self.status.failures else "IKE_SA_INIT sent"
            self.status.enter("connecting", reason, now)
            self._start_ike_sa(now)

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
