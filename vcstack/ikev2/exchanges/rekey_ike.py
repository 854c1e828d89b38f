"""CREATE_CHILD_SA that replaces the IKE SA (RFC 7296 sections 1.3.2, 2.8.2, 2.18, 2.25.2).

```
 HDR, SK {SA(SPIi), Ni, KEi}  -->
                              <--  HDR, SK {SA(SPIr), Nr, KEr}
 the new IKE SA has the children, the initiator of this exchange is its initiator
 HDR, SK {D(IKE)}             -->                    on the old IKE SA, its last request
                              <--  HDR, SK {}
```
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vcstack.crypto import dh
from vcstack.ikev2.collision import Nonces, loses
from vcstack.ikev2.errors import InvalidKePayload, RemoteProtocolError
from vcstack.ikev2.exchanges.child_offer import NONCE_LENGTH, shared_secret
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.refusal import describe_error, usable_group
from vcstack.ikev2.host import backoff_s
from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType
from vcstack.ikev2.proposal import IkeSuite, offer
from vcstack.ikev2.selection import accept_ike, select_ike
from vcstack.ikev2.states import IkeState
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message
    from vcstack.wire.secret import Secret


@dataclass(frozen=True, slots=True)
class Rival:
    """The peer's rekeying of the same IKE SA, answered while ours was unanswered."""

    sa: IkeSa
    nonces: Nonces


class RekeyIke(Exchange):
    """Replaces the IKE SA it is sent on."""

    kind = ExchangeType.CREATE_CHILD_SA
    name = "CREATE_CHILD_SA (IKE rekey)"

    def __init__(self) -> None:
        self.rival: Rival | None = None
        self._private: dh.PrivateKey | None = None
        self._spi = b""
        self._nonce = b""
        self._retried = False

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """SA with a new SPI, Ni, KEi; nothing when the IKE SA has been replaced meanwhile."""
        if not sa.is_up:
            return None
        if self._private is None:
            assert sa.protection is not None
            self._private = dh.generate(sa.protection.suite.group, sa.host.entropy)
            self._spi = sa.host.new_ike_spi()
            self._nonce = sa.host.entropy(NONCE_LENGTH)
        ke = Ke(DhGroup(self._private.group), self._private.public)
        return [offer(sa.host.config.ike_proposals, self._spi), Nonce(self._nonce), ke]

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Hand over to the new IKE SA, or keep this one and try again."""
        error = message.error
        if error is not None and not sa.is_up:
            return
        if error is not None:
            self._refused(sa, error, now)
            return
        try:
            new, nonces = self._accept(sa, message, now)
        except RemoteProtocolError as wrong:
            self._failed(sa, f"we refused the peer's answer to an IKE rekey: {wrong.reason}", now)
            return
        if not sa.is_up:
            # The peer's new IKE SA has taken over while the answer was on its way.
            new.close_redundant(now)
            return
        rival = self.rival
        if rival is not None and rival.sa.is_up and loses(nonces, rival.nonces):
            sa.host.count("IKE rekey collision lost")
            sa.hand_over(rival.sa, now)
            new.close_redundant(now)
            return
        if rival is not None and rival.sa.is_up:
            sa.host.count("IKE rekey collision won")
            rival.sa.await_delete(now)
        sa.hand_over(new, now)
        sa.finish(now)

    def unanswered(self, sa: IkeSa, now: float) -> None:
        """The peer is dead, unless it has long gone over to an IKE SA of its own making."""
        self.yield_to_rival(sa, now)
        super().unanswered(sa, now)

    def yield_to_rival(self, sa: IkeSa, now: float) -> bool:
        """Let the peer's new IKE SA take over, if there is one."""
        if self.rival is None or not self.rival.sa.is_up or not sa.is_up:
            return False
        sa.hand_over(self.rival.sa, now)
        return True

    def _accept(self, sa: IkeSa, message: Message, now: float) -> tuple[IkeSa, Nonces]:
        assert self._private is not None
        chosen = accept_ike(message.require(Sa), sa.host.config.ike_proposals, rekey=True)
        ke, nonces = message.require(Ke), Nonces(self._nonce, message.require(Nonce).data)
        if not ke.group == chosen.suite.group == self._private.group:
            raise InvalidKePayload(chosen.suite.group, ke.group)
        spis = (self._spi, chosen.spi)
        secret = shared_secret(self._private, ke)
        return _successor(sa, chosen.suite, secret, nonces, spis, now, is_initiator=True), nonces

    def _refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        group = usable_group(error, sa.host.config.ike_proposals)
        if group is not None and not self._retried and self.rival is None:
            self._retried = True
            self._private = dh.generate(group, sa.host.entropy)
            sa.queue.appendleft(self)
        elif self.yield_to_rival(sa, now):
            sa.host.count("own IKE rekey forgotten")
        elif error.type == NotifyType.NO_ADDITIONAL_SAS:
            sa.host.reauthenticate(now, "peer said NO_ADDITIONAL_SAS: it does not rekey IKE SAs")
            self._retry_later(sa, now)
        elif error.type == NotifyType.INVALID_SYNTAX:
            sa.fail("peer said INVALID_SYNTAX to an IKE rekey", now)
        elif error.type == NotifyType.TEMPORARY_FAILURE:
            self._retry_later(sa, now)
        else:
            self._failed(sa, f"peer said {describe_error(error)} to an IKE rekey", now)

    def _failed(self, sa: IkeSa, reason: str, now: float) -> None:
        sa.host.report(reason, now)
        if not self.yield_to_rival(sa, now):
            self._retry_later(sa, now)

    def _retry_later(self, sa: IkeSa, now: float) -> None:
        sa.timers.rekey_failures += 1
        sa.timers.rekey_at = now + backoff_s(sa.host, sa.host.config.rekey_retry, sa.timers.rekey_failures)


