from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_path
from vcstack.gre.packet import (
    Decapsulated,
    Header,
    Protocol,
    Reject,
    decapsulate,
    encapsulate,
    parse_header,
)
from vcstack.wire.ipv4 import Ipv4Header

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
KEYS = st.none() | st.integers(0, (1 << 32) - 1)


def received(packet: bytes, key: int | None = None) -> Decapsulated | Reject:
    return decapsulate(packet, local=FAR, remote=NEAR, key=key)


def delivered(gre: bytes, **fields: Any) -> bytes:
    return Ipv4Header(NEAR, FAR, 47, **fields).build(len(gre)) + gre


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    KEYS,
    KEYS,
    st.booleans(),
    st.integers(0, 255),
    st.booleans(),
    st.integers(0, 65535),
    st.sampled_from(Protocol),
)
def test_decapsulate_gives_what_was_encapsulated(
    inner: bytes,
    key: int | None,
    sequence: int | None,
    checksum: bool,
    tos: int,
    dont_fragment: bool,
    identification: int,
    protocol: Protocol,
) -> None:
    metadata = bytes.fromhex("0800 0101 0001 0000") if protocol is Protocol.CISCO_METADATA else b""
    packet = encapsulate(
        metadata + inner,
        NEAR,
        FAR,
        key=key,
        tos=tos,
        dont_fragment=dont_fragment,
        identification=identification,
        protocol=protocol,
        sequence=sequence,
        checksum=checksum,
    )
    taken = received(packet, key)
    assert isinstance(taken, Decapsulated)
    assert taken.payload == inner
    assert taken.header == Header(protocol, key, sequence, checksum)
    delivery = taken.delivery
    assert (delivery.tos, delivery.dont_fragment, delivery.identification) == (
        tos,
        dont_fragment,
        identification,
    )
    assert (delivery.ttl, delivery.total_length) == (255, len(packet))


@settings(deadline=None)
@given(st.binary(max_size=60), KEYS, KEYS, st.booleans())
def test_scapy_reads_and_writes_the_same(
    inner: bytes, key: int | None, sequence: int | None, checksum: bool
) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.l2 import GRE
    from scapy.packet import Raw

    options: dict[str, int] = {"chksum_present": int(checksum)}
    options |= {} if key is None else {"key_present": 1, "key": key}
    options |= {} if sequence is None else {"seqnum_present": 1, "sequence_number": sequence}
    theirs = IP(src=str(NEAR), dst=str(FAR), ttl=255, id=7) / GRE(proto=0x0004, **options) / Raw(inner)
    ours = encapsulate(
        inner, NEAR, FAR, key=key, identification=7, protocol=0x0004, sequence=sequence, checksum=checksum
    )
    assert bytes(theirs) == ours


@pytest.mark.parametrize(
    ("gre", "reason"),
    [
        ("", Reject.TRUNCATED),
        ("000008", Reject.TRUNCATED),
        ("20000800 000000", Reject.TRUNCATED),
        ("80000800 ffff", Reject.TRUNCATED),
        ("b0000800 00000000 00000000 000000", Reject.TRUNCATED),
        ("00010800", Reject.VERSION),
        ("2001880b 00000000", Reject.VERSION),  # PPTP
        ("40000800 00000000", Reject.ROUTING),
        ("08000800", Reject.RESERVED),  # strict source route
        ("04000800", Reject.RESERVED),  # recursion control, first bit
        ("80000800 00000000", Reject.CHECKSUM),
        ("20000800 00000007", Reject.KEY_UNEXPECTED),
        ("000086dd", Reject.PROTOCOL),
        ("0000880b", Reject.PROTOCOL),
        ("00008909", Reject.METADATA),
        ("00008909 08000101 000100", Reject.METADATA),
        ("00008909 86dd0101 00010000", Reject.METADATA),  # IPv6 inside
        ("00008909 08000201 00010000", Reject.METADATA),  # another version
        ("00008909 08000102 00010000 00020000", Reject.METADATA),  # two options
        ("00008909 08000101 00020000", Reject.METADATA),  # another option
    ],
)
def test_headers_that_are_refused(gre: str, reason: Reject) -> None:
    assert received(delivered(bytes.fromhex(gre))) is reason


@pytest.mark.parametrize("bit", range(6, 13))
def test_reserved_bits_that_must_be_ignored_are(bit: int) -> None:
    """RFC 2784 section 2.3: bits 6 to 12, counted from the left."""
    flags = 1 << 15 - bit
    assert isinstance(received(delivered(flags.to_bytes(2) + b"\x08\x00")), Decapsulated)


