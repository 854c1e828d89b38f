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

from dataclasses import replace
from typing import TYPE_CHECKING

from vcstack.ikev2 import inspection, supervision
from vcstack.ikev2.admission import Admission, is_first_request
from vcstack.ikev2.constants import HEADER_LENGTH
from vcstack.ikev2.errors import InvalidMajorVersion, RemoteProtocolError
from vcstack.ikev2.exchanges.informational import Liveness
from vcstack.ikev2.hints import Hints, is_hint
from vcstack.ikev2.iana import ExchangeType
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.path import Datagram, Path
from vcstack.ikev2.peering import Peering
from vcstack.ikev2.states import ChildState, IkeState
from vcstack.ikev2.wire.header import Header, parse_header, read_header
from vcstack.wire.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.events import Event
    from vcstack.ikev2.snapshot import EndpointSnapshot

__all__ = ["Datagram", "Endpoint", "Path"]


class Endpoint(Peering):
    """The IKEv2 machine of one peer. Peer input never raises; what is wrong with it is counted."""

    def __init__(self, config: PeerConfig, entropy: Callable[[int], bytes], now: float) -> None:
        super().__init__(config, entropy, now)
        self._admission = Admission(self, now)
        self._hints = Hints(self, now)

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
        if is_hint(header):
            self._hints.take(data, sa, now)
        elif sa is not None:
            self._deliver(sa, header, data, path, now)
        elif self._is_closed:
            self.count("rx after close")
        elif header.exchange == ExchangeType.IKE_SA_INIT and is_first_request(header):
            half_open = sum(sa.state is IkeState.HALF_OPEN for sa in self.ike_sas.values())
            self._admission.admit(header, data, path, half_open, now)
        else:
            self._admission.unknown_spi(header, data, path, now)

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

    def doubt(self, now: float) -> None:
        """The owner has a reason to ask the peer now: the line is down, or the network has changed.

        What waits for an answer is sent once more, beside its schedule; else a liveness check goes out
        (RFC 7296 section 2.4). Without an IKE SA the next attempt does not wait.
        """
        for sa in tuple(self.ike_sas.values()):
            outstanding = sa.requests.outstanding
            if outstanding is not None:
                self.count("tx request repeated in doubt")
                self.transmit(outstanding.messages, sa.path)
            elif sa.is_up:
                sa.submit(Liveness(), now)
        if self.status.retry_at is not None:
            self._connect(now)

    def peer_moved(self, remote: IPv4Address, remote_port: int) -> None:
        """Authenticated ESP came from another address: send IKE there as well (RFC 7296 section 2.23)."""
        for sa in self._up():
            if sa.nat.remote:
                sa.path = replace(sa.path, remote=remote, remote_port=remote_port)

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
