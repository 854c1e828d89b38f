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
    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.notify import Notify

_TEMPORARY_WAIT_S = 5.0
_MISMATCHES = (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.INVALID_KE_PAYLOAD)


class ProvePfs(RekeyChild):
    """Replaces a child SA that works, only to see whether that is possible."""

    name = "CREATE_CHILD_SA (early PFS proof)"

    def refused(self, sa: IkeSa, error: Notify, now: float) -> None:
        """The verdict, if the peer gave one; the child is rekeyed in time as if nothing had been."""
        if error.type == NotifyType.INVALID_SYNTAX:
            super().refused(sa, error, now)
            return
        sa.host.may_prove_pfs = True
        if error.type == NotifyType.TEMPORARY_FAILURE and self.old_is_alive:
            sa.timers.pfs_proof_at = now + _TEMPORARY_WAIT_S
        elif error.type == NotifyType.CHILD_SA_NOT_FOUND:
            super().refused(sa, error, now)
        else:
            what = "PFS mismatch" if error.type in _MISMATCHES else "PFS not proven"
            self._judge(sa, f"{what}: peer said {describe_error(error)}", now)

    def failed(self, sa: IkeSa, reason: str, now: float) -> None:
        """The peer chose something that this end does not take."""
        sa.host.may_prove_pfs = True
        self._judge(sa, f"PFS mismatch: we refused the peer's answer: {reason}", now)

    def concluded(self, sa: IkeSa, child: Child) -> None:
        """The peer agreed."""
        sa.host.may_prove_pfs = True
        super().concluded(sa, child)

    def _judge(self, sa: IkeSa, verdict: str, now: float) -> None:
        sa.host.report(verdict, now)
        sa.host.judge_pfs(verdict, is_proven=False)
        self.keep_old(sa, now)


def plan(sa: IkeSa, now: float) -> None:
    """Prove it soon, if the configuration says so and wants a group at all."""
    wait = sa.host.config.early_pfs_proof_s
    if wait is None or preferred_group(sa.host.config.esp_proposals) is None:
        return
    if not sa.host.may_prove_pfs:
        sa.host.judge_pfs("PFS not proven: the last attempt ended the IKE SA", is_proven=False)
    else:
        sa.timers.pfs_proof_at = now + wait


def prove(sa: IkeSa, now: float) -> None:
    """Rekey the child that carries traffic, unless a rekeying has shown already what there is to know."""
    sa.timers.pfs_proof_at = None
    child = sa.host.children.carrying
    if child is None or child.owner is not sa or child.sa.pfs_group is not None:
        return
    if child.can_be_rekeyed:
        # Until there is an answer: a tunnel that the question kills must not be killed again and again.
        sa.host.may_prove_pfs = False
        child.rekeying = True
        child.rekey_reason = "early PFS proof"
        sa.submit(ProvePfs(child), now)
