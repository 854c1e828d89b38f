"""Distinguished names (RFC 5280 section 4.1.2.4): the identity ID_DER_ASN1_DN of IKEv2.

Written `CN=branch-1,O=Example` (RFC 4514). Two names are the same when their attributes are: the kind of
string that an encoder chose, and capitals, do not count (RFC 5280 section 7.1).
"""

from __future__ import annotations

from typing import TypeAlias

from cryptography import x509

from vcstack.crypto import der
from vcstack.crypto.errors import CryptoError

Attribute: TypeAlias = tuple[str, str]
"""An object identifier in dotted form, and its value."""

_BMP_STRING, _UNIVERSAL_STRING, _LATIN1_STRINGS = 0x1E, 0x1C, frozenset({0x14})
_MAX_SHOWN = 200


def parse_name(text: str) -> bytes:
    """The DER of a name in the notation of RFC 4514; CryptoError when it is none."""
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError:
        raise CryptoError(f"{text!r} is not a distinguished name such as CN=branch-1,O=Example") from None
    if not name.rdns:
        raise CryptoError("an empty distinguished name")
    return name.public_bytes()


def show_name(data: bytes) -> str:
    """The text of a name in DER; its octets in hexadecimal when it is malformed."""
    try:
        rdns = [
            x509.RelativeDistinguishedName([_known(attribute) for attribute in _attributes(rdn)])
            for rdn in _rdns(data)
        ]
        return x509.Name(rdns).rfc4514_string()[:_MAX_SHOWN]
    except (CryptoError, ValueError):
        return f"0x{data[:_MAX_SHOWN].hex()}"


def same_name(one: bytes, other: bytes) -> bool:
    """Whether two names in DER are the same; a malformed one is only like itself."""
    try:
        return one == other or _canonical(one) == _canonical(other)
    except CryptoError:
        return False


def _known(attribute: Attribute) -> x509.NameAttribute[str]:
    oid, value = attribute
    return x509.NameAttribute(x509.ObjectIdentifier(oid), value, _validate=False)


def _canonical(data: bytes) -> list[frozenset[Attribute]]:
    return [
        frozenset((oid, " ".join(value.casefold().split())) for oid, value in _attributes(rdn))
        for rdn in _rdns(data)
    ]


def _rdns(data: bytes) -> list[bytes]:
    rdns = list(der.elements(der.content(data, der.Tag.SEQUENCE)))
    if any(tag != der.Tag.SET for tag, _ in rdns):
        raise CryptoError("malformed distinguished name")
    return [content for _, content in rdns]


def _attributes(rdn: bytes) -> list[Attribute]:
    return [_attribute(content) for _, content in der.elements(rdn)]


def _attribute(data: bytes) -> Attribute:
    parts = list(der.elements(data))
    if len(parts) != 2 or parts[0][0] != der.Tag.OBJECT_IDENTIFIER or not parts[0][1]:
        raise CryptoError("malformed distinguished name")
    tag, value = parts[1]
    return _dotted(parts[0][1]), _text(tag, value)


def _text(tag: int, value: bytes) -> str:
    encodings = {_BMP_STRING: "utf-16-be", _UNIVERSAL_STRING: "utf-32-be"}
    encoding = "latin-1" if tag in _LATIN1_STRINGS else encodings.get(tag, "utf-8")
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise CryptoError("malformed distinguished name") from None


def _dotted(octets: bytes) -> str:
    numbers, value = [], 0
    for octet in octets:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:]))) if numbers else "0.0"
