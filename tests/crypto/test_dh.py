from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_json
from vcstack.crypto.dh import GROUPS, generate, is_supported
from vcstack.crypto.ecp import GROUP_19, GROUP_20, GROUP_21, GROUP_31, EcpGroup
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.modp import GROUP_14, GROUP_15, GROUP_16, ModpGroup
from vcstack.wire.secret import Secret

PUBLIC_LENGTHS = {14: 256, 15: 384, 16: 512, 19: 64, 20: 96, 21: 132, 31: 32}
MODP = {14: GROUP_14, 15: GROUP_15, 16: GROUP_16}
ECP = {19: GROUP_19, 20: GROUP_20, 21: GROUP_21}

# RFC 5903 section 8: private keys, public keys and shared secrets under the names used there.
RFC_5903: dict[int, dict[str, str]] = {
    19: {
        "i": "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "gix": "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180",
        "giy": "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        "r": "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        "grx": "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63",
        "gry": "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        "girx": "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    },
    20: {
        "i": "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896"
        "783AB194",
        "gix": "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AE"
        "E95F41AA",
        "giy": "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C63"
        "4573A81C",
        "r": "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD5"
        "5A7448FC",
        "grx": "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0"
        "774A3571",
        "gry": "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96D"
        "B9E6386C",
        "girx": "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A2"
        "70F59746",
    },
    21: {
        "i": "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D9"
        "37BA9777F5957B2639BAB072462F68C27A57382D4A52",
        "gix": "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBEE1E3BF42E00B8E380AEAE57C"
        "2D107564941885942AF5A7F4601723C4195D176CED3E",
        "giy": "017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10AD8A788015AC405D7799DC75E"
        "7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582",
        "r": "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C677D600B343757A3BDBF2A"
        "3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
        "grx": "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A219B97C356436ADC6E95BB0352"
        "F6BE64A6C2912D4EF2D0433CED2B6171640012D9460F",
        "gry": "015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87220B6536C5C408A1D2AEBB8E"
        "86D678AE49CB57091F4732296579AB44FCD17F0FC56A",
        "girx": "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A347868"
        "59810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
    },
}

# RFC 8031 appendix A.
RFC_8031 = {
    "random_i": "751fb4308655b476b6789b7325f9ea8cddd16a58533ff6d9e60009464a5f9d94",
    "random_r": "0a54645253290d60ddadd0e030bacd9e5501efdc220755a1e978f1b839a05688",
    "pub_i": "48d5ddd4061257ba166fa3f9bbdb74f1a4e81c089384fa77f790709f0dfbc766",
    "pub_r": "0be7c1f5aad87d7e448662673298a443478b859745179eaf564c79c0ef6eee25",
    "shared_secret": "c74950607a12327f3204d94b6825bfb068b7f8319a9e3708ed3d43ce8130c950",
}

# Points of small order on Curve25519: zero, one, one of order 8, the prime minus one, the prime.
SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def counting(start: int) -> Callable[[int], bytes]:
    return lambda length: bytes((start + at) % 256 for at in range(length))


def pi_times_2_to_the(bits: int) -> int:
    """Integer part of 2^bits * pi, by Machin's formula with 64 bits to spare."""
    unity = 1 << (bits + 64)

    def arctan_of_inverse(x: int) -> int:
        term = total = unity // x
        for n in range(3, 10 * bits, 2):
            term //= -x * x
            if abs(term) <= 1:
                break
            total += term // n
        return total

    return (16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)) >> 64


@pytest.mark.parametrize(
    ("group", "bits", "addend"), [(14, 2048, 124476), (15, 3072, 1690314), (16, 4096, 240904)]
)
def test_primes_are_those_of_rfc_3526(group: int, bits: int, addend: int) -> None:
    # Sections 3 to 5: 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + addend).
    pi = pi_times_2_to_the(bits - 130)
    assert MODP[group].prime == 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi + addend)


