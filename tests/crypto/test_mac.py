import pytest

from tests.support.shared import shared_json
from vcstack.crypto.mac import INTEGRITIES, compare

# RFC 4868 sections 2.7.2.1 to 2.7.2.3, cases AUTH256-1, AUTH384-1, AUTH512-1: "Hi There".
RFC_4868 = {
    "sha256": "198a607eb44bfbc69903a0f1cf2bbdc5",
    "sha384": "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
    "sha512": "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
}


@pytest.mark.parametrize("name", RFC_4868)
def test_examples_of_rfc_4868(name: str) -> None:
    integrity = INTEGRITIES[name]
    key = b"\x0b" * integrity.key_length
    assert integrity(key, b"Hi There").hex() == RFC_4868[name]
    assert integrity.icv_length == integrity.key_length // 2
    assert integrity.verify(key, b"Hi There", bytes.fromhex(RFC_4868[name]))


@pytest.mark.parametrize("name", INTEGRITIES)
def test_verify_refuses_every_flipped_bit_and_other_sizes(name: str) -> None:
    integrity = INTEGRITIES[name]
    key = bytes(integrity.key_length)
    icv = integrity(key, b"data")
    for bit in range(8 * len(icv)):
        forged = bytearray(icv)
        forged[bit // 8] ^= 1 << bit % 8
        assert not integrity.verify(key, b"data", bytes(forged))
    assert not integrity.verify(key, b"data", icv[:-1])
    assert not integrity.verify(key, b"data", b"")


def test_known_answers_of_strongswan() -> None:
    names = {f"AUTH_HMAC_SHA2_{bits}_{bits // 2}": f"sha{bits}" for bits in (256, 384, 512)}
    vectors = [
        v for v in shared_json("corpus/vectors/strongswan/sha2_hmac.json")["vectors"] if v["alg"] in names
    ]
    assert len(vectors) == 9
    for vector in vectors:
        integrity = INTEGRITIES[names[vector["alg"]]]
        assert integrity(bytes.fromhex(vector["key"]), bytes.fromhex(vector["data"])).hex() == vector["mac"]


@pytest.mark.parametrize("name", INTEGRITIES)
def test_known_answers_of_wycheproof(name: str) -> None:
    integrity = INTEGRITIES[name]
    groups = shared_json(f"corpus/vectors/wycheproof/hmac_{name}_test.json")["testGroups"]
    tests = [t for g in groups if g["tagSize"] == 8 * integrity.icv_length for t in g["tests"]]
    assert tests
    for test in tests:
        key, message, tag = (bytes.fromhex(test[field]) for field in ("key", "msg", "tag"))
        assert integrity.verify(key, message, tag) is (test["result"] == "valid"), test["tcId"]


def test_compare() -> None:
    assert compare(b"same", b"same")
    assert not compare(b"same", b"some")
    assert not compare(b"same", b"sam")
