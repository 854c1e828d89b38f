import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared_json
from vcstack.crypto.aead import gcm
from vcstack.crypto.errors import AuthenticationFailed, CryptoError

KEYS = [bytes(range(length)) for length in (20, 28, 36)]
IV = b"\0\0\0\0\0\0\0\1"


@pytest.mark.parametrize("key", KEYS)
def test_key_material_is_an_aes_key_and_a_salt(key: bytes) -> None:
    cipher = gcm(key)
    assert cipher.key_bits == 8 * (len(key) - 4)
    assert cipher.salt == key[-4:]
    sealed = cipher.seal(IV, b"aad", b"plaintext")
    assert sealed == cipher.raw.encrypt(key[-4:] + IV, b"plaintext", b"aad")
    assert len(sealed) == len(b"plaintext") + 16


@given(
    st.sampled_from(KEYS), st.binary(min_size=8, max_size=8), st.binary(max_size=40), st.binary(max_size=80)
)
def test_open_returns_what_was_sealed(key: bytes, iv: bytes, aad: bytes, plaintext: bytes) -> None:
    cipher = gcm(key)
    assert cipher.open(iv, aad, cipher.seal(iv, aad, plaintext)) == plaintext


@pytest.mark.parametrize("part", ["iv", "aad", "data"])
def test_any_flipped_bit_is_noticed(part: str) -> None:
    cipher = gcm(KEYS[0])
    genuine = {"iv": IV, "aad": b"\1\2\3\4", "data": cipher.seal(IV, b"\1\2\3\4", b"plaintext")}
    for bit in range(8 * len(genuine[part])):
        forged = bytearray(genuine[part])
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationFailed, match="integrity check value"):
            cipher.open(**(genuine | {part: bytes(forged)}))


@pytest.mark.parametrize("size", [0, 15])
def test_data_shorter_than_its_icv_is_not_authentic(size: int) -> None:
    with pytest.raises(CryptoError):
        gcm(KEYS[0]).open(IV, b"", bytes(size))


@pytest.mark.parametrize("size", [0, 3, 4, 16, 19, 21, 37])
def test_key_material_of_another_size_is_our_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="key"):
        gcm(bytes(size))


@pytest.mark.parametrize("size", [0, 7, 9, 12])
def test_iv_of_another_size_is_our_mistake(size: int) -> None:
    with pytest.raises(ValueError, match=f"IV of {size} bytes"):
        gcm(KEYS[0]).seal(bytes(size), b"", b"")


def test_known_answers_of_strongswan() -> None:
    vectors = shared_json("corpus/vectors/strongswan/aes_gcm.json")["vectors"]
    vectors = [vector for vector in vectors if vector["alg"] == "ENCR_AES_GCM_ICV16"]
    assert len(vectors) == 15
    for vector in vectors:
        key, iv, aad, plain = (bytes.fromhex(vector.get(k, "")) for k in ("key", "iv", "adata", "plain"))
        sealed = gcm(key).seal(iv, aad, plain)
        assert sealed.hex() == vector["cipher"], vector["name"]
        assert gcm(key).open(iv, aad, sealed) == plain


def test_known_answers_of_wycheproof() -> None:
    groups = shared_json("corpus/vectors/wycheproof/aes_gcm_test.json")["testGroups"]
    groups = [group for group in groups if (group["ivSize"], group["tagSize"]) == (96, 128)]
    assert {group["keySize"] for group in groups} == {128, 192, 256}
    for test in (test for group in groups for test in group["tests"]):
        key, nonce, aad, message, ciphertext, tag = (
            bytes.fromhex(test[field]) for field in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        cipher = gcm(key + nonce[:4])
        if test["result"] == "valid":
            assert cipher.seal(nonce[4:], aad, message) == ciphertext + tag, test["tcId"]
            assert cipher.open(nonce[4:], aad, ciphertext + tag) == message, test["tcId"]
        else:
            with pytest.raises(AuthenticationFailed):
                cipher.open(nonce[4:], aad, ciphertext + tag)
