"""What an IKE SA does on its own: liveness, rekeying, expiry, and the patience with its peer.

One agenda says what is due when; it is the source of the deadlines and of what happens at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vcstack.ikev2.events import PeerMoved
from vcstack.ikev2.exchanges import prove_pfs
from vcstack.ikev2.exchanges.create_child import CreateChild
from vcstack.ikev2.exchanges.informational import Liveness, delete_child
from vcstack.ikev2.exchanges.rekey_child import RekeyChild
from vcstack.ikev2.exchanges.rekey_ike import RekeyIke
from vcstack.ikev2.missing_child import has_child, want_child
from vcstack.ikev2.states import ChildState, IkeState
from vcstack.wire.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.path import Path

_MAX_ACTIONS = 64
"""At one point of time; each action takes its own item off the agenda, so this is never reached."""


class _Item(NamedTuple):
    at: float
    reason: str
    act: Callable[[float], None]


def handle_timeout(sa: IkeSa, now: float) -> None:
    """Do everything that is due."""
    for _ in range(_MAX_ACTIONS):
        item = next((item for item in _agenda(sa) if item.at <= now), None)
        if item is None:
            return
        item.act(now)


def deadlines(sa: IkeSa) -> Iterator[Deadline]:
    """When something is due."""
    for item in _agenda(sa):
        yield Deadline(item.at, item.reason)


def request_received(sa: IkeSa, now: float) -> None:
    """A new request within a window of one proves that the peer has our last response, and what it made."""
    for child in sa.host.children.owned_by(sa):
        if child.switch_at is not None:
            switch(sa, child, now)


def request_repeated(sa: IkeSa, now: float) -> None:
    """The peer still lacks our last response: it cannot receive yet on what that made."""
    for child in sa.host.children.owned_by(sa):
        if child.switch_at is not None:
            child.switch_at = now + sa.host.config.switch_fallback_s


def switch(sa: IkeSa, child: Child, now: float) -> None:
    """Send on a child whose peer can receive on it; the peer has some time to delete what it replaces."""
    sa.host.children.switch(child, predecessor_cleanup_at=now + sa.host.config.redundant_child_s)


def follow(sa: IkeSa, path: Path) -> None:
    """Send to where an authenticated, fresh message came from, if a NAT can have moved the peer.

    RFC 7296 section 2.23. Before the SA is up the peer moves to port 4500 in any case.
    """
    if path == sa.path or not (sa.nat.remote or sa.state in (IkeState.HALF_OPEN, IkeState.INITIATING)):
        return
    sa.path = path
    if sa.is_up:
        sa.host.count("peer moved")
        sa.host.emit(PeerMoved(path))


def start_rekey(sa: IkeSa, child: Child, reason: str, now: float) -> None:
    """Rekey a child, unless that is already going on or done."""
    if not child.can_be_rekeyed:
        return
    child.rekeying = True
    child.rekey_reason = reason
    sa.submit(RekeyChild(child), now)


def expire(sa: IkeSa, child: Child, reason: str, now: float) -> None:
    """A child must not be used any longer. Without a successor, start from scratch (RFC 7296 section 2.8)."""
    children = sa.host.children
    replaceable = any(other.may_carry for other in children if other is not child)
    if not replaceable and child is children.carrying and child.rekey_failures:
        sa.host.reinitiate(now, f"child SA {child.sa.spi_in:08x} {reason} before it could be rekeyed")
        return
    delete_child(sa, child, reason, now)
    if not replaceable:
        want_child(sa, now)


def _agenda(sa: IkeSa) -> Iterator[_Item]:
    if sa.requests.outstanding is not None:
        yield _Item(sa.requests.outstanding.due_at, "retransmission", sa.repeat)
    if sa.fragments.expires_at is not None:
        yield _Item(sa.fragments.expires_at, "fragments missing", lambda now: _forget_fragments(sa, now))
    yield from _end_of_patience(sa)
    if sa.is_up:
        yield from _ike_agenda(sa)
    for child in sa.host.children.owned_by(sa):
        yield from _child_agenda(sa, child)


def _end_of_patience(sa: IkeSa) -> Iterator[_Item]:
    at = sa.timers.cleanup_at
    if at is None:
        return
    if sa.state is IkeState.HALF_OPEN:
        yield _Item(at, "half-open", lambda now: sa.fail("the peer did not go on with IKE_AUTH", now))
    elif sa.state is IkeState.ESTABLISHED:
        yield _Item(at, "superseded IKE SA not deleted by the peer", lambda now: sa.host.superseded(sa, now))
    elif sa.state is IkeState.REKEYED:
        yield _Item(at, "rekeyed IKE SA not deleted by the peer", sa.finish)
    elif sa.state is IkeState.DEAD:
        yield _Item(at, "forgetting an IKE SA", lambda _: sa.host.forget(sa))


def _ike_agenda(sa: IkeSa) -> Iterator[_Item]:
    timers, config = sa.timers, sa.host.config
    if timers.expires_at is not None:
        yield _Item(timers.expires_at, "IKE SA expires", lambda now: _expire_ike(sa, now))
    if timers.rekey_at is not None and not sa.is_planning(RekeyIke):
        yield _Item(timers.rekey_at, "IKE SA rekey", lambda now: _rekey_ike(sa, now))
    if timers.reauthenticate_at is not None:
        yield _Item(timers.reauthenticate_at, "reauthentication", lambda now: _reauthenticate(sa, now))
    if timers.pfs_proof_at is not None:
        yield _Item(timers.pfs_proof_at, "early PFS proof", lambda now: prove_pfs.prove(sa, now))
    if timers.child_retry_at is not None:
        yield _Item(timers.child_retry_at, "child SA missing", lambda now: _create_missing_child(sa, now))
    if config.dpd_interval_s > 0 and sa.current is None:
        at = timers.heard_at + config.dpd_interval_s
        yield _Item(at, "liveness check", lambda now: sa.submit(Liveness(), now))


def _child_agenda(sa: IkeSa, child: Child) -> Iterator[_Item]:
    if child.state is ChildState.DELETING:
        return
    yield _Item(child.expires_at, "child SA expires", lambda now: expire(sa, child, "expired", now))
    if sa.is_up and child.can_be_rekeyed:
        yield _Item(child.rekey_at, "child SA rekey", lambda now: start_rekey(sa, child, "its lifetime", now))
    if child.switch_at is not None:
        yield _Item(child.switch_at, "outbound switch", lambda now: switch(sa, child, now))
    if _is_spare(sa, child):
        at = child.created_at + sa.host.config.spare_child_s
        yield _Item(at, "spare child SA", lambda now: delete_child(sa, child, "spare", now))
    if child.cleanup_at is not None:
        reason = "not deleted by the peer"
        yield _Item(child.cleanup_at, reason, lambda now: delete_child(sa, child, reason, now))


def _forget_fragments(sa: IkeSa, now: float) -> None:
    for _ in range(sa.fragments.expire(now)):
        sa.host.count("rx fragments never completed")


def _is_spare(sa: IkeSa, child: Child) -> bool:
    """Whether nothing is sent on it, nothing will be, and nobody has been told to delete it."""
    if child is sa.host.children.carrying or child.switch_at is not None or child.cleanup_at is not None:
        return False
    return sa.is_up and not sa.makes_child


def _expire_ike(sa: IkeSa, now: float) -> None:
    sa.timers.expires_at = None
    sa.host.reinitiate(now, "the IKE SA expired before it could be rekeyed")


def _reauthenticate(sa: IkeSa, now: float) -> None:
    sa.timers.reauthenticate_at = None
    sa.host.reauthenticate(now, "the peer limited the lifetime of the authentication")


def _rekey_ike(sa: IkeSa, now: float) -> None:
    sa.timers.rekey_at = None
    sa.submit(RekeyIke(), now)


def _create_missing_child(sa: IkeSa, now: float) -> None:
    sa.timers.child_retry_at = None
    if not has_child(sa) and not sa.makes_child:
        sa.submit(CreateChild(), now)
