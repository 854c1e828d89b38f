import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ikev2.wire import strategies
from vcstack.ikev2.errors import InvalidSyntax, UnsupportedCriticalPayload
from vcstack.ikev2.iana import NotifyType, PayloadType
from vcstack.ikev2.wire.chain import MAX_PAYLOADS, Payload, build_chain, first_type, parse_chain
from vcstack.ikev2.wire.opaque import Unknown
from vcstack.ikev2.wire.sk import Sk, Skf
from vcstack.ikev2.wire.vendor import Vendor


@given(strategies.payload_lists)
def test_round_trip(payloads: tuple[Payload, ...]) -> None:
    assert parse_chain(first_type(payloads), build_chain(payloads)) == payloads


@given(
    strategies.payload_lists, st.sampled_from([Sk(PayloadType.NONCE, b"abc"), Skf(PayloadType.SA, 1, 2, b"")])
)
def test_an_encrypted_payload_ends_the_chain(payloads: tuple[Payload, ...], sealed: Sk | Skf) -> None:
    chain = (*payloads, sealed)
    assert parse_chain(first_type(chain), build_chain(chain)) == chain
    with pytest.raises(InvalidSyntax, match="after the end"):
        parse_chain(first_type(chain), build_chain(chain) + b"\0\0\0\4")


def test_unknown_payloads_are_kept_unless_critical() -> None:
    (kept,) = parse_chain(PayloadType(200), bytes.fromhex("00000005aa"))
    assert kept == Unknown(PayloadType(200), critical=False, data=b"\xaa")
    with pytest.raises(UnsupportedCriticalPayload) as caught:
        parse_chain(PayloadType(200), bytes.fromhex("00800005aa"))
    assert (caught.value.notify, caught.value.data) == (NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8")


def test_the_critical_bit_of_a_known_payload_and_reserved_bits_are_ignored() -> None:
    assert parse_chain(PayloadType.VENDOR, bytes.fromhex("00ff0005aa")) == (Vendor(b"\xaa"),)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_payload_shorter_than_its_header_cannot_stall_the_parser(length: int) -> None:
    stuck = bytes([200, 0, 0, length]) * 4
    with pytest.raises(InvalidSyntax, match="at least 4 expected"):
        parse_chain(PayloadType(200), stuck)


def test_the_number_of_payloads_is_bounded() -> None:
    many = build_chain([Vendor(b"")] * MAX_PAYLOADS)
    assert len(parse_chain(PayloadType.VENDOR, many)) == MAX_PAYLOADS
    with pytest.raises(InvalidSyntax, match=f"more than {MAX_PAYLOADS} payloads"):
        parse_chain(PayloadType.VENDOR, build_chain([Vendor(b"")] * (MAX_PAYLOADS + 1)))


@pytest.mark.parametrize("octets", ["0000", "00000006aa", "00000004ff", "2b000004"])
def test_lengths_must_fill_the_message(octets: str) -> None:
    with pytest.raises(InvalidSyntax):
        parse_chain(PayloadType.VENDOR, bytes.fromhex(octets))


@given(st.sampled_from(list(PayloadType)), st.binary(max_size=400))
def test_any_octets_give_payloads_or_an_error_of_the_peer(first: PayloadType, octets: bytes) -> None:
    try:
        payloads = parse_chain(first, octets)
    except (InvalidSyntax, UnsupportedCriticalPayload):
        return
    assert parse_chain(first, build_chain(payloads)) == payloads
