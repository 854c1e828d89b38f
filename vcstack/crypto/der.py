"""The little of DER (ITU-T X.690) that IKEv2 itself carries: algorithm identifiers and names."""

from collections.abc import Iterator
from enum import IntEnum

from vcstack.crypto.errors import CryptoError

_MULTI_BYTE = 0x80


class Tag(IntEnum):
    """Identifier octets in use."""

    INTEGER = 0x02
    NULL = 0x05
    OBJECT_IDENTIFIER = 0x06
    SEQUENCE = 0x30
    SET = 0x31


def encode(tag: int, *contents: bytes) -> bytes:
    """One element with the concatenated contents."""
    content = b"".join(contents)
    if len(content) < _MULTI_BYTE:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes((tag, _MULTI_BYTE | len(length))) + length + content


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element, which together must fill `data`; CryptoError when they do not."""
    while data:
        tag, header, length = _header(data)
        if header + length > len(data):
            raise CryptoError("malformed DER: an element is longer than what surrounds it")
        yield tag, data[header : header + length]
        data = data[header + length :]


def content(data: bytes, tag: int) -> bytes:
    """The content of the only element of `data`, which must have that tag; CryptoError when it has not."""
    found = list(elements(data))
    if len(found) != 1 or found[0][0] != tag:
        raise CryptoError(f"malformed DER: one element with the tag {tag:#04x} is expected")
    return found[0][1]


def _header(data: bytes) -> tuple[int, int, int]:
    """Tag, size of the header, and length of the content."""
    if len(data) < 2:
        raise CryptoError("malformed DER: an element is cut off")
    tag, first = data[0], data[1]
    if first < _MULTI_BYTE:
        return tag, 2, first
    size = first - _MULTI_BYTE
    octets = data[2 : 2 + size]
    if not 1 <= size <= 2 or len(octets) < size:
        raise CryptoError("malformed DER: a length that cannot be")
    return tag, 2 + size, int.from_bytes(octets)
