"""What a configuration may say but surely does not mean."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING

from vcstack.control.config_problems import Problem
from vcstack.crypto.certificate import check_validity
from vcstack.crypto.errors import CryptoError
from vcstack.esp import layout
from vcstack.io import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from ipaddress import IPv4Address

    from vcstack.control.config_model import Configuration, Tunnel

PRIVATE_AS_NUMBERS = range(64512, 65535)
PRIVATE_NETWORKS = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
REGION_PREFIX_LENGTH = 24
DATA_CENTRE_PREFIX_LENGTH = 25
MIN_REPLAY_WINDOW = 1024
PATH_MTU = 1500
GRE_KEY_BYTES = 4
SERVICE_BYTES_PER_S = 250_000_000 // 8
SHORTEST_REKEY_S = 60
SECONDS_PER_DAY = 86400
CERTIFICATE_WARNING_DAYS = 14
MIN_PPK_BYTES = 32


def find_warnings(configuration: Configuration) -> tuple[Problem, ...]:
    """Every warning: of the file, of each tunnel, of the tunnels beside each other."""
    warnings = list(_region(configuration))
    for tunnel in configuration.tunnels.values():
        for check in _TUNNEL_CHECKS:
            warnings += check(tunnel, configuration)
    warnings += _beside_each_other(configuration)
    return tuple(warnings)


def _region(configuration: Configuration) -> Iterator[Problem]:
    if configuration.region.prefixlen != REGION_PREFIX_LENGTH:
        message = f"the service assigns a /{REGION_PREFIX_LENGTH} to a region"
        yield Problem("region", str(configuration.region), message)


def _outer_addresses(tunnel: Tunnel, configuration: Configuration) -> Iterator[Problem]:
    """An outer address that would itself be reached through a tunnel: the tunnel could never come up."""
    outer = {
        "ipsec.local_address": tunnel.ipsec.local_address,
        "ipsec.remote_address": tunnel.ipsec.remote_address,
        "gre.local_address": tunnel.gre.local_address,
        "gre.remote_address": tunnel.gre.remote_address,
    }
    inner = {"the region": configuration.region, "the tunnel's own network": tunnel.interface.address.network}
    for key, address in outer.items():
        for words, network in inner.items():
            if address is not None and address in network:
                message = f"lies inside {words} {network}, which is reached through the tunnel itself"
                yield _problem(tunnel, key, address, message)


def _interface_address(tunnel: Tunnel, configuration: Configuration) -> Iterator[Problem]:
    if tunnel.interface.address.ip in configuration.region:
        message = (
            f"lies inside the region {configuration.region}; tunnel interfaces have addresses of their own"
        )
        yield _problem(tunnel, "interface.address", tunnel.interface.address, message)


def _prefix(tunnel: Tunnel, configuration: Configuration) -> Iterator[Problem]:
    if not tunnel.prefix.subnet_of(configuration.region):
        yield _problem(tunnel, "prefix", tunnel.prefix, f"lies outside the region {configuration.region}")
    if tunnel.prefix.prefixlen != DATA_CENTRE_PREFIX_LENGTH:
        message = f"the service assigns a /{DATA_CENTRE_PREFIX_LENGTH} to a data centre"
        yield _problem(tunnel, "prefix", tunnel.prefix, message)


def _as_numbers(tunnel: Tunnel, _configuration: Configuration) -> Iterator[Problem]:
    for key, number in (("local_as", tunnel.bgp.local_as), ("remote_as", tunnel.bgp.remote_as)):
        if number not in PRIVATE_AS_NUMBERS:
            message = "the service assigns private numbers from 64512 to 65534"
            yield _problem(tunnel, f"bgp.{key}", number, message)


def _identity(tunnel: Tunnel, configuration: Configuration) -> Iterator[Problem]:
    ipsec = tunnel.ipsec
    if configuration.role != "cpe" or "local_id" in ipsec.model_fields_set:
        return
    if any(ipsec.local_address in network for network in PRIVATE_NETWORKS):
        message = "is private, and our IKE identity too; behind a NAT set local_id to the public address"
        yield _problem(tunnel, "ipsec.local_address", ipsec.local_address, message)


def _sizes(tunnel: Tunnel, _configuration: Configuration) -> Iterator[Problem]:
    """MSS and MTU against what an Ethernet path carries with UDP encapsulation: a NAT may appear."""
    interface = tunnel.interface
    encapsulation = layout.GRE_IN_IPV4_LENGTH + (GRE_KEY_BYTES if tunnel.gre.key is not None else 0)
    carried = layout.max_inner(PATH_MTU, udp_encapsulation=True, encapsulation=encapsulation)
    mtu = carried if interface.mtu == "auto" else interface.mtu
    if mtu > carried:
        message = f"larger than the {carried} bytes that fit through ESP on a path MTU of {PATH_MTU}"
        yield _problem(tunnel, "interface.mtu", mtu, message)
    limit = layout.max_mss(min(mtu, carried))
    if interface.mss > limit:
        message = f"larger than the tunnel carries: at most {limit} with an MTU of {min(mtu, carried)}"
        yield _problem(tunnel, "interface.mss", interface.mss, message)


def _lifetimes(tunnel: Tunnel, _configuration: Configuration) -> Iterator[Problem]:
    ipsec = tunnel.ipsec
    if ipsec.child_lifetime_s > ipsec.ike_lifetime_s:
        message = f"longer than ike_lifetime_s ({ipsec.ike_lifetime_s:g})"
        yield _problem(tunnel, "ipsec.child_lifetime_s", f"{ipsec.child_lifetime_s:g}", message)
    volume = ipsec.child_lifetime_bytes
    if volume is not None and volume < SERVICE_BYTES_PER_S * SHORTEST_REKEY_S:
        message = (
            f"is moved in {volume / SERVICE_BYTES_PER_S:.1f} s at the service's rate; each time is a rekey"
        )
        yield _problem(tunnel, "ipsec.child_lifetime_bytes", volume, message)


def _replay_window(tunnel: Tunnel, _configuration: Configuration) -> Iterator[Problem]:
    if tunnel.ipsec.replay_window < MIN_REPLAY_WINDOW:
        message = f"packets that a network reorders will be dropped; expected at least {MIN_REPLAY_WINDOW}"
        yield _problem(tunnel, "ipsec.replay_window", tunnel.ipsec.replay_window, message)


def _credentials(tunnel: Tunnel, _configuration: Configuration) -> Iterator[Problem]:
    ipsec, now = tunnel.ipsec, clock.wall()
    for key, chain in (("certificate", ipsec.certificate), ("ca", ipsec.ca)):
        for certificate in chain or ():
            days = (certificate.expires_at - now) / SECONDS_PER_DAY
            try:
                check_validity(certificate, now, "it")
            except CryptoError as error:
                yield _problem(tunnel, f"ipsec.{key}", certificate.subject, str(error))
            else:
                if days < CERTIFICATE_WARNING_DAYS:
                    yield _problem(
                        tunnel, f"ipsec.{key}", certificate.subject, f"it expires in {days:.1f} days"
                    )
    if ipsec.ppk is not None and len(ipsec.ppk.key) < MIN_PPK_BYTES:
        message = (
            f"a key of {len(ipsec.ppk.key)} bytes; expected at least {MIN_PPK_BYTES}, all of them random"
        )
        yield _problem(tunnel, "ipsec.ppk", ipsec.ppk.id, message)


_TUNNEL_CHECKS: tuple[Callable[[Tunnel, Configuration], Iterator[Problem]], ...] = (
    _outer_addresses,
    _interface_address,
    _prefix,
    _as_numbers,
    _identity,
    _sizes,
    _lifetimes,
    _replay_window,
    _credentials,
)


def _beside_each_other(configuration: Configuration) -> Iterator[Problem]:
    tunnels = list(configuration.tunnels.values())
    if configuration.role == "cpe":
        yield from _of_a_cpe(tunnels)
    else:
        yield from _of_a_headend(tunnels)
    yield from _twice(tunnels, "gre", _gre_ends, "both tunnels have the same GRE transport addresses and key")
    for one, other in combinations(tunnels, 2):
        network = one.interface.address.network
        if other.interface.address.network.overlaps(network):
            message = f"overlaps the network of tunnel {one.name}, {network}"
            yield _problem(other, "interface.address", other.interface.address, message)


def _of_a_cpe(tunnels: list[Tunnel]) -> Iterator[Problem]:
    if len(tunnels) > 2:
        yield Problem(
            "tunnels", ", ".join(tunnel.name for tunnel in tunnels), "a region has two data centres"
        )
    yield from _twice(
        tunnels,
        "ipsec.remote_address",
        lambda tunnel: tunnel.ipsec.remote_address,
        "both tunnels lead to one peer",
    )
    yield from _twice(tunnels, "prefix", lambda tunnel: tunnel.prefix, "both tunnels have the same prefix")


def _of_a_headend(tunnels: list[Tunnel]) -> Iterator[Problem]:
    """One tunnel per local address may take any peer: a peer says who it is after its tunnel was chosen."""
    first: dict[IPv4Address, Tunnel] = {}
    for tunnel in tunnels:
        if tunnel.ipsec.remote_address is not None:
            continue
        taken = first.setdefault(tunnel.ipsec.local_address, tunnel)
        if taken is not tunnel:
            message = (
                f"never gets a peer: tunnel {taken.name} takes any address at {tunnel.ipsec.local_address}; "
                "expected the peer's address, or a local_address of its own"
            )
            yield _problem(tunnel, "ipsec.remote_address", "any", message)


def _gre_ends(tunnel: Tunnel) -> tuple[IPv4Address, IPv4Address, int | None]:
    return tunnel.gre.local_address, tunnel.gre.remote_address, tunnel.gre.key


def _twice(
    tunnels: list[Tunnel], key: str, value_of: Callable[[Tunnel], Hashable], message: str
) -> Iterator[Problem]:
    counted = Counter(map(value_of, tunnels))
    for value, count in counted.items():
        if count > 1:
            last = [tunnel for tunnel in tunnels if value_of(tunnel) == value][-1]
            shown = "" if isinstance(value, tuple) else value
            yield _problem(last, key, shown, message)


def _problem(tunnel: Tunnel, key: str, value: object, message: str) -> Problem:
    return Problem(f"tunnels.{tunnel.name}.{key}", str(value), message)
