"""Certification authorities for tests: keys of all kinds, certificates with all that is right or wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from vcstack.crypto.certificate import Certificate
from vcstack.crypto.signature import SigningKey, VerifyingKey
from vcstack.ikev2.credentials import Signer, TrustedAuthorities, TrustedKeys
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

Private: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
KINDS: Final = ("rsa", "p256", "p384", "p521", "ed25519", "ed448")


def private_key(kind: str, owner: str = "") -> Private:
    """The key of a kind that an owner has during the whole run."""
    return _private_key(kind, owner)


@cache
def _private_key(kind: str, owner: str) -> Private:
    del owner
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind in ("ed25519", "ed448"):
        return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ed448.Ed448PrivateKey.generate()
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def pem_of(key: Private) -> bytes:
    """The private key as a file has it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def spki_of(key: Private, encoding: Encoding = Encoding.DER) -> bytes:
    """The public half."""
    return key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def signing_key(kind: str, owner: str = "", *, prefers_pss: bool = True) -> SigningKey:
    """The same key, as this stack has it."""
    return SigningKey.load(Secret(pem_of(private_key(kind, owner))), prefers_pss=prefers_pss)


def alternative(text: str) -> x509.GeneralName:
    """A subjectAltName from an address, a mail address or a host name."""
    if "@" in text:
        return x509.RFC822Name(text)
    return x509.IPAddress(IPv4Address(text)) if text[0].isdigit() else x509.DNSName(text)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    key: Private
    parsed: x509.Certificate

    @property
    def certificate(self) -> Certificate:
        return Certificate.parse(self.parsed.public_bytes(Encoding.DER))

    @property
    def pem(self) -> bytes:
        return self.parsed.public_bytes(Encoding.PEM)

    def signer(self, *above: Issued, prefers_pss: bool = True) -> Signer:
        """What an end authenticates with, `above` being the intermediates that it sends as well."""
        key = SigningKey.load(Secret(pem_of(self.key)), prefers_pss=prefers_pss)
        return Signer(key, (self.certificate, *(each.certificate for each in above)))

    def trusted(self, at: datetime = NOW) -> TrustedAuthorities:
        """Trust in this authority, at a fixed time."""
        return TrustedAuthorities((self.certificate,), at.timestamp)

    def issue(
        self,
        name: str,
        names: Sequence[str] = (),
        *,
        kind: str = "p256",
        owner: str = "",
        is_authority: bool = False,
        path_length: int | None = None,
        starts: datetime = NOW - timedelta(days=10),
        ends: datetime = NOW + timedelta(days=100),
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> Issued:
        """A certificate of this authority; `extensions` come with whether they are critical."""
        key = private_key(kind, owner or name)
        return Issued(
            key, _build(name, key, self, names, (is_authority, path_length), (starts, ends), extensions)
        )


def authority(
    name: str = "Test CA",
    *,
    kind: str = "p256",
    starts: datetime = NOW - timedelta(days=10),
    ends: datetime = NOW + timedelta(days=1000),
) -> Issued:
    """A root that signs itself."""
    key = private_key(kind, name)
    return Issued(key, _build(name, key, None, (), (True, None), (starts, ends), ()))


def trusted_keys(*kinds: str, owner: str = "") -> TrustedKeys:
    """Trust in bare keys."""
    return TrustedKeys(tuple(VerifyingKey.load(spki_of(private_key(kind, owner))) for kind in kinds))


def _build(
    name: str,
    key: Private,
    issuer: Issued | None,
    names: Sequence[str],
    constraints: tuple[bool, int | None],
    validity: tuple[datetime, datetime],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    subject = x509.Name.from_rfc4514_string(f"CN={name},O=Example")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.parsed.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    is_authority, path_length = constraints
    if is_authority:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
    if names:
        found = x509.SubjectAlternativeName([alternative(text) for text in names])
        builder = builder.add_extension(found, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = key if issuer is None else issuer.key
    is_eddsa = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if is_eddsa else hashes.SHA256())
