"""Seeing to it that an IKE SA that is up has a child SA: one may fail without the other (RFC 7296 2.21.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.events import ChildFailed
from vcstack.ikev2.host import backoff_s

if TYPE_CHECKING:
    from vcstack.ikev2.ike_sa import IkeSa


def has_child(sa: IkeSa) -> bool:
    """Whether there is a child to send on, of whichever IKE SA."""
    return any(child.may_carry for child in sa.host.children)


def want_child(sa: IkeSa, now: float) -> None:
    """Ask for a child at once, if there is none by then."""
    if sa.is_up:
        sa.timers.child_retry_at = now


def replace_missing_child(sa: IkeSa, now: float) -> None:
    """The last child may just have gone: see to it that there is another one soon."""
    if sa.timers.child_retry_at is None and not sa.makes_child:
        retry_child_later(sa, now)


def retry_child_later(sa: IkeSa, now: float) -> None:
    """A child is missing: ask for one after some time, if asking is our part at all."""
    config = sa.host.config
    if sa.is_up and config.initiate and not has_child(sa):
        sa.timers.child_failures += 1
        wait = backoff_s(sa.host, config.child_retry, sa.timers.child_failures)
        # Of two ends that both ask, the responder leaves the first attempts to the initiator.
        patience = 0.0 if sa.is_initiator else config.child_retry.ceiling_s
        sa.timers.child_retry_at = now + wait + patience


def child_failed(sa: IkeSa, reason: str, now: float) -> None:
    """Report that there is no child SA; the IKE SA stays and tries again."""
    sa.host.report(reason, now)
    sa.host.emit(ChildFailed(reason))
    retry_child_later(sa, now)
