"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from vcstack.cli.views import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "00:00:00"),
        (754.3, "00:12:34"),
        (86399, "23:59:59"),
        (86400, "1d00h"),
        (93600, "1d02h"),
        (604799, "6d23h"),
        (604800, "1w0d"),
        (2160000, "3w4d"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert words.clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (27_780_824, "27.8 MB"),
        (5 * 10**12, "5.0 TB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.scaled(count) == text


def test_an_exact_number_has_its_size_beside_it_where_it_is_large() -> None:
    assert words.octets(512) == "512 bytes"
    assert words.octets(27_780_824) == "27,780,824 bytes (27.8 MB)"


def test_nouns_follow_their_numbers() -> None:
    assert [words.counted(count, "packet") for count in (0, 1, 1094)] == [
        "0 packets",
        "1 packet",
        "1,094 packets",
    ]


def test_a_peers_text_cannot_steer_the_terminal() -> None:
    assert words.printable("bye\x1b[2J\nnow ü") == "bye\\x1b[2J\\nnow ü"
