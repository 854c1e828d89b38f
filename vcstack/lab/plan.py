"""The lab's network as values: who stands where, with which addresses, joined by which links.

                          host-a  10.77.0.10                            host-b  10.77.0.138
                             |    A's /25                                  |    B's /25
       203.0.113.10  wan [ dc-a ] backbone --- 10.255.0.0/30 --- backbone [ dc-b ] wan  203.0.113.200
                       |                                                          |
                       +-------------------- [ internet ] -----------------------+
                                                   |
                                        198.51.100.1  ( [ nat ] 192.168.100.1 )
                                                   |
                                                [ cpe ]
                                                   |  192.168.50.0/24
                                                [ lan ]  192.168.50.10

Each name in brackets is a network namespace. The backbone is the operator's own network between the data
centres: what is sent to B for A's /25 gets there, and a data centre without its tunnel answers through the
other one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

PREFIX = "vclab"

REGION = IPv4Network("10.77.0.0/24")
LAN = IPv4Network("192.168.50.0/24")
TUNNELS = IPv4Network("100.64.1.0/24")
TRANSPORT = IPv4Network("192.0.2.0/24")
"""GRE transport addresses: no interface has them, they exist inside ESP only."""

CPE_NAME = "branch-1"
CPE_AS = 64512
CPE_PUBLIC = IPv4Interface("198.51.100.1/24")
CPE_BEHIND_NAT = IPv4Interface("192.168.100.2/24")
CPE_TRANSPORT = IPv4Address("192.0.2.1")
INTERNET_FOR_CPE = IPv4Interface("198.51.100.254/24")
NAT_INSIDE = IPv4Interface("192.168.100.1/24")
CPE_LAN = IPv4Interface("192.168.50.1/24")
LAN_HOST = IPv4Interface("192.168.50.10/24")

DIRECT_HOPS = 2
"""Routers between the LAN host and a host of A's /25: the CPE and A."""
DETOUR_HOPS = 3
"""The CPE, B and A."""


@dataclass(frozen=True, slots=True)
class DataCentre:
    """One data centre with the host behind it, and the tunnel to it."""

    name: str
    prefix: IPv4Network
    wan: IPv4Interface
    internet: IPv4Interface
    transport: IPv4Address
    tunnel: IPv4Interface
    cpe_tunnel: IPv4Interface
    backbone: IPv4Interface
    host: IPv4Interface
    router: IPv4Interface
    autonomous_system: int

    @property
    def host_name(self) -> str:
        """The node of the host."""
        return self.name.replace("dc", "host")

    @property
    def device(self) -> str:
        """The CPE's interface of the tunnel."""
        return f"vc-{self.name}"


DC_A = DataCentre(
    name="dc-a",
    prefix=IPv4Network("10.77.0.0/25"),
    wan=IPv4Interface("203.0.113.10/25"),
    internet=IPv4Interface("203.0.113.126/25"),
    transport=IPv4Address("192.0.2.10"),
    tunnel=IPv4Interface("100.64.1.1/30"),
    cpe_tunnel=IPv4Interface("100.64.1.2/30"),
    backbone=IPv4Interface("10.255.0.1/30"),
    host=IPv4Interface("10.77.0.10/25"),
    router=IPv4Interface("10.77.0.1/25"),
    autonomous_system=64600,
)
DC_B = DataCentre(
    name="dc-b",
    prefix=IPv4Network("10.77.0.128/25"),
    wan=IPv4Interface("203.0.113.200/25"),
    internet=IPv4Interface("203.0.113.254/25"),
    transport=IPv4Address("192.0.2.20"),
    tunnel=IPv4Interface("100.64.1.5/30"),
    cpe_tunnel=IPv4Interface("100.64.1.6/30"),
    backbone=IPv4Interface("10.255.0.2/30"),
    host=IPv4Interface("10.77.0.138/25"),
    router=IPv4Interface("10.77.0.129/25"),
    autonomous_system=64601,
)
DATA_CENTRES = (DC_A, DC_B)


@dataclass(frozen=True, slots=True)
class Way:
    """A static route; `destination` may be `default`."""

    destination: str
    via: IPv4Address
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One namespace: the addresses of its devices, its routes, and whether it forwards packets."""

    name: str
    addresses: dict[str, IPv4Interface]
    routes: tuple[Way, ...] = ()
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A cable between a device of one node and a device of another."""

    left: str
    left_device: str
    right: str
    right_device: str


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes and links; with `nat`, the node that masquerades what leaves its device `wan`."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    nat: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One lab: its number, which its namespaces carry, and what was asked for."""

    number: int
    nat: bool = False
    keepalive_s: float = 1.0
    keepalive_retries: int = 3
    topology: Topology = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "topology", topology(nat=self.nat))

    def namespace(self, node: str) -> str:
        """The name of a node's namespace."""
        return f"{PREFIX}-{self.number}-{node}"

    @property
    def cpe_address(self) -> IPv4Address:
        """The address that the CPE's IKE and ESP leave from."""
        return (CPE_BEHIND_NAT if self.nat else CPE_PUBLIC).ip

    @property
    def detection_s(self) -> float:
        """How long a tunnel may take at most to notice that its keepalives are lost, in seconds."""
        return self.keepalive_s * (self.keepalive_retries + 1)


def topology(*, nat: bool) -> Topology:
    """The network, with a NAT in front of the CPE or without."""
    nodes = (
        _internet(),
        *_cpe_side(nat=nat),
        *(node for here in DATA_CENTRES for node in _data_centre(here)),
    )
    links = [
        Link("lan", "lan", "cpe", "lan"),
        Link(DC_A.name, "backbone", DC_B.name, "backbone"),
    ]
    for centre in DATA_CENTRES:
        links.append(Link(centre.name, "wan", "internet", centre.name))
        links.append(Link(centre.host_name, "lan", centre.name, "lan"))
    if nat:
        links.append(Link("cpe", "wan", "nat", "inside"))
    links.append(Link("nat" if nat else "cpe", "wan", "internet", "cpe"))
    return Topology(nodes, tuple(links), "nat" if nat else None)


def _internet() -> Node:
    addresses = {"cpe": INTERNET_FOR_CPE} | {centre.name: centre.internet for centre in DATA_CENTRES}
    return Node("internet", addresses, forwards=True)


def _cpe_side(*, nat: bool) -> list[Node]:
    to_internet = (Way("default", INTERNET_FOR_CPE.ip),)
    lan = Node("lan", {"lan": LAN_HOST}, (Way("default", CPE_LAN.ip),))
    if not nat:
        return [Node("cpe", {"wan": CPE_PUBLIC, "lan": CPE_LAN}, to_internet, forwards=True), lan]
    to_nat = (Way("default", NAT_INSIDE.ip),)
    return [
        Node("nat", {"wan": CPE_PUBLIC, "inside": NAT_INSIDE}, to_internet, forwards=True),
        Node("cpe", {"wan": CPE_BEHIND_NAT, "lan": CPE_LAN}, to_nat, forwards=True),
        lan,
    ]


def _data_centre(here: DataCentre) -> list[Node]:
    other = DC_B if here is DC_A else DC_A
    routes = (
        Way(str(CPE_PUBLIC.network), here.internet.ip),
        Way(str(other.prefix), other.backbone.ip),
        Way("default", other.backbone.ip, metric=1000),
    )
    addresses = {"wan": here.wan, "backbone": here.backbone, "lan": here.router}
    return [
        Node(here.name, addresses, routes, forwards=True),
        Node(here.host_name, {"lan": here.host}, (Way("default", here.router.ip),)),
    ]
