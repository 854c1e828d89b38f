"""IKE_SA_INIT: keys with somebody, and what stands between (RFC 7296 sections 1.2, 2.6, 2.7, 2.23).

```
 HDR, [N(COOKIE),] SA, KEi, Ni, N(NAT_DETECTION_*)  -->
                                    <--  HDR, SA, KEr, Nr, N(NAT_DETECTION_*)
                    or              <--  HDR, N(COOKIE)              the same again with the cookie
                    or              <--  HDR, N(INVALID_KE_PAYLOAD)  the same again in another group
```
Nobody is authenticated yet: an error is remembered, and a better answer still awaited for a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.crypto import dh
from vcstack.ikev2 import authentication
from vcstack.ikev2.collision import Nonces
from vcstack.ikev2.config import UdpEncapsulation
from vcstack.ikev2.constants import NO_SPI
from vcstack.ikev2.errors import InvalidKePayload, RemoteProtocolError
from vcstack.ikev2.exchanges.child_offer import NONCE_LENGTH, shared_secret
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.ike_auth import IkeAuth
from vcstack.ikev2.exchanges.refusal import describe_error, usable_group
from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType
from vcstack.ikev2.natd import is_translated, nat_detection_hash
from vcstack.ikev2.proposal import offer
from vcstack.ikev2.protection import Protection
from vcstack.ikev2.selection import Chosen, accept_ike, select_ike
from vcstack.ikev2.states import IkeInput, IkeState
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.message import build_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa
from vcstack.ikev2.wire.vendor import Vendor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.config import PeerConfig, RetransmitPolicy
    from vcstack.ikev2.host import Host
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.path import Path
    from vcstack.ikev2.proposal import IkeSuite
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message
    from vcstack.wire.secret import Secret


class IkeSaInit(Exchange):
    """Starts an IKE SA."""

    kind = ExchangeType.IKE_SA_INIT
    name = "IKE_SA_INIT"

    def __init__(self) -> None:
        self._nonce = b""
        self._private: dh.PrivateKey | None = None
        self._cookie: Notify | None = None
        self._restarts = 0
        self._answer: tuple[Chosen[IkeSuite], Secret] | None = None
        self._error: str | None = None

    def policy(self, config: PeerConfig) -> RetransmitPolicy:
        """Has its own, because a new attempt with fresh keys follows soon."""
        return config.init_retransmit

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """[N(COOKIE),] SA, KEi, Ni, N(NAT_DETECTION_*), what else there is to say."""
        config = sa.host.config
        if self._private is None:
            self._nonce = sa.host.entropy(NONCE_LENGTH)
            self._private = dh.generate(config.ike_proposals[0].groups[0], sa.host.entropy)
        ke = Ke(DhGroup(self._private.group), self._private.public)
        cookie = [] if self._cookie is None else [self._cookie]
        fixed = [offer(config.ike_proposals), ke, Nonce(self._nonce), *_nat_detection(sa)]
        return [*cookie, *fixed, *_fragmentation(sa), *authentication.init_payloads(sa)]

    def accepts(self, sa: IkeSa, message: Message, now: float) -> bool:
        """Only a request to start over, or a sound answer; of anything else only the error is kept."""
        if self._asks_to_start_over(sa, message):
            return True
        try:
            self._error = self._evaluate(sa, message)
        except RemoteProtocolError as wrong:
            self._error = f"we refused the peer's answer in IKE_SA_INIT: {wrong.reason}"
        if self._error is None:
            return True
        sa.host.count("rx error in IKE_SA_INIT")
        sa.host.report(self._error, now)
        sa.requests.give_up_at(now + sa.host.config.init_error_grace_s)
        return False

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Derive the keys and go on to IKE_AUTH, or start over."""
        if self._answer is None:
            self._start_over(sa, message)
            return
        chosen, secret = self._answer
        nonces = Nonces(self._nonce, message.require(Nonce).data)
        sa.spi_r = message.header.responder_spi
        _note_facts(sa, message, sa.spi_r)
        sa.init.initiator_nonce, sa.init.responder_nonce = nonces.initiator, nonces.responder
        spis = (sa.spi_i, sa.spi_r)
        sa.protection = Protection.initial(
            chosen.suite, secret, nonces, spis, sa.host.entropy, is_initiator=True
        )
        sa.advance(IkeInput.ANSWERED)
        if sa.encapsulates:
            sa.path = sa.path.floated()
        sa.submit(IkeAuth(), now)

    def unanswered(self, sa: IkeSa, now: float) -> None:
        """The attempt has failed; the endpoint makes another."""
        sa.fail(self._error or "the peer does not answer IKE_SA_INIT", now)

    def _asks_to_start_over(self, sa: IkeSa, message: Message) -> bool:
        if self._restarts >= sa.host.config.init_restarts:
            return False
        if message.get(Sa) is not None:
            return False
        if message.notify(NotifyType.COOKIE) is not None:
            return True
        error = message.error
        assert self._private is not None
        group = None if error is None else usable_group(error, sa.host.config.ike_proposals)
        return group is not None and group != self._private.group

    def _start_over(self, sa: IkeSa, message: Message) -> None:
        self._restarts += 1
        cookie, error = message.notify(NotifyType.COOKIE), message.error
        if cookie is not None:
            sa.host.count("rx COOKIE")
            self._cookie = Notify(NotifyType.COOKIE, data=cookie.data)
        elif error is not None:
            sa.host.count("rx INVALID_KE_PAYLOAD")
            group = usable_group(error, sa.host.config.ike_proposals)
            assert group is not None
            self._private = dh.generate(group, sa.host.entropy)
        sa.requests.rewind()
        sa.queue.appendleft(self)

    def _evaluate(self, sa: IkeSa, message: Message) -> str | None:
        """Check the answer and compute g^ir; the peer's error, if it is one."""
        error = message.error
        if error is not None:
            return f"peer said {describe_error(error)} in IKE_SA_INIT"
        if message.notify(NotifyType.COOKIE) is not None and message.get(Sa) is None:
            return "peer keeps asking for cookies in IKE_SA_INIT"
        assert self._private is not None
        chosen = accept_ike(message.require(Sa), sa.host.config.ike_proposals)
        ke = message.require(Ke)
        if not ke.group == chosen.suite.group == self._private.group:
            raise InvalidKePayload(chosen.suite.group, ke.group)
        authentication.check_init(sa.host.config, message)
        self._answer = chosen, shared_secret(self._private, ke)
        return None


