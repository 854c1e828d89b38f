"""From the messages of an IKE SA to datagrams and back: in clear, encrypted, or in fragments (RFC 7383).

```
 N(IKEV2_FRAGMENTATION_SUPPORTED)     -->          both say in IKE_SA_INIT that they know fragments
                         <--  N(IKEV2_FRAGMENTATION_SUPPORTED)
 SKF 1/3 {..} SKF 2/3 {..} SKF 3/3 {..} -->        a message that would not fit, always whole sets
                         <--  SK {..} or SKF 1/2 {..} SKF 2/2 {..}     once all of them have come
```
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vcstack.ikev2.errors import InvalidSyntax, RemoteProtocolError
from vcstack.ikev2.iana import ExchangeType, PayloadType
from vcstack.ikev2.wire.fragment import Reassembly
from vcstack.ikev2.wire.message import Message, build_message, parse_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.header import Header

_IPV4_UDP_MARKER_LENGTH = 20 + 8 + 4
"""What surrounds an IKE message on port 4500 (RFC 7296 section 2.23)."""


@dataclass(slots=True)
class Partial:
    """A message of the peer of which not all fragments have come."""

    reassembly: Reassembly = field(default_factory=Reassembly)
    first: bytes = b""
    """The datagram of fragment 1: when that comes again, the peer lacks our answer (RFC 7383 2.6.1)."""
    expires_at: float | None = None
    """When to forget the fragments; None without any."""


@dataclass(slots=True)
class Fragments:
    """What the peer has sent in fragments: one request and one response at a time."""

    requests: Partial = field(default_factory=Partial)
    responses: Partial = field(default_factory=Partial)

    def of(self, header: Header) -> Partial:
        """Where a fragment belongs."""
        return self.responses if header.is_response else self.requests

    @property
    def expires_at(self) -> float | None:
        """When the older of the two is to be forgotten."""
        times = (self.requests.expires_at, self.responses.expires_at)
        return min((at for at in times if at is not None), default=None)

    def expire(self, now: float) -> int:
        """Forget what never became whole; how many messages that were."""
        late = [
            partial
            for partial in (self.requests, self.responses)
            if partial.expires_at is not None and partial.expires_at <= now
        ]
        for partial in late:
            partial.reassembly.clear()
            partial.expires_at = None
        return len(late)


def _max_message_bytes(config: PeerConfig) -> int | None:
    """The largest IKE message that goes in one datagram, None when nothing is ever fragmented."""
    return None if config.fragment_size is None else config.fragment_size - _IPV4_UDP_MARKER_LENGTH


def seal(sa: IkeSa, header: Header, payloads: Sequence[Payload]) -> tuple[bytes, ...]:
    """The datagrams of a message: one, or its fragments where it is too large and the peer knows them."""
    if sa.protection is None or header.exchange == ExchangeType.IKE_SA_INIT:
        return (build_message(header, payloads),)
    limit = _max_message_bytes(sa.host.config)
    if limit is None or not sa.peer.supports_fragmentation:
        return (sa.protection.seal(header, payloads),)
    messages = sa.protection.seal_in_fragments(header, payloads, limit)
    if len(messages) > 1:
        sa.host.count("tx message in fragments")
    return messages


def open_datagram(sa: IkeSa, header: Header, data: bytes, now: float) -> Message | None:
    """The message that a datagram is or completes, None while fragments are missing."""
    if header.exchange == ExchangeType.IKE_SA_INIT:
        message: Message | None = parse_message(data)
    elif sa.protection is None:
        raise RemoteProtocolError("a protected message before there are keys")
    elif header.next_payload == PayloadType.SKF:
        message = _add_fragment(sa, data, now)
    else:
        message = sa.protection.open(data)
        sa.fragments.of(header).first = b""
    if message is not None and message.error is not None:
        sa.host.count(f"rx error {message.error.type}")
    return message


def request_bytes(sa: IkeSa, data: bytes) -> bytes:
    """What stands for a request when it is repeated: the datagram, or that of its first fragment."""
    return sa.fragments.requests.first or data


def asks_again_in_other_fragments(sa: IkeSa, header: Header, data: bytes) -> bool:
    """Whether this is fragment 1 of the request answered last, cut into other sizes meanwhile."""
    if header.next_payload != PayloadType.SKF or sa.protection is None or not sa.fragments.requests.first:
        return False
    return sa.protection.open_fragment(data).number == 1


def _add_fragment(sa: IkeSa, data: bytes, now: float) -> Message | None:
    if not sa.peer.supports_fragmentation or sa.host.config.fragment_size is None:
        raise InvalidSyntax("a fragment, although fragmentation was not agreed on")
    assert sa.protection is not None
    fragment = sa.protection.open_fragment(data)
    sa.host.count("rx fragment")
    partial = sa.fragments.of(fragment.header)
    if fragment.number == 1:
        partial.first = data
    message = partial.reassembly.add(fragment)
    if message is not None or partial.reassembly.is_empty:
        partial.expires_at = None
    elif partial.expires_at is None:
        partial.expires_at = now + sa.host.config.reassembly_timeout_s
    return message
