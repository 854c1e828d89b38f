"""What `show ikev2` and `show ipsec` tell of one peer: frozen values, no secrets, times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass

from vcstack.ikev2.path import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSnapshot:
    """One pair of ESP SAs."""

    spi_in: int
    spi_out: int
    state: str
    is_carrying: bool
    """Whether traffic is sent on it now."""
    is_initiator: bool
    encryption: str
    key_bits: int
    esn: bool
    pfs_group: int | None
    udp_encapsulation: bool
    local_ts: tuple[str, ...]
    remote_ts: tuple[str, ...]
    age_s: float
    rekey_in_s: float | None
    expires_in_s: float
    rekey_failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeSaSnapshot:
    """One IKE SA."""

    spi_i: str
    spi_r: str
    is_initiator: bool
    state: str
    path: Path
    local_id: str
    remote_id: str | None
    proposal: str | None
    """The negotiated suite in the notation of the configuration."""
    encryption: str | None
    key_bits: int | None
    integrity: str | None
    """None with an AEAD."""
    prf: str | None
    dh_group: int | None
    auth_local: str
    auth_remote: str | None
    ppk: bool
    """Whether a postquantum preshared key is in its keys."""
    age_s: float
    rekey_in_s: float | None
    expires_in_s: float | None
    peer_auth_lifetime_s: int | None
    next_request_id: int
    expected_request_id: int
    peer_window: int
    outstanding: str | None
    queued: tuple[str, ...]
    dpd_interval_s: float
    silent_s: float
    """Since the peer was last heard, by IKE or ESP."""
    nat_local: bool
    """Whether this end is behind a NAT."""
    nat_remote: bool
    udp_encapsulation: bool
    fragmentation: bool
    """Whether both ends know IKE fragments (RFC 7383)."""
    vendor_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSnapshot:
    """One peer."""

    name: str
    state: str
    """up, connecting, waiting, idle or closed."""
    since_s: float
    """How long the state has lasted."""
    reason: str
    """Why it has this state."""
    remote_address: str | None
    ike_sas: tuple[IkeSaSnapshot, ...]
    child_sas: tuple[ChildSnapshot, ...]
    pfs: str | None
    """Whether a rekeying has proven that both ends agree on perfect forward secrecy; None: not seen yet."""
    last_error: str | None
    """Which side said what, and when nothing is said any more still what was last wrong."""
    last_error_age_s: float | None
    next_retry_in_s: float | None
    attempts: int
    """Failed attempts in a row."""
    counters: Mapping[str, int]