@pytest.mark.parametrize("group", GROUPS)
def test_both_ends_agree_and_lengths_are_those_of_the_wire(group: int) -> None:
    ours, theirs = generate(group, counting(1)), generate(group, counting(7))
    assert is_supported(group)
    assert ours.group == group
    assert len(ours.public) == len(theirs.public) == PUBLIC_LENGTHS[group]
    secret = ours.shared_secret(theirs.public)
    assert isinstance(secret, Secret)
    assert secret == theirs.shared_secret(ours.public)
    assert len(secret) == (PUBLIC_LENGTHS[group] // 2 if group in ECP else PUBLIC_LENGTHS[group])


@pytest.mark.parametrize("group", GROUPS)
def test_key_is_a_function_of_its_entropy(group: int) -> None:
    assert generate(group, counting(1)).public == generate(group, counting(1)).public
    assert generate(group, counting(1)).public != generate(group, counting(2)).public


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_extreme_entropy_still_makes_a_usable_key(group: int, value: int) -> None:
    extreme, ordinary = generate(group, lambda length: bytes([value]) * length), generate(group, counting(1))
    assert extreme.shared_secret(ordinary.public) == ordinary.shared_secret(extreme.public)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("change", [-1, 1])
def test_public_value_of_the_wrong_length_is_refused(group: int, change: int) -> None:
    key = generate(group, counting(1))
    peer = generate(group, counting(7)).public
    wrong = peer[:-1] if change < 0 else b"\0" + peer
    with pytest.raises(CryptoError, match=f"of {len(wrong)} bytes, group {group} has {len(peer)}"):
        key.shared_secret(wrong)


def test_unknown_groups_are_not_supported() -> None:
    assert not is_supported(2)
    with pytest.raises(KeyError):
        generate(2, counting(1))


@pytest.mark.parametrize("group", MODP)
def test_values_without_a_group_of_their_own_are_refused(group: int) -> None:
    # RFC 6989 section 2.1: 1 < r < p - 1.
    prime, key = MODP[group].prime, generate(group, counting(1))
    for value in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(CryptoError, match="outside 2 to p-2"):
            key.shared_secret(value.to_bytes(PUBLIC_LENGTHS[group]))
    for value in (2, prime - 2):
        key.shared_secret(value.to_bytes(PUBLIC_LENGTHS[group]))


@pytest.mark.parametrize("group", MODP)
def test_exponentiation_agrees_with_plain_arithmetic(group: int) -> None:
    modp = MODP[group]
    exponent = 3**150
    public, exchange = modp.key(exponent)
    assert int.from_bytes(public) == pow(2, exponent, modp.prime)
    assert int.from_bytes(exchange((5).to_bytes(modp.public_length))) == pow(5, exponent, modp.prime)


def test_short_shared_secret_is_padded_on_the_left() -> None:
    # RFC 7296 section 2.14: g^ir has the length of the prime. 2^3 mod p is the single byte 8.
    public, exchange = GROUP_14.key(3)
    assert public == bytes(255) + b"\x08"
    assert exchange((2).to_bytes(256)) == bytes(255) + b"\x08"


@pytest.mark.parametrize(("group", "strength"), [(GROUP_14, 160), (GROUP_15, 210), (GROUP_16, 240)])
def test_exponents_have_twice_the_strength_of_their_group(group: ModpGroup, strength: int) -> None:
    # RFC 3526 section 8.
    assert group.exponent_bits >= 2 * strength
    assert group.exponent_bits % 8 == 0


@pytest.mark.parametrize("group", ECP)
def test_examples_of_rfc_5903(group: int) -> None:
    value = {name: bytes.fromhex(text) for name, text in RFC_5903[group].items()}
    public_i, exchange_i = ECP[group].key(int.from_bytes(value["i"]))
    public_r, exchange_r = ECP[group].key(int.from_bytes(value["r"]))
    assert public_i == value["gix"] + value["giy"]
    assert public_r == value["grx"] + value["gry"]
    assert exchange_i(public_r) == exchange_r(public_i) == value["girx"]


@pytest.mark.parametrize("group", ECP)
def test_points_off_the_curve_are_refused(group: int) -> None:
    key, peer = generate(group, counting(1)), generate(group, counting(7)).public
    off_curve = peer[:-1] + bytes([peer[-1] ^ 1])
    for point in (off_curve, bytes(len(peer)), b"\xff" * len(peer)):
        with pytest.raises(CryptoError, match="not a point"):
            key.shared_secret(point)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(GROUPS)), st.data())
