"""IKE_AUTH: the ends prove who they are, and make the first child (RFC 7296 sections 1.2, 2.15, 2.21.2).

```
 HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, [N(INITIAL_CONTACT),] SA, TSi, TSr}  -->
                                    <--  HDR, SK {IDr, [CERT,] AUTH, SA, TSi, TSr}
                    or              <--  HDR, SK {IDr, [CERT,] AUTH, N(error)}      an IKE SA without a child
                    or              <--  HDR, SK {N(AUTHENTICATION_FAILED)}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2 import authentication, ppk
from vcstack.ikev2.errors import AuthenticationFailed, RemoteProtocolError
from vcstack.ikev2.exchanges import prove_pfs
from vcstack.ikev2.exchanges.child_offer import ChildOffer, accept_answer, answer_offer, offer_first_child
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.informational import ReportFailure, delete_unwanted
from vcstack.ikev2.exchanges.refusal import describe_error, refuse_child
from vcstack.ikev2.iana import ExchangeType, NotifyType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.missing_child import child_failed
from vcstack.ikev2.states import IkeInput
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.identity import IdI, IdR
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.config import PeerConfig, RetransmitPolicy
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message


class IkeAuth(Exchange):
    """Proves who this end is, and asks for the first child."""

    kind = ExchangeType.IKE_AUTH
    name = "IKE_AUTH"

    def __init__(self) -> None:
        self._offer: ChildOffer | None = None

    def policy(self, config: PeerConfig) -> RetransmitPolicy:
        """As for IKE_SA_INIT: if its answer was forged, only a new attempt can help."""
        return config.init_retransmit

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, [N(...),] SA, TSi, TSr."""
        config = sa.host.config
        self._offer = offer_first_child(sa)
        own = config.local_id.initiator_payload()
        wanted = [] if config.remote_id is None else [config.remote_id.responder_payload()]
        contact = [Notify(NotifyType.INITIAL_CONTACT)] if sa.host.is_alone(sa) else []
        proof = authentication.prove(sa, own, ppk.keys_of_request(sa))
        who = [own, *authentication.certificates(sa), *wanted, proof, *ppk.request_payloads(sa, own)]
        return [*who, *contact, *self._offer.selectors(sa)]

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Verify the peer, then take the child if there is one."""
        assert self._offer is not None
        error = message.error
        if message.get(Auth) is None and error is not None:
            reason = f"peer said {describe_error(error)} in IKE_AUTH"
            sa.host.report(reason, now)
            sa.fail(reason, now)
            return
        try:
            ppk.take_response(sa, message)
            authentication.verify(sa, message, message.require(IdR), message.require(Auth).data)
        except RemoteProtocolError as wrong:
            self._not_authenticated(sa, wrong.reason, now)
            return
        _note_statuses(sa, message, now)
        sa.establish(now)
        if error is not None:
            child_failed(sa, f"peer said {describe_error(error)} for the child SA in IKE_AUTH", now)
            return
        try:
            child, _ = accept_answer(sa, self._offer, message, now)
        except RemoteProtocolError as wrong:
            delete_unwanted(sa, self._offer.spi_in, now)
            child_failed(
                sa, f"we refused the peer's answer for the child SA in IKE_AUTH: {wrong.reason}", now
            )
            return
        sa.host.children.install(child)
        sa.host.children.switch(child)
        prove_pfs.plan(sa, now)
        sa.host.settled(sa, now)

    def _not_authenticated(self, sa: IkeSa, why: str, now: float) -> None:
        reason = f"we refused the peer in IKE_AUTH: {why}"
        sa.host.report(reason, now)
        sa.advance(IkeInput.CLOSE)
        sa.host.gone(sa, reason, now)
        sa.submit(ReportFailure(), now)


def respond(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    """Verify the initiator, prove who this end is, and make the first child."""
    if message.header.exchange != ExchangeType.IKE_AUTH:
        return [Notify(NotifyType.INVALID_SYNTAX)]
    try:
        _check_wanted_identity(sa, message)
        authentication.verify(sa, message, message.require(IdI), ppk.take_request(sa, message))
        proof = _own_proof(sa)
    except AuthenticationFailed as wrong:
        reason = f"we refused the peer in IKE_AUTH: {wrong.reason}"
        sa.host.report(reason, now)
        sa.fail(reason, now)
        return [Notify(NotifyType.AUTHENTICATION_FAILED)]
    _note_statuses(sa, message, now)
    sa.establish(now)
    sa.peer.is_first_contact = message.notify(NotifyType.INITIAL_CONTACT) is not None
    try:
        child, _, payloads = answer_offer(sa, message, now, first=True)
    except RemoteProtocolError as error:
        sa.host.settled(sa, now)
        return [*proof, *refuse_child(sa, error, now)]
    sa.host.children.install(child)
    sa.host.children.switch_when_proven(child, now + sa.host.config.switch_fallback_s)
    sa.host.settled(sa, now)
    return [*proof, *payloads]


def _own_proof(sa: IkeSa) -> list[Payload]:
    """IDr, [CERT,] AUTH, [N(PPK_IDENTITY)] of a responder."""
    assert sa.protection is not None
    own = sa.host.config.local_id.responder_payload()
    auth = authentication.prove(sa, own, sa.protection.keys)
    return [own, *authentication.certificates(sa), auth, *ppk.response_payloads(sa)]


def _check_wanted_identity(sa: IkeSa, message: Message) -> None:
    wanted = message.get(IdR)
    if wanted is not None and not sa.host.config.local_id.matches(Identity.of(wanted)):
        raise AuthenticationFailed(
            f"it wants to talk to {Identity.of(wanted)}, local_id is {sa.host.config.local_id}"
        )


def _note_statuses(sa: IkeSa, message: Message, now: float) -> None:
    window, lifetime = message.notify(NotifyType.SET_WINDOW_SIZE), message.notify(NotifyType.AUTH_LIFETIME)
    if window is not None:
        sa.peer.window = int.from_bytes(window.data, "big")
    if lifetime is not None:
        sa.limit_authentication(int.from_bytes(lifetime.data, "big"), now)
