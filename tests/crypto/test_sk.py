from typing import get_args

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared_json
from vcstack.crypto.aead import gcm
from vcstack.crypto.errors import AuthenticationFailed, CryptoError, PaddingError
from vcstack.crypto.mac import INTEGRITIES
from vcstack.crypto.sk import Encryption, IntegrityName, SkCipher, make_sk_cipher, sk_key_lengths

Suite = tuple[Encryption, int, IntegrityName | None]

SUITES: list[Suite] = [("aes-gcm-16", bits, None) for bits in (128, 192, 256)]
SUITES += [("aes-cbc", bits, name) for bits in (128, 192, 256) for name in get_args(IntegrityName)]
HEADER = bytes(range(32))


def keys(suite: Suite) -> tuple[bytes, bytes]:
    key_length, integ_key_length = sk_key_lengths(*suite)
    return bytes(range(key_length)), bytes(range(100, 100 + integ_key_length))


def cipher_of(suite: Suite) -> SkCipher:
    return make_sk_cipher(*suite, *keys(suite))


def seal_unpadded(suite: Suite, iv: bytes, padded: bytes) -> bytes:
    """Protect bytes whose padding is already there, however wrong, as a genuine peer could."""
    key, integ_key = keys(suite)
    if suite[2] is None:
        return gcm(key).seal(iv, HEADER, padded)
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    return ciphertext + INTEGRITIES[suite[2]](integ_key, HEADER + iv + ciphertext)


@pytest.mark.parametrize(
    ("suite", "lengths"),
    [
        # key with salt, integrity key, IV, ICV, block: RFC 5282 sections 3, 4 and 7.1,
        # RFC 7296 section 3.14, RFC 4868 section 2.1
        (("aes-gcm-16", 128, None), (20, 0, 8, 16, 1)),
        (("aes-gcm-16", 256, None), (36, 0, 8, 16, 1)),
        (("aes-cbc", 128, "sha256"), (16, 32, 16, 16, 16)),
        (("aes-cbc", 192, "sha384"), (24, 48, 16, 24, 16)),
        (("aes-cbc", 256, "sha512"), (32, 64, 16, 32, 16)),
    ],
)
def test_lengths_of_the_suites(suite: Suite, lengths: tuple[int, ...]) -> None:
    sk = cipher_of(suite)
    assert (sk.key_length, sk.integ_key_length, sk.iv_length, sk.icv_length, sk.block_size) == lengths
    assert sk_key_lengths(*suite) == lengths[:2]


@given(st.sampled_from(SUITES), st.binary(max_size=70), st.binary(max_size=40))
def test_open_returns_what_was_sealed(suite: Suite, plaintext: bytes, aad: bytes) -> None:
    sk = cipher_of(suite)
    iv = bytes(range(sk.iv_length))
    sealed = sk.seal(iv, aad, plaintext)
    assert len(sealed) == sk.sealed_length(len(plaintext))
    assert (len(sealed) - sk.icv_length) % sk.block_size == 0
    assert sk.open(iv, aad, sealed) == plaintext


@pytest.mark.parametrize("suite", [SUITES[0], ("aes-cbc", 256, "sha256")])
@pytest.mark.parametrize("part", ["iv", "aad", "data"])
def test_any_flipped_bit_is_noticed(suite: Suite, part: str) -> None:
    sk = cipher_of(suite)
    iv = bytes(sk.iv_length)
    genuine = {"iv": iv, "aad": HEADER, "data": sk.seal(iv, HEADER, b"payloads")}
    for bit in range(8 * len(genuine[part])):
        forged = bytearray(genuine[part])
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationFailed):
            sk.open(**(genuine | {part: bytes(forged)}))


@given(st.sampled_from(SUITES), st.binary(max_size=80))
def test_any_bytes_are_refused_as_not_authentic(suite: Suite, data: bytes) -> None:
    sk = cipher_of(suite)
    with pytest.raises(AuthenticationFailed):
        sk.open(bytes(sk.iv_length), HEADER, data)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(
    ("padded", "expected"),
    [
        (b"payloads" + b"anything" * 2 + b"1234567" + b"\x17", b"payloads"),  # values are the peer's choice
        (bytes(15) + b"\x0f", b""),  # no payloads at all
        (bytes(31) + b"\x1f", b""),  # a block more than needed
    ],
)
def test_any_padding_that_fits_is_accepted(suite: Suite, padded: bytes, expected: bytes) -> None:
    sk = cipher_of(suite)
    iv = bytes(sk.iv_length)
    assert sk.open(iv, HEADER, seal_unpadded(suite, iv, padded)) == expected


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("pad_length", [16, 17, 255])
def test_padding_longer_than_its_message_is_an_error(suite: Suite, pad_length: int) -> None:
    sk = cipher_of(suite)
    iv = bytes(sk.iv_length)
    with pytest.raises(PaddingError, match="pad length"):
        sk.open(iv, HEADER, seal_unpadded(suite, iv, bytes(15) + bytes([pad_length])))


def test_authentic_gcm_message_without_pad_length_is_an_error() -> None:
    with pytest.raises(PaddingError, match="pad length missing in 0 bytes"):
        cipher_of(SUITES[0]).open(bytes(8), HEADER, seal_unpadded(SUITES[0], bytes(8), b""))


@pytest.mark.parametrize("size", [0, 15, 17])
def test_authentic_cbc_message_of_broken_blocks_is_an_error(size: int) -> None:
    suite: Suite = ("aes-cbc", 128, "sha256")
    iv, ciphertext = bytes(16), bytes(size)
    icv = INTEGRITIES["sha256"](keys(suite)[1], HEADER + iv + ciphertext)
    with pytest.raises(PaddingError, match=f"{size} bytes of ciphertext"):
        cipher_of(suite).open(iv, HEADER, ciphertext + icv)


def test_errors_are_of_one_family() -> None:
    assert issubclass(AuthenticationFailed, CryptoError)
    assert issubclass(PaddingError, CryptoError)


@pytest.mark.parametrize(
    "suite",
    [
        ("aes-gcm-16", 256, "sha256"),  # RFC 5282 section 8
        ("aes-cbc", 256, None),
        ("aes-cbc", 64, "sha256"),
        ("aes-gcm-16", 0, None),
    ],
)
def test_suites_that_do_not_exist(suite: Suite) -> None:
    with pytest.raises(ValueError, match="no IKE cipher"):
        sk_key_lengths(*suite)


@pytest.mark.parametrize("suite", [SUITES[2], ("aes-cbc", 256, "sha256")])
def test_keys_of_the_wrong_size(suite: Suite) -> None:
    key, integ_key = keys(suite)
    for wrong in ((key[:-1], integ_key), (key, integ_key + b"x")):
        with pytest.raises(ValueError, match="expected"):
            make_sk_cipher(*suite, *wrong)


def test_known_answers_of_strongswan_for_cbc() -> None:
    for vector in shared_json("corpus/vectors/strongswan/aes_cbc.json")["vectors"]:
        key, iv, plain = (bytes.fromhex(vector[field]) for field in ("key", "iv", "plain"))
        sk = make_sk_cipher("aes-cbc", 8 * len(key), "sha256", key, bytes(32))
        # What IKE adds is a block of padding behind the vector's whole blocks, and the ICV.
        sealed = sk.seal(iv, HEADER, plain)
        assert sealed[: len(plain)].hex() == vector["cipher"], vector["name"]
        assert len(sealed) == len(plain) + 16 + 16
