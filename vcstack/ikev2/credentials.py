"""With what the ends prove who they are, beside pre-shared keys: signatures (RFC 7427), PPKs (RFC 8784)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from vcstack.crypto.certificate import check_chain
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.name import same_name
from vcstack.ikev2.iana import CertEncoding, IdType
from vcstack.ikev2.wire.certificate import Cert, CertReq
from vcstack.wire.secret import Secret  # noqa: TC001  # who reads configurations looks at the types of fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vcstack.crypto.certificate import Certificate, Names
    from vcstack.crypto.signature import SigningKey, VerifyingKey
    from vcstack.ikev2.identity import Identity

_PPK_ID_FIXED: Final = b"\x02"
"""RFC 8784 section 5.1: the identifier is a fixed string, given to both ends."""


@dataclass(frozen=True, slots=True)
class Signer:
    """This end signs, with certificates (its own, then those between it and the authority) or without."""

    key: SigningKey
    chain: tuple[Certificate, ...] = ()

    def __post_init__(self) -> None:
        if self.chain and self.chain[0].key != self.key.public:
            raise ValueError("the private key is not that of the certificate")

    @property
    def payloads(self) -> tuple[Cert, ...]:
        """The certificates, or the bare public key (RFC 7670)."""
        if not self.chain:
            return (Cert(CertEncoding.RAW_PUBLIC_KEY, self.key.public.spki),)
        return tuple(Cert(CertEncoding.X509_SIGNATURE, each.data) for each in self.chain)

    def __str__(self) -> str:
        return f"{'certificate' if self.chain else 'public key'}, {self.key.kind}"


@dataclass(frozen=True, slots=True)
class TrustedAuthorities:
    """The peer has to show a certificate that one of these has issued for its identity."""

    authorities: tuple[Certificate, ...]
    wall_clock: Callable[[], float] = field(repr=False)
    """Seconds since 1970, for the validity of certificates."""

    name: Final = "a certificate"

    @property
    def request(self) -> CertReq:
        """What asks for it."""
        return CertReq.of_authorities(each.key_hash for each in self.authorities)

    def check(self, key_owner: Sequence[Certificate], identity: Identity) -> None:
        """CryptoError unless an authority vouches for the first certificate, and that for the identity."""
        check_chain(key_owner, self.authorities, self.wall_clock())
        names = key_owner[0].names
        if not vouches_for(names, identity):
            raise CryptoError(f"its certificate ({key_owner[0].subject}) is not for {identity}")


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The peer has to own one of these keys; its identity is whatever it says (RFC 7670)."""

    keys: tuple[VerifyingKey, ...]

    name: Final = "a public key that is configured"

    @property
    def request(self) -> CertReq:
        """What asks for it."""
        return CertReq(CertEncoding.RAW_PUBLIC_KEY)


Trust: TypeAlias = TrustedAuthorities | TrustedKeys


@dataclass(frozen=True, slots=True)
class Ppk:
    """A postquantum preshared key, whose identifier both ends know it by."""

    id: str
    key: Secret
    is_mandatory: bool = False

    @property
    def identifier(self) -> bytes:
        """PPK_ID as it is sent."""
        return _PPK_ID_FIXED + self.id.encode()


def vouches_for(names: Names, identity: Identity) -> bool:
    """Whether a certificate is one for the identity (RFC 4945 section 3.1).

    Addresses, host names and mail addresses are looked up among the alternative names, without wildcards; a
    distinguished name is the subject; a KEY_ID is the subject key identifier.
    """
    data = identity.data
    if identity.kind == IdType.IPV4_ADDR:
        return data in names.addresses
    if identity.kind == IdType.FQDN:
        return _lower(data) in {name.lower() for name in names.dns}
    if identity.kind == IdType.RFC822_ADDR:
        return _lower(data) in {name.lower() for name in names.emails}
    if identity.kind == IdType.DER_ASN1_DN:
        return same_name(data, names.subject)
    return identity.kind == IdType.KEY_ID and data == names.key_id


def _lower(data: bytes) -> str:
    return data.decode("utf-8", "replace").lower()
