"""Keys of IKE SAs and Child SAs, and what proves a pre-shared key (RFC 7296 2.13 to 2.18).

    SKEYSEED = prf(Ni | Nr, g^ir)                                    initial (2.14)
    SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)                 rekey of the IKE SA (2.18)
    {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)
    KEYMAT   = prf+(SK_d, [g^ir (new) |] Ni | Nr)                    Child SA (2.17)
    signed   = message | nonce | prf(SK_p, ID')                                        (2.15)
    AUTH     = prf(prf(PSK, "Key Pad for IKEv2"), signed)
    SK_x     = prf+(PPK, SK_x')             of SK_d, SK_pi and SK_pr, in a first IKE SA (RFC 8784 3)

The functions are HMACs, which take keys of any length: nonces and pre-shared keys go in whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from vcstack.crypto.mac import compare
from vcstack.crypto.prf import PRFS, Prf
from vcstack.crypto.sk import IntegrityName, SkCipher, make_sk_cipher, sk_key_lengths
from vcstack.ikev2.algorithms import Encryption
from vcstack.ikev2.constants import PSK_PAD
from vcstack.ikev2.iana import EncryptionId, IntegrityId, PrfId
from vcstack.ikev2.proposal import EspSuite, IkeSuite
from vcstack.wire.reader import Reader
from vcstack.wire.secret import Secret

EncryptionName = Literal["aes-gcm-16", "aes-cbc"]

_PRFS: Final[Mapping[PrfId, Prf]] = {
    PrfId.HMAC_SHA2_256: PRFS["sha256"],
    PrfId.HMAC_SHA2_384: PRFS["sha384"],
    PrfId.HMAC_SHA2_512: PRFS["sha512"],
}
_ENCRYPTIONS: Final[Mapping[EncryptionId, EncryptionName]] = {
    EncryptionId.AES_GCM_16: "aes-gcm-16",
    EncryptionId.AES_CBC: "aes-cbc",
}
_INTEGRITIES: Final[Mapping[IntegrityId, IntegrityName]] = {
    IntegrityId.HMAC_SHA2_256_128: "sha256",
    IntegrityId.HMAC_SHA2_384_192: "sha384",
    IntegrityId.HMAC_SHA2_512_256: "sha512",
}


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """Keys of one IKE SA. `ai` and `ar` are empty with an AEAD, whose `ei` and `er` end in the salt."""

    d: Secret
    ai: Secret
    ar: Secret
    ei: Secret
    er: Secret
    pi: Secret
    pr: Secret


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """Keys of a pair of Child SAs: `i` protects what the exchange's initiator sends, `r` what comes back.

    With AES-GCM an encryption key ends in its salt and the integrity keys are empty (RFC 4106 8.1).
    """

    encryption_i: Secret
    integrity_i: Secret
    encryption_r: Secret
    integrity_r: Secret


def prf_function(prf: PrfId) -> Prf:
    """The function that a suite names."""
    return _PRFS[prf]


def encryption_name(encryption: Encryption) -> EncryptionName:
    """What the cipher is called in crypto."""
    return _ENCRYPTIONS[encryption.id]


def initial_skeyseed(prf: Prf, nonce_i: bytes, nonce_r: bytes, shared: Secret) -> Secret:
    """SKEYSEED of a first IKE SA; `shared` is g^ir, as long as the group's prime (RFC 7296 2.14)."""
    return Secret(prf(nonce_i + nonce_r, shared.reveal()))


def rekeyed_skeyseed(prf: Prf, old_d: Secret, nonce_i: bytes, nonce_r: bytes, shared: Secret) -> Secret:
    """SKEYSEED of an IKE SA that replaces another, whose PRF and SK_d these are (RFC 7296 2.18)."""
    return Secret(prf(old_d.reveal(), shared.reveal() + nonce_i + nonce_r))


