import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.esp.support import FAR, KEY, NEAR, SALT, SPI, packet
from tests.support.shared import shared_json, shared_path
from vcstack.crypto.aead import Gcm, gcm
from vcstack.crypto.errors import AuthenticationFailed
from vcstack.esp import packet as esp
from vcstack.esp.layout import esp_size
from vcstack.esp.packet import Drop, PacketError

IV = bytes.fromhex("0102030405060708")


def cipher() -> Gcm:
    return gcm(KEY + SALT)


def sealed_plaintext(plaintext: bytes) -> bytes:
    """ESP packet around a plaintext of any form, trailer included, that authenticates."""
    header = SPI.to_bytes(4) + (1).to_bytes(4)
    return header + IV + cipher().seal(IV, header, plaintext)


def refusal(data: bytes) -> Drop:
    with pytest.raises(PacketError) as caught:
        esp.open(cipher(), data)
    return caught.value.reason


@settings(deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(1, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.none() | st.integers(0, (1 << 32) - 1),
    st.sampled_from([4, 8, 16, 128, 256]),
    st.sampled_from([4, 41, 59]),
)
def test_open_gives_what_was_sealed(
    payload: bytes, spi: int, sequence: int, esn_high: int | None, pad_to: int, next_header: int
) -> None:
    data = esp.seal(cipher(), spi, sequence, IV, payload, next_header, esn_high=esn_high, pad_to=pad_to)
    assert len(data) == esp_size(len(payload), pad_to)
    assert esp.open(cipher(), data, esn_high=esn_high) == esp.Opened(spi, sequence, next_header, payload)


@settings(deadline=None)
@given(st.data())
def test_a_changed_bit_anywhere_fails_authentication(data: st.DataObject) -> None:
    sealed = bytearray(esp.seal(cipher(), SPI, 1, IV, b"voice"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFailed):
        esp.open(cipher(), bytes(sealed))


def test_the_wrong_upper_half_fails_authentication() -> None:
    sealed = esp.seal(cipher(), SPI, 1, IV, b"voice", esn_high=1)
    for esn_high in (None, 0, 2):
        with pytest.raises(AuthenticationFailed):
            esp.open(cipher(), sealed, esn_high=esn_high)


def test_lengths_that_cannot_be() -> None:
    whole = esp.seal(cipher(), SPI, 1, IV, b"")
    assert len(whole) == 36
    assert {refusal(whole[:length]) for length in range(36)} == {Drop.TOO_SHORT}
    assert {refusal(whole + bytes(extra)) for extra in (1, 2, 3)} == {Drop.MISALIGNED}


@pytest.mark.parametrize(
    "plaintext",
    [
        b"payload!" + bytes.fromhex("0000 0204"),  # zeros where 1, 2 belong
        b"payload!" + bytes.fromhex("0102 0304"),  # three bytes said, two of them padding
        bytes.fromhex("0103 0204"),
        bytes.fromhex("0102 0304"),  # longer than the packet
        bytes.fromhex("0102 ff04"),
    ],
)
def test_malformed_padding_is_refused(plaintext: bytes) -> None:
    assert refusal(sealed_plaintext(plaintext)) is Drop.BAD_PADDING


def test_the_longest_padding_is_accepted() -> None:
    plaintext = b"abc" + bytes(range(1, 256)) + bytes((255, 4))
    assert esp.open(cipher(), sealed_plaintext(plaintext)).payload == b"abc"


def test_tfc_padding_is_cut_off_the_inner_packet() -> None:
    inner = packet()
    opened = esp.open(cipher(), esp.seal(cipher(), SPI, 1, IV, inner + bytes(333)))
    assert opened.payload == inner + bytes(333)
    assert esp.trim_tfc(opened.payload) == inner


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        bytes(19),
        b"\x65" + packet()[1:],
        b"\x44" + packet()[1:],
        packet()[:-1],
        b"\x45\x00\x00\x13" + bytes(20),
    ],
)
def test_an_inner_packet_with_wrong_lengths_is_malformed(inner: bytes) -> None:
    with pytest.raises(PacketError) as caught:
        esp.trim_tfc(inner)
    assert caught.value.reason is Drop.MALFORMED_INNER


def test_dummy_packets_are_recognised() -> None:
    assert esp.open(cipher(), esp.seal(cipher(), SPI, 1, IV, b"noise", next_header=59)).is_dummy
    assert not esp.open(cipher(), esp.seal(cipher(), SPI, 1, IV, b"noise")).is_dummy


