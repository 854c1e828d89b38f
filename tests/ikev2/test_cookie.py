from ipaddress import IPv4Address

import pytest

from vcstack.ikev2.cookie import CookieSecrets, is_valid_cookie, make_cookie
from vcstack.wire.secret import Secret

NONCE, SOURCE, SPI = bytes(32), IPv4Address("203.0.113.7"), bytes(range(8))
SECRETS = CookieSecrets(Secret(bytes([1]) * 32))


def test_a_cookie_comes_back_from_whom_it_was_given_to() -> None:
    cookie = make_cookie(SECRETS, NONCE, SOURCE, SPI)
    assert len(cookie) == 36
    assert is_valid_cookie(SECRETS, cookie, NONCE, SOURCE, SPI)
    assert not is_valid_cookie(SECRETS, cookie, bytes([1]) * 32, SOURCE, SPI)
    assert not is_valid_cookie(SECRETS, cookie, NONCE, IPv4Address("203.0.113.8"), SPI)
    assert not is_valid_cookie(SECRETS, cookie, NONCE, SOURCE, bytes(8))


def test_a_cookie_survives_one_change_of_the_secret() -> None:
    cookie = make_cookie(SECRETS, NONCE, SOURCE, SPI)
    once = SECRETS.rotated(Secret(bytes([2]) * 32))
    twice = once.rotated(Secret(bytes([3]) * 32))
    assert make_cookie(once, NONCE, SOURCE, SPI) != cookie
    assert is_valid_cookie(once, cookie, NONCE, SOURCE, SPI)
    assert not is_valid_cookie(twice, cookie, NONCE, SOURCE, SPI)


def test_the_generation_wraps() -> None:
    last = CookieSecrets(Secret(bytes(32)), generation=2**32 - 1)
    cookie = make_cookie(last, NONCE, SOURCE, SPI)
    first = last.rotated(Secret(bytes([1]) * 32))
    assert first.generation == 0
    assert is_valid_cookie(first, cookie, NONCE, SOURCE, SPI)


@pytest.mark.parametrize("cookie", [b"", b"\0", bytes(4), bytes(36), bytes(64)])
def test_other_octets_are_no_cookie(cookie: bytes) -> None:
    assert not is_valid_cookie(SECRETS, cookie, NONCE, SOURCE, SPI)


def test_without_a_previous_secret_only_the_current_generation_counts() -> None:
    cookie = make_cookie(SECRETS, NONCE, SOURCE, SPI)
    assert not is_valid_cookie(CookieSecrets(Secret(bytes(32)), generation=1), cookie, NONCE, SOURCE, SPI)
