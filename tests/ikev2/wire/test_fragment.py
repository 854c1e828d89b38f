from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ikev2.wire.samples import AUTH_REQUEST, cbc_cipher, gcm_cipher, header
from vcstack.crypto.sk import SkCipher
from vcstack.ikev2.errors import IntegrityCheckFailed, InvalidSyntax, LocalProtocolError
from vcstack.ikev2.iana import ExchangeType, PayloadType
from vcstack.ikev2.wire.fragment import MAX_FRAGMENTS, Fragment, Reassembly, open_fragment, seal_fragments
from vcstack.ikev2.wire.message import Message, open_message, parse_message, seal_message

CIPHERS = pytest.mark.parametrize("sk", [gcm_cipher(), cbc_cipher()], ids=["gcm", "cbc"])
HEADER = header(ExchangeType.IKE_AUTH)
WHOLE = Message(HEADER, AUTH_REQUEST)


def ivs(sk: SkCipher) -> Callable[[], bytes]:
    """Counted IVs."""
    numbers = count(1)
    return lambda: next(numbers).to_bytes(sk.iv_length)


def fragments(max_bytes: int = 120, sk: SkCipher | None = None) -> list[Fragment]:
    """The sample message in opened fragments."""
    sk = sk or gcm_cipher()
    return [open_fragment(data, sk) for data in seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), max_bytes)]


@CIPHERS
@given(max_bytes=st.integers(100, 400), data=st.data())
@settings(max_examples=40)
def test_round_trip_in_any_order(sk: SkCipher, max_bytes: int, data: st.DataObject) -> None:
    datagrams = seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), max_bytes)
    assert max(len(datagram) for datagram in datagrams) <= max_bytes
    if len(datagrams) == 1:
        assert open_message(datagrams[0], sk) == WHOLE
        return
    reassembly = Reassembly()
    shuffled = data.draw(st.permutations(datagrams))
    results = [reassembly.add(open_fragment(datagram, sk)) for datagram in shuffled]
    assert results == [None] * (len(datagrams) - 1) + [WHOLE]


@CIPHERS
def test_what_fits_is_not_fragmented(sk: SkCipher) -> None:
    whole = seal_message(HEADER, AUTH_REQUEST, sk, ivs(sk)())
    assert seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), len(whole)) == (whole,)
    assert len(seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), len(whole) - 1)) == 2


def test_octets_of_a_fragment() -> None:
    """RFC 7383 2.5: only the first fragment names the first payload."""
    first, second, *_ = seal_fragments(HEADER, AUTH_REQUEST, gcm_cipher(), ivs(gcm_cipher()), 120)
    assert first[16] == second[16] == PayloadType.SKF
    assert (first[28], second[28]) == (PayloadType.ID_I, PayloadType.NONE)
    assert first[32:36].hex()[:4] == "0001"
    assert second[32:34].hex() == "0002"


@pytest.mark.parametrize("at", [28, 29, 33, 35, 36, 60])
def test_numbers_and_content_are_authenticated(at: int) -> None:
    sk = gcm_cipher()
    datagram = bytearray(seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), 120)[0])
    datagram[at] ^= 2
    with pytest.raises((IntegrityCheckFailed, InvalidSyntax)) as caught:
        open_fragment(bytes(datagram), sk)
    assert not caught.value.authenticated


def test_fragments_and_whole_messages_are_not_mistaken() -> None:
    sk = gcm_cipher()
    with pytest.raises(InvalidSyntax, match="Encrypted Fragment"):
        open_fragment(seal_message(HEADER, AUTH_REQUEST, sk, bytes(8)), sk)
    fragment = seal_fragments(HEADER, AUTH_REQUEST, sk, ivs(sk), 120)[0]
    assert parse_message(fragment).is_sealed
    with pytest.raises(InvalidSyntax, match="without an Encrypted payload"):
        open_message(fragment, sk)


def test_duplicates_are_dropped() -> None:
    parts = fragments()
    reassembly = Reassembly()
    for part in parts[:-1]:
        assert reassembly.add(part) is None
        assert reassembly.add(part) is None
    assert reassembly.add(parts[-1]) == WHOLE


def test_smaller_fragments_start_over_and_late_larger_ones_are_dropped() -> None:
    large, small = fragments(150), fragments(100)
    assert large[0].total < small[0].total
    reassembly = Reassembly()
    assert reassembly.add(large[0]) is None
    assert reassembly.add(small[0]) is None
    assert all(reassembly.add(part) is None for part in large)
    assert [reassembly.add(part) for part in small[1:]][-1] == WHOLE


def test_the_next_message_displaces_an_unfinished_one() -> None:
    parts = fragments()
    later = [replace(part, header=replace(HEADER, message_id=2)) for part in parts]
    reassembly = Reassembly()
    assert reassembly.add(parts[0]) is None
    results = [reassembly.add(part) for part in later]
    assert results[-1] == Message(later[0].header, AUTH_REQUEST)


def test_limits_of_the_reassembly() -> None:
    reassembly = Reassembly(max_fragments=3, max_bytes=100)
    with pytest.raises(InvalidSyntax, match="at most 3") as caught:
        reassembly.add(Fragment(HEADER, 1, 4, PayloadType.ID_I, b""))
    assert caught.value.authenticated
    assert reassembly.add(Fragment(HEADER, 1, 3, PayloadType.ID_I, bytes(60))) is None
    with pytest.raises(InvalidSyntax, match="more than 100 octets"):
        reassembly.add(Fragment(HEADER, 2, 3, PayloadType.NONE, bytes(60)))
    assert reassembly.add(Fragment(HEADER, 3, 3, PayloadType.NONE, bytes(60))) is None


def test_a_malformed_whole_is_the_peers_own_error() -> None:
    reassembly = Reassembly()
    reassembly.add(Fragment(HEADER, 1, 2, PayloadType.NONCE, b"\0\0"))
    with pytest.raises(InvalidSyntax) as caught:
        reassembly.add(Fragment(HEADER, 2, 2, PayloadType.NONE, b"\0"))
    assert caught.value.authenticated


def test_a_size_that_cannot_work_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        seal_fragments(HEADER, AUTH_REQUEST, gcm_cipher(), ivs(gcm_cipher()), 60)
    big = AUTH_REQUEST * (MAX_FRAGMENTS // 2)
    with pytest.raises(LocalProtocolError):
        seal_fragments(HEADER, big, gcm_cipher(), ivs(gcm_cipher()), 100)