def respond(host: Host, message: Message, data: bytes, path: Path, now: float, *, may_grow: bool) -> bool:
    """Answer a request: a half-open IKE SA. RemoteProtocolError says why not, and what to reply.

    False, and nothing has happened, when the answer would be larger than the request and must not be.
    """
    chosen = select_ike(message.require(Sa), host.config.ike_proposals)
    ke, theirs = message.require(Ke), message.require(Nonce)
    if ke.group != chosen.suite.group:
        raise InvalidKePayload(chosen.suite.group, ke.group)
    sa = host.new_ike_sa(
        path,
        now,
        is_initiator=False,
        local_spi=host.new_ike_spi(),
        peer_spi=message.header.initiator_spi,
        state=IkeState.HALF_OPEN,
    )
    sa.timers.cleanup_at = now + host.config.half_open_s
    _note_facts(sa, message, NO_SPI)
    nonces = Nonces(theirs.data, host.entropy(NONCE_LENGTH))
    rest = [Nonce(nonces.responder), *_nat_detection(sa)]
    if sa.peer.supports_fragmentation:
        rest += _fragmentation(sa)
    rest += authentication.init_payloads(sa)
    # Public values of one group are equally long; ours would cost a computation.
    if not may_grow and len(build_message(message.header, [chosen.answer(), ke, *rest])) > len(data):
        host.forget(sa)
        return False
    try:
        public = _make_keys(sa, chosen.suite, ke, nonces)
    except RemoteProtocolError:
        host.forget(sa)
        raise
    sa.init.request = data
    sa.send_response(message.header, data, [chosen.answer(), public, *rest], path)
    sa.init.response = sa.responses.response[0]
    return True


def _make_keys(sa: IkeSa, suite: IkeSuite, theirs: Ke, nonces: Nonces) -> Ke:
    """The responder's half of the Diffie-Hellman exchange; InvalidSyntax for a bad public value."""
    private = dh.generate(suite.group, sa.host.entropy)
    secret = shared_secret(private, theirs)
    sa.init.initiator_nonce, sa.init.responder_nonce = nonces.initiator, nonces.responder
    spis = (sa.spi_i, sa.spi_r)
    sa.protection = Protection.initial(suite, secret, nonces, spis, sa.host.entropy, is_initiator=False)
    return Ke(theirs.group, private.public)


def _nat_detection(sa: IkeSa) -> list[Payload]:
    """Hashes of both ends as seen from here; a wrong one for this end makes the peer believe in a NAT."""
    path = sa.path
    source = nat_detection_hash(sa.spi_i, sa.spi_r, path.local, path.local_port)
    if sa.host.config.udp_encapsulation is UdpEncapsulation.ALWAYS:
        source = sa.host.entropy(len(source))
    destination = nat_detection_hash(sa.spi_i, sa.spi_r, path.remote, path.remote_port)
    return [
        Notify(NotifyType.NAT_DETECTION_SOURCE_IP, data=source),
        Notify(NotifyType.NAT_DETECTION_DESTINATION_IP, data=destination),
    ]


def _fragmentation(sa: IkeSa) -> list[Payload]:
    """That this end knows fragments (RFC 7383 section 2.3)."""
    wanted = sa.host.config.fragment_size is not None
    return [Notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)] if wanted else []


def _note_facts(sa: IkeSa, message: Message, spi_r: bytes) -> None:
    """Whether a NAT is on the way, and what the peer says of itself; `spi_r` is that of the message."""
    sources = _hashes(message, NotifyType.NAT_DETECTION_SOURCE_IP)
    ours = _hashes(message, NotifyType.NAT_DETECTION_DESTINATION_IP)
    path = sa.path
    sa.nat.supported = bool(sources and ours)
    sa.nat.remote = is_translated(sources, sa.spi_i, spi_r, path.remote, path.remote_port)
    sa.nat.local = is_translated(ours, sa.spi_i, spi_r, path.local, path.local_port)
    authentication.note_init(sa, message)
    sa.peer.vendor_ids = tuple(vendor.name or vendor.data.hex() for vendor in message.all(Vendor))
    sa.peer.supports_fragmentation = message.notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None


def _hashes(message: Message, kind: NotifyType) -> list[bytes]:
    return [notify.data for notify in message.all(Notify) if notify.type == kind]
