from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from scapy.layers.inet import ICMP

from tests.wire.strategies import icmp_messages
from vcstack.wire.icmp import IcmpMessage, IcmpType, error_is_allowed, fragmentation_needed
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.reader import WireError

HEADER = Ipv4Header(IPv4Address("10.77.0.5"), IPv4Address("10.1.2.3"), IpProtocol.UDP, dont_fragment=True)


def packet(header: Ipv4Header = HEADER, payload: bytes = bytes(40)) -> bytes:
    return header.build(len(payload)) + payload


@given(icmp_messages)
def test_parse_returns_what_was_built(message: IcmpMessage) -> None:
    assert IcmpMessage.parse(message.build()) == message


def test_agrees_with_an_independent_codec() -> None:
    original = packet()
    theirs = ICMP(type=3, code=4, nexthopmtu=1414) / original
    assert fragmentation_needed(1414, original) == bytes(theirs)


def test_fragmentation_needed_reports_the_mtu_and_quotes_the_packet() -> None:
    original = packet(payload=bytes(1400))
    message = IcmpMessage.parse(fragmentation_needed(1390, memoryview(original)))
    assert message.next_hop_mtu == 1390
    # RFC 1812 section 4.3.2.3: 576 bytes with the IPv4 header of 20 and the ICMP header of 8.
    assert message.body == original[:548]
    assert Ipv4Header.parse(message.body, quoted=True) == replace(HEADER, total_length=1420)


@pytest.mark.parametrize(("kind", "code"), [(3, 1), (11, 0), (8, 4)])
def test_other_messages_report_no_mtu(kind: int, code: int) -> None:
    assert IcmpMessage(kind, code, rest=1400).next_hop_mtu is None


def test_wrong_checksum_and_short_message_are_refused() -> None:
    data = bytearray(IcmpMessage(IcmpType.ECHO_REQUEST, 0, body=b"ping").build())
    data[9] ^= 1
    with pytest.raises(WireError, match="checksum"):
        IcmpMessage.parse(data)
    with pytest.raises(WireError, match="ICMP message"):
        IcmpMessage.parse(data[:7])


def test_error_about_an_ordinary_packet_is_allowed() -> None:
    assert error_is_allowed(packet())
    assert error_is_allowed(packet(replace(HEADER, more_fragments=True)))


@pytest.mark.parametrize(
    "header",
    [
        replace(HEADER, fragment_offset=1),
        replace(HEADER, source=IPv4Address("0.0.0.0")),
        replace(HEADER, source=IPv4Address("127.0.0.1")),
        replace(HEADER, source=IPv4Address("224.0.0.5")),
        replace(HEADER, destination=IPv4Address("224.0.0.5")),
        replace(HEADER, destination=IPv4Address("255.255.255.255")),
    ],
)
def test_error_about_a_packet_without_single_ends_is_not_allowed(header: Ipv4Header) -> None:
    assert not error_is_allowed(packet(header))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (IcmpMessage(IcmpType.ECHO_REQUEST, 0).build(), True),
        (IcmpMessage(IcmpType.ECHO_REPLY, 0).build(), True),
        (IcmpMessage(IcmpType.DESTINATION_UNREACHABLE, 1).build(), False),
        (IcmpMessage(11, 0).build(), False),
        (IcmpMessage(42, 0).build(), False),
        (b"", False),
    ],
)
def test_no_error_about_an_error(payload: bytes, *, expected: bool) -> None:
    assert error_is_allowed(packet(replace(HEADER, protocol=IpProtocol.ICMP), payload)) is expected


def test_no_error_about_a_malformed_packet() -> None:
    assert not error_is_allowed(b"\x45" + bytes(30))
