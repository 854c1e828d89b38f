"""The lowest of four nonces (RFC 7296 2.8.1)."""

from vcstack.ikev2.collision import Nonces, loses


def test_the_exchange_of_the_lowest_nonce_loses() -> None:
    low, high = Nonces(b"\x50" * 16, b"\x10" * 16), Nonces(b"\x20" * 16, b"\x90" * 16)
    assert loses(low, high)
    assert not loses(high, low)


def test_octet_by_octet_not_as_numbers() -> None:
    long_low, short_high = Nonces(b"\x01" + b"\xff" * 31, b"\xff" * 16), Nonces(b"\x02" * 16, b"\xff" * 16)
    assert loses(long_low, short_high)


def test_a_nonce_that_ends_first_is_lower() -> None:
    short, long = Nonces(b"\x05" * 16, b"\xff" * 16), Nonces(b"\x05" * 17, b"\xff" * 16)
    assert loses(short, long)
    assert not loses(long, short)
