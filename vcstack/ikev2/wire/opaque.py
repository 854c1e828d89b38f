"""Payloads that are carried but not interpreted.

CP and EAP have no place in a gateway between sites; of types that this codec does not know, RFC 7296 2.5
says to skip those that are not marked critical.
"""

from dataclasses import dataclass
from typing import Final

from vcstack.ikev2.iana import PayloadType

OPAQUE_TYPES: Final = frozenset({PayloadType.CP, PayloadType.EAP})


@dataclass(frozen=True, slots=True)
class Opaque:
    """A payload of RFC 7296 whose body nobody here looks into; `type` is one of OPAQUE_TYPES."""

    type: PayloadType
    data: bytes

    @property
    def payload_type(self) -> PayloadType:
        """The type, under the name that all payloads have for it."""
        return self.type

    def build(self) -> bytes:
        """The payload without its generic header."""
        return self.data


@dataclass(frozen=True, slots=True)
class Unknown:
    """A payload of an unknown type; received ones are never critical, for a critical one is an error."""

    type: PayloadType
    critical: bool
    data: bytes

    @property
    def payload_type(self) -> PayloadType:
        """The type, under the name that all payloads have for it."""
        return self.type

    def build(self) -> bytes:
        """The payload without its generic header."""
        return self.data
