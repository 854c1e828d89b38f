from typing import Any

import pytest

from tests.support.shared import shared_json
from vcstack.crypto.dh import generate
from vcstack.crypto.prf import Prf
from vcstack.ikev2.iana import PrfId
from vcstack.ikev2.keymat import (
    ChildKeys,
    IkeKeys,
    child_keys,
    ike_keys,
    initial_skeyseed,
    prf_function,
    psk_auth,
    rekeyed_skeyseed,
    signed_octets,
    sk_ciphers,
    verify_psk_auth,
)
from vcstack.ikev2.proposal import EspProposal, EspSuite, IkeProposal, IkeSuite, offer
from vcstack.ikev2.selection import select_esp, select_ike
from vcstack.wire.secret import Secret

SHA1 = Prf("hmac-sha1", "sha1", 20)
PRFS = {
    "PRF_HMAC_SHA2_256": ("prfsha256", PrfId.HMAC_SHA2_256),
    "PRF_HMAC_SHA2_384": ("prfsha384", PrfId.HMAC_SHA2_384),
    "PRF_HMAC_SHA2_512": ("prfsha512", PrfId.HMAC_SHA2_512),
}


def ike_suite(text: str) -> IkeSuite:
    proposals = [IkeProposal.parse(text)]
    return select_ike(offer(proposals), proposals).suite


def esp_suite(text: str) -> EspSuite:
    proposals = [EspProposal.parse(text)]
    return select_esp(offer(proposals, b"\xc0\0\0\1"), proposals, with_groups=True).suite


GCM_256, GCM_128 = esp_suite("aes256gcm16"), esp_suite("aes128gcm16")


def joined(keys: IkeKeys | ChildKeys) -> bytes:
    """All keys in the order in which they are cut from the stream."""
    return b"".join(getattr(keys, name).reveal() for name in type(keys).__dataclass_fields__)


def known(name: str) -> list[dict[str, Any]]:
    """Vectors of the three PRFs, octets as bytes."""
    return [
        {
            key: bytes.fromhex(value) if key in ("key", "salt", "out") else value
            for key, value in vector.items()
        }
        for vector in shared_json(f"corpus/vectors/strongswan/{name}.json")["vectors"]
        if vector["arg.prf"] in PRFS
    ]


def test_skeyseed_of_known_answers() -> None:
    """NIST's values for RFC 7296 2.14: the salt is Ni | Nr, the key g^ir."""
    vectors = known("kdf_prf")
    assert len(vectors) == 6
    for vector in vectors:
        prf = prf_function(PRFS[vector["arg.prf"]][1])
        nonce_i, nonce_r = vector["salt"][:8], vector["salt"][8:]
        assert initial_skeyseed(prf, nonce_i, nonce_r, Secret(vector["key"])) == Secret(vector["out"])


def test_keys_of_known_answers() -> None:
    """NIST's values for prf+: the salt is Ni | Nr | SPIi | SPIr, or Ni | Nr for a Child SA."""
    vectors = [vector for vector in known("kdf_prf_plus") if len(vector["salt"]) >= 32]
    assert len(vectors) == 6
    for vector in vectors:
        name, identifier = PRFS[vector["arg.prf"]]
        secret, salt = Secret(vector["key"]), vector["salt"]
        suite = ike_suite(f"aes128gcm16-{name}-ecp256")
        ours = joined(ike_keys(suite, secret, salt[:8], salt[8:-16], salt[-16:-8], salt[-8:]))
        length = min(len(ours), len(vector["out"]))
        assert ours[:length] == vector["out"][:length]
        child = joined(child_keys(GCM_256, prf_function(identifier), secret, salt[:8], salt[8:]))
        assert child == vector["out"][:72]


def test_the_chain_of_the_automated_validation_protocol() -> None:
    """SKEYSEED, Child SAs with and without DH, and the rekey of the IKE SA, with HMAC-SHA1."""
    given = {name: bytes.fromhex(value) for name, value in _acvp("input").items() if len(value) >= 16}
    expected = {name: value for name, value in _acvp("expected").items() if isinstance(value, str)}
    nonces = given["nInit"], given["nResp"]
    skeyseed = initial_skeyseed(SHA1, *nonces, Secret(given["gir"]))
    assert skeyseed.reveal().hex() == expected["sKeySeed"]
    seed = b"".join((*nonces, given["spiInit"], given["spiResp"]))
    stream = SHA1.plus(skeyseed.reveal(), seed, 132)
    assert stream.hex() == expected["derivedKeyingMaterial"]
    d, new = Secret(stream[:20]), Secret(given["girNew"])
    assert expected["derivedKeyingMaterialChild"].startswith(
        joined(child_keys(GCM_256, SHA1, d, *nonces)).hex()
    )
    with_dh = joined(child_keys(GCM_256, SHA1, d, *nonces, new))
    assert expected["derivedKeyingMaterialDh"].startswith(with_dh.hex())
    assert rekeyed_skeyseed(SHA1, d, *nonces, new).reveal().hex() == expected["sKeySeedReKey"]