def test_any_bytes_give_a_secret_or_crypto_error(group: int, data: st.DataObject) -> None:
    key = generate(group, counting(1))
    length = data.draw(st.sampled_from([PUBLIC_LENGTHS[group], 0, 65]))
    public = data.draw(st.binary(min_size=length, max_size=length))
    try:
        secret = key.shared_secret(public)
    except CryptoError:
        return
    assert len(public) == PUBLIC_LENGTHS[group]
    assert any(secret.reveal())


def test_example_of_rfc_8031() -> None:
    value = {name: bytes.fromhex(text) for name, text in RFC_8031.items()}
    initiator, responder = (generate(31, lambda _, end=end: value[f"random_{end}"]) for end in "ir")  # type: ignore[misc]
    assert initiator.public == value["pub_i"]
    assert responder.public == value["pub_r"]
    assert initiator.shared_secret(responder.public).reveal() == value["shared_secret"]
    assert responder.shared_secret(initiator.public).reveal() == value["shared_secret"]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_curve25519_points_of_small_order_are_refused(point: str) -> None:
    with pytest.raises(CryptoError, match="all zero"):
        generate(31, counting(1)).shared_secret(bytes.fromhex(point))


@pytest.mark.parametrize(
    ("file", "method", "group"),
    [
        ("modp", "MODP_2048_BIT", 14),
        ("modp", "MODP_3072_BIT", 15),
        ("modp", "MODP_4096_BIT", 16),
        ("ecp", "ECP_256_BIT", 19),
        ("ecp", "ECP_384_BIT", 20),
        ("ecp", "ECP_521_BIT", 21),
        ("curve25519", "CURVE_25519", 31),
    ],
)
def test_known_answers_of_strongswan(file: str, method: str, group: int) -> None:
    vectors = shared_json(f"corpus/vectors/strongswan/{file}.json")["vectors"]
    vectors = [vector for vector in vectors if vector["method"] == method]
    assert vectors
    for vector in vectors:
        seed = bytes.fromhex(vector["seed"])
        (public_i, exchange_i), (public_r, exchange_r) = (
            key_of(group, half) for half in (seed[: len(seed) // 2], seed[len(seed) // 2 :])
        )
        assert (public_i.hex(), public_r.hex()) == (vector["pub_i"], vector["pub_r"])
        assert exchange_i(public_r).hex() == exchange_r(public_i).hex() == vector["shared"]


def key_of(group: int, private: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    if group == 31:
        return GROUP_31.generate(lambda _: private)
    return (MODP | ECP)[group].key(int.from_bytes(private))


@pytest.mark.parametrize(
    ("curve", "group"), [("secp256r1", GROUP_19), ("secp384r1", GROUP_20), ("secp521r1", GROUP_21)]
)
def test_known_answers_of_wycheproof_for_ecp(curve: str, group: EcpGroup) -> None:
    groups = shared_json(f"corpus/vectors/wycheproof/ecdh_{curve}_ecpoint_test.json")["testGroups"]
    # IKE has no compressed points: what is left are those of the right length after the leading 04.
    tests = [t for g in groups for t in g["tests"] if len(t["public"]) == 2 + 2 * group.public_length]
    assert {test["result"] for test in tests} == {"valid", "invalid"}
    for test in tests:
        _, exchange = group.key(int(test["private"], 16))
        peer = bytes.fromhex(test["public"])[1:]
        if test["result"] == "valid":
            assert exchange(peer).hex() == test["shared"], test["tcId"]
        else:
            with pytest.raises(CryptoError):
                exchange(peer)


def test_known_answers_of_wycheproof_for_curve25519() -> None:
    tests = [
        t for g in shared_json("corpus/vectors/wycheproof/x25519_test.json")["testGroups"] for t in g["tests"]
    ]
    for test in tests:
        _, exchange = GROUP_31.generate(lambda _, test=test: bytes.fromhex(test["private"]))  # type: ignore[misc]
        peer = bytes.fromhex(test["public"])
        if any(bytes.fromhex(test["shared"])):
            assert exchange(peer).hex() == test["shared"], test["tcId"]
        else:
            with pytest.raises(CryptoError):
                exchange(peer)
