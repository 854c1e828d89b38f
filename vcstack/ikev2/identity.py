"""Identities of the two ends as an operator writes them (RFC 7296 3.5).

    "198.51.100.1", "ipv4:198.51.100.1"     ID_IPV4_ADDR
    "fqdn:cpe.example"                      ID_FQDN
    "email:noc@example"                     ID_RFC822_ADDR
    "key_id:branch-1", "key_id:0x0a0b"      ID_KEY_ID, as text or as octets

An identity is compared as type and octets; that of an end behind a NAT need not be the address it sends from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Self

from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import IdType
from vcstack.ikev2.wire.identity import IdI, IdR

_EXPECTED: Final = "an IPv4 address, fqdn:NAME, email:NAME or key_id:NAME"


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
        except ValueError:
            data = b""
        if not data:
            raise ConfigurationError(f"identity {text!r}: {_EXPECTED} expected")
        return cls(kind, data)

    @classmethod
    def of(cls, payload: IdI | IdR) -> Self:
        """The identity that a payload carries."""
        return cls(payload.kind, payload.data)

    def initiator_payload(self) -> IdI:
        """IDi of this identity."""
        return IdI(self.kind, self.data)

    def responder_payload(self) -> IdR:
        """IDr of this identity."""
        return IdR(self.kind, self.data)

    def __str__(self) -> str:
        if self.kind == IdType.IPV4_ADDR and len(self.data) == 4:
            return str(IPv4Address(self.data))
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
}
_PREFIXES: Final = {kind: prefix for prefix, (kind, _) in _ENCODERS.items()}
