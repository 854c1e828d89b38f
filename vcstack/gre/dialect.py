"""Whose keepalive a request is, by what is inside; no RFC has keepalives, each vendor its own.

A asks, B answers; `a`, `b` are the transport addresses of the tunnel, `ta`, `tb` those of its interfaces:

    Cisco                  IPv4 a > b | GRE 0x0800            | IPv4 b  > a  | GRE 0
    Cisco with metadata    IPv4 a > b | GRE 0x8909 | metadata | IPv4 b  > a  | GRE 0
    Huawei                 IPv4 a > b | GRE 0x0004            | IPv4 b  > a  | GRE 0 or 0x0004
    MikroTik behind NAT    IPv4 a > b | GRE 0x0800            | IPv4 b  > p  | GRE 0    p: a private address
    VeloCloud              IPv4 a > b | GRE 0x0800            | IPv4 tb > ta | GRE 0

What is inside is the answer, and B's part is to forward it as a router would. Where that leads:

* To a: straight into the SA, whose traffic selectors are b and a.
* To p: nowhere, unless the traffic selectors admit it: b to p is not the tunnel's traffic.
* To ta: into the tunnel, as to every host behind it, so with GRE around it and then into the SA.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from vcstack.gre.packet import Decapsulated, Header, Protocol, Reject, parse_header
from vcstack.gre.tunnel import TunnelConfig
from vcstack.wire.ipv4 import MINIMUM_HEADER, IpProtocol, Ipv4Header
from vcstack.wire.reader import WireError

_PROTOCOL_OFFSET = 9
_SOURCE, _ENDS = slice(12, 16), slice(12, 20)
_PRIVATE = tuple(
    map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))  # RFC 1918, RFC 6598
)


class Dialect(StrEnum):
    """Who sends keepalives like these."""

    CISCO = "Cisco"
    CISCO_METADATA = "Cisco with metadata"
    HUAWEI = "Huawei"
    MIKROTIK = "MikroTik behind NAT"
    VELOCLOUD = "VeloCloud"
    UNKNOWN = "unknown"
    """A request whose answer goes to an address that is neither the peer's nor a private one."""


class Refusal(StrEnum):
    """Why a request is not answered."""

    MALFORMED = "malformed"
    NOT_KEEPALIVE = "not a keepalive"
    SELECTOR = "answer outside the traffic selectors"
    TTL = "TTL expired"
    RATE = "too many"


@dataclass(frozen=True, slots=True)
class Request:
    """A keepalive request: the answer in it, and its header."""

    dialect: Dialect
    answer: bytes
    header: Ipv4Header


class Classifier:
    """Tells requests from user traffic, and their dialects from each other."""

    def __init__(self, tunnel: TunnelConfig) -> None:
        self._tunnel = tunnel
        self._local = tunnel.local.packed
        interfaces = tunnel.interface_local, tunnel.interface_remote
        self._interfaces = b"".join(address.packed for address in interfaces if address is not None)

    def claims(self, outcome: Decapsulated) -> bool:
        """Whether a packet out of the tunnel is meant as a keepalive request.

        Such a packet never goes to the host behind the tunnel; every other GRE packet is user traffic.
        """
        inner = outcome.payload
        if outcome.protocol == Protocol.HUAWEI_KEEPALIVE:
            return True
        if len(inner) < MINIMUM_HEADER or inner[_PROTOCOL_OFFSET] != IpProtocol.GRE:
            return False
        return inner[_SOURCE] == self._local or self._is_between_interfaces(inner)

    def classify(self, outcome: Decapsulated) -> Request | Refusal:
        """Read the request in what came out of the tunnel; MALFORMED or NOT_KEEPALIVE where there is none.

        The GRE header of the answer is the asker's own: key, checksum and sequence number are not judged.
        """
        inner = outcome.payload
        try:
            header = Ipv4Header.parse(inner)
        except WireError:
            return Refusal.MALFORMED
        if not self.claims(outcome) or header.protocol != IpProtocol.GRE or header.is_fragment:
            return Refusal.NOT_KEEPALIVE
        gre = _leniently_parsed(inner[header.header_length : header.total_length])
        if gre is None or gre.protocol not in (Protocol.KEEPALIVE, _own_answer(outcome.protocol)):
            return Refusal.NOT_KEEPALIVE
        dialect = self._dialect(outcome.protocol, inner, header.destination)
        return Request(dialect, inner[: header.total_length], header)

    def _dialect(self, protocol: int, inner: bytes, destination: IPv4Address) -> Dialect:
        if protocol == Protocol.HUAWEI_KEEPALIVE:
            return Dialect.HUAWEI
        if self._is_between_interfaces(inner):
            return Dialect.VELOCLOUD
        if destination == self._tunnel.remote:
            return Dialect.CISCO_METADATA if protocol == Protocol.CISCO_METADATA else Dialect.CISCO
        private = any(destination in network for network in _PRIVATE)
        return Dialect.MIKROTIK if private else Dialect.UNKNOWN

    def _is_between_interfaces(self, inner: bytes) -> bool:
        return inner[_ENDS] == self._interfaces


def _own_answer(protocol: int) -> int:
    """Protocol type of an answer beside zero: it may be the request's where that is a keepalive's own."""
    return protocol if protocol == Protocol.HUAWEI_KEEPALIVE else Protocol.KEEPALIVE


def _leniently_parsed(gre: bytes) -> Header | None:
    header = parse_header(gre)
    if header is Reject.CHECKSUM:
        return Header(protocol=int.from_bytes(gre[2:4]))
    return None if isinstance(header, Reject) else header
