"""What an IKE SA does with a datagram, in this order: message ID window, protection, content.

Nothing changes before a message was authenticated, except in the IKE_SA_INIT exchange, where
the exchange itself decides what to believe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2 import datagrams, supervision
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges import create_child, ike_auth, informational
from vcstack.ikev2.iana import ExchangeType, NotifyType
from vcstack.ikev2.states import IkeState
from vcstack.ikev2.window import Received
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.path import Path
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.header import Header
    from vcstack.ikev2.wire.message import Message


def receive(sa: IkeSa, header: Header, data: bytes, path: Path, now: float) -> None:
    """Take a datagram whose SPIs are those of `sa`. RemoteProtocolError when it is not what it should be."""
    if header.is_initiator is sa.is_initiator:
        sa.host.count("rx wrong initiator flag")
    elif header.is_response:
        _receive_response(sa, header, data, path, now)
    else:
        _receive_request(sa, header, data, path, now)


def _receive_response(sa: IkeSa, header: Header, data: bytes, path: Path, now: float) -> None:
    exchange = sa.current
    if exchange is None or exchange.kind != header.exchange or not sa.requests.expects(header.message_id):
        sa.host.count("rx response unexpected")
        return
    try:
        message = datagrams.open_datagram(sa, header, data, now)
    except RemoteProtocolError as error:
        if not error.authenticated:
            raise
        sa.host.report(f"peer's response in {header.exchange} is malformed: {error.reason}", now)
        sa.fail(f"the peer's response is malformed: {error.reason}", now)
        return
    if message is None or not exchange.accepts(sa, message, now):
        return
    sa.host.count(f"rx response {header.exchange}")
    if exchange.kind == ExchangeType.IKE_SA_INIT:
        sa.init.response = data
    sa.requests.acknowledge(header.message_id)
    sa.current = None
    sa.heard(path, now)
    exchange.response(sa, message, now)
    sa.pump(now)


def _receive_request(sa: IkeSa, header: Header, data: bytes, path: Path, now: float) -> None:
    received = _place(sa, header, data)
    if received is Received.REPEATED:
        _answer_again(sa, path, now)
        return
    if received is not Received.NEW or sa.state is IkeState.DEAD:
        sa.host.count(f"rx request {received.name.lower()}")
        return
    try:
        message = datagrams.open_datagram(sa, header, data, now)
        if message is None:
            return
        sa.host.count(f"rx request {header.exchange}")
        sa.heard(path, now)
        payloads = _answer(sa, message, now)
    except RemoteProtocolError as error:
        if not error.authenticated:
            raise
        payloads = _refuse(sa, error, now)
    sa.send_response(header, datagrams.request_bytes(sa, data), payloads, path)
    sa.pump(now)


def _place(sa: IkeSa, header: Header, data: bytes) -> Received:
    received = sa.responses.classify(header.message_id, data)
    is_last = received is Received.STALE and sa.responses.is_last(header.message_id)
    if is_last and datagrams.asks_again_in_other_fragments(sa, header, data):
        return Received.REPEATED
    return received


def _answer_again(sa: IkeSa, path: Path, now: float) -> None:
    """The peer lacks our answer, or somebody on the way repeats what it once sent: not for ever."""
    sa.host.count("rx request repeated")
    supervision.request_repeated(sa, now)
    if sa.repetitions.take(now):
        sa.host.transmit(sa.responses.response, path)
    else:
        sa.host.count("repeated answer suppressed")


def _answer(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    exchange = message.header.exchange
    _settle_contest(sa, message, now)
    supervision.request_received(sa, now)
    if sa.state is IkeState.HALF_OPEN:
        return ike_auth.respond(sa, message, now)
    if exchange == ExchangeType.INFORMATIONAL:
        return informational.respond(sa, message, now)
    if exchange == ExchangeType.CREATE_CHILD_SA:
        return create_child.respond(sa, message, now)
    sa.host.count(f"rx request {exchange} out of place")
    return [Notify(NotifyType.INVALID_SYNTAX)]


def _settle_contest(sa: IkeSa, message: Message, now: float) -> None:
    """A peer that uses the IKE SA it made has decided for it; had it lost, it would only delete it."""
    old, sa.contested_by = sa.contested_by, None
    if old is not None and old.current is not None and not informational.deletes_ike(message):
        old.current.yield_to_rival(old, now)


def _refuse(sa: IkeSa, error: RemoteProtocolError, now: float) -> Sequence[Payload]:
    """Answer an authenticated request that is malformed (RFC 7296 section 2.21.3)."""
    sa.host.report(f"we refused a request: {error.reason}", now)
    if error.notify == NotifyType.INVALID_SYNTAX or sa.state is IkeState.HALF_OPEN:
        sa.fail(f"the peer sent a malformed request: {error.reason}", now)
    return [Notify(error.notify, data=error.data)] if error.notify is not None else []
