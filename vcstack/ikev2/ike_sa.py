"""One IKE SA: messages in and out under one pair of SPIs, its exchanges, its timers.

Messages arrive through `reception`, and become datagrams and fragments in `datagrams`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcstack.ikev2 import datagrams, reception, supervision
from vcstack.ikev2.config import UdpEncapsulation
from vcstack.ikev2.datagrams import Fragments
from vcstack.ikev2.exchanges import informational
from vcstack.ikev2.exchanges.exchange import Discarded, Exchange
from vcstack.ikev2.facts import InitTranscript, Nat, PeerFacts, Timers
from vcstack.ikev2.iana import ExchangeType
from vcstack.ikev2.limits import TokenBucket
from vcstack.ikev2.states import IkeInput, IkeState, advance_ike
from vcstack.ikev2.window import RequestWindow, ResponseWindow
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vcstack.ikev2.host import Host
    from vcstack.ikev2.path import Path
    from vcstack.ikev2.protection import Protection
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.wire.deadline import Deadline


@dataclass(eq=False)
class IkeSa:
    """One IKE SA, from its first message until its last retransmission is answered."""

    host: Host
    is_initiator: bool
    spi_i: bytes
    spi_r: bytes
    path: Path
    state: IkeState
    timers: Timers
    nat: Nat = field(default_factory=Nat)
    peer: PeerFacts = field(default_factory=PeerFacts)
    init: InitTranscript = field(default_factory=InitTranscript)
    protection: Protection | None = None
    requests: RequestWindow = field(default_factory=RequestWindow)
    responses: ResponseWindow = field(default_factory=ResponseWindow)
    fragments: Fragments = field(default_factory=Fragments)
    repetitions: TokenBucket = field(init=False)
    """How often the last answer is sent again: it may be larger than what asks for it."""
    current: Exchange | None = None
    queue: deque[Exchange] = field(default_factory=deque)
    contested_by: IkeSa | None = None
    """The IKE SA that the peer replaced by this one, while this end is rekeying it as well."""

    def __post_init__(self) -> None:
        self.repetitions = TokenBucket(self.host.config.repeated_answers_per_s, self.timers.created_at)

    # -- who and what ------------------------------------------------------------------

    @property
    def local_spi(self) -> bytes:
        """The SPI by which the peer's messages are recognised."""
        return self.spi_i if self.is_initiator else self.spi_r

    @property
    def is_up(self) -> bool:
        """Whether it is authenticated and not on its way out."""
        return self.state is IkeState.ESTABLISHED

    @property
    def encapsulates(self) -> bool:
        """Whether ESP travels in UDP: for a NAT, or because the operator wants it (RFC 7296 section 2.23)."""
        always = self.host.config.udp_encapsulation is UdpEncapsulation.ALWAYS
        return self.nat.supported and (self.nat.detected or always)

    def header(self, exchange: ExchangeType, message_id: int, *, is_response: bool) -> Header:
        """The header of a message from here."""
        return Header(self.spi_i, self.spi_r, exchange, self.is_initiator, is_response, message_id)

    def is_doing(self, kind: type[Exchange]) -> bool:
        """Whether an exchange of that class is unanswered."""
        return isinstance(self.current, kind)

    def is_planning(self, kind: type[Exchange]) -> bool:
        """Whether an exchange of that class is unanswered or queued."""
        return self.is_doing(kind) or any(isinstance(exchange, kind) for exchange in self.queue)

    @property
    def makes_child(self) -> bool:
        """Whether a child SA may come of what is unanswered or queued."""
        return any(exchange.makes_child for exchange in (self.current, *self.queue) if exchange is not None)

    def advance(self, event: IkeInput) -> None:
        """Change the state by the table."""
        self.state = advance_ike(self.state, event)

    # -- requests from here --------------------------------------------------------------

    def submit(self, exchange: Exchange, now: float) -> None:
        """Start an exchange as soon as the window allows."""
        self.queue.append(exchange)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Send the next queued request if none is unanswered."""
        while self.queue and self.current is None and self.state is not IkeState.DEAD:
            exchange = self.queue.popleft()
            payloads = exchange.request(self, now)
            if payloads is not None:
                self.current = exchange
                self._send_request(exchange, payloads, now)

    def forget_exchanges(self, now: float) -> None:
        """Drop what is queued; what is unanswered still occupies the window, but its answer is ignored."""
        for exchange in (*self.queue, *([self.current] if self.current else [])):
            exchange.forget(self, now)
        self.queue.clear()
        if self.current is not None:
            self.current = Discarded(self.current)

    def _send_request(self, exchange: Exchange, payloads: Sequence[Payload], now: float) -> None:
        header = self.header(exchange.kind, self.requests.next_id, is_response=False)
        messages = datagrams.seal(self, header, payloads)
        if exchange.kind == ExchangeType.IKE_SA_INIT:
            self.init.request = messages[0]
        self.requests.send(messages, exchange.policy(self.host.config), now, self.host.random())
        self.host.count(f"tx request {exchange.kind}")
        self.host.transmit(messages, self.path)

    # -- messages from the peer ----------------------------------------------------------

    def receive(self, header: Header, data: bytes, path: Path, now: float) -> None:
        """Take a datagram whose SPIs are ours. RemoteProtocolError when it is not what it should be."""
        reception.receive(self, header, data, path, now)

    def send_response(self, header: Header, data: bytes, payloads: Sequence[Payload], path: Path) -> None:
        """Answer the request with that header and these bytes, and keep the answer."""
        answer = self.header(header.exchange, header.message_id, is_response=True)
        messages = datagrams.seal(self, answer, payloads)
        self.responses.answer(header.message_id, data, messages)
        self.host.count(f"tx response {header.exchange}")
        for payload in payloads:
            if isinstance(payload, Notify) and payload.type.is_error:
                self.host.count(f"tx error {payload.type}")
        self.host.transmit(messages, path)

    def heard(self, path: Path, now: float) -> None:
        """A fresh, authenticated message came: the peer lives, perhaps at another address."""
        self.timers.heard_at = now
        supervision.follow(self, path)

    # -- time --------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        supervision.handle_timeout(self, now)
        self.pump(now)

    def deadlines(self) -> Iterator[Deadline]:
        """What this IKE SA waits for."""
        return supervision.deadlines(self)

    def repeat(self, now: float) -> None:
        """The outstanding request waits for too long: send it again, or give up."""
        messages = self.requests.repeat(now, self.host.random())
        if messages is not None:
            self.host.count("tx request repeated")
            self.host.transmit(messages, self.path)
            return
        exchange, self.current = self.current, None
        self.requests.abandon()
        if exchange is not None:
            exchange.unanswered(self, now)

    # -- its end -----------------------------------------------------------------------------

    def establish(self, now: float) -> None:
        """The peer is authenticated."""
        self.advance(IkeInput.AUTHENTICATED)
        self.start_lifetime(now)
        self.host.established(self, now)

    def limit_authentication(self, lifetime_s: int, now: float) -> None:
        """The peer wants to be authenticated anew within that time (RFC 4478)."""
        self.peer.auth_lifetime_s = lifetime_s
        wait = max(lifetime_s * (1 - self.host.config.rekey_margin), self.host.config.retry.ceiling_s)
        self.timers.reauthenticate_at = now + wait

    def start_lifetime(self, now: float) -> None:
        """Set the times of rekeying and expiry."""
        config = self.host.config
        margin = config.rekey_margin + config.rekey_jitter * self.host.random()
        self.timers.rekey_at = now + config.ike_lifetime_s * (1 - margin)
        self.timers.established_at = now
        self.timers.expires_at = now + config.ike_lifetime_s
        self.timers.cleanup_at = None

    def hand_over(self, new: IkeSa, now: float) -> None:
        """A rekeyed IKE SA inherits the children and what was planned for them (RFC 7296 section 2.8)."""
        self.advance(IkeInput.REKEYED)
        self.timers.cleanup_at = now + self.host.config.redundant_child_s
        for child in self.host.children.owned_by(self):
            child.owner = new
        new.timers.child_retry_at, new.timers.child_failures = (
            self.timers.child_retry_at,
            self.timers.child_failures,
        )
        new.timers.reauthenticate_at = self.timers.reauthenticate_at
        new.timers.pfs_proof_at = self.timers.pfs_proof_at
        moved = [exchange for exchange in self.queue if exchange.concerns_child]
        self.queue = deque(exchange for exchange in self.queue if not exchange.concerns_child)
        self.host.taken_over(self, new, "rekeyed", now)
        for exchange in moved:
            new.submit(exchange, now)

    def close(self, reason: str, now: float) -> None:
        """Tell the peer that it ends here, and retire its children at once."""
        if self.state in (IkeState.DEAD, IkeState.DELETING):
            return
        if self.state in (IkeState.INITIATING, IkeState.HALF_OPEN):
            self.fail(reason, now)
            return
        self.forget_exchanges(now)
        self.advance(IkeInput.CLOSE)
        self._retire_children(reason)
        self.host.gone(self, reason, now)
        self.submit(informational.DeleteIke(), now)

    def fail(self, reason: str, now: float) -> None:
        """It has ended: nothing more is sent but answers to repeated requests."""
        if self.state is IkeState.DEAD:
            return
        was_leaving = self.state in (IkeState.DELETING, IkeState.REKEYED)
        self.forget_exchanges(now)
        self.current = None
        self.requests.abandon()
        self.advance(IkeInput.GONE)
        self.timers.cleanup_at = now + self.host.config.answer_memory_s
        self._retire_children(reason)
        if not was_leaving:
            self.host.gone(self, reason, now)

    def finish(self, now: float) -> None:
        """Delete it after a successor has taken over: the last request on it (RFC 7296 section 2.8)."""
        self.timers.cleanup_at = None
        self.advance(IkeInput.CLOSE)
        self.submit(informational.DeleteIke(), now)

    def await_delete(self, now: float) -> None:
        """It lost a rekey collision: the peer, who made it, deletes it."""
        self.advance(IkeInput.REKEYED)
        self.timers.cleanup_at = now + self.host.config.redundant_ike_s

    def close_redundant(self, now: float) -> None:
        """It lost a rekey collision, and was made here."""
        self.advance(IkeInput.REKEYED)
        self.finish(now)

    def _retire_children(self, reason: str) -> None:
        for child in self.host.children.owned_by(self):
            self.host.children.retire(child, reason)
