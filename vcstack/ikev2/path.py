"""Between which two UDP ports IKE messages travel."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Self

IKE_PORT = 500
NAT_TRAVERSAL_PORT = 4500


@dataclass(frozen=True, slots=True)
class Path:
    """The two ends of the UDP flow of an IKE SA, seen from here."""

    local: IPv4Address
    local_port: int
    remote: IPv4Address
    remote_port: int

    def floated(self) -> Self:
        """The path after NAT detection: port 4500 at both ends (RFC 7296 section 2.23)."""
        return replace(self, local_port=NAT_TRAVERSAL_PORT, remote_port=NAT_TRAVERSAL_PORT)

    def __str__(self) -> str:
        return f"{self.local}:{self.local_port}-{self.remote}:{self.remote_port}"


@dataclass(frozen=True, slots=True)
class Datagram:
    """An IKE message, without the non-ESP marker, and the path that it takes."""

    data: bytes
    path: Path
