"""One IKE SA: messages in and out under one pair of SPIs, its exchanges, its timers.

Messages arrive through `receive`, in this order: message ID window, protection, content.
Nothing changes before a message was authenticated, except in the IKE_SA_INIT exchange, where
the exchange itself decides what to believe.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vcstack.ikev2 import supervision
from vcstack.ikev2.config import UdpEncapsulation
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges import create_child, ike_auth, informational
from vcstack.ikev2.exchanges.exchange import Discarded, Exchange
from vcstack.ikev2.facts import InitTranscript, Nat, PeerFacts, Timers
from vcstack.ikev2.iana import ExchangeType, NotifyType
from vcstack.ikev2.states import IkeInput, IkeState, advance_ike
from vcstack.ikev2.window import Received, RequestWindow, ResponseWindow
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.message import Message, build_message, parse_message
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
    current: Exchange | None = None
    queue: deque[Exchange] = field(default_factory=deque)
    contested_by: IkeSa | None = None
    """The IKE SA that the peer replaced by this one, while this end is rekeying it as well."""

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
        messages = (self._seal(header, payloads),)
        if exchange.kind == ExchangeType.IKE_SA_INIT:
            self.init.request = messages[0]
        self.requests.send(messages, exchange.policy(self.host.config), now, self.host.random())
        self.host.count(f"tx request {exchange.kind}")
        self.host.transmit(messages, self.path)

    # -- messages from the peer ----------------------------------------------------------

    def receive(self, header: Header, data: bytes, path: Path, now: float) -> None:
        """Take a datagram whose SPIs are ours. RemoteProtocolError when it is not what it should be."""
        if header.is_initiator is self.is_initiator:
            self.host.count("rx wrong initiator flag")
        elif header.is_response:
            self._receive_response(header, data, path, now)
        else:
            self._receive_request(header, data, path, now)

    def _receive_response(self, header: Header, data: bytes, path: Path, now: float) -> None:
        exchange = self.current
        if (
            exchange is None
            or exchange.kind != header.exchange
            or not self.requests.expects(header.message_id)
        ):
            self.host.count("rx response unexpected")
            return
        try:
            message = self._open(header, data)
        except RemoteProtocolError as error:
            if not error.authenticated:
                raise
            self.host.report(f"peer's response in {header.exchange} is malformed: {error.reason}", now)
            self.fail(f"the peer's response is malformed: {error.reason}", now)
            return
        if not exchange.accepts(self, message, now):
            return
        self.host.count(f"rx response {header.exchange}")
        if exchange.kind == ExchangeType.IKE_SA_INIT:
            self.init.response = data
        self.requests.acknowledge(header.message_id)
        self.current = None
        self.heard(path, now)
        exchange.response(self, message, now)
        self.pump(now)

    def _receive_request(self, header: Header, data: bytes, path: Path, now: float) -> None:
        received = self.responses.classify(header.message_id, data)
        if received is Received.REPEATED:
            self.host.count("rx request repeated")
            supervision.request_repeated(self, now)
            self.host.transmit(self.responses.response, path)
            return
        if received is not Received.NEW or self.state is IkeState.DEAD:
            self.host.count(f"rx request {received.name.lower()}")
            return
        try:
            message = self._open(header, data)
            self.host.count(f"rx request {header.exchange}")
            self.heard(path, now)
            payloads = self._answer(message, now)
        except RemoteProtocolError as error:
            if not error.authenticated:
                raise
            payloads = self._refuse(error, now)
        self.send_response(header, data, payloads, path)
        self.pump(now)

    def _answer(self, message: Message, now: float) -> Sequence[Payload]:
        exchange = message.header.exchange
        self._settle_contest(message, now)
        supervision.request_received(self, now)
        if self.state is IkeState.HALF_OPEN:
            return ike_auth.respond(self, message, now)
        if exchange == ExchangeType.INFORMATIONAL:
            return informational.respond(self, message, now)
        if exchange == ExchangeType.CREATE_CHILD_SA:
            return create_child.respond(self, message, now)
        self.host.count(f"rx request {exchange} out of place")
        return [Notify(NotifyType.INVALID_SYNTAX)]

    def _settle_contest(self, message: Message, now: float) -> None:
        """A peer that uses the IKE SA it made has decided for it; had it lost, it would only delete it."""
        old, self.contested_by = self.contested_by, None
        if old is not None and old.current is not None and not informational.deletes_ike(message):
            old.current.yield_to_rival(old, now)

    def _refuse(self, error: RemoteProtocolError, now: float) -> Sequence[Payload]:
        """Answer an authenticated request that is malformed (RFC 7296 section 2.21.3)."""
        self.host.report(f"we refused a request: {error.reason}", now)
        if error.notify == NotifyType.INVALID_SYNTAX or self.state is IkeState.HALF_OPEN:
            self.fail(f"the peer sent a malformed request: {error.reason}", now)
        return [Notify(error.notify, data=error.data)] if error.notify is not None else []

    def send_response(self, header: Header, data: bytes, payloads: Sequence[Payload], path: Path) -> None:
        """Answer the request with that header and these bytes, and keep the answer."""
        messages = (self._seal(self.header(header.exchange, header.message_id, is_response=True), payloads),)
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

    # -- protection ------------------------------------------------------------------------

    def _seal(self, header: Header, payloads: Sequence[Payload]) -> bytes:
        if self.protection is None or header.exchange == ExchangeType.IKE_SA_INIT:
            return build_message(header, payloads)
        return self.protection.seal(header, payloads)

    def _open(self, header: Header, data: bytes) -> Message:
        if header.exchange == ExchangeType.IKE_SA_INIT:
            message = parse_message(data)
        elif self.protection is None:
            raise RemoteProtocolError("a protected message before there are keys")
        else:
            message = self.protection.open(data)
        if message.error is not None:
            self.host.count(f"rx error {message.error.type}")
        return message

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
        new.peer = replace(self.peer, window=1)
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
