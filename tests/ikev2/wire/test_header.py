from dataclasses import replace

import pytest
from hypothesis import given

from tests.ikev2.wire import strategies
from vcstack.ikev2.errors import InvalidHeader, InvalidMajorVersion
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.wire.header import MAX_MESSAGE_BYTES, Header, parse_header, read_header

INIT = Header(bytes(range(1, 9)), bytes(8), ExchangeType.IKE_SA_INIT, True, False, 0)


def test_octets_of_a_request() -> None:
    """RFC 7296 3.1: version 2.0, the I flag is bit 3, lengths count the header."""
    built = INIT.build(PayloadType.SA, 28)
    assert built.hex() == "0102030405060708" + "00" * 8 + "21202208" + "00000000" + "0000001c"


@given(strategies.headers)
def test_round_trip(header: Header) -> None:
    parsed = parse_header(header.build(PayloadType.NOTIFY, 28))
    assert parsed == header
    assert (parsed.next_payload, parsed.length) == (PayloadType.NOTIFY, 28)


def test_reserved_flags_and_the_minor_version_are_ignored() -> None:
    octets = bytearray(INIT.build(PayloadType.NONE, 28))
    octets[17], octets[19] = 0x2F, 0xDF & ~0x20
    parsed = parse_header(bytes(octets))
    assert (parsed.major, parsed.minor) == (2, 15)
    assert (parsed.is_initiator, parsed.is_response) == (True, False)


def test_a_later_major_version_is_answered() -> None:
    later = replace(INIT, major=3).build(PayloadType.NONE, 28)
    with pytest.raises(InvalidMajorVersion) as caught:
        parse_header(later)
    assert caught.value.notify == NotifyType.INVALID_MAJOR_VERSION
    assert read_header(later).major == 3


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "0 octets"),
        (INIT.build(PayloadType.NONE, 28)[:-1], "27 octets"),
        (INIT.build(PayloadType.NONE, 29), "the header says 29 octets, 28 came"),
        (INIT.build(PayloadType.NONE, 28) + b"x", "the header says 28 octets, 29 came"),
        (replace(INIT, major=3).build(PayloadType.NONE, 29), "the header says 29"),
        (replace(INIT, major=1).build(PayloadType.NONE, 28), "not IKEv2"),
        (replace(INIT, initiator_spi=bytes(8)).build(PayloadType.NONE, 28), "SPI is zero"),
        (
            INIT.build(PayloadType.VENDOR, MAX_MESSAGE_BYTES + 1) + bytes(MAX_MESSAGE_BYTES - 27),
            "at most",
        ),
    ],
)
def test_what_is_no_message_gets_no_answer(octets: bytes, reason: str) -> None:
    with pytest.raises(InvalidHeader, match=reason) as caught:
        parse_header(octets)
    assert caught.value.notify is None
