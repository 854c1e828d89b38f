"""Capabilities of the OPEN message (RFC 5492 4).

    +------------------------------+
    | Capability Code (1 octet)    |
    +------------------------------+
    | Capability Length (1 octet)  |
    +------------------------------+
    | Capability Value (variable)  |
    +------------------------------+

Only what this speaker acts on has a type of its own; the others are kept as they came.
"""

from __future__ import annotations

from dataclasses import dataclass

from vcstack.bgp.iana import Afi, CapabilityCode, Safi
from vcstack.wire.reader import Reader, WireError


@dataclass(frozen=True, slots=True)
class Multiprotocol:
    """RFC 4760 8: one address family that the sender can speak."""

    afi: Afi
    safi: Safi

    @property
    def code(self) -> CapabilityCode:
        """The capability's code."""
        return CapabilityCode.MULTIPROTOCOL

    @property
    def value(self) -> bytes:
        """The capability's value."""
        return self.afi.to_bytes(2) + b"\0" + self.safi.to_bytes(1)

    def __str__(self) -> str:
        return f"{self.afi.name.lower()} {self.safi.name.lower()}"


@dataclass(frozen=True, slots=True)
class FourOctetAs:
    """RFC 6793 3: the sender's AS number in four octets."""

    asn: int

    @property
    def code(self) -> CapabilityCode:
        """The capability's code."""
        return CapabilityCode.FOUR_OCTET_AS

    @property
    def value(self) -> bytes:
        """The capability's value."""
        return self.asn.to_bytes(4)

    def __str__(self) -> str:
        return "four-octet AS"


@dataclass(frozen=True, slots=True)
class RestartFamily:
    """A family of the graceful restart capability; `preserved` is the F bit: packets were forwarded on."""

    afi: Afi
    safi: Safi
    preserved: bool


@dataclass(frozen=True, slots=True)
class GracefulRestart:
    """RFC 4724 3, RFC 8538 2: whether the sender has restarted, and how long to wait for it when it does.

     0                   1
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |R|N| 0 |  Restart Time in s    |    then for each family: AFI (2 octets), SAFI (1), F and seven zeros (1)
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    """

    restarting: bool
    notification: bool
    restart_time_s: int
    families: tuple[RestartFamily, ...] = ()

    @property
    def code(self) -> CapabilityCode:
        """The capability's code."""
        return CapabilityCode.GRACEFUL_RESTART

    @property
    def value(self) -> bytes:
        """The capability's value."""
        flags = self.restarting * _RESTARTING | self.notification * _NOTIFICATION
        families = (
            family.afi.to_bytes(2) + bytes((family.safi, family.preserved * _PRESERVED))
            for family in self.families
        )
        return (flags | self.restart_time_s).to_bytes(2) + b"".join(families)

    def family(self, afi: Afi, safi: Safi) -> RestartFamily | None:
        """Return what is said of a family, or None when it is not named."""
        found = (family for family in self.families if (family.afi, family.safi) == (afi, safi))
        return next(found, None)

    def __str__(self) -> str:
        return "graceful restart"


@dataclass(frozen=True, slots=True)
class OtherCapability:
    """A capability whose presence is all that matters here, or that this speaker does not know."""

    code: CapabilityCode
    value: bytes = b""

    def __str__(self) -> str:
        return self.code.name.lower().replace("_", " ")


Capability = Multiprotocol | FourOctetAs | GracefulRestart | OtherCapability

IPV4_UNICAST = Multiprotocol(Afi.IPV4, Safi.UNICAST)
ROUTE_REFRESH = OtherCapability(CapabilityCode.ROUTE_REFRESH)
ENHANCED_ROUTE_REFRESH = OtherCapability(CapabilityCode.ENHANCED_ROUTE_REFRESH)

MAX_RESTART_TIME_S = 0xFFF
_RESTARTING = 0x8000
_NOTIFICATION = 0x4000
_PRESERVED = 0x80


def parse_capabilities(data: bytes) -> tuple[Capability, ...]:
    """Parse the value of one Capabilities parameter; WireError when it is malformed."""
    reader = Reader(data, "capabilities")
    found: list[Capability] = []
    while reader.remaining:
        code = CapabilityCode(reader.u8())
        found.append(_parse_one(code, reader.take(reader.u8())))
    return tuple(found)


def build_capabilities(capabilities: tuple[Capability, ...]) -> bytes:
    """Build the value of one Capabilities parameter that holds them all."""
    return b"".join(
        bytes((capability.code, len(capability.value))) + capability.value for capability in capabilities
    )


def _parse_one(code: CapabilityCode, value: bytes) -> Capability:
    if code == CapabilityCode.MULTIPROTOCOL:
        _check_length(code, value, 4)
        return Multiprotocol(Afi(int.from_bytes(value[:2])), Safi(value[3]))
    if code == CapabilityCode.FOUR_OCTET_AS:
        _check_length(code, value, 4)
        return FourOctetAs(int.from_bytes(value))
    if code == CapabilityCode.GRACEFUL_RESTART and len(value) % 4 == 2:
        return _parse_graceful_restart(value)
    return OtherCapability(code, value)


def _parse_graceful_restart(value: bytes) -> GracefulRestart:
    word = int.from_bytes(value[:2])
    families = tuple(
        RestartFamily(
            Afi(int.from_bytes(value[at : at + 2])), Safi(value[at + 2]), bool(value[at + 3] & _PRESERVED)
        )
        for at in range(2, len(value), 4)
    )
    restart_time_s = word & MAX_RESTART_TIME_S
    return GracefulRestart(bool(word & _RESTARTING), bool(word & _NOTIFICATION), restart_time_s, families)


def _check_length(code: CapabilityCode, value: bytes, length: int) -> None:
    if len(value) != length:
        raise WireError(f"capability {code.name}: {length} bytes expected, {len(value)} found")
