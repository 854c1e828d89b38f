"""Digital signatures as IKEv2 carries them (RFC 7427, RFC 8420 for EdDSA).

```
    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    | ASN.1 Length  | AlgorithmIdentifier ASN.1 object ...          |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    ~                       Signature Value                         ~
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

The identifiers are compared as octets with those that this module can make: nothing of a peer is interpreted.
SHA-1 and RSA keys below 2048 bits are not taken (RFC 8247 section 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from vcstack.crypto import der
from vcstack.crypto.errors import CryptoError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from vcstack.wire.secret import Secret

_Public: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)
_Private: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

MIN_RSA_BITS: Final = 2048
PEM_MARK: Final = b"-----BEGIN "


class HashAlgorithm(IntEnum):
    """What SIGNATURE_HASH_ALGORITHMS lists (RFC 7427 section 7, RFC 8420 section 2)."""

    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5
    """The algorithm signs the message itself: EdDSA."""


class Scheme(Enum):
    """Kinds of signatures."""

    RSA_PKCS1 = "RSA PKCS#1 v1.5"
    RSA_PSS = "RSA PSS"
    ECDSA = "ECDSA"
    ED25519 = "Ed25519"
    ED448 = "Ed448"


_HASHES: Final[Mapping[HashAlgorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    HashAlgorithm.SHA2_256: hashes.SHA256(),
    HashAlgorithm.SHA2_384: hashes.SHA384(),
    HashAlgorithm.SHA2_512: hashes.SHA512(),
}
_CURVES: Final = {"secp256r1": HashAlgorithm.SHA2_256, "secp384r1": HashAlgorithm.SHA2_384} | {
    "secp521r1": HashAlgorithm.SHA2_512
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to sign."""

    scheme: Scheme
    hash: HashAlgorithm

    def __str__(self) -> str:
        if self.hash is HashAlgorithm.IDENTITY:
            return self.scheme.value
        return f"{self.scheme.value} with {self.hash.name.replace('SHA2_', 'SHA-')}"


def _oid(text: str) -> bytes:
    return der.encode(der.Tag.OBJECT_IDENTIFIER, bytes.fromhex(text))


_NULL: Final = der.encode(der.Tag.NULL)
_RSA_OIDS: Final = {
    HashAlgorithm.SHA2_256: _oid("2a864886f70d01010b"),
    HashAlgorithm.SHA2_384: _oid("2a864886f70d01010c"),
    HashAlgorithm.SHA2_512: _oid("2a864886f70d01010d"),
}
_ECDSA_OIDS: Final = {
    HashAlgorithm.SHA2_256: _oid("2a8648ce3d040302"),
    HashAlgorithm.SHA2_384: _oid("2a8648ce3d040303"),
    HashAlgorithm.SHA2_512: _oid("2a8648ce3d040304"),
}
_HASH_OIDS: Final = {
    HashAlgorithm.SHA2_256: _oid("608648016503040201"),
    HashAlgorithm.SHA2_384: _oid("608648016503040202"),
    HashAlgorithm.SHA2_512: _oid("608648016503040203"),
}
_PSS_OID: Final = _oid("2a864886f70d01010a")
_MGF1_OID: Final = _oid("2a864886f70d010108")
_ED25519_OID: Final = _oid("2b6570")
_ED448_OID: Final = _oid("2b6571")


def _pss_parameters(algorithm: HashAlgorithm, null: bytes, trailer: bytes) -> bytes:
    """RSASSA-PSS-params: salt as long as the hash; RFC 4055 lets NULL and the default trailer be left out."""
    digest = der.encode(der.Tag.SEQUENCE, _HASH_OIDS[algorithm], null)
    mask = der.encode(der.Tag.SEQUENCE, _MGF1_OID, digest)
    salt = der.encode(der.Tag.INTEGER, bytes([_HASHES[algorithm].digest_size]))
    return der.encode(
        der.Tag.SEQUENCE, der.encode(0xA0, digest), der.encode(0xA1, mask), der.encode(0xA2, salt), trailer
    )


def _identifiers() -> Iterator[tuple[bytes, Algorithm]]:
    """AlgorithmIdentifiers with what they mean; of each algorithm first the form that is sent."""
    trailer = der.encode(0xA3, der.encode(der.Tag.INTEGER, b"\x01"))
    for kind in _HASHES:
        for null in (_NULL, b""):
            yield _identifier(_RSA_OIDS[kind], null), Algorithm(Scheme.RSA_PKCS1, kind)
            for ending in (b"", trailer):
                parameters = _pss_parameters(kind, null, ending)
                yield _identifier(_PSS_OID, parameters), Algorithm(Scheme.RSA_PSS, kind)
        yield _identifier(_ECDSA_OIDS[kind]), Algorithm(Scheme.ECDSA, kind)
    yield _identifier(_ED25519_OID), Algorithm(Scheme.ED25519, HashAlgorithm.IDENTITY)
    yield _identifier(_ED448_OID), Algorithm(Scheme.ED448, HashAlgorithm.IDENTITY)


def _identifier(*parts: bytes) -> bytes:
    return der.encode(der.Tag.SEQUENCE, *parts)


