"""The configuration file as values: one frozen model per table, every default resolved.

The names of the fields are the keys of the file; their descriptions complete "expected ..." in messages.
Lengths of time are in seconds, sizes in bytes.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from os import uname
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vcstack.control.config_auth import Authentication, check_local_id
from vcstack.control.config_problems import Problem
from vcstack.control.config_table import Table
from vcstack.control.config_types import (
    Address,
    AsNumber,
    DeviceName,
    EspProposalText,
    IdentityText,
    IkeProposalText,
    InterfaceAddress,
    Mtu,
    Name,
    Network,
    OptionalSecret,
    PeerAddress,
    ReplayWindow,
    Seconds,
    SocketPath,
    TunnelName,
    as_full_tuple,
    as_tuple,
    differs,
    expected,
    has_group,
    origin_of,
    without_group,
)
from vcstack.control.config_warnings import find_warnings
from vcstack.ikev2.proposal import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS
from vcstack.wire.secret import Secret

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
DEFAULT_SOCKET = Path("/run/vcstack/control.sock")
TCP_MD5_KEY_BYTES = 80
SHORTEST_REGION = 16

IKE_PROPOSALS = tuple(map(str, DEFAULT_IKE_PROPOSALS))
ESP_PROPOSALS = tuple(map(str, DEFAULT_ESP_PROPOSALS))


class Ipsec(Authentication):
    """IKEv2 and ESP with one data centre."""

    local_address: Address = Field(description="the IPv4 address that IKE and ESP leave from")
    remote_address: PeerAddress = Field(description="the IPsec address of the peer")  # None: any peer
    local_id: IdentityText = Field(
        default_factory=lambda data: str(data["local_address"]),
        validate_default=True,
        description="our IKE identity",
    )
    remote_id: IdentityText | None = Field(
        default_factory=lambda data: None if data["remote_address"] is None else str(data["remote_address"]),
        description="the peer's IKE identity",
    )
    ike_proposals: Annotated[tuple[IkeProposalText, ...], BeforeValidator(as_full_tuple)] = Field(
        IKE_PROPOSALS, max_length=32, description="a list of IKE proposals"
    )
    pfs: bool = Field(True, description="true or false")
    early_pfs_proof: bool = Field(True, description="true or false")
    esp_proposals: Annotated[tuple[EspProposalText, ...], BeforeValidator(as_full_tuple)] = Field(
        ESP_PROPOSALS,
        max_length=32,
        validate_default=True,
        description="a list of ESP proposals",
    )
    initiate: bool = Field(True, description="true or false")
    udp_encapsulation: Literal["auto", "always"] = Field("auto", description='"auto" or "always"')
    ike_lifetime_s: Seconds = Field(86400, description="a number of seconds")
    child_lifetime_s: Seconds = Field(3600, description="a number of seconds")
    child_lifetime_bytes: int | None = Field(None, ge=1_000_000, lt=2**63, description="a number of bytes")
    child_lifetime_packets: int | None = Field(None, ge=1_000, lt=2**63, description="a number of packets")
    dpd_interval_s: Seconds = Field(10, description="a number of seconds")
    replay_window: ReplayWindow = Field(4096, description="a number of packets")

    @field_validator("local_id")
    @classmethod
    def _is_in_the_certificate(cls, identity: str, info: ValidationInfo) -> str:
        return check_local_id(identity, info)

    @field_validator("remote_address")
    @classmethod
    def _another_end(cls, address: IPv4Address | None, info: ValidationInfo) -> IPv4Address | None:
        if address is None and origin_of(info).role == "cpe":
            raise expected('the IPv4 address of the data centre: "any" is for the role headend')
        return differs(address, info, "local_address")

    @field_validator("esp_proposals")
    @classmethod
    def _agree_with_pfs(cls, proposals: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        pfs = info.data.get("pfs")
        if pfs and not any(has_group(text) for text in proposals):
            raise expected("a Diffie-Hellman group in one of the proposals, or pfs = false")
        return proposals if pfs else tuple(dict.fromkeys(without_group(text) for text in proposals))

    @field_validator("initiate")
    @classmethod
    def _knows_whom_to_call(cls, initiate: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 (pydantic's)
        if initiate and "remote_address" in info.data and info.data["remote_address"] is None:
            raise expected('false, since remote_address is "any"')
        return initiate


class Gre(Table):
    """The GRE tunnel inside ESP; its transport addresses may differ from the IPsec addresses."""

    local_address: Address = Field(description="our GRE transport address")
    remote_address: Address = Field(description="the GRE transport address of the data centre")
    key: int | None = Field(None, ge=0, le=2**32 - 1, description="a GRE key, 32 bits")
    keepalive: bool = Field(True, description="true or false")
    keepalive_interval_s: float = Field(
        10.0, ge=0.05, le=32767, allow_inf_nan=False, description="a number of seconds"
    )
    keepalive_retries: int = Field(3, ge=1, le=255, description="a number of lost keepalives")
    keepalive_damping: bool = Field(False, description="true or false")

    @field_validator("remote_address")
    @classmethod
    def _another_end(cls, address: IPv4Address, info: ValidationInfo) -> IPv4Address:
        return differs(address, info, "local_address")


class Interface(Table):
    """The tunnel interface of the kernel."""

    name: DeviceName = Field(description="an interface name")
    address: InterfaceAddress = Field(description="our tunnel interface address with its prefix length")
    remote_address: Address = Field(
        default_factory=lambda data: _other_host(data["address"]),
        validate_default=True,
        description="the tunnel interface address of the data centre",
    )
    mss: int = Field(1350, ge=500, le=1460, description="a TCP segment size in bytes")
    mtu: Mtu = Field("auto", description='"auto" or a number of bytes')
    path_mtu_discovery: bool = Field(True, description="true or false")

    @field_validator("remote_address")
    @classmethod
    def _is_on_link(cls, address: IPv4Address, info: ValidationInfo) -> IPv4Address:
        own: IPv4Interface | None = info.data.get("address")
        if own is not None and (address not in own.network or address == own.ip):
            raise expected(f"the other end's address in {own.network}")
        return address


class Bgp(Table):
    """The eBGP session over the tunnel interface."""

    local_as: AsNumber = Field(description="our autonomous system number")
    remote_as: AsNumber = Field(description="the autonomous system number of the data centre")
    password: OptionalSecret = Field(None, description="the BGP password", exclude=True)
    hold_time_s: int = Field(30, ge=3, le=65535, description="a number of seconds")
    announce: Annotated[tuple[Network, ...], BeforeValidator(as_tuple)] = Field(
        (DEFAULT_ROUTE,), max_length=64, description="a list of networks"
    )

    @field_validator("remote_as")
    @classmethod
    def _is_external(cls, number: int, info: ValidationInfo) -> int:
        return differs(number, info, "local_as")

    @field_validator("password")
    @classmethod
    def _fits_tcp_md5(cls, password: Secret | None) -> Secret | None:
        if password is not None and len(password) > TCP_MD5_KEY_BYTES:
            raise expected(f"a password of at most {TCP_MD5_KEY_BYTES} bytes, the limit of TCP MD5")
        return password

    @field_validator("announce")
    @classmethod
    def _fits_the_role(
        cls, networks: tuple[IPv4Network, ...], info: ValidationInfo
    ) -> tuple[IPv4Network, ...]:
        if origin_of(info).role == "cpe" and networks != (DEFAULT_ROUTE,):
            raise expected("no such key: a cpe announces 0.0.0.0/0 and nothing else")
        return networks


class Tunnel(Table):
    """One tunnel to one data centre."""

    prefix: Network = Field(description="the /25 of this data centre")
    ipsec: Ipsec = Field(description="the table [tunnels.NAME.ipsec]")
    gre: Gre = Field(description="the table [tunnels.NAME.gre]")
    interface: Interface = Field(description="the table [tunnels.NAME.interface]")
    bgp: Bgp = Field(description="the table [tunnels.NAME.bgp]")
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name that the tunnel's table carries in the file."""
        return self._name