@pytest.mark.parametrize(
    "wrong", [{"pad_to": 6}, {"pad_to": 0}, {"pad_to": 260}, {"spi": 0}, {"sequence": 1 << 32}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    values = {"spi": SPI, "sequence": 1} | wrong
    with pytest.raises(ValueError):
        esp.seal(cipher(), values["spi"], values["sequence"], IV, b"", pad_to=values.get("pad_to", 4))


def gcm_vectors() -> list[dict[str, Any]]:
    vectors = shared_json("corpus/vectors/dpdk-esp/ipsec_vectors.json")["vectors"]
    return [vector for vector in vectors if vector["algo"] == "RTE_CRYPTO_AEAD_AES_GCM"]


def test_whole_packets_of_dpdk_open_and_seal_alike() -> None:
    vectors = gcm_vectors()
    assert len(vectors) >= 5
    for vector in vectors:
        key = gcm(bytes.fromhex(vector["key"] + vector["salt"]))
        whole, inner = bytes.fromhex(vector["output_text"]), bytes.fromhex(vector["input_text"])
        data = whole[40:] if whole[0] >> 4 == 6 else whole[20:]
        opened = esp.open(key, data)
        assert (opened.spi, opened.payload) == (vector["spi"], inner), vector["name"]
        iv = bytes.fromhex(vector["iv"])
        assert esp.seal(key, opened.spi, opened.sequence, iv, inner, opened.next_header) == data, vector[
            "name"
        ]


def test_mcgrew_case_7() -> None:
    case = json.loads(shared_path("corpus/vectors/dpdk-esp/mcgrew_case7.json").read_text())
    nonce = bytes.fromhex(case["nonce"])
    key = gcm(bytes.fromhex(case["key"]) + nonce[:4])
    data = bytes.fromhex(case["aad"]) + nonce[4:] + bytes.fromhex(case["ctext+tag"])
    plaintext = bytes.fromhex(case["plaintext"])
    assert esp.decrypt(key, data) == plaintext
    # The trailer of this vector is 00 01: no padding, next header 1.
    opened = esp.open(key, data)
    assert (opened.next_header, opened.payload) == (1, plaintext[:-2])
    sealed = esp.seal(key, int(case["spi"], 16), int(case["seq"], 16), nonce[4:], plaintext[:-2], 1)
    assert sealed == data


@pytest.mark.parametrize(
    "name", ["02-sunrise-sunset-esp.pcap", "08-sunrise-sunset-esp2.pcap", "espudp1.pcap"]
)
def test_foreign_captures_are_refused_by_reason(name: str) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.ipsec import ESP
    from scapy.utils import rdpcap

    path = shared_path(f"corpus/pcap/tcpdump/{name}")
    refused = 0
    for frame in rdpcap(str(path)):
        if UDP in frame or ESP in frame:
            data = bytes(frame[UDP].payload) if UDP in frame else bytes(frame[IP].payload)
            with pytest.raises((AuthenticationFailed, PacketError)):
                esp.open(cipher(), data)
            refused += 1
    assert refused


def scapy_sa(*, esn: bool, nat_t: bool) -> Any:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.ipsec import ESP, SecurityAssociation

    return SecurityAssociation(
        ESP,
        spi=SPI,
        crypt_algo="AES-GCM",
        crypt_key=KEY + SALT,
        tunnel_header=IP(src="198.51.100.1", dst="198.51.100.2"),
        nat_t_header=UDP(sport=4500, dport=4500) if nat_t else None,
        esn_en=esn,
        esn=3 if esn else 0,
    )


@pytest.mark.parametrize("nat_t", [False, True])
@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 160, 1390])
def test_scapy_opens_what_we_seal(size: int, esn: bool, nat_t: bool) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.ipsec import ESP

    inner, esn_high = packet(bytes(size)), 3 if esn else None
    sealed = esp.seal(cipher(), SPI, 7, IV, inner, esn_high=esn_high)
    outer = IP(src="198.51.100.1", dst="198.51.100.2")
    outer = outer / UDP(sport=4500, dport=4500) if nat_t else outer
    assert bytes(scapy_sa(esn=esn, nat_t=nat_t).decrypt(IP(bytes(outer / ESP(sealed))))) == inner


@pytest.mark.parametrize("nat_t", [False, True])
@pytest.mark.parametrize("esn", [False, True])
def test_we_open_what_scapy_seals(esn: bool, nat_t: bool) -> None:
    from scapy.layers.inet import IP, UDP

    inner = IP(src=str(NEAR), dst=str(FAR), proto=47) / (b"x" * 161)
    sealed = scapy_sa(esn=esn, nat_t=nat_t).encrypt(inner, seq_num=9)
    data = bytes(sealed[UDP].payload if nat_t else sealed[IP].payload)
    opened = esp.open(cipher(), data, esn_high=3 if esn else None)
    assert (opened.spi, opened.sequence, opened.next_header) == (SPI, 9, 4)
    assert opened.payload == bytes(inner)