def ike_keys(
    suite: IkeSuite, skeyseed: Secret, nonce_i: bytes, nonce_r: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """The seven keys of an IKE SA, by the PRF that it negotiated (RFC 7296 2.14)."""
    prf = prf_function(suite.prf)
    encryption_length, integrity_length = _key_lengths(suite)
    prf_length = prf.output_length
    lengths = (
        *(prf_length, integrity_length, integrity_length),
        *(encryption_length, encryption_length, prf_length, prf_length),
    )
    stream = Reader(prf.plus(skeyseed.reveal(), nonce_i + nonce_r + spi_i + spi_r, sum(lengths)))
    return IkeKeys(*(Secret(stream.take(length)) for length in lengths))


def keys_with_ppk(prf: Prf, keys: IkeKeys, ppk: Secret) -> IkeKeys:
    """The keys of a first IKE SA with a postquantum preshared key in what proves and derives (RFC 8784 3)."""
    d, pi, pr = (Secret(prf.plus(ppk.reveal(), old.reveal(), len(old))) for old in (keys.d, keys.pi, keys.pr))
    return replace(keys, d=d, pi=pi, pr=pr)


def child_keys(
    suite: EspSuite, prf: Prf, d: Secret, nonce_i: bytes, nonce_r: bytes, shared: Secret | None = None
) -> ChildKeys:
    """Keys of a Child SA; `shared` is the g^ir of its own exchange, None without PFS (RFC 7296 2.17).

    PRF and SK_d are those of the IKE SA, the nonces those of the exchange that makes the Child SA.
    """
    encryption_length, integrity_length = _key_lengths(suite)
    lengths = (encryption_length, integrity_length) * 2
    seed = (b"" if shared is None else shared.reveal()) + nonce_i + nonce_r
    stream = Reader(prf.plus(d.reveal(), seed, sum(lengths)))
    return ChildKeys(*(Secret(stream.take(length)) for length in lengths))


def sk_ciphers(suite: IkeSuite, keys: IkeKeys) -> tuple[SkCipher, SkCipher]:
    """Ciphers of an IKE SA: for what its original initiator sends, and for what its responder sends."""
    return _sk_cipher(suite, keys.ei, keys.ai), _sk_cipher(suite, keys.er, keys.ar)


def signed_octets(prf: Prf, sk_p: Secret, message: bytes, nonce: bytes, identity: bytes) -> bytes:
    """What one end proves to have said (RFC 7296 2.15).

    `message` is that end's whole IKE_SA_INIT message (the last one sent, cookie included), `nonce` the other
    end's, `identity` the body of its IDi or IDr payload, `sk_p` its SK_pi or SK_pr.
    """
    return message + nonce + prf(sk_p.reveal(), identity)


def psk_auth(prf: Prf, psk: Secret, signed: bytes) -> bytes:
    """Data of the AUTH payload of one end with a pre-shared key; the ends may have different ones."""
    return prf(prf(psk.reveal(), PSK_PAD), signed)


def verify_psk_auth(received: bytes, prf: Prf, psk: Secret, signed: bytes) -> bool:
    """Whether the peer's AUTH data is what `psk_auth` makes of its end, compared in constant time."""
    return compare(psk_auth(prf, psk, signed), received)


def _sk_cipher(suite: IkeSuite, key: Secret, integrity_key: Secret) -> SkCipher:
    name, bits = encryption_name(suite.encryption), suite.encryption.key_bits
    return make_sk_cipher(name, bits, _integrity_name(suite), key.reveal(), integrity_key.reveal())


def _key_lengths(suite: IkeSuite | EspSuite) -> tuple[int, int]:
    return sk_key_lengths(
        encryption_name(suite.encryption), suite.encryption.key_bits, _integrity_name(suite)
    )


def _integrity_name(suite: IkeSuite | EspSuite) -> IntegrityName | None:
    return None if suite.integrity is None else _INTEGRITIES[suite.integrity]