@pytest.mark.parametrize("tag", [0, 7, 0xFFFF])
def test_metadata_stands_in_front_of_the_payload(tag: int) -> None:
    metadata = bytes.fromhex("0800 0101 0001") + tag.to_bytes(2)
    outcome = received(
        encapsulate(metadata + b"inner", NEAR, FAR, protocol=Protocol.CISCO_METADATA, key=4), 4
    )
    assert isinstance(outcome, Decapsulated)
    assert (outcome.protocol, outcome.payload) == (0x8909, b"inner")


@pytest.mark.parametrize(
    ("sent", "expected", "reason"),
    [
        (None, 7, Reject.KEY_MISSING),
        (7, None, Reject.KEY_UNEXPECTED),
        (8, 7, Reject.KEY_MISMATCH),
        (None, 0, Reject.KEY_MISSING),
        (0, None, Reject.KEY_UNEXPECTED),
    ],
)
def test_keys_that_differ(sent: int | None, expected: int | None, reason: Reject) -> None:
    assert received(encapsulate(b"", NEAR, FAR, key=sent), expected) is reason


def test_delivery_headers_that_are_refused() -> None:
    gre = bytes.fromhex("00000800")
    assert received(b"") is Reject.NOT_IPV4
    assert received(delivered(gre)[:-1]) is Reject.NOT_IPV4
    assert received(Ipv4Header(NEAR, FAR, 17).build(4) + gre) is Reject.NOT_GRE
    assert received(delivered(gre, more_fragments=True)) is Reject.FRAGMENT
    assert received(delivered(gre, fragment_offset=3)) is Reject.FRAGMENT
    assert received(Ipv4Header(FAR, FAR, 47).build(4) + gre) is Reject.ADDRESSES
    assert received(Ipv4Header(NEAR, NEAR, 47).build(4) + gre) is Reject.ADDRESSES


def test_bytes_behind_the_packet_do_not_belong_to_it() -> None:
    taken = received(encapsulate(b"inner", NEAR, FAR, checksum=True) + b"padding")
    assert isinstance(taken, Decapsulated)
    assert taken.payload == b"inner"


def test_the_checksum_covers_the_payload() -> None:
    packet = bytearray(encapsulate(b"voice", NEAR, FAR, checksum=True))
    packet[-1] ^= 1
    assert received(bytes(packet)) is Reject.CHECKSUM


@settings(deadline=None)
@given(st.binary(max_size=40), KEYS)
def test_any_gre_is_taken_or_refused(gre: bytes, key: int | None) -> None:
    outcome = received(delivered(gre), key)
    assert isinstance(outcome, Decapsulated | Reject)
    header = parse_header(gre)
    if isinstance(outcome, Decapsulated):
        assert outcome.header == header


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_taken(data: bytes) -> None:
    assert isinstance(received(data), Decapsulated | Reject)


def test_cisco_capture_with_a_key() -> None:
    from scapy.layers.inet import IP
    from scapy.utils import rdpcap

    capture = rdpcap(str(shared_path("corpus/pcap/tcpdump/various_gre.pcap")))
    outcomes = []
    for frame in capture:
        if IP in frame and frame[IP].proto == 47:
            addresses = {
                "local": IPv4Address(str(frame[IP].dst)),
                "remote": IPv4Address(str(frame[IP].src)),
            }
            outcomes.append(decapsulate(bytes(frame[IP]), **addresses, key=0x28))
    taken = [outcome for outcome in outcomes if isinstance(outcome, Decapsulated)]
    answers = {(one.protocol, one.header.key, one.payload) for one in taken if one.protocol == 0}
    assert answers == {(0, 0x28, b"")}
    # Everything else is inside metadata: requests, pings and PIM; CDP alone is not for us.
    inside = [one.payload for one in taken if one.protocol == Protocol.CISCO_METADATA]
    assert {Ipv4Header.parse(payload).protocol for payload in inside} == {1, 47, 103}
    assert {outcome for outcome in outcomes if isinstance(outcome, Reject)} == {Reject.PROTOCOL}
    assert (len(outcomes), len(inside)) == (30, 20)


@pytest.mark.parametrize("name", ["gre-heapoverflow-1.pcap", "gre-heapoverflow-2.pcap"])
def test_hostile_captures_are_refused(name: str) -> None:
    from scapy.utils import rdpcap

    for frame in rdpcap(str(shared_path(f"corpus/pcap/tcpdump/{name}"))):
        data = bytes(frame)
        for start in range(len(data)):
            assert isinstance(received(data[start:]), Reject)
            assert isinstance(parse_header(data[start:]), Header | Reject)