_ALGORITHMS: Final = dict(_identifiers())
_SENT: Final = {algorithm: identifier for identifier, algorithm in reversed(list(_identifiers()))}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key. Two are equal when their SubjectPublicKeyInfo is."""

    spki: bytes
    """SubjectPublicKeyInfo in DER, which RFC 7670 puts into a CERT payload."""

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Read SubjectPublicKeyInfo in DER or PEM; CryptoError for other data and other kinds of keys."""
        try:
            key = load_pem_public_key(data) if data.startswith(PEM_MARK) else load_der_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise CryptoError("not a public key (SubjectPublicKeyInfo)") from None
        _check_strength(key)
        return cls(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def verify(self, proof: bytes, message: bytes) -> Algorithm:
        """The algorithm with which `proof`, the data of an AUTH payload, signs `message`.

        CryptoError says why it does not.
        """
        algorithm, signature = _split(proof)
        key = _check_strength(load_der_public_key(self.spki))
        if algorithm.scheme not in _schemes(key):
            raise CryptoError(f"the signature is {algorithm}, the key is one for {_schemes(key)[0].value}")
        try:
            _verify(key, algorithm, signature, message)
        except InvalidSignature:
            raise CryptoError(f"the signature ({algorithm}) is wrong") from None
        return algorithm


class SigningKey:
    """A private key. It shows nothing of itself."""

    def __init__(self, key: _Private, *, prefers_pss: bool) -> None:
        self._key = key
        self._prefers_pss = prefers_pss

    @classmethod
    def load(cls, pem: Secret, *, prefers_pss: bool = True) -> Self:
        """Read an unencrypted private key in PEM; CryptoError says what is wrong, never what is in it.

        `prefers_pss` is about RSA keys: a peer cannot say which padding it knows.
        """
        try:
            key = load_pem_private_key(pem.reveal(), password=None)
        except TypeError:
            raise CryptoError("the private key is encrypted; one without a passphrase is expected") from None
        except (ValueError, UnsupportedAlgorithm):
            raise CryptoError("not a private key in PEM") from None
        if not isinstance(key, _Private):
            raise CryptoError("the private key is neither of RSA nor of ECDSA nor of EdDSA")
        _check_strength(key.public_key())
        return cls(key, prefers_pss=prefers_pss)

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(
            self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    @property
    def kind(self) -> str:
        """What kind of signatures it makes, for people."""
        return _schemes(self._key.public_key())[0].value.split()[0]

    def sign(self, message: bytes, accepted: Collection[int]) -> bytes:
        """Data of an AUTH payload; `accepted` are the peer's SIGNATURE_HASH_ALGORITHMS.

        CryptoError when the peer accepts nothing that this key can do.
        """
        algorithm = self.choose(accepted)
        identifier = _SENT[algorithm]
        return bytes([len(identifier)]) + identifier + self._signature(algorithm, message)

    def choose(self, accepted: Collection[int]) -> Algorithm:
        """How `sign` signs; CryptoError when it cannot."""
        public = self._key.public_key()
        schemes = _schemes(public)
        scheme = schemes[0] if self._prefers_pss else schemes[-1]
        for kind in _hashes_of(public):
            if kind in accepted:
                return Algorithm(scheme, kind)
        names = ", ".join(kind.name for kind in _hashes_of(public))
        raise CryptoError(f"the peer accepts no signature with {names}, which our {self.kind} key needs")

    def _signature(self, algorithm: Algorithm, message: bytes) -> bytes:
        key = self._key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, _padding(algorithm), _HASHES[algorithm.hash])
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, ec.ECDSA(_HASHES[algorithm.hash]))
        return key.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.kind})"


def _split(proof: bytes) -> tuple[Algorithm, bytes]:
    length = proof[0] if proof else 0
    identifier, signature = proof[1 : 1 + length], proof[1 + length :]
    if len(identifier) < length or not length or not signature:
        raise CryptoError("the signature is malformed")
    algorithm = _ALGORITHMS.get(identifier)
    if algorithm is None:
        raise CryptoError(f"signature algorithm {identifier.hex()} is unknown or too weak")
    return algorithm, signature


def _verify(key: _Public, algorithm: Algorithm, signature: bytes, message: bytes) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, _padding(algorithm), _HASHES[algorithm.hash])
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(_HASHES[algorithm.hash]))
    else:
        key.verify(signature, message)


def _padding(algorithm: Algorithm) -> padding.PSS | padding.PKCS1v15:
    if algorithm.scheme is Scheme.RSA_PKCS1:
        return padding.PKCS1v15()
    digest = _HASHES[algorithm.hash]
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def _schemes(key: _Public) -> tuple[Scheme, ...]:
    """What a key can do, the better one first."""
    if isinstance(key, rsa.RSAPublicKey):
        return Scheme.RSA_PSS, Scheme.RSA_PKCS1
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (Scheme.ECDSA,)
    return (Scheme.ED25519,) if isinstance(key, ed25519.Ed25519PublicKey) else (Scheme.ED448,)


def _hashes_of(key: _Public) -> tuple[HashAlgorithm, ...]:
    """The hashes that a key may use, that which fits its strength first."""
    if isinstance(key, rsa.RSAPublicKey):
        return tuple(_HASHES)
    if isinstance(key, ec.EllipticCurvePublicKey):
        best = _CURVES[key.curve.name]
        return best, *(kind for kind in _HASHES if kind is not best)
    return (HashAlgorithm.IDENTITY,)


def _check_strength(key: object) -> _Public:
    if not isinstance(key, _Public):
        raise CryptoError("the public key is neither of RSA nor of ECDSA nor of EdDSA")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise CryptoError(f"the RSA key has {key.key_size} bits, at least {MIN_RSA_BITS} are expected")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
        raise CryptoError(f"the curve {key.curve.name} is not one of {', '.join(_CURVES)}")
    return key
