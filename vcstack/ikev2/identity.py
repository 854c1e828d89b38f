"""Identities of the two ends as an operator writes them (RFC 7296 3.5).

    "198.51.100.1", "ipv4:198.51.100.1"     ID_IPV4_ADDR
    "fqdn:cpe.example"                      ID_FQDN
    "email:noc@example"                     ID_RFC822_ADDR
    "key_id:branch-1", "key_id:0x0a0b"      ID_KEY_ID, as text or as octets
    "dn:CN=branch-1,O=Example"              ID_DER_ASN1_DN, as RFC 4514 writes it: encoded last, written first

Identities are the same when type and octets are, distinguished names also when their attributes are. That of
an end behind a NAT need not be the address it sends from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Self

from vcstack.crypto.errors import CryptoError
from vcstack.crypto.name import parse_name, same_name, show_name
from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import IdType
from vcstack.ikev2.wire.identity import IdI, IdR

_EXPECTED: Final = "an IPv4 address, fqdn:NAME, email:NAME, key_id:NAME or dn:NAME"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who one end says it is."""

    kind: IdType
    data: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form; ConfigurationError says what is expected."""
        prefix, colon, value = text.strip().partition(":")
        if not colon:
            prefix, value = "ipv4", prefix
        encode = _ENCODERS.get(prefix.lower())
        if encode is None:
            raise ConfigurationError(f"identity {text!r}: {_EXPECTED} expected")
        kind, to_data = encode
        try:
            data = to_data(value)
        except (ValueError, CryptoError):
            data = b""
        if not data:
            raise ConfigurationError(f"identity {text!r}: {_EXPECTED} expected")
        return cls(kind, data)

    @classmethod
    def of(cls, payload: IdI | IdR) -> Self:
        """The identity that a payload carries."""
        return cls(payload.kind, payload.data)

    def matches(self, other: "Identity") -> bool:
        """Whether the other is the same."""
        if self.kind == other.kind == IdType.DER_ASN1_DN:
            return same_name(self.data, other.data)
        return self == other

    def initiator_payload(self) -> IdI:
        """IDi of this identity."""
        return IdI(self.kind, self.data)

    def responder_payload(self) -> IdR:
        """IDr of this identity."""
        return IdR(self.kind, self.data)

    def __str__(self) -> str:
        if self.kind == IdType.IPV4_ADDR and len(self.data) == 4:
            return str(IPv4Address(self.data))
        if self.kind == IdType.DER_ASN1_DN:
            return f"dn:{show_name(self.data)}"
        prefix = _PREFIXES.get(self.kind)
        text = self.data.decode("ascii", "replace")
        if prefix is None:
            return f"{self.kind}:0x{self.data.hex()}"
        if text.isascii() and text.isprintable() and not text.startswith("0x"):
            return f"{prefix}:{text}"
        return f"{prefix}:0x{self.data.hex()}"


def _address(value: str) -> bytes:
    return IPv4Address(value).packed


def _name(value: str) -> bytes:
    if not value.isprintable() or " " in value:
        raise ValueError(value)
    return value.encode("ascii")


def _key_id(value: str) -> bytes:
    return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode("utf-8")


_ENCODERS: Final[Mapping[str, tuple[IdType, Callable[[str], bytes]]]] = {
    "ipv4": (IdType.IPV4_ADDR, _address),
    "fqdn": (IdType.FQDN, _name),
    "email": (IdType.RFC822_ADDR, _name),
    "key_id": (IdType.KEY_ID, _key_id),
    "dn": (IdType.DER_ASN1_DN, parse_name),
}
_PREFIXES: Final = {kind: prefix for prefix, (kind, _) in _ENCODERS.items()}
