"""The configuration file as values: one frozen model per table, every default resolved.

The names of the fields are the keys of the file; their descriptions complete "expected ..." in messages.
Lengths of time are in seconds, sizes in bytes.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from os import uname
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from vcstack.control.config_problems import Problem
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
    SecretReference,
    SocketPath,
    TunnelName,
    as_tuple,
    expected,
)
from vcstack.control.config_warnings import find_warnings
from vcstack.wire.secret import Secret

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
DEFAULT_SOCKET = Path("/run/vcstack/control.sock")

# Strong first, then what other makers ship as their default; a peer picks one of them.
IKE_PROPOSALS = (
    "aes256gcm16-prfsha384-ecp384",
    "aes256gcm16-prfsha512-ecp521",
    "aes256gcm16-prfsha256-ecp256",
    "aes128gcm16-prfsha256-ecp256",
    "aes256-sha512-prfsha512-ecp384",
    "aes256-sha384-prfsha384-ecp384",
    "aes256-sha256-prfsha256-ecp256",
    "aes256-sha256-prfsha256-modp2048",
)
ESP_PROPOSALS = (
    "aes256gcm16-ecp384",
    "aes256gcm16-ecp521",
    "aes256gcm16-ecp256",
    "aes256gcm16-modp2048",
    "aes128gcm16-ecp256",
)


class Table(BaseModel):
    """A table of the file: unknown keys and values of another type are errors; nothing changes later."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class Ipsec(Table):
    """IKEv2 and ESP with one data centre."""

    local_address: Address = Field(description="the IPv4 address that IKE and ESP leave from")
    remote_address: PeerAddress = Field(description="the IPsec address of the peer")  # None: any peer
    local_id: IdentityText = Field(
        default_factory=lambda data: str(data["local_address"]), description="our IKE identity"
    )
    remote_id: IdentityText | None = Field(
        default_factory=lambda data: None if data["remote_address"] is None else str(data["remote_address"]),
        description="the peer's IKE identity",
    )
    psk: OptionalSecret = Field(description="psk, or both local_psk and remote_psk", exclude=True)
    local_psk: SecretReference = Field(
        default_factory=lambda data: data["psk"], description="the secret that we prove", exclude=True
    )
    remote_psk: SecretReference = Field(
        default_factory=lambda data: data["psk"], description="the secret that the peer proves", exclude=True
    )
    ike_proposals: Annotated[tuple[IkeProposalText, ...], BeforeValidator(as_tuple)] = Field(
        IKE_PROPOSALS, min_length=1, max_length=32, description="a list of IKE proposals"
    )
    esp_proposals: Annotated[tuple[EspProposalText, ...], BeforeValidator(as_tuple)] = Field(
        ESP_PROPOSALS, min_length=1, max_length=32, description="a list of ESP proposals"
    )
    pfs: bool = Field(True, description="true or false")
    initiate: bool = Field(True, description="true or false")
    udp_encapsulation: Literal["auto", "always"] = Field("auto", description='"auto" or "always"')
    ike_lifetime_s: Seconds = Field(86400, description="a number of seconds")
    child_lifetime_s: Seconds = Field(3600, description="a number of seconds")
    child_lifetime_bytes: int | None = Field(None, ge=1_000_000, lt=2**63, description="a number of bytes")
    child_lifetime_packets: int | None = Field(None, ge=1_000, lt=2**63, description="a number of packets")
    dpd_interval_s: Seconds = Field(10, description="a number of seconds")
    replay_window: ReplayWindow = Field(4096, description="a number of packets")

    @model_validator(mode="before")
    @classmethod
    def _two_secrets_replace_one(cls, data: Any) -> Any:
        if isinstance(data, dict) and {"local_psk", "remote_psk"} <= data.keys():
            return {"psk": None, **data}
        return data

    @model_validator(mode="after")
    def _ends_differ(self) -> Self:
        if self.local_address == self.remote_address:
            raise expected("local_address and remote_address to differ")
        if self.remote_address is None and self.initiate:
            raise expected('initiate = false where remote_address is "any": nobody knows whom to call')
        return self


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

    @model_validator(mode="after")
    def _ends_differ(self) -> Self:
        if self.local_address == self.remote_address:
            raise expected("local_address and remote_address to differ")
        return self


class Interface(Table):
    """The tunnel interface of the kernel."""

    name: DeviceName = Field(description="an interface name")
    address: InterfaceAddress = Field(description="our tunnel interface address with its prefix length")
    remote_address: Address = Field(
        default_factory=lambda data: _other_host(data["address"]),
        description="the tunnel interface address of the data centre",
    )
    mss: int = Field(1350, ge=500, le=1460, description="a TCP segment size in bytes")
    mtu: Mtu = Field("auto", description='"auto" or a number of bytes')
    path_mtu_discovery: bool = Field(True, description="true or false")

    @model_validator(mode="after")
    def _peer_is_on_link(self) -> Self:
        network = self.address.network
        if self.remote_address not in network or self.remote_address == self.address.ip:
            raise expected(
                f"remote_address to be the other end's address in {network}, not {self.remote_address}"
            )
        return self


class Bgp(Table):
    """The eBGP session over the tunnel interface."""

    local_as: AsNumber = Field(description="our autonomous system number")
    remote_as: AsNumber = Field(description="the autonomous system number of the data centre")
    password: OptionalSecret = Field(None, description="the BGP password", exclude=True)
    hold_time_s: int = Field(30, ge=3, le=65535, description="a number of seconds")
    announce: Annotated[tuple[Network, ...], BeforeValidator(as_tuple)] = Field(
        (DEFAULT_ROUTE,), max_length=64, description="a list of networks"
    )

    @model_validator(mode="after")
    def _external_session(self) -> Self:
        if self.local_as == self.remote_as:
            raise expected(
                f"remote_as to differ from local_as ({self.local_as}): the session is external BGP"
            )
        if self.password is not None and len(self.password) > 80:
            raise expected("a BGP password of at most 80 bytes, the limit of TCP MD5")
        return self


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

    @model_validator(mode="after")
    def _fits_the_role(self) -> Self:
        for name, tunnel in self.tunnels.items():
            if self.role == "cpe":
                _check_cpe(name, tunnel)
        devices = [tunnel.interface.name for tunnel in self.tunnels.values()]
        if len(set(devices)) != len(devices):
            raise expected("tunnels with interfaces of different names")
        return self

    def model_post_init(self, _context: Any) -> None:
        """Tell each tunnel its name."""
        for name, tunnel in self.tunnels.items():
            tunnel._name = name  # noqa: SLF001 (the key of the table belongs to the value)


def _check_cpe(name: str, tunnel: Tunnel) -> None:
    if tunnel.ipsec.remote_address is None:
        raise expected(f'tunnels.{name}.ipsec.remote_address to be an address: "any" is for the role headend')
    if tunnel.bgp.announce != (DEFAULT_ROUTE,):
        raise expected(
            f"tunnels.{name}.bgp.announce to be left out: a cpe announces 0.0.0.0/0 and nothing else"
        )


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


__all__ = ["Bgp", "Configuration", "Gre", "Interface", "Ipsec", "Secret", "Tunnel"]
