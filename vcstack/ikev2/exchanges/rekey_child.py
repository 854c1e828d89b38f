"""CREATE_CHILD_SA that replaces a child (RFC 7296 sections 1.3.3, 2.8, 2.8.1, 2.25.1).

```
 HDR, SK {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr}  -->
                             install inbound; still send on the old one
                                                 <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
 install both, send on the new one
 HDR, SK {D(old)}                                -->
                             send on the new one
                                                 <--  HDR, SK {D(old)}
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.ikev2.collision import Nonces, loses
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.events import ChildFailed
from vcstack.ikev2.exchanges.child_offer import (
    ChildOffer,
    accept_answer,
    answer_offer,
    offer_child,
    preferred_group,
)
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.informational import delete_child, delete_unwanted
from vcstack.ikev2.exchanges.refusal import describe_error, refuse_child, usable_group
from vcstack.ikev2.host import backoff_s
from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType, ProtocolId
from vcstack.ikev2.missing_child import want_child
from vcstack.ikev2.states import ChildState
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message


@dataclass(frozen=True, slots=True)
class Rival:
    """The peer's rekeying of the same child, answered while ours was unanswered."""

    child: Child
    nonces: Nonces


class RekeyChild(Exchange):
    """Replaces a child SA."""

    kind = ExchangeType.CREATE_CHILD_SA
    name = "CREATE_CHILD_SA (child rekey)"
    concerns_child = True
    makes_child = True

    def __init__(self, old: Child) -> None:
        self.old = old
        self.rival: Rival | None = None
        self._offer: ChildOffer | None = None
        self._retried = False

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr; nothing when the child was deleted or rekeyed by the peer."""
        old = self.old
        if self.rival is None and (old.state is not ChildState.ACTIVE or old.successor_is_alive):
            old.rekeying = False
            return None
        if self._offer is None:
            group = None if old.sa.pfs_group is None else DhGroup(old.sa.pfs_group)
            self._offer = offer_child(sa, group or preferred_group(sa.host.config.esp_proposals))
        spi = old.sa.spi_in.to_bytes(4, "big")
        return [Notify(NotifyType.REKEY_SA, ProtocolId.ESP, spi), *self._offer.payloads(sa)]

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Switch to the new child, or keep the old one and try again."""
        assert self._offer is not None
        error = message.error
        if error is not None:
            self._refused(sa, error, now)
            return
        self.old.rekeying = False
        try:
            child, nonces = accept_answer(sa, self._offer, message, now)
        except RemoteProtocolError as wrong:
            delete_unwanted(sa, self._offer.spi_in, now)
            self._failed(sa, f"we refused the peer's answer to a child rekey: {wrong.reason}", now)
            return
        child.predecessor = self.old
        sa.host.children.install(child)
        self._conclude(sa, child, nonces, now)

    def forget(self, sa: IkeSa, now: float) -> None:
        """The child may be rekeyed by others again."""
        self.old.rekeying = False
        self._rival_stands(sa, now)

    def _conclude(self, sa: IkeSa, child: Child, nonces: Nonces, now: float) -> None:
        children, rival = sa.host.children, self.rival
        if rival is not None and rival.child.is_alive and loses(nonces, rival.nonces):
            sa.host.count("child rekey collision lost")
            children.lose(child, None)
            delete_child(sa, child, "lost a rekey collision", now)
            self._rival_stands(sa, now)
            return
        self.old.successor = child
        children.switch(child)
        if rival is not None and rival.child.is_alive:
            sa.host.count("child rekey collision won")
            children.lose(rival.child, now + sa.host.config.redundant_child_s)
        if self.old.is_alive:
            delete_child(sa, self.old, "rekeyed", now)

    def _rival_stands(self, sa: IkeSa, now: float) -> bool:
        """The peer's rekeying is the only one: send on its child as soon as the peer proves to have it."""
        if self.rival is None or not self.rival.child.is_alive:
            return False
        if self.rival.child.state is ChildState.PENDING:
            self.rival.child.switch_at = now + sa.host.config.switch_fallback_s
        return True

    def _refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        group = usable_group(error, sa.host.config.esp_proposals)
        if group is not None and not self._retried and self.rival is None:
            self._retried = True
            self._offer = offer_child(sa, group)
            sa.queue.appendleft(self)
            return
        self.old.rekeying = False
        if self._rival_stands(sa, now):
            sa.host.count("own child rekey forgotten")
        elif error.type == NotifyType.CHILD_SA_NOT_FOUND:
            self._unknown_to_peer(sa, now)
        elif error.type == NotifyType.NO_ADDITIONAL_SAS:
            sa.host.reauthenticate(now, "peer said NO_ADDITIONAL_SAS: it does not rekey child SAs")
            self._retry_later(sa, now)
        elif error.type == NotifyType.INVALID_SYNTAX:
            sa.fail("peer said INVALID_SYNTAX to a child rekey", now)
        elif error.type == NotifyType.TEMPORARY_FAILURE:
            self._retry_later(sa, now)
        else:
            self._failed(sa, f"peer said {describe_error(error)} to a child rekey", now)

    def _unknown_to_peer(self, sa: IkeSa, now: float) -> None:
        """RFC 7296 section 2.25: forget the child silently, and ask for a new one."""
        sa.host.children.retire(self.old, "unknown to the peer")
        want_child(sa, now)

    def _failed(self, sa: IkeSa, reason: str, now: float) -> None:
        if self._rival_stands(sa, now):
            return
        sa.host.report(reason, now)
        sa.host.emit(ChildFailed(reason))
        self._retry_later(sa, now)

    def _retry_later(self, sa: IkeSa, now: float) -> None:
        """The old child still carries traffic; without one, start from scratch."""
        if not self.old.is_alive:
            want_child(sa, now)
            return
        self.old.rekey_failures += 1
        self.old.rekey_at = now + backoff_s(sa.host, sa.host.config.rekey_retry, self.old.rekey_failures)


def respond(sa: IkeSa, message: Message, rekey: Notify, now: float) -> Sequence[Payload]:
    """Make the successor of a child that the peer names by the SPI it receives on."""
    old = sa.host.children.find_outbound(sa, int.from_bytes(rekey.spi, "big"))
    if old is None or rekey.protocol != ProtocolId.ESP:
        return [Notify(NotifyType.CHILD_SA_NOT_FOUND, rekey.protocol, rekey.spi)]
    if old.state is ChildState.DELETING or old.successor_is_alive:
        return [Notify(NotifyType.TEMPORARY_FAILURE)]
    try:
        child, nonces, payloads = answer_offer(sa, message, now, first=False)
    except RemoteProtocolError as error:
        return refuse_child(sa, error, now)
    child.predecessor, old.successor = old, child
    sa.host.children.install(child)
    own = sa.current
    if isinstance(own, RekeyChild) and own.old is old:
        # RFC 7296 section 2.8.1: which of the two stays is known when our own answer comes.
        own.rival = Rival(child, nonces)
    else:
        child.switch_at = now + sa.host.config.switch_fallback_s
    return payloads
