from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ikev2.wire import samples, strategies
from tests.ikev2.wire.samples import (
    AUTH_REQUEST,
    IKE_SA,
    KE,
    NONCE,
    cbc_cipher,
    gcm_cipher,
    header,
    init_header,
)
from vcstack.crypto.aead import gcm
from vcstack.crypto.sk import SkCipher
from vcstack.ikev2.errors import (
    AuthenticationFailed,
    IntegrityCheckFailed,
    InvalidHeader,
    InvalidSyntax,
    RemoteProtocolError,
    UnsupportedCriticalPayload,
)
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.wire.chain import Payload
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.message import Message, build_message, open_message, parse_message, seal_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.opaque import Unknown
from vcstack.ikev2.wire.sk import Sk
from vcstack.ikev2.wire.vendor import Vendor

CIPHERS = pytest.mark.parametrize("sk", [gcm_cipher(), cbc_cipher()], ids=["gcm", "cbc"])
AUTH_HEADER = header(ExchangeType.IKE_AUTH)
INIT = (IKE_SA, KE, NONCE)


def seal(payloads: tuple[Payload, ...], sk: SkCipher, where: Header = AUTH_HEADER) -> bytes:
    """Seal with an IV that does not matter here."""
    return seal_message(where, payloads, sk, bytes(sk.iv_length))


def test_clear_round_trip() -> None:
    octets = build_message(init_header(), INIT)
    message = parse_message(octets)
    assert message == Message(init_header(), INIT)
    assert (message.header.length, message.header.next_payload) == (len(octets), PayloadType.SA)
    assert build_message(message.header, message.payloads) == octets
    assert not message.is_sealed


@CIPHERS
def test_sealed_round_trip(sk: SkCipher) -> None:
    octets = seal(AUTH_REQUEST, sk)
    outer = parse_message(octets)
    assert outer.is_sealed
    assert outer.header.length == len(octets)
    (sealed,) = outer.payloads
    assert isinstance(sealed, Sk)
    assert sealed.inner == PayloadType.ID_I
    assert open_message(octets, sk) == Message(AUTH_HEADER, AUTH_REQUEST)


@CIPHERS
def test_a_liveness_check_is_an_empty_encrypted_payload(sk: SkCipher) -> None:
    where = header(ExchangeType.INFORMATIONAL)
    assert open_message(seal((), sk, where), sk) == Message(where, ())


@CIPHERS
@given(st.data())
@settings(max_examples=60)
def test_no_bit_may_change(sk: SkCipher, data: st.DataObject) -> None:
    octets = bytearray(seal(AUTH_REQUEST, sk))
    bit = data.draw(st.integers(0, len(octets) * 8 - 1))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError) as caught:
        open_message(bytes(octets), sk)
    assert not caught.value.authenticated


@CIPHERS
@given(cut=st.integers(0, 300))
@settings(max_examples=40)
def test_short_encrypted_payloads_fail_the_integrity_check(sk: SkCipher, cut: int) -> None:
    (sealed,) = parse_message(seal(AUTH_REQUEST, sk)).payloads
    assert isinstance(sealed, Sk)
    shorter = build_message(
        AUTH_HEADER, [replace(sealed, body=sealed.body[: min(cut, len(sealed.body) - 1)])]
    )
    with pytest.raises(IntegrityCheckFailed) as caught:
        open_message(shorter, sk)
    assert caught.value.notify is None


def test_the_key_of_the_other_direction_does_not_open() -> None:
    with pytest.raises(IntegrityCheckFailed):
        open_message(seal(AUTH_REQUEST, gcm_cipher(1)), gcm_cipher(2))


