"""CREATE_CHILD_SA for a new child (RFC 7296 section 1.3.1), and the door for all three uses of the exchange.

```
 HDR, SK {SA, Ni, [KEi,] TSi, TSr}  -->
                                    <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges import rekey_child, rekey_ike
from vcstack.ikev2.exchanges.child_offer import answer_offer
from vcstack.ikev2.exchanges.make_child import MakeChild, Rival
from vcstack.ikev2.exchanges.refusal import describe_error, refuse_child
from vcstack.ikev2.iana import NotifyType, ProtocolId
from vcstack.ikev2.missing_child import child_failed, has_child
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message

MAX_CHILDREN = 16
"""Of one IKE SA; a tunnel has one, and three during a rekey collision."""


class CreateChild(MakeChild):
    """Asks for a child SA when there is none."""

    name = "CREATE_CHILD_SA (new child)"

    def __init__(self) -> None:
        super().__init__(None)

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """SA, Ni, [KEi,] TSi, TSr; nothing when the peer has made a child meanwhile."""
        return None if has_child(sa) else self.offered(sa)

    def refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        """Say why there is no child, and try again later."""
        if error.type == NotifyType.INVALID_SYNTAX:
            sa.fail("peer said INVALID_SYNTAX to a new child", now)
        else:
            child_failed(sa, f"peer said {describe_error(error)} in CREATE_CHILD_SA", now)

    def failed(self, sa: IkeSa, reason: str, now: float) -> None:
        """Say why there is no child, and try again later."""
        child_failed(sa, f"we refused the peer's answer in CREATE_CHILD_SA: {reason}", now)


def respond(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    """Answer CREATE_CHILD_SA, whichever of its three uses it is."""
    if not sa.is_up:
        # RFC 7296 section 2.25.2: this IKE SA is being closed.
        return [Notify(NotifyType.TEMPORARY_FAILURE)]
    if message.require(Sa).proposals[0].protocol == ProtocolId.IKE:
        return rekey_ike.respond(sa, message, now)
    if sa.is_doing(rekey_ike.RekeyIke):
        # RFC 7296 section 2.25.2: children wait until they are inherited.
        return [Notify(NotifyType.TEMPORARY_FAILURE)]
    rekey = message.notify(NotifyType.REKEY_SA)
    if rekey is not None:
        return rekey_child.respond(sa, message, rekey, now)
    return _respond_new(sa, message, now)


def _respond_new(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    if len(sa.host.children.owned_by(sa)) >= MAX_CHILDREN:
        return [Notify(NotifyType.NO_ADDITIONAL_SAS)]
    try:
        child, nonces, payloads = answer_offer(sa, message, now, first=False)
    except RemoteProtocolError as error:
        return refuse_child(sa, error, now)
    sa.timers.child_failures = 0
    sa.host.children.install(child)
    own = sa.current
    if isinstance(own, CreateChild):
        own.rival = Rival(child, nonces)
    fallback_at = None if isinstance(own, CreateChild) else now + sa.host.config.switch_fallback_s
    sa.host.children.switch_when_proven(child, fallback_at)
    return payloads
