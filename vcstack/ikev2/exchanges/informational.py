"""INFORMATIONAL: deleting SAs, and asking whether the peer lives (RFC 7296 sections 1.4, 2.4).

```
 HDR, SK {}              -->                          liveness
                         <--  HDR, SK {}
 HDR, SK {D(ESP, SPIs)}  -->                          the SPIs that the sender receives on
                         <--  HDR, SK {D(ESP, SPIs)}  the other half of the pairs
 HDR, SK {D(IKE)}        -->                          the IKE SA and all its children
                         <--  HDR, SK {}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.exchanges.exchange import Exchange
from vcstack.ikev2.iana import ExchangeType, NotifyType, ProtocolId
from vcstack.ikev2.missing_child import replace_missing_child
from vcstack.ikev2.states import ChildState
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.config import PeerConfig, RetransmitPolicy
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message


class Liveness(Exchange):
    """An empty request: any answer shows that the peer lives."""

    kind = ExchangeType.INFORMATIONAL
    name = "the liveness check"

    def policy(self, config: PeerConfig) -> RetransmitPolicy:
        """Has its own patience, because the tunnel's failure waits for it."""
        return config.dpd_retransmit

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """Nothing is in it."""
        return [] if sa.is_up else None

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """That it came was noted already."""


class DeleteChild(Exchange):
    """Deletes a child SA, or one that only the peer has."""

    kind = ExchangeType.INFORMATIONAL
    name = "the DELETE of a child SA"
    concerns_child = True

    def __init__(self, spi_in: int, reason: str) -> None:
        self._spi_in = spi_in
        self._reason = reason

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """D(ESP, the SPI that this end receives on)."""
        return [Delete(ProtocolId.ESP, (self._spi_in.to_bytes(4, "big"),))]

    def response(self, sa: IkeSa, message: Message, now: float) -> None:  # noqa: ARG002
        """Whatever the peer says: it has had its chance to switch."""
        child = sa.host.children.get(self._spi_in)
        if child is not None:
            sa.host.children.retire(child, self._reason)
        replace_missing_child(sa, now)


class DeleteIke(Exchange):
    """Deletes the IKE SA it is sent on, and all its children: the last request on it."""

    kind = ExchangeType.INFORMATIONAL
    name = "the DELETE of the IKE SA"

    def policy(self, config: PeerConfig) -> RetransmitPolicy:
        """Best effort: a peer that is gone must not keep this end waiting."""
        return config.close_retransmit

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """D(IKE)."""
        return [Delete(ProtocolId.IKE)]

    def response(self, sa: IkeSa, message: Message, now: float) -> None:  # noqa: ARG002
        """The peer has let go as well."""
        sa.fail("deleted", now)

    def unanswered(self, sa: IkeSa, now: float) -> None:
        """The peer does not need to agree."""
        sa.fail("deleted", now)


class ReportFailure(DeleteIke):
    """Tells a responder that its own authentication failed here (RFC 7296 section 2.21.2)."""

    name = "the report of a failed authentication"

    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:  # noqa: ARG002
        """N(AUTHENTICATION_FAILED), which ends the IKE SA without a DELETE."""
        return [Notify(NotifyType.AUTHENTICATION_FAILED)]


def delete_child(sa: IkeSa, child: Child, reason: str, now: float) -> None:
    """Stop sending on a child and tell the peer to delete it; its inbound half stays until it agrees."""
    if child.state in (ChildState.DELETING, ChildState.RETIRED):
        return
    sa.host.children.begin_delete(child)
    sa.submit(DeleteChild(child.sa.spi_in, reason), now)


def delete_unwanted(sa: IkeSa, spi_in: int, now: float) -> None:
    """Delete a child that the peer believes in and that was never installed here."""
    sa.submit(DeleteChild(spi_in, "its answer was not acceptable"), now)


def deletes_ike(message: Message) -> bool:
    """Whether a request deletes the IKE SA that it comes on."""
    return any(delete.protocol == ProtocolId.IKE for delete in message.all(Delete))


def respond(sa: IkeSa, message: Message, now: float) -> Sequence[Payload]:
    """Answer whatever is in an INFORMATIONAL request; an answer there is always."""
    error = message.error
    if error is not None:
        sa.host.report(f"peer said {error.type} in INFORMATIONAL", now)
        if error.type == NotifyType.INVALID_SPI:
            _rekey_unknown(sa, error, now)
        if error.type in (NotifyType.AUTHENTICATION_FAILED, NotifyType.INVALID_SYNTAX):
            sa.fail(f"peer said {error.type}", now)
            return []
    if deletes_ike(message):
        _deleted_by_peer(sa, now)
        return []
    lifetime = message.notify(NotifyType.AUTH_LIFETIME)
    if lifetime is not None:
        sa.limit_authentication(int.from_bytes(lifetime.data, "big"), now)
    deletes = [delete for delete in message.all(Delete) if delete.protocol == ProtocolId.ESP]
    closed = [spi for delete in deletes for spi in _close(sa, delete)]
    replace_missing_child(sa, now)
    return [Delete(ProtocolId.ESP, tuple(closed))] if closed else []


def _rekey_unknown(sa: IkeSa, error: Notify, now: float) -> None:
    """The peer does not know what we send on: rekeying that works, or it says so again (RFC 7296 2.25)."""
    child = sa.host.children.find_outbound(sa, int.from_bytes(error.data, "big"))
    if child is not None:
        child.rekey_at, child.rekey_reason = min(child.rekey_at, now), "unknown to the peer"


def _deleted_by_peer(sa: IkeSa, now: float) -> None:
    if sa.current is not None and sa.current.yield_to_rival(sa, now):
        # RFC 7296 section 2.8.2: the peer has not noticed our rekeying, and its own has won.
        sa.host.count("own IKE rekey forgotten")
    sa.fail("the peer deleted the IKE SA", now)


def _close(sa: IkeSa, delete: Delete) -> list[bytes]:
    """Close the named children, and return the other halves unless their DELETE crosses ours (1.4.1)."""
    answered: list[bytes] = []
    for spi in delete.spis:
        child = sa.host.children.find_outbound(sa, int.from_bytes(spi, "big"))
        if child is None:
            sa.host.count("rx delete of an unknown child")
            continue
        if child.state is not ChildState.DELETING:
            answered.append(child.sa.spi_in.to_bytes(4, "big"))
        sa.host.children.retire(child, "deleted by the peer")
    return answered