class Configuration(Table):
    """A whole file."""

    role: Literal["cpe", "headend"] = Field("cpe", description='"cpe" or "headend"')
    name: Name = Field(default_factory=lambda: uname().nodename[:64], description="the name of this system")
    region: Network = Field(description="the /24 of the region")
    tunnels: dict[TunnelName, Tunnel] = Field(
        min_length=1, description="one table [tunnels.NAME] per data centre"
    )
    router_id: Address = Field(
        default_factory=lambda data: next(iter(data["tunnels"].values())).interface.address.ip,
        description="the BGP identifier, an IPv4 address",
    )
    control_socket: SocketPath = Field(DEFAULT_SOCKET, description="the path of the control socket")
    keep_unreachable: bool = Field(
        False, description="true or false: the region stays unreachable after vcstack has stopped"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="a log level")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is legal but surely wrong."""
        return find_warnings(self)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_role(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("tunnels"), dict):
            return data
        return data | {
            "tunnels": {name: _complete(name, tunnel, data) for name, tunnel in data["tunnels"].items()}
        }

    @field_validator("region")
    @classmethod
    def _is_a_region(cls, network: IPv4Network) -> IPv4Network:
        # The whole region becomes unreachable while no tunnel carries it: not half the internet.
        if network.prefixlen < SHORTEST_REGION:
            raise expected(f"a network of /{SHORTEST_REGION} or smaller")
        return network

    @field_validator("tunnels")
    @classmethod
    def _devices_differ(cls, tunnels: dict[str, Tunnel]) -> dict[str, Tunnel]:
        devices = [tunnel.interface.name for tunnel in tunnels.values()]
        if len(set(devices)) != len(devices):
            raise expected(f"interfaces of different names, not {', '.join(devices)}")
        return tunnels

    def model_post_init(self, _context: Any) -> None:
        """Tell each tunnel its name."""
        for name, tunnel in self.tunnels.items():
            tunnel._name = name  # noqa: SLF001 (the key of the table belongs to the value)


def _complete(name: object, tunnel: Any, file: dict[str, Any]) -> Any:
    """The table of a tunnel with the defaults that depend on its name and on the role."""
    if not isinstance(tunnel, dict):
        return tunnel
    implied: dict[str, dict[str, Any]] = {"interface": {"name": f"vc-{name}"}}
    if file.get("role") == "headend":
        implied["ipsec"] = {"initiate": False}
        own = tunnel.get("prefix"), file.get("region")
        if all(_is_network(text) for text in own):
            implied["bgp"] = {"announce": list(own)}
    return tunnel | {
        key: values | tunnel[key] for key, values in implied.items() if isinstance(tunnel.get(key), dict)
    }


def _is_network(text: object) -> bool:
    try:
        IPv4Network(text if isinstance(text, str) else "")
    except (AddressValueError, NetmaskValueError, ValueError):
        return False
    return True


def _other_host(interface: IPv4Interface) -> IPv4Address:
    """The other host of a /30 or /31; our own address, which is refused later, in a larger network."""
    hosts = list(interface.network.hosts()) if interface.network.prefixlen >= 30 else []
    return next((host for host in hosts if host != interface.ip), interface.ip)
