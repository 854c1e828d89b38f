"""X.509 certificates (RFC 5280) as IKEv2 uses them (RFC 4945): reading, names, and the chain to an authority.

A chain is built and checked here step by step, so that a refusal can say which certificate is wrong and why:

    the peer's certificate <- intermediates of the peer <- an authority of ours

Each must be valid at the time, signed by the next, and each but the first must be allowed to sign others.
Revocation lists are not fetched: there is no network below this floor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from vcstack.crypto.der import Tag, content, elements
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.signature import PEM_MARK, VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CHAIN: Final = 8
"""Certificates of one peer."""

_WEAK_HASHES: Final = frozenset({"md5", "sha1"})
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
_IPSEC_PURPOSES: Final = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.IPSEC_IKE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        *(x509.ObjectIdentifier(f"1.3.6.1.5.5.7.3.{number}") for number in (5, 6, 7)),
    }
)
"""RFC 4945 section 5.1.3.12; authorities that know nothing of IPsec issue for TLS."""

_MALFORMED: Final = (
    *(ValueError, TypeError, OverflowError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion),
)

E = TypeVar("E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Names:
    """Whom a certificate is about: its subject, and its alternative names."""

    subject: bytes
    dns: tuple[str, ...] = ()
    addresses: tuple[bytes, ...] = ()
    emails: tuple[str, ...] = ()
    key_id: bytes | None = None
    """The subject key identifier."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. Two are equal when their octets are."""

    data: bytes
    """In DER."""
    parsed: x509.Certificate = field(repr=False, compare=False)
    key: VerifyingKey = field(compare=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read DER; CryptoError when it is no certificate, or one for a key that is not taken."""
        try:
            parsed = x509.load_der_x509_certificate(data)
        except _MALFORMED:
            raise CryptoError("not an X.509 certificate") from None
        return cls._of(parsed)

    @classmethod
    def load_all(cls, data: bytes) -> tuple[Self, ...]:
        """All certificates of a file in PEM, or the one of a file in DER; CryptoError when there is none."""
        if PEM_MARK not in data:
            return (cls.parse(data),)
        try:
            found = x509.load_pem_x509_certificates(data)
        except _MALFORMED:
            raise CryptoError("no X.509 certificate in PEM, or a malformed one") from None
        return tuple(map(cls._of, found))

    @classmethod
    def _of(cls, parsed: x509.Certificate) -> Self:
        try:
            key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            _look_at_everything(parsed)
        except _MALFORMED:
            raise CryptoError("a certificate that cannot be understood") from None
        data = parsed.public_bytes(Encoding.DER)
        _look_at_signature(data)
        return cls(data, parsed, VerifyingKey.load(key))

    @property
    def subject(self) -> str:
        """Its name for people."""
        return self.parsed.subject.rfc4514_string() or "without a subject"

    @property
    def names(self) -> Names:
        """All names that it vouches for."""
        alternative = _extension(self.parsed, x509.SubjectAlternativeName)
        identifier = _extension(self.parsed, x509.SubjectKeyIdentifier)
        found: x509.SubjectAlternativeName | tuple[()] = () if alternative is None else alternative
        return Names(
            subject=self.parsed.subject.public_bytes(),
            dns=tuple(name.value for name in found if isinstance(name, x509.DNSName)),
            addresses=tuple(
                name.value.packed
                for name in found
                if isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address)
            ),
            emails=tuple(name.value for name in found if isinstance(name, x509.RFC822Name)),
            key_id=None if identifier is None else identifier.digest,
        )

    @property
    def key_hash(self) -> bytes:
        """SHA-1 of SubjectPublicKeyInfo, by which CERTREQ names an authority (RFC 7296 section 3.7)."""
        return hashlib.sha1(self.key.spki, usedforsecurity=False).digest()

    @property
    def expires_at(self) -> float:
        """The end of its validity in seconds since 1970."""
        return self.parsed.not_valid_after_utc.timestamp()

    @property
    def is_authority(self) -> bool:
        """Whether it may sign others."""
        constraints = _extension(self.parsed, x509.BasicConstraints)
        usage = _extension(self.parsed, x509.KeyUsage)
        return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def _look_at_everything(parsed: x509.Certificate) -> None:
    """The library reads what it is asked for: what is malformed shows here, and never later."""
    _ = parsed.extensions, parsed.signature_hash_algorithm, parsed.signature_algorithm_parameters
    _ = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    for name in (parsed.subject, parsed.issuer):
        _ = name.rfc4514_string(), name.public_bytes()


def _look_at_signature(data: bytes) -> None:
    """The signature fills whole octets; the library ignores a count of unused bits whose bits are zero."""
    *_, (_, signature) = elements(content(data, Tag.SEQUENCE))
    if signature[:1] != b"\0":
        raise CryptoError("a certificate whose signature is not of whole octets")


def check_chain(chain: Sequence[Certificate], authorities: Sequence[Certificate], at: float) -> None:
    """CryptoError unless an authority vouches for `chain[0]`, perhaps by way of the others.

    `at` is the time in seconds since 1970.
    """
    if len(chain) > MAX_CHAIN:
        raise CryptoError(f"{len(chain)} certificates, at most {MAX_CHAIN} are expected")
    moment = datetime.fromtimestamp(at, UTC)
    check_usage(chain[0])
    _Search(tuple(chain[1:]), tuple(authorities), moment).ascend(chain[0], 0)


def check_usage(certificate: Certificate) -> None:
    """CryptoError when a certificate is not meant to authenticate an end of IKE (RFC 4945 section 5.1.3)."""
    usage = _extension(certificate.parsed, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CryptoError("its certificate is not for digital signatures (key usage)")
    purposes = _extension(certificate.parsed, x509.ExtendedKeyUsage)
    if purposes is not None and _IPSEC_PURPOSES.isdisjoint(purposes):
        raise CryptoError("its certificate is neither for IPsec nor for TLS (extended key usage)")


def check_validity(certificate: Certificate, at: float, whose: str) -> None:
    """CryptoError when a certificate is not valid at that time, in seconds since 1970."""
    _check_dates(certificate, datetime.fromtimestamp(at, UTC), whose)


class _Search:
    """The way up. Each certificate of the peer is tried once, so that a hostile set of them costs little."""

    def __init__(
        self, others: tuple[Certificate, ...], authorities: tuple[Certificate, ...], moment: datetime
    ) -> None:
        self._untried = list(others)
        self._authorities = authorities
        self._moment = moment

    def ascend(self, certificate: Certificate, intermediates: int) -> None:
        """CryptoError unless an authority stands above; `intermediates` are between this and the first."""
        whose = "its certificate" if not intermediates else f"the authority {certificate.subject} above it"
        _check_dates(certificate, self._moment, whose)
        _check_extensions(certificate, whose)
        if certificate in self._authorities:
            return
        failure = CryptoError(
            f"no authority of ours has issued {whose} ({certificate.subject}): "
            f"its issuer is {certificate.parsed.issuer.rfc4514_string() or 'not named'}"
        )
        for issuer in self._issuers(certificate):
            try:
                _check_issue(certificate, issuer, intermediates, whose)
                self.ascend(issuer, intermediates + 1)
            except CryptoError as error:
                failure = error
            else:
                return
        raise failure

    def _issuers(self, certificate: Certificate) -> list[Certificate]:
        """Those of the issuer's name, ours first."""
        name = certificate.parsed.issuer
        own = [each for each in self._authorities if each.parsed.subject == name]
        theirs = [each for each in self._untried if each.parsed.subject == name]
        self._untried = [each for each in self._untried if each not in theirs]
        return [*own, *theirs]


def _check_issue(certificate: Certificate, issuer: Certificate, intermediates: int, whose: str) -> None:
    """CryptoError unless the issuer signed the certificate, and was allowed to."""
    if not issuer.is_authority:
        raise CryptoError(f"the issuer of {whose} ({issuer.subject}) is not a certification authority")
    constraints = _extension(issuer.parsed, x509.BasicConstraints)
    if constraints is not None and constraints.path_length is not None:
        below = intermediates - _self_issued(certificate, intermediates)
        if below > constraints.path_length:
            raise CryptoError(f"{issuer.subject} may not stand that far above {whose} (path length)")
    digest = certificate.parsed.signature_hash_algorithm
    if digest is not None and digest.name in _WEAK_HASHES:
        raise CryptoError(f"{whose} is signed with {digest.name.upper()}, which is too weak")
    try:
        certificate.parsed.verify_directly_issued_by(issuer.parsed)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise CryptoError(f"the signature of {issuer.subject} on {whose} is wrong") from None


def _self_issued(certificate: Certificate, intermediates: int) -> int:
    """Self-issued intermediates do not count for the path length (RFC 5280 section 4.2.1.9)."""
    return int(bool(intermediates) and certificate.parsed.subject == certificate.parsed.issuer)


def _check_dates(certificate: Certificate, moment: datetime, whose: str) -> None:
    first, last = certificate.parsed.not_valid_before_utc, certificate.parsed.not_valid_after_utc
    if moment < first:
        raise CryptoError(f"{whose} is not valid before {first:%Y-%m-%d %H:%M} UTC")
    if moment > last:
        raise CryptoError(f"{whose} expired {last:%Y-%m-%d %H:%M} UTC")


def _check_extensions(certificate: Certificate, whose: str) -> None:
    """A critical extension that is not understood forbids the use (RFC 5280 section 4.2)."""
    for extension in certificate.parsed.extensions:
        # Name constraints have to be critical; where they are not, they are still meant.
        binding = extension.critical or extension.oid == ExtensionOID.NAME_CONSTRAINTS
        if binding and extension.oid not in _UNDERSTOOD:
            name = extension.oid.dotted_string
            raise CryptoError(f"{whose} has the critical extension {name}, which is not understood here")


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
