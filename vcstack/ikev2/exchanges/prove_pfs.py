"""An early rekeying of the first child, to know on the first day whether both ends agree on PFS.

IKE_AUTH makes the first child without a Diffie-Hellman exchange (RFC 7296 section 1.2): ends that
disagree about one carry traffic for hours, until the first rekeying fails. Asking once soon after the
tunnel came up shows that at once, and costs one rekeying; if it fails, the old child is left as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.exchanges.child_offer import preferred_group
from vcstack.ikev2.exchanges.refusal import describe_error
from vcstack.ikev2.exchanges.rekey_child import RekeyChild
from vcstack.ikev2.iana import NotifyType

if TYPE_CHECKING:
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.notify import Notify

_TEMPORARY_WAIT_S = 5.0
_VERDICTS = (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.INVALID_KE_PAYLOAD)


class ProvePfs(RekeyChild):
    """Replaces a child SA that works, only to see whether that is possible."""

    name = "CREATE_CHILD_SA (early PFS proof)"

    def refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        """The verdict, if the peer gave one; the child is rekeyed in time as if nothing had been."""
        if error.type in _VERDICTS:
            self._mismatch(sa, f"peer said {describe_error(error)}", now)
        elif error.type == NotifyType.TEMPORARY_FAILURE and self.old_is_alive:
            sa.timers.pfs_proof_at = now + _TEMPORARY_WAIT_S
        else:
            super().refused(sa, error, now)

    def failed(self, sa: IkeSa, reason: str, now: float) -> None:
        """The peer chose something that this end does not take."""
        self._mismatch(sa, f"we refused the peer's answer: {reason}", now)

    def _mismatch(self, sa: IkeSa, why: str, now: float) -> None:
        verdict = f"PFS mismatch: {why}"
        sa.host.report(verdict, now)
        sa.host.judge_pfs(verdict, is_proven=False)
        self.keep_old(sa, now)


def plan(sa: IkeSa, now: float) -> None:
    """Prove it soon, if the configuration says so and wants a group at all."""
    wait = sa.host.config.early_pfs_proof_s
    if wait is not None and preferred_group(sa.host.config.esp_proposals) is not None:
        sa.timers.pfs_proof_at = now + wait


def prove(sa: IkeSa, now: float) -> None:
    """Rekey the child that carries traffic, unless a rekeying has shown already what there is to know."""
    sa.timers.pfs_proof_at = None
    child = sa.host.children.carrying
    if child is None or child.owner is not sa or child.sa.pfs_group is not None:
        return
    if child.can_be_rekeyed:
        child.rekeying = True
        child.rekey_reason = "early PFS proof"
        sa.submit(ProvePfs(child), now)
