"""From the machine to what is shown of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.ikev2 import authentication
from vcstack.ikev2.algorithms import name_of
from vcstack.ikev2.snapshot import ChildSnapshot, EndpointSnapshot, IkeSaSnapshot
from vcstack.ikev2.states import ChildState, IkeState

if TYPE_CHECKING:
    from vcstack.ikev2.child_sa import Child
    from vcstack.ikev2.endpoint import Endpoint
    from vcstack.ikev2.ike_sa import IkeSa


@dataclass(slots=True)
class Status:
    """The state of the endpoint in words, and what it waits for."""

    since: float
    state: str = "idle"
    reason: str = "not started"
    last_error: str | None = None
    last_error_at: float = 0.0
    pfs: str | None = None
    """What rekeyings have shown of perfect forward secrecy."""
    retry_at: float | None = None
    failures: int = 0
    """Attempts in a row that did not last."""

    def enter(self, state: str, reason: str, now: float) -> None:
        """Note a state; its age starts anew only when it is another one."""
        if state != self.state:
            self.since = now
        self.state, self.reason = state, reason


def endpoint_snapshot(endpoint: Endpoint, now: float) -> EndpointSnapshot:
    """Everything with one peer; dead IKE SAs that only answer repetitions are left out."""
    status = endpoint.status
    visible = [sa for sa in endpoint.ike_sas.values() if sa.state is not IkeState.DEAD]
    address = endpoint.config.remote_address or next((sa.path.remote for sa in visible if sa.is_up), None)
    return EndpointSnapshot(
        name=endpoint.config.name,
        state=status.state,
        since_s=now - status.since,
        reason=status.reason,
        remote_address=None if address is None else str(address),
        ike_sas=tuple(_ike_sa(sa, now) for sa in visible),
        child_sas=tuple(_child(endpoint, child, now) for child in endpoint.children),
        pfs=status.pfs,
        last_error=status.last_error,
        last_error_age_s=None if status.last_error is None else now - status.last_error_at,
        next_retry_in_s=_remaining(status.retry_at, now),
        attempts=status.failures,
        counters=dict(sorted(endpoint.counters.items())),
    )


def _ike_sa(sa: IkeSa, now: float) -> IkeSaSnapshot:
    suite = None if sa.protection is None else sa.protection.suite
    timers = sa.timers
    return IkeSaSnapshot(
        spi_i=sa.spi_i.hex(),
        spi_r=sa.spi_r.hex(),
        is_initiator=sa.is_initiator,
        state=sa.state.value,
        path=sa.path,
        local_id=str(sa.host.config.local_id),
        remote_id=None if sa.peer.identity is None else str(sa.peer.identity),
        proposal=None if suite is None else str(suite),
        encryption=None if suite is None else name_of(suite.encryption),
        key_bits=None if suite is None else suite.encryption.key_bits,
        integrity=None if suite is None or suite.integrity is None else name_of(suite.integrity),
        prf=None if suite is None else name_of(suite.prf),
        dh_group=None if suite is None else suite.group.value,
        auth_local=authentication.describe_local(sa.host.config),
        auth_remote=sa.peer.authentication,
        ppk=sa.peer.uses_ppk,
        age_s=now - timers.created_at,
        rekey_in_s=_remaining(timers.rekey_at, now),
        expires_in_s=_remaining(timers.expires_at, now),
        peer_auth_lifetime_s=sa.peer.auth_lifetime_s,
        next_request_id=sa.requests.next_id,
        expected_request_id=sa.responses.expected_id,
        peer_window=sa.peer.window,
        outstanding=None if sa.current is None else sa.current.name,
        queued=tuple(exchange.name for exchange in sa.queue),
        dpd_interval_s=sa.host.config.dpd_interval_s,
        silent_s=now - timers.heard_at,
        nat_local=sa.nat.local,
        nat_remote=sa.nat.remote,
        udp_encapsulation=sa.encapsulates,
        fragmentation=sa.peer.supports_fragmentation and sa.host.config.fragment_size is not None,
        vendor_ids=sa.peer.vendor_ids,
    )


def _child(endpoint: Endpoint, child: Child, now: float) -> ChildSnapshot:
    value = child.sa
    rekeys = child.state is ChildState.ACTIVE and not child.successor_is_alive
    return ChildSnapshot(
        spi_in=value.spi_in,
        spi_out=value.spi_out,
        state=child.state.value,
        is_carrying=child is endpoint.children.carrying,
        is_initiator=child.is_initiator,
        encryption=value.encryption,
        key_bits=value.key_bits,
        esn=value.esn,
        pfs_group=value.pfs_group,
        udp_encapsulation=value.udp_encapsulation,
        local_ts=tuple(str(selector) for selector in value.local_ts),
        remote_ts=tuple(str(selector) for selector in value.remote_ts),
        age_s=now - child.created_at,
        rekey_in_s=_remaining(child.rekey_at, now) if rekeys else None,
        expires_in_s=child.expires_at - now,
        rekey_failures=child.rekey_failures,
    )


def _remaining(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, at - now)
