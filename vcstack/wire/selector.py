"""Traffic selectors: which packets belong to a security association (RFC 7296 section 3.13.1).

```
                     1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|   TS Type     |IP Protocol ID |       Selector Length         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|           Start Port          |           End Port            |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                       Starting Address                        |
|                        Ending Address                         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, summarize_address_range
from typing import Self

from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

TS_IPV4_ADDR_RANGE = 7
SELECTOR_LENGTH = 16
ANY_PROTOCOL = 0
_ANY_PORTS = (0, 65535)
_OPAQUE_PORTS = (65535, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSelector:
    """One end of the traffic of an SA: inclusive ranges of addresses and ports, and a protocol (0: any).

    Ports 65535 to 0 mean OPAQUE (RFC 7296 section 3.13.1): packets whose ports cannot be seen.
    For ICMP, type and code stand in the place of the port. ValueError when a range is reversed.
    """

    protocol: int = ANY_PROTOCOL
    start_port: int = 0
    end_port: int = 65535
    start: IPv4Address
    end: IPv4Address

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError(f"traffic selector: addresses {self.start} to {self.end} are reversed")
        if self.start_port > self.end_port and self._ports != _OPAQUE_PORTS:
            raise ValueError(f"traffic selector: ports {self.start_port} to {self.end_port} are reversed")

    @classmethod
    def host(cls, address: IPv4Address, protocol: int = ANY_PROTOCOL) -> Self:
        """Every port of one address."""
        return cls(protocol=protocol, start=address, end=address)

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read one selector of type TS_IPV4_ADDR_RANGE that fills `data`; WireError for anything else."""
        reader = Reader(data, "traffic selector")
        kind, protocol, length = reader.u8(), reader.u8(), reader.u16()
        if kind != TS_IPV4_ADDR_RANGE or length != SELECTOR_LENGTH:
            raise WireError(f"traffic selector: type {kind} of {length} bytes, type 7 of 16 expected")
        start_port, end_port = reader.u16(), reader.u16()
        start, end = IPv4Address(reader.take(4)), IPv4Address(reader.take(4))
        reader.check_end()
        try:
            return cls(protocol=protocol, start_port=start_port, end_port=end_port, start=start, end=end)
        except ValueError as error:
            raise WireError(str(error)) from error

    def build(self) -> bytes:
        """Return the 16 bytes of this selector."""
        writer = Writer().u8(TS_IPV4_ADDR_RANGE).u8(self.protocol).u16(SELECTOR_LENGTH)
        writer.u16(self.start_port).u16(self.end_port)
        return writer.raw(self.start.packed).raw(self.end.packed).getvalue()

    def intersect(self, other: Self) -> Self | None:
        """Return the selector of all packets that both match, None when there are none."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        ports = _intersect_ports(self._ports, other._ports)
        if start > end or ports is None or self._protocols_differ(other):
            return None
        protocol = self.protocol or other.protocol
        return type(self)(protocol=protocol, start_port=ports[0], end_port=ports[1], start=start, end=end)

    def covers(self, other: Self) -> bool:
        """Whether every packet that `other` matches is matched here too."""
        return self.intersect(other) == other

    def matches(self, protocol: int, address: IPv4Address, port: int | None = None) -> bool:
        """Whether a packet with that protocol, and that address and port on this end, is selected.

        `port` is None where a packet has none to show (GRE, a later fragment): only selectors
        for any port, or for OPAQUE, match it (RFC 4301 section 4.4.1.1).
        """
        if self.protocol not in (ANY_PROTOCOL, protocol) or not self.start <= address <= self.end:
            return False
        if port is None:
            return self._ports in (_ANY_PORTS, _OPAQUE_PORTS)
        return self.start_port <= port <= self.end_port

    def __str__(self) -> str:
        networks = list(summarize_address_range(self.start, self.end))
        addresses = str(networks[0]) if len(networks) == 1 else f"{self.start}-{self.end}"
        if self._ports == _ANY_PORTS:
            return f"{addresses}[{self.protocol}]" if self.protocol else addresses
        ports = "opaque" if self._ports == _OPAQUE_PORTS else f"{self.start_port}-{self.end_port}"
        return f"{addresses}[{self.protocol}/{ports}]"

    @property
    def _ports(self) -> tuple[int, int]:
        return self.start_port, self.end_port

    def _protocols_differ(self, other: Self) -> bool:
        return ANY_PROTOCOL not in (self.protocol, other.protocol) and self.protocol != other.protocol


def matches_any(
    selectors: Iterable[TrafficSelector], protocol: int, address: IPv4Address, port: int | None = None
) -> bool:
    """Whether one of the selectors of an end matches; a packet belongs to an SA when both its ends do."""
    return any(selector.matches(protocol, address, port) for selector in selectors)


def _intersect_ports(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
    if _OPAQUE_PORTS in (one, other):
        # RFC 4301 section 4.4.1.1: ANY includes OPAQUE, a range of real ports does not.
        return _OPAQUE_PORTS if {one, other} <= {_ANY_PORTS, _OPAQUE_PORTS} else None
    start, end = max(one[0], other[0]), min(one[1], other[1])
    return (start, end) if start <= end else None
