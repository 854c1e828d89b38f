"""What CREATE_CHILD_SA for a new child and for a rekeyed one have in common: the asking end.

Both ends may ask at once; then each answers as usual, and when its own answer has come the child of
the lowest nonce goes (RFC 7296 section 2.8.1, which a new child on both ends resembles).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.ikev2.collision import Nonces, loses
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges.child_offer import ChildOffer, accept_answer, offer_child, preferred_group
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.informational import delete_child, delete_unwanted
from vcstack.ikev2.exchanges.refusal import usable_group
from vcstack.ikev2.iana import DhGroup, ExchangeType
from vcstack.ikev2.states import ChildState

if TYPE_CHECKING:
    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message
    from vcstack.ikev2.wire.notify import Notify


@dataclass(frozen=True, slots=True)
class Rival:
    """What the peer made by the same kind of request, answered while ours was unanswered."""

    child: Child
    nonces: Nonces


class MakeChild(Exchange):
    """Asks for a child SA, in the place of `old` if there is one."""

    kind = ExchangeType.CREATE_CHILD_SA
    concerns_child = True
    makes_child = True

    def __init__(self, old: Child | None) -> None:
        self.old = old
        self.rival: Rival | None = None
        self._offer: ChildOffer | None = None
        self._retried = False

    @abstractmethod
    def refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        """The peer said no, and nothing of its own stands in the place."""

    @abstractmethod
    def failed(self, sa: IkeSa, reason: str, now: float) -> None:
        """The peer's answer is not acceptable, and nothing of its own stands in the place."""

    def concluded(self, sa: IkeSa, child: Child) -> None:
        """The peer has made the child that was asked for."""

    def offered(self, sa: IkeSa) -> list[Payload]:
        """SA, Ni, [KEi,] TSi, TSr."""
        if self._offer is None:
            agreed = (
                None if self.old is None or self.old.sa.pfs_group is None else DhGroup(self.old.sa.pfs_group)
            )
            self._offer = offer_child(sa, agreed or preferred_group(sa.host.config.esp_proposals))
        return self._offer.payloads(sa)

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Send on the new child, or keep what there is and try again."""
        assert self._offer is not None
        error = message.error
        if error is not None and self._asks_again(sa, error):
            return
        self._release()
        if error is not None:
            if self._rival_stands(sa, now):
                sa.host.count("own child request forgotten")
            else:
                self.refused(sa, error, now)
            return
        try:
            child, nonces = accept_answer(sa, self._offer, message, now)
        except RemoteProtocolError as wrong:
            delete_unwanted(sa, self._offer.spi_in, now)
            if not self._rival_stands(sa, now):
                self.failed(sa, wrong.reason, now)
            return
        self._conclude(sa, child, nonces, now)

    def forget(self, sa: IkeSa, now: float) -> None:
        """The child may be rekeyed by others again."""
        self._release()
        self._rival_stands(sa, now)

    def _conclude(self, sa: IkeSa, child: Child, nonces: Nonces, now: float) -> None:
        children, rival = sa.host.children, self.rival
        self.concluded(sa, child)
        child.predecessor = self.old
        children.install(child)
        contested = rival is not None and rival.child.is_alive
        if rival is not None and contested and loses(nonces, rival.nonces):
            sa.host.count("child collision lost")
            children.lose(child, None)
            delete_child(sa, child, "lost a collision", now)
            self._rival_stands(sa, now)
            return
        children.switch(child)
        sa.timers.child_failures = 0
        if rival is not None and contested:
            sa.host.count("child collision won")
            children.lose(rival.child, now + sa.host.config.redundant_child_s)
        if self.old is not None:
            self.old.successor = child
            delete_child(sa, self.old, "rekeyed", now)

    def _rival_stands(self, sa: IkeSa, now: float) -> bool:
        """The peer's child is the only one: send on it as soon as the peer proves to have it."""
        if self.rival is None or not self.rival.child.is_alive:
            return False
        if self.rival.child.state is ChildState.PENDING:
            self.rival.child.switch_at = now + sa.host.config.switch_fallback_s
        return True

    def _asks_again(self, sa: IkeSa, error: Notify) -> bool:
        """Whether the peer wants another group that this end has, once."""
        group = usable_group(error, sa.host.config.esp_proposals)
        if group is None or self._retried or self.rival is not None:
            return False
        self._retried = True
        self._offer = offer_child(sa, group)
        sa.queue.appendleft(self)
        return True

    def _release(self) -> None:
        if self.old is not None:
            self.old.rekeying = False