def _acvp(part: str) -> dict[str, Any]:
    content: dict[str, Any] = shared_json(f"corpus/vectors/libreswan/acvp.ikev2.{part}.json")
    return content


@pytest.mark.parametrize(
    ("text", "prf_length", "integrity_length", "encryption_length"),
    [
        ("aes256gcm16-prfsha384-ecp384", 48, 0, 36),
        ("aes128gcm16-prfsha256-ecp256", 32, 0, 20),
        ("aes256-sha512-ecp521", 64, 64, 32),
        ("aes128-sha256-prfsha384-modp2048", 48, 32, 16),
    ],
)
def test_lengths_of_the_keys_of_an_ike_sa(
    text: str, prf_length: int, integrity_length: int, encryption_length: int
) -> None:
    """RFC 5282 7.1: a GCM key ends in 4 octets of salt and has no integrity key beside it."""
    keys = ike_keys(ike_suite(text), Secret(b"seed"), bytes(16), bytes(16), bytes(8), bytes(8))
    assert [len(key) for key in (keys.d, keys.pi, keys.pr)] == [prf_length] * 3
    assert [len(key) for key in (keys.ai, keys.ar)] == [integrity_length] * 2
    assert [len(key) for key in (keys.ei, keys.er)] == [encryption_length] * 2


def test_lengths_of_the_keys_of_a_child_sa() -> None:
    prf = prf_function(PrfId.HMAC_SHA2_256)
    keys = child_keys(GCM_128, prf, Secret(bytes(32)), bytes(16), bytes(16))
    assert (len(keys.encryption_i), len(keys.integrity_i)) == (20, 0)
    assert keys.encryption_i != keys.encryption_r


def test_keys_do_not_show() -> None:
    keys = child_keys(GCM_128, prf_function(PrfId.HMAC_SHA2_256), Secret(bytes(32)), bytes(16), bytes(16))
    assert keys.encryption_i.reveal().hex() not in repr(keys)
    assert "Secret(...)" in repr(keys)


@pytest.mark.parametrize("text", ["aes256gcm16-prfsha384-ecp384", "aes128-sha256-ecp256"])
def test_ciphers_of_the_two_directions(text: str) -> None:
    suite = ike_suite(text)
    keys = ike_keys(suite, Secret(b"seed"), bytes(16), bytes(16), bytes(8), bytes(8))
    from_initiator, from_responder = sk_ciphers(suite, keys)
    iv = bytes(from_initiator.iv_length)
    sealed = from_initiator.seal(iv, b"header", b"payloads")
    assert sk_ciphers(suite, keys)[0].open(iv, b"header", sealed) == b"payloads"
    assert from_responder.seal(iv, b"header", b"payloads") != sealed


def test_both_ends_derive_the_same_keys() -> None:
    suite = ike_suite("aes256gcm16-prfsha384-curve25519")
    prf = prf_function(suite.prf)
    one, other = (
        generate(suite.group, lambda n: bytes([3]) * n),
        generate(suite.group, lambda n: bytes([5]) * n),
    )
    seeds = [
        initial_skeyseed(prf, bytes(16), bytes(32), ours.shared_secret(theirs.public))
        for ours, theirs in ((one, other), (other, one))
    ]
    assert seeds[0] == seeds[1]


def test_auth_of_a_pre_shared_key_step_by_step() -> None:
    """RFC 7296 2.15, written out with the PRF alone."""
    prf = prf_function(PrfId.HMAC_SHA2_256)
    signed = b"message" + b"nonce of the other" + prf(b"sk_p", b"identity")
    expected = prf(prf(b"a pre-shared key", b"Key Pad for IKEv2"), signed)
    assert signed_octets(prf, Secret(b"sk_p"), b"message", b"nonce of the other", b"identity") == signed
    assert psk_auth(prf, Secret(b"a pre-shared key"), signed) == expected
    assert verify_psk_auth(expected, prf, Secret(b"a pre-shared key"), signed)


@pytest.mark.parametrize("psk", [b"x", b"k" * 64, b"k" * 65, b"k" * 300])
def test_each_part_of_auth_counts_and_keys_of_any_length_work(psk: bytes) -> None:
    prf = prf_function(PrfId.HMAC_SHA2_512)
    signed = signed_octets(prf, Secret(b"sk_p"), b"message", b"nonce", b"identity")
    auth = psk_auth(prf, Secret(psk), signed)
    assert len(auth) == 64
    assert verify_psk_auth(auth, prf, Secret(psk), signed)
    assert not verify_psk_auth(auth, prf, Secret(psk + b"y"), signed)
    for other in (
        (Secret(b"sk_q"), b"message", b"nonce", b"identity"),
        (Secret(b"sk_p"), b"messagE", b"nonce", b"identity"),
        (Secret(b"sk_p"), b"message", b"noncE", b"identity"),
        (Secret(b"sk_p"), b"message", b"nonce", b"identitY"),
    ):
        assert not verify_psk_auth(auth, prf, Secret(psk), signed_octets(prf, *other))
    assert not verify_psk_auth(auth[:-1], prf, Secret(psk), signed)
