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

from typing import TYPE_CHECKING

from vcstack.ikev2.algorithms import name_of
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.events import ChildFailed
from vcstack.ikev2.exchanges.child_offer import answer_offer, preferred_group
from vcstack.ikev2.exchanges.make_child import MakeChild, Rival
from vcstack.ikev2.exchanges.refusal import describe_error, refuse_child
from vcstack.ikev2.host import backoff_s
from vcstack.ikev2.iana import DhGroup, NotifyType, ProtocolId
from vcstack.ikev2.missing_child import want_child
from vcstack.ikev2.states import ChildState
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message


class RekeyChild(MakeChild):
    """Replaces a child SA."""

    name = "CREATE_CHILD_SA (child rekey)"

    def __init__(self, old: Child) -> None:
        super().__init__(old)
        self._replaced = old

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr; nothing when the child was deleted or rekeyed meanwhile."""
        old = self._replaced
        if old.state is not ChildState.ACTIVE or old.successor_is_alive:
            old.rekeying = False
            return None
        spi = old.sa.spi_in.to_bytes(4, "big")
        return [Notify(NotifyType.REKEY_SA, ProtocolId.ESP, spi), *self.offered(sa)]

    def refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        """Keep the old child while it lives, and ask again."""
        if error.type == NotifyType.CHILD_SA_NOT_FOUND:
            self._unknown_to_peer(sa, now)
        elif error.type == NotifyType.NO_ADDITIONAL_SAS:
            sa.host.reauthenticate(now, "peer said NO_ADDITIONAL_SAS: it does not rekey child SAs")
            self._retry_later(sa, now)
        elif error.type == NotifyType.INVALID_SYNTAX:
            sa.fail("peer said INVALID_SYNTAX to a child rekey", now)
        elif error.type == NotifyType.TEMPORARY_FAILURE:
            self._retry_later(sa, now)
        else:
            self._report(sa, f"peer said {describe_error(error)} to a child rekey", now)

    def failed(self, sa: IkeSa, reason: str, now: float) -> None:
        """Keep the old child while it lives, and ask again."""
        self._report(sa, f"we refused the peer's answer to a child rekey: {reason}", now)

    def _report(self, sa: IkeSa, reason: str, now: float) -> None:
        sa.host.report(reason, now)
        sa.host.emit(ChildFailed(reason))
        self._retry_later(sa, now)

    def _unknown_to_peer(self, sa: IkeSa, now: float) -> None:
        """RFC 7296 section 2.25: forget the child silently, and ask for a new one."""
        sa.host.children.retire(self._replaced, "unknown to the peer")
        want_child(sa, now)

    @property
    def old_is_alive(self) -> bool:
        """Whether there is still something to replace."""
        return self._replaced.is_alive

    def concluded(self, sa: IkeSa, child: Child) -> None:
        """The peer agreed, perhaps to a Diffie-Hellman exchange as well."""
        judge(sa, child)

    def keep_old(self, sa: IkeSa, now: float) -> None:
        """The old child carries on until its time; without one, start from scratch."""
        if not self.old_is_alive:
            want_child(sa, now)

    def _retry_later(self, sa: IkeSa, now: float) -> None:
        """The old child still carries traffic; without one, start from scratch."""
        old = self._replaced
        if not old.is_alive:
            want_child(sa, now)
            return
        old.rekey_failures += 1
        old.rekey_at = now + backoff_s(sa.host, sa.host.config.rekey_retry, old.rekey_failures)


def judge(sa: IkeSa, child: Child) -> None:
    """What a rekeyed child shows of perfect forward secrecy."""
    group = child.sa.pfs_group
    if group is not None:
        sa.host.judge_pfs(f"PFS proven: {name_of(DhGroup(group))}", is_proven=True)
    elif preferred_group(sa.host.config.esp_proposals) is not None:
        sa.host.judge_pfs("PFS not used: the peer agreed to rekey without it", is_proven=False)


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
    judge(sa, child)
    child.predecessor, old.successor = old, child
    sa.host.children.install(child)
    own = sa.current
    if isinstance(own, RekeyChild) and own.old is old:
        # RFC 7296 section 2.8.1: which of the two stays is known when our own answer comes.
        own.rival = Rival(child, nonces)
    else:
        child.switch_at = now + sa.host.config.switch_fallback_s
    return payloads
