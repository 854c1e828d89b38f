"""The OPEN message (RFC 4271 4.2, 6.2), with capabilities (RFC 5492) and extended parameters (RFC 9072).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+
|    Version    |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|     My Autonomous System      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|           Hold Time           |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                         BGP Identifier                        |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Opt Parm Len  |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|             Optional Parameters (variable)                    |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from vcstack.bgp.constants import AS_TRANS, MAX_TWO_OCTET_AS, VERSION
from vcstack.bgp.errors import OpenError
from vcstack.bgp.iana import CapabilityCode, MessageType, OpenSubcode, ParameterType
from vcstack.bgp.wire.capability import (
    Capability,
    FourOctetAs,
    GracefulRestart,
    build_capabilities,
    parse_capabilities,
)
from vcstack.bgp.wire.stream import build_message
from vcstack.wire.reader import Reader, WireError

_MAX_PLAIN_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Open:
    """What a speaker says of itself; `two_octet_as` is the field of the message, `asn` the number meant."""

    two_octet_as: int
    hold_time_s: int
    router_id: IPv4Address
    capabilities: tuple[Capability, ...] = ()

    @property
    def asn(self) -> int:
        """The sender's AS number: that of the capability wins (RFC 6793 4.1)."""
        for capability in self.capabilities:
            if isinstance(capability, FourOctetAs):
                return capability.asn
        return self.two_octet_as

    def offers(self, code: CapabilityCode) -> bool:
        """Say whether a capability of this code is in the message."""
        return any(capability.code == code for capability in self.capabilities)

    @property
    def graceful_restart(self) -> GracefulRestart | None:
        """The graceful restart capability; of several the last counts (RFC 4724 3)."""
        found = [capability for capability in self.capabilities if isinstance(capability, GracefulRestart)]
        return found[-1] if found else None

    def build(self) -> bytes:
        """Build the whole message, with all capabilities in one parameter."""
        body = bytes((VERSION,)) + self.two_octet_as.to_bytes(2) + self.hold_time_s.to_bytes(2)
        body += self.router_id.packed + _build_parameters(build_capabilities(self.capabilities))
        return build_message(MessageType.OPEN, body)


def two_octet_as(asn: int) -> int:
    """Return the AS number for the two-octet field (RFC 6793 4.2.1)."""
    return asn if asn <= MAX_TWO_OCTET_AS else AS_TRANS


def parse_open(body: bytes) -> Open:
    """Parse an OPEN; OpenError for another version and for malformed or unknown parameters."""
    reader = Reader(body, "OPEN")
    version = reader.u8()
    if version != VERSION:
        # RFC 4271 6.2: the data is the version that this speaker can speak
        raise OpenError(OpenSubcode.UNSUPPORTED_VERSION_NUMBER, f"BGP version {version}", VERSION.to_bytes(2))
    asn, hold_time_s, router_id = reader.u16(), reader.u16(), IPv4Address(reader.take(4))
    try:
        capabilities = _parse_parameters(reader)
    except WireError as error:
        raise OpenError(OpenSubcode.UNSPECIFIC, str(error)) from error
    return Open(asn, hold_time_s, router_id, capabilities)


def _parse_parameters(reader: Reader) -> tuple[Capability, ...]:
    plain_length = reader.u8()
    parameters, extended = _parameters_of(reader, plain_length)
    capabilities: list[Capability] = []
    while parameters.remaining:
        kind = ParameterType(parameters.u8())
        value = parameters.take(parameters.u16() if extended else parameters.u8())
        if kind != ParameterType.CAPABILITIES:
            raise OpenError(OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER, f"optional parameter {int(kind)}")
        capabilities += parse_capabilities(value)
    return tuple(capabilities)


def _parameters_of(reader: Reader, plain_length: int) -> tuple[Reader, bool]:
    rest = reader.rest()
    # RFC 9072 2: type 255 in the first place, not the length before it, tells the format
    if plain_length and rest[:1] == bytes((ParameterType.EXTENDED_LENGTH,)):
        extended = Reader(rest, "OPEN extended parameters")
        extended.u8()
        parameters = extended.sub(extended.u16())
        extended.check_end()
        return parameters, True
    plain = Reader(rest, "OPEN parameters")
    parameters = plain.sub(plain_length)
    plain.check_end()
    return parameters, False


def _build_parameters(capabilities: bytes) -> bytes:
    if not capabilities:
        return b"\0"
    if len(capabilities) + 2 <= _MAX_PLAIN_LENGTH:
        parameter = bytes((ParameterType.CAPABILITIES, len(capabilities))) + capabilities
        return bytes((len(parameter),)) + parameter
    parameter = bytes((ParameterType.CAPABILITIES,)) + len(capabilities).to_bytes(2) + capabilities
    return b"\xff\xff" + len(parameter).to_bytes(2) + parameter
