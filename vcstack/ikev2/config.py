"""What the operator decides about one peer, and the tunables of the machine with their reasons."""

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Final

from vcstack.ikev2.credentials import Ppk, Signer, Trust
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

SMALLEST_FRAGMENT: Final = 256
"""Bytes of IPv4 packet: smaller ones carry little beside their headers."""


class UdpEncapsulation(StrEnum):
    """When ESP travels inside UDP port 4500."""

    AUTO = "auto"
    """Only when NAT detection finds a NAT (RFC 7296 section 2.23)."""
    ALWAYS = "always"
    """A NAT is pretended, so that the peer encapsulates as well."""


@dataclass(frozen=True, slots=True)
class RetransmitPolicy:
    """When an unanswered request is sent again, and when its peer counts as dead (RFC 7296 section 2.4)."""

    base_s: float = 1.0
    """Wait after the first transmission: more than a long round trip and a Diffie-Hellman computation."""
    factor: float = 1.8
    """Growth of the wait, which MUST be exponential (RFC 7296 section 2.4)."""
    ceiling_s: float = 20.0
    """Longest wait, so that a peer that comes back is noticed soon."""
    tries: int = 8
    """Transmissions in total; with the other defaults the peer is given up after about 80 s."""
    jitter: float = 0.1
    """Random share of each wait, added or subtracted."""

    def wait_s(self, transmissions: int, random: float) -> float:
        """Seconds to wait after that many transmissions; `random` lies between 0 and 1."""
        wait = min(self.base_s * self.factor ** (transmissions - 1), self.ceiling_s)
        return wait * (1 + self.jitter * (2 * random - 1))


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """How long to wait before the next attempt of something that keeps failing."""

    floor_s: float = 1.0
    factor: float = 2.0
    ceiling_s: float = 60.0
    """Attempts never end: a peer that comes back is reached within this time."""
    jitter: float = 0.25

    def wait_s(self, failures: int, random: float) -> float:
        """Seconds to wait after that many failures in a row; `random` lies between 0 and 1."""
        wait = min(self.floor_s * self.factor ** min(failures - 1, 30), self.ceiling_s)
        return wait * (1 + self.jitter * (2 * random - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """One peer: who it is, what is negotiated with it, and for how long.

    Times are seconds. `remote_address` None accepts any address, and only answers.
    `remote_id` None accepts any identity that knows the pre-shared key, or has a certificate of an authority.
    Each end authenticates by its pre-shared key or by signatures: of the two fields one is None.
    """

    name: str
    local_address: IPv4Address
    remote_address: IPv4Address | None
    local_id: Identity
    remote_id: Identity | None
    local_psk: Secret | None
    remote_psk: Secret | None
    ike_proposals: tuple[IkeProposal, ...]
    esp_proposals: tuple[EspProposal, ...]
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    local_signer: Signer | None = None
    remote_trust: Trust | None = None
    ppk: Ppk | None = None
    initiate: bool = True
    udp_encapsulation: UdpEncapsulation = UdpEncapsulation.AUTO

    ike_lifetime_s: float = 86400.0
    child_lifetime_s: float = 3600.0
    rekey_margin: float = 0.1
    """Share of a lifetime that is left when rekeying starts."""
    rekey_jitter: float = 0.05
    """Random further share, so that both ends seldom start together (RFC 7296 section 2.8.1)."""
    rekey_retry: BackoffPolicy = field(default=BackoffPolicy(floor_s=3.0, ceiling_s=60.0))
    """Between attempts to rekey an SA that still lives."""

    dpd_interval_s: float = 10.0
    """Silence after which the peer is asked whether it lives; 0 never asks."""
    retransmit: RetransmitPolicy = field(default=RetransmitPolicy())
    dpd_retransmit: RetransmitPolicy = field(default=RetransmitPolicy(tries=6))
    """Of the liveness check: with the defaults a silent peer is given up after about 35 s."""
    init_retransmit: RetransmitPolicy = field(default=RetransmitPolicy(tries=5))
    """Of IKE_SA_INIT and IKE_AUTH: an unreachable peer costs a new attempt after about 20 s."""
    close_retransmit: RetransmitPolicy = field(default=RetransmitPolicy(base_s=0.5, tries=3))
    """Of the DELETE of an IKE SA: best effort."""
    retry: BackoffPolicy = field(default=BackoffPolicy())
    """Between attempts to bring up the IKE SA."""
    child_retry: BackoffPolicy = field(default=BackoffPolicy(floor_s=2.0))
    """Between attempts to create the child SA on an IKE SA that is up."""

    early_pfs_proof_s: float | None = None
    """How long after a tunnel came up its child SA is rekeyed once, to prove that the peer agrees on perfect
    forward secrecy: the first child shows nothing of that (RFC 7296 section 1.2). None: not at all."""
    fragment_size: int | None = 1280
    """Largest IPv4 packet in bytes that carries an IKE message; larger messages go in fragments if the peer
    knows them (RFC 7383 section 2.5.1). None neither sends fragments nor takes them."""
    reassembly_timeout_s: float = 30.0
    """How long the rest of a fragmented message may take; by then it was repeated several times."""
    repeated_answers_per_s: float = 5.0
    """Of one IKE SA: whoever saw a request go by can repeat it."""

    init_error_grace_s: float = 2.0
    """How long a genuine answer may follow an unauthenticated error (RFC 7296 section 2.21.1)."""
    init_restarts: int = 4
    """Restarts of one IKE_SA_INIT for COOKIE and INVALID_KE_PAYLOAD; an attacker could ask for ever."""
    switch_fallback_s: float = 30.0
    """A responder sends on a rekeyed child after this time although the peer has not yet proven to use it."""
    redundant_child_s: float = 30.0
    """How long a peer may take to delete the SA that it has to delete; then it is deleted from here."""
    spare_child_s: float = 60.0
    """How long a child SA lives that neither carries traffic nor replaces another."""
    redundant_ike_s: float = 3.0
    """How long a peer may take to delete the IKE SA with which it lost a rekey collision. It has nothing to
    delete, and so never will, if our DELETE of the old one overtook our answer."""
    half_open_s: float = 30.0
    """How long a peer may take from IKE_SA_INIT to IKE_AUTH."""
    half_open_limit: int = 50
    """Half-open IKE SAs of this peer; more are not answered."""
    cookie_threshold: int = 5
    """Half-open IKE SAs from which on an initiator has to return a cookie (RFC 7296 section 2.6)."""
    unauthenticated_replies_per_s: float = 5.0
    """Replies to messages that anybody can have sent (RFC 7296 section 2.21.4)."""
    hinted_checks_per_s: float = 0.1
    """Liveness checks because of notifications that anybody can have sent (RFC 7296 section 1.5)."""
    answer_memory_s: float = 60.0
    """How long a deleted IKE SA still answers retransmitted requests."""

    def __post_init__(self) -> None:
        if self.initiate and self.remote_address is None:
            raise ValueError(f"peer {self.name}: cannot initiate to any address")
        if (self.local_psk is None) == (self.local_signer is None):
            raise ValueError(f"peer {self.name}: either local_psk or local_signer is expected")
        if (self.remote_psk is None) == (self.remote_trust is None):
            raise ValueError(f"peer {self.name}: either remote_psk or remote_trust is expected")
        if self.fragment_size is not None and self.fragment_size < SMALLEST_FRAGMENT:
            raise ValueError(f"peer {self.name}: fragments of less than {SMALLEST_FRAGMENT} bytes")
        if not (self.ike_proposals and self.esp_proposals and self.local_ts and self.remote_ts):
            raise ValueError(f"peer {self.name}: proposals and traffic selectors must not be empty")
