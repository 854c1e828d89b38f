import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcstack.crypto import der
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.name import parse_name, same_name, show_name


def attribute(value: bytes, tag: int = 0x0C, oid: bytes = b"\x55\x04\x03") -> bytes:
    return der.encode(0x31, der.encode(0x30, der.encode(0x06, oid), der.encode(tag, value)))


def name(*attributes: bytes) -> bytes:
    return der.encode(0x30, *attributes)


@pytest.mark.parametrize("text", ["CN=branch-1", "CN=branch-1,O=Example,C=CH", "CN=a+OU=b,DC=example"])
def test_text_and_back(text: str) -> None:
    assert show_name(parse_name(text)) == text
    assert same_name(parse_name(text), parse_name(text.replace("branch", "BRANCH")))


@pytest.mark.parametrize("text", ["", "branch-1", "CN", "XX=y"])
def test_no_name(text: str) -> None:
    with pytest.raises(CryptoError):
        parse_name(text)


def test_encodings_and_spaces_do_not_count_but_order_does() -> None:
    """RFC 5280 7.1: strings of all kinds with the same text."""
    utf8 = name(attribute(b"Branch  one "))
    assert same_name(utf8, name(attribute("branch one".encode("utf-16-be"), 0x1E)))
    assert same_name(utf8, name(attribute("branch one".encode("utf-32-be"), 0x1C)))
    assert same_name(utf8, name(attribute(b"branch one", 0x14)))
    assert not same_name(utf8, name(attribute(b"branch two", 0x13)))
    assert not same_name(parse_name("CN=a,O=b"), parse_name("O=b,CN=a"))


def test_long_values_and_unknown_attributes() -> None:
    long = name(attribute(b"x" * 300))
    assert long[:2] == b"\x30\x82"
    assert same_name(long, name(attribute(b"X" * 300)))
    assert show_name(name(attribute(b"v", oid=b"\x88\x37\x01"))).startswith("2.999.1=")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x05\x31",
        b"\x30\x80",
        b"\x30\x83\x01\x00\x00",
        b"\x30\x82\x01",
        b"\x31\x00",
        b"\x30\x00\x30\x00",
        name(b"\x30\x00"),
        name(der.encode(0x31, der.encode(0x30, b"\x05\x00"))),
        name(der.encode(0x31, der.encode(0x30, b"\x06\x00\x05\x00"))),
        name(attribute(b"\xff")),
    ],
)
def test_what_is_malformed_is_only_like_itself(data: bytes) -> None:
    assert show_name(data) == f"0x{data.hex()}"
    assert same_name(data, data)
    assert not same_name(data, parse_name("CN=x"))
    assert not same_name(parse_name("CN=x"), data)


@given(st.binary(max_size=60))
def test_any_octets(data: bytes) -> None:
    assert isinstance(show_name(data), str)
    assert not same_name(data, parse_name("CN=never generated"))
