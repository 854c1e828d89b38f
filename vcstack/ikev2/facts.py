"""What an IKE SA knows beside its keys and windows: its peer, the way there, its past and its plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcstack.ikev2.identity import Identity


@dataclass(slots=True)
class PeerFacts:
    """What the peer told about itself."""

    identity: Identity | None = None
    vendor_ids: tuple[str, ...] = ()
    window: int = 1
    auth_lifetime_s: int | None = None
    supports_fragmentation: bool = False
    hash_algorithms: tuple[int, ...] = ()
    """With which hashes it takes signatures (RFC 7427 section 4)."""
    agrees_on_ppk: bool = False
    """Both ends have said that they know a postquantum preshared key (RFC 8784)."""
    uses_ppk: bool = False
    """The keys were made with it."""
    authentication: str | None = None
    """How it proved its identity, in words."""
    is_first_contact: bool = False
    """It says that it knows of no older IKE SA (RFC 7296 section 2.4, INITIAL_CONTACT)."""


@dataclass(slots=True)
class Nat:
    """What NAT detection found (RFC 7296 section 2.23)."""

    supported: bool = False
    local: bool = False
    """This end is behind a NAT."""
    remote: bool = False

    @property
    def detected(self) -> bool:
        """Whether ESP needs UDP encapsulation."""
        return self.local or self.remote


@dataclass(slots=True)
class InitTranscript:
    """What IKE_AUTH proves to have been said in IKE_SA_INIT (RFC 7296 section 2.15)."""

    request: bytes = b""
    response: bytes = b""
    initiator_nonce: bytes = b""
    responder_nonce: bytes = b""


@dataclass(slots=True)
class Timers:
    """When this IKE SA does something on its own; None: never."""

    created_at: float
    heard_at: float
    established_at: float | None = None
    rekey_at: float | None = None
    pfs_proof_at: float | None = None
    """When to see whether the peer agrees on perfect forward secrecy."""
    reauthenticate_at: float | None = None
    """Before the time is over that the peer set with AUTH_LIFETIME (RFC 4478)."""
    expires_at: float | None = None
    cleanup_at: float | None = None
    """For states that must not last: half-open, superseded, rekeyed, dead."""
    child_retry_at: float | None = None
    """When to ask for a child SA that is missing."""
    rekey_failures: int = 0
    child_failures: int = 0
