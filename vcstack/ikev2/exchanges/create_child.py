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
from vcstack.ikev2.exchanges.child_offer import (
    ChildOffer,
    accept_answer,
    answer_offer,
    offer_child,
    preferred_group,
)
from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.exchanges.informational import delete_unwanted
from vcstack.ikev2.exchanges.refusal import describe_error, refuse_child, usable_group
from vcstack.ikev2.iana import ExchangeType, NotifyType, ProtocolId
from vcstack.ikev2.missing_child import child_failed
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message

MAX_CHILDREN = 16
"""Of one IKE SA; a tunnel has one, and three during a rekey collision."""


class CreateChild(Exchange):
    """Asks for a child SA on an IKE SA that has none."""

    kind = ExchangeType.CREATE_CHILD_SA
    name = "CREATE_CHILD_SA (new child)"
    concerns_child = True
    makes_child = True

    def __init__(self) -> None:
        self._offer: ChildOffer | None = None
        self._retried = False

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """SA, Ni, [KEi,] TSi, TSr."""
        if self._offer is None:
            self._offer = offer_child(sa, preferred_group(sa.host.config.esp_proposals))
        return self._offer.payloads(sa)

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Install the child, or say why there is none and try again later."""
        assert self._offer is not None
        error = message.error
        if error is not None:
            self._refused(sa, error, now)
            return
        try:
            child, _ = accept_answer(sa, self._offer, message, now)
        except RemoteProtocolError as wrong:
            delete_unwanted(sa, self._offer.spi_in, now)
            child_failed(sa, f"we refused the peer's answer in CREATE_CHILD_SA: {wrong.reason}", now)
            return
        sa.timers.child_failures = 0
        sa.host.children.install(child)
        sa.host.children.switch(child)

    def _refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        group = usable_group(error, sa.host.config.esp_proposals)
        if group is not None and not self._retried:
            self._retried = True
            self._offer = offer_child(sa, group)
            sa.queue.appendleft(self)
            return
        child_failed(sa, f"peer said {describe_error(error)} in CREATE_CHILD_SA", now)


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
        child, _, payloads = answer_offer(sa, message, now, first=False)
    except RemoteProtocolError as error:
        return refuse_child(sa, error, now)
    sa.timers.child_failures = 0
    sa.host.children.install(child)
    if sa.host.children.carrying is None:
        sa.host.children.switch(child)
    else:
        child.switch_at = now + sa.host.config.switch_fallback_s
    return payloads
