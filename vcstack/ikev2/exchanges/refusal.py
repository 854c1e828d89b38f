"""Error notifications: reading the peer's, and sending ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.events import ChildFailed
from vcstack.ikev2.iana import DhGroup, NotifyType
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vcstack.ikev2.errors import RemoteProtocolError
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.proposal import EspProposal, IkeProposal
    from vcstack.ikev2.wire.chain import Payload


def wanted_group(error: Notify) -> DhGroup | None:
    """The group that INVALID_KE_PAYLOAD asks for (RFC 7296 section 1.3), None of other errors."""
    if error.type != NotifyType.INVALID_KE_PAYLOAD:
        return None
    return DhGroup(int.from_bytes(error.data, "big"))


def usable_group(error: Notify, proposals: Iterable[EspProposal] | Iterable[IkeProposal]) -> DhGroup | None:
    """The group that the peer asks for, if this end offered it."""
    group = wanted_group(error)
    offered = {group for proposal in proposals for group in proposal.groups} - {DhGroup.NONE}
    return group if group in offered else None


def describe_error(error: Notify) -> str:
    """The notification for people: its name, and the group of INVALID_KE_PAYLOAD."""
    group = wanted_group(error)
    return str(error.type) if group is None else f"{error.type} (it wants DH group {group.value})"


def refuse_child(sa: IkeSa, error: RemoteProtocolError, now: float) -> Sequence[Payload]:
    """Refuse a child; the IKE SA stays. INVALID_KE_PAYLOAD is only a question for another group."""
    notify = error.notify or NotifyType.NO_PROPOSAL_CHOSEN
    if notify != NotifyType.INVALID_KE_PAYLOAD:
        reason = f"we refused the peer's child SA ({notify}): {error.reason}"
        sa.host.report(reason, now)
        sa.host.emit(ChildFailed(reason))
    return [Notify(notify, data=error.data)]