@pytest.mark.parametrize(
    ("payloads", "error"),
    [
        (AUTH_REQUEST[:-1], InvalidSyntax),
        ((*AUTH_REQUEST, NONCE), InvalidSyntax),
        (tuple(item for item in AUTH_REQUEST if item is not samples.AUTH), AuthenticationFailed),
        ((*AUTH_REQUEST, Unknown(PayloadType(200), critical=True, data=b"")), UnsupportedCriticalPayload),
        ((*AUTH_REQUEST, Nonce(b"short")), InvalidSyntax),
    ],
)
def test_errors_inside_of_an_authentic_message_are_the_peers_own(
    payloads: tuple[Payload, ...], error: type[RemoteProtocolError]
) -> None:
    with pytest.raises(error) as caught:
        open_message(seal(payloads, gcm_cipher()), gcm_cipher())
    assert caught.value.authenticated


def test_a_wrong_pad_length_of_an_authentic_message_is_the_peers_own() -> None:
    where, sk = header(ExchangeType.INFORMATIONAL), gcm_cipher()
    associated = seal((), sk, where)[:32]
    forged = associated + bytes(8) + gcm(bytes([1]) * 36).seal(bytes(8), associated, b"\xff")
    with pytest.raises(InvalidSyntax) as caught:
        open_message(forged, sk)
    assert caught.value.authenticated


def test_payloads_before_the_encrypted_one_are_authenticated_but_not_believed() -> None:
    sk = gcm_cipher()
    plain = seal(AUTH_REQUEST, sk)
    extra = build_message(AUTH_HEADER, [Vendor(b"outside"), *parse_message(plain).payloads])
    with pytest.raises(IntegrityCheckFailed):
        open_message(extra, sk)


def test_protected_exchanges_in_clear_are_refused() -> None:
    with pytest.raises(InvalidSyntax, match="outside of an encrypted one"):
        parse_message(build_message(AUTH_HEADER, AUTH_REQUEST))
    unprotected = build_message(header(ExchangeType.INFORMATIONAL), [Notify(NotifyType.INVALID_IKE_SPI)])
    with pytest.raises(InvalidSyntax, match="without an Encrypted payload"):
        open_message(unprotected, gcm_cipher())
    with pytest.raises(InvalidSyntax, match="at most 0"):
        parse_message(build_message(init_header(), [*INIT, Sk(PayloadType.NONE, bytes(40))]))


def test_a_protected_message_knows_both_spis() -> None:
    half = replace(AUTH_HEADER, responder_spi=bytes(8))
    with pytest.raises(InvalidHeader, match="responder's SPI"):
        parse_message(seal(AUTH_REQUEST, gcm_cipher(), half))


def test_payloads_are_found_by_class_and_notifications_by_type() -> None:
    error = Notify(NotifyType.INVALID_KE_PAYLOAD, data=b"\0\x13")
    status = Notify(NotifyType.INITIAL_CONTACT)
    message = Message(init_header(), (NONCE, status, error))
    assert message.get(Nonce) == NONCE
    assert message.get(Ke) is None
    assert message.require(Nonce) == NONCE
    with pytest.raises(InvalidSyntax, match="no Ke payload"):
        message.require(Ke)
    assert message.all(Notify) == (status, error)
    assert message.notify(NotifyType.INITIAL_CONTACT) == status
    assert message.notify(NotifyType.COOKIE) is None
    assert message.error == error


@given(st.binary(max_size=600), st.booleans())
@settings(max_examples=300)
def test_any_octets_give_a_message_or_an_error_of_the_peer(octets: bytes, fix_header: bool) -> None:
    if fix_header:
        kind = PayloadType(octets[0]) if octets else PayloadType.NONE
        octets = init_header().build(kind, 28 + len(octets)) + octets
    for parse in (parse_message, lambda data: open_message(data, gcm_cipher())):
        try:
            message = parse(octets)
        except RemoteProtocolError:
            continue
        assert isinstance(message, Message)


@given(strategies.headers, strategies.payload_lists, st.sampled_from([gcm_cipher(), cbc_cipher()]))
@settings(max_examples=100)
def test_whatever_a_peer_seals_is_a_message_or_its_error(
    where: Header, payloads: tuple[Payload, ...], sk: SkCipher
) -> None:
    octets = seal(payloads, sk, where)
    try:
        message = open_message(octets, sk)
    except (InvalidSyntax, AuthenticationFailed):
        return
    assert message == Message(where, payloads)
