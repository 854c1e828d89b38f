import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shared import shared_json
from vcstack.crypto.prf import PRFS

# RFC 4231 section 4.3 (test case 2): key "Jefe", data "what do ya want for nothing?".
RFC_4231_CASE_2 = {
    "sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    "sha384": "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
    "8e2240ca5e69e2c78b3239ecfab21649",
    "sha512": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
    "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
}
# RFC 4231 section 4.7 (test case 6): a key of 131 bytes, more than a block of any of the hashes.
RFC_4231_CASE_6 = {
    "sha256": "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    "sha384": "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
    "0c2ef6ab4030fe8296248df163f44952",
    "sha512": "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
    "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
}
# RFC 5869 appendix A.1: the Expand step of HKDF is prf+ with the counter at the same place.
RFC_5869_PRK = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
RFC_5869_OKM = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


@pytest.mark.parametrize("name", PRFS)
def test_examples_of_rfc_4231(name: str) -> None:
    prf = PRFS[name]
    assert prf(b"Jefe", b"what do ya want for nothing?").hex() == RFC_4231_CASE_2[name]
    large_key = prf(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First")
    assert large_key.hex() == RFC_4231_CASE_6[name]
    assert len(large_key) == prf.output_length


def test_example_of_rfc_5869() -> None:
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    assert PRFS["sha256"].plus(bytes.fromhex(RFC_5869_PRK), info, 42).hex() == RFC_5869_OKM


@pytest.mark.parametrize("file", ["kdf_prf", "kdf_prf_plus"])
def test_known_answers_of_strongswan(file: str) -> None:
    vectors = shared_json(f"corpus/vectors/strongswan/{file}.json")["vectors"]
    assert vectors
    for vector in vectors:
        prf = PRFS["sha" + vector["arg.prf"].removeprefix("PRF_HMAC_SHA2_")]
        key, salt, out = (bytes.fromhex(vector[field]) for field in ("key", "salt", "out"))
        # SKEYSEED = prf(Ni | Nr, g^ir): the nonces are the key (RFC 7296 section 2.14).
        derived = prf(salt, key) if file == "kdf_prf" else prf.plus(key, salt, len(out))
        assert derived == out, vector["name"]


def test_known_answers_of_strongswan_for_the_bare_hmac() -> None:
    vectors = shared_json("corpus/vectors/strongswan/sha2_hmac.json")["vectors"]
    vectors = [vector for vector in vectors if vector["alg"].startswith("PRF_")]
    assert len(vectors) == 15
    for vector in vectors:
        prf = PRFS["sha" + vector["alg"].removeprefix("PRF_HMAC_SHA2_")]
        assert prf(bytes.fromhex(vector["key"]), bytes.fromhex(vector["seed"])).hex() == vector["out"]


@given(st.sampled_from(sorted(PRFS)), st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 400))
def test_plus_is_the_chain_of_rfc_7296(name: str, key: bytes, seed: bytes, length: int) -> None:
    # Section 2.13: T1 = prf(K, S | 0x01), T2 = prf(K, T1 | S | 0x02), ...
    prf = PRFS[name]
    stream = prf.plus(key, seed, length)
    assert len(stream) == length
    assert prf.plus(key, seed, length + 100).startswith(stream)
    size = prf.output_length
    whole = prf.plus(key, seed, 2 * size)
    assert whole[:size] == prf(key, seed + b"\x01")
    assert whole[size:] == prf(key, whole[:size] + seed + b"\x02")


@pytest.mark.parametrize("name", PRFS)
def test_plus_ends_with_its_one_byte_counter(name: str) -> None:
    prf = PRFS[name]
    assert len(prf.plus(b"key", b"seed", 255 * prf.output_length)) == 255 * prf.output_length
    with pytest.raises(ValueError, match="256 blocks"):
        prf.plus(b"key", b"seed", 255 * prf.output_length + 1)