def respond(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    """Make the successor of this IKE SA."""
    own = sa.current
    busy = own is not None and own.concerns_child
    if busy or (isinstance(own, RekeyIke) and own.rival is not None):
        # RFC 7296 section 2.25.1: a child SA is just being created, rekeyed or closed.
        return [Notify(NotifyType.TEMPORARY_FAILURE)]
    try:
        new, nonces, payloads = _answer(sa, message, now)
    except RemoteProtocolError as error:
        notify = error.notify or NotifyType.NO_PROPOSAL_CHOSEN
        if notify != NotifyType.INVALID_KE_PAYLOAD:
            sa.host.report(f"we refused the peer's IKE rekey ({notify}): {error.reason}", now)
        return [Notify(notify, data=error.data)]
    if isinstance(own, RekeyIke):
        own.rival = Rival(new, nonces)
        new.contested_by = sa
    else:
        sa.hand_over(new, now)
    return payloads


def _answer(sa: IkeSa, message: Message, now: float) -> tuple[IkeSa, Nonces, list[Payload]]:
    ke, theirs = message.require(Ke), message.require(Nonce)
    chosen = select_ike(message.require(Sa), sa.host.config.ike_proposals, rekey=True)
    if ke.group != chosen.suite.group:
        raise InvalidKePayload(chosen.suite.group, ke.group)
    private = dh.generate(chosen.suite.group, sa.host.entropy)
    secret = shared_secret(private, ke)
    nonces = Nonces(theirs.data, sa.host.entropy(NONCE_LENGTH))
    spis = (chosen.spi, sa.host.new_ike_spi())
    new = _successor(sa, chosen.suite, secret, nonces, spis, now, is_initiator=False)
    payloads: list[Payload] = [chosen.answer(spis[1]), Nonce(nonces.responder), Ke(ke.group, private.public)]
    return new, nonces, payloads


def _successor(
    old: IkeSa,
    suite: IkeSuite,
    secret: Secret,
    nonces: Nonces,
    spis: tuple[bytes, bytes],
    now: float,
    *,
    is_initiator: bool,
) -> IkeSa:
    """The new IKE SA with its keys; it has neither children nor messages yet."""
    assert old.protection is not None
    local_spi, peer_spi = spis if is_initiator else (spis[1], spis[0])
    new = old.host.new_ike_sa(
        old.path,
        now,
        is_initiator=is_initiator,
        local_spi=local_spi,
        peer_spi=peer_spi,
        state=IkeState.ESTABLISHED,
    )
    new.nat, new.peer = replace(old.nat), replace(old.peer, window=1)
    new.protection = old.protection.rekeyed(suite, secret, nonces, spis, is_initiator=is_initiator)
    new.start_lifetime(now)
    return new
