from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from tests.support.authority import KINDS, Private, pem_of, private_key, signing_key, spki_of
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.signature import HashAlgorithm, SigningKey, VerifyingKey
from vcstack.wire.secret import Secret

MESSAGE = b"what was said in IKE_SA_INIT"
ALL = tuple(HashAlgorithm)
EXPECTED = {
    "rsa": "RSA PSS with SHA-256",
    "p256": "ECDSA with SHA-256",
    "p384": "ECDSA with SHA-384",
    "p521": "ECDSA with SHA-512",
    "ed25519": "Ed25519",
    "ed448": "Ed448",
}

# RFC 7427 appendix A, as printed there.
RSA_256 = "300d06092a864886f70d01010b0500"
ECDSA_384 = "300a06082a8648ce3d040303"
PSS_256 = (
    "304606092a864886f70d01010a3039a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101"
)


def public(kind: str) -> VerifyingKey:
    return VerifyingKey.load(spki_of(private_key(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key(kind: str) -> None:
    key = signing_key(kind)
    proof = key.sign(MESSAGE, ALL)
    assert key.public == public(kind)
    assert str(key.public.verify(proof, MESSAGE)) == str(key.choose(ALL)) == EXPECTED[kind]
    with pytest.raises(CryptoError, match=r"the signature \(.*\) is wrong"):
        public(kind).verify(proof, MESSAGE + b".")
    with pytest.raises(CryptoError, match="is wrong"):
        public(kind).verify(proof[:-1] + bytes([proof[-1] ^ 1]), MESSAGE)


def test_rsa_with_the_padding_of_old() -> None:
    """Nothing negotiates the padding: peers that know PKCS#1 v1.5 alone exist, and both are verified."""
    proof = signing_key("rsa", prefers_pss=False).sign(MESSAGE, ALL)
    assert proof[1 : 1 + proof[0]].hex() == RSA_256
    assert str(public("rsa").verify(proof, MESSAGE)) == "RSA PKCS#1 v1.5 with SHA-256"


@pytest.mark.parametrize(
    ("kind", "accepted", "expected"),
    [
        ("rsa", [4], "RSA PSS with SHA-512"),
        ("rsa", [1, 3, 2], "RSA PSS with SHA-256"),
        ("p256", [4, 3], "ECDSA with SHA-384"),
        ("p521", [2], "ECDSA with SHA-256"),
        ("ed25519", [1, 5], "Ed25519"),
    ],
)
def test_the_peer_names_the_hashes(kind: str, accepted: list[int], expected: str) -> None:
    """RFC 7427 4: only what the peer has listed, of which the one that fits the key best."""
    key = signing_key(kind)
    assert str(key.public.verify(key.sign(MESSAGE, accepted), MESSAGE)) == expected


@pytest.mark.parametrize(("kind", "accepted"), [("rsa", [1]), ("p256", [5]), ("ed25519", [2]), ("p384", [])])
def test_no_hash_in_common(kind: str, accepted: list[int]) -> None:
    with pytest.raises(CryptoError, match="the peer accepts no signature with"):
        signing_key(kind).sign(MESSAGE, accepted)


def test_identifiers_of_the_rfc_are_known() -> None:
    """RFC 7427 A.3.3 and A.4.3; the latter spells out a default that DER leaves out."""
    proof = signing_key("p384").sign(MESSAGE, ALL)
    assert proof[: 1 + proof[0]].hex() == f"{len(ECDSA_384) // 2:02x}{ECDSA_384}"
    ours = signing_key("rsa").sign(MESSAGE, ALL)
    theirs = bytes([len(PSS_256) // 2]) + bytes.fromhex(PSS_256) + ours[1 + ours[0] :]
    assert str(public("rsa").verify(theirs, MESSAGE)) == EXPECTED["rsa"]


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (b"", "malformed"),
        (b"\x00signature", "malformed"),
        (b"\x05abc", "malformed"),
        (bytes.fromhex("0c" + ECDSA_384), "malformed"),
        (bytes.fromhex("0f300d06092a864886f70d01010505 00") + b"s", "unknown or too weak"),
        (bytes.fromhex("0f300d06092a864886f70d01010a3000") + b"s", "unknown or too weak"),
        (bytes.fromhex("0f" + RSA_256) + b"s", "the key is one for ECDSA"),
    ],
)
def test_what_is_no_signature(proof: bytes, reason: str) -> None:
    """SHA-1, by name or as the default of PSS, is refused (RFC 8247 3.2)."""
    with pytest.raises(CryptoError, match=reason):
        public("p384").verify(proof, MESSAGE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not a key", "not a private key in PEM"),
        (pem_of(private_key("rsa1024")), "the RSA key has 1024 bits, at least 2048 are expected"),
        (pem_of(ec.generate_private_key(ec.SECP256K1())), "the curve secp256k1 is not one of"),
        (
            private_key("p256").private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
            ),
            "encrypted",
        ),
    ],
)
def test_what_is_no_private_key(data: bytes, reason: str) -> None:
    with pytest.raises(CryptoError, match=reason):
        SigningKey.load(Secret(data))


def test_a_key_for_other_things() -> None:
    from cryptography.hazmat.primitives.asymmetric import x25519

    key = x25519.X25519PrivateKey.generate()
    other: Private = key  # type: ignore[assignment]  # the helpers work with it all the same
    with pytest.raises(CryptoError, match="neither of RSA nor of ECDSA nor of EdDSA"):
        SigningKey.load(Secret(pem_of(other)))
    with pytest.raises(CryptoError, match="neither of RSA"):
        VerifyingKey.load(spki_of(other))


def test_public_keys_as_files_have_them() -> None:
    key = private_key("p256")
    assert VerifyingKey.load(spki_of(key, Encoding.PEM)) == VerifyingKey.load(spki_of(key))
    with pytest.raises(CryptoError, match="not a public key"):
        VerifyingKey.load(b"\x30\x00")


def test_a_signing_key_shows_nothing() -> None:
    assert repr(signing_key("p256")) == "SigningKey(ECDSA)"


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
def test_any_damage_to_a_public_key(kind: str) -> None:
    """A peer may send a bare key: it is none, another one, or one for other signatures."""
    data, proof = spki_of(private_key(kind)), signing_key(kind).sign(MESSAGE, ALL)
    for position, octet in enumerate(data):
        for other in {0, 0x30, 0xFF, octet ^ 1} - {octet}:
            with pytest.raises(CryptoError):
                VerifyingKey.load(data[:position] + bytes([other]) + data[position + 1 :]).verify(
                    proof, MESSAGE
                )
