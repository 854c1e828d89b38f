"""From the configuration file's words to each package's own configuration: the only place that knows both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vcstack.esp.layout import GRE_IN_IPV4_LENGTH, max_inner
from vcstack.esp.lifetime import Lifetime
from vcstack.esp.parameters import SaParameters
from vcstack.ikev2.config import PeerConfig, UdpEncapsulation
from vcstack.ikev2.credentials import Signer, Trust, TrustedAuthorities, TrustedKeys
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.io import clock
from vcstack.io.channel import ForwarderConfig
from vcstack.wire.ipv4 import IpProtocol
from vcstack.wire.selector import TrafficSelector

if TYPE_CHECKING:
    from vcstack.control.config import Ipsec, Tunnel
    from vcstack.ikev2.child_sa import ChildSa

ETHERNET_MTU = 1500
_KEY_LENGTH = 4
_EARLY_PFS_PROOF_S = 5.0  # by then the tunnel's GRE and BGP are up, and nobody trusts it yet
_SOFT_SHARE = 0.9  # of a volume: what is left lasts for a rekey at any rate


@dataclass(frozen=True, slots=True)
class SaLimits:
    """What the operator decides about each SA beside its negotiated values; volumes None: no limit."""

    replay_window: int
    bytes: int | None
    packets: int | None


def peer_config(tunnel: Tunnel) -> PeerConfig:
    """IKEv2's view of a tunnel. Raises ikev2.errors.ConfigurationError for what IKEv2 does not know."""
    ipsec = tunnel.ipsec
    esp = tuple(EspProposal.parse(text) for text in ipsec.esp_proposals)
    return PeerConfig(
        name=tunnel.name,
        local_address=ipsec.local_address,
        remote_address=ipsec.remote_address,
        local_id=Identity.parse(ipsec.local_id),
        remote_id=None if ipsec.remote_id is None else Identity.parse(ipsec.remote_id),
        local_psk=ipsec.local_psk,
        remote_psk=ipsec.remote_psk,
        local_signer=_signer(ipsec),
        remote_trust=_trust(ipsec),
        ppk=ipsec.ppk,
        ike_proposals=tuple(IkeProposal.parse(text) for text in ipsec.ike_proposals),
        esp_proposals=esp if ipsec.pfs else tuple(each.without_groups() for each in esp),
        local_ts=(TrafficSelector.host(tunnel.gre.local_address, IpProtocol.GRE),),
        remote_ts=(TrafficSelector.host(tunnel.gre.remote_address, IpProtocol.GRE),),
        initiate=ipsec.initiate,
        udp_encapsulation=UdpEncapsulation(ipsec.udp_encapsulation),
        ike_lifetime_s=ipsec.ike_lifetime_s,
        child_lifetime_s=ipsec.child_lifetime_s,
        dpd_interval_s=ipsec.dpd_interval_s,
        early_pfs_proof_s=_EARLY_PFS_PROOF_S if ipsec.pfs and ipsec.early_pfs_proof else None,
    )


def _signer(ipsec: Ipsec) -> Signer | None:
    return None if ipsec.private_key is None else Signer(ipsec.private_key, ipsec.certificate or ())


def _trust(ipsec: Ipsec) -> Trust | None:
    if ipsec.ca is not None:
        return TrustedAuthorities(ipsec.ca, clock.wall)
    return None if ipsec.remote_public_key is None else TrustedKeys(ipsec.remote_public_key)


def sa_limits(tunnel: Tunnel) -> SaLimits:
    """What each SA of the tunnel is limited to."""
    ipsec = tunnel.ipsec
    return SaLimits(ipsec.replay_window, ipsec.child_lifetime_bytes, ipsec.child_lifetime_packets)


def tunnel_mtu(tunnel: Tunnel, path_mtu: int = ETHERNET_MTU, *, udp_encapsulation: bool = True) -> int:
    """Largest inner packet in bytes: configured, or what the path carries unfragmented."""
    if isinstance(tunnel.interface.mtu, int):
        return tunnel.interface.mtu
    overhead = GRE_IN_IPV4_LENGTH + (0 if tunnel.gre.key is None else _KEY_LENGTH)
    return max_inner(path_mtu, udp_encapsulation=udp_encapsulation, encapsulation=overhead)


def forwarder_config(tunnel: Tunnel, mtu: int) -> ForwarderConfig:
    """The forwarder's view of a tunnel whose inner packets have at most `mtu` bytes."""
    gre = tunnel.gre
    return ForwarderConfig(
        name=tunnel.name,
        gre_local=gre.local_address,
        gre_remote=gre.remote_address,
        gre_key=gre.key,
        keepalive=gre.keepalive,
        keepalive_interval_s=gre.keepalive_interval_s,
        keepalive_retries=gre.keepalive_retries,
        keepalive_damping=gre.keepalive_damping,
        mss=tunnel.interface.mss,
        tunnel_mtu=mtu,
        path_mtu_discovery=tunnel.interface.path_mtu_discovery,
        interface_local=tunnel.interface.address.ip,
        interface_remote=tunnel.interface.remote_address,
    )


def inbound_sa(child: ChildSa, limits: SaLimits) -> SaParameters:
    """What the forwarder receives with."""
    return SaParameters(
        spi=child.spi_in,
        key=child.key_in,
        key_bits=child.key_bits,
        local_selectors=child.local_ts,
        remote_selectors=child.remote_ts,
        esn=child.esn,
        replay_window=limits.replay_window,
        udp_encapsulation=child.udp_encapsulation,
        lifetime=_lifetime(child, limits),
    )


def outbound_sa(child: ChildSa, limits: SaLimits) -> SaParameters:
    """What the forwarder sends with."""
    return replace(inbound_sa(child, limits), spi=child.spi_out, key=child.key_out)


def _lifetime(child: ChildSa, limits: SaLimits) -> Lifetime:
    """Time is IKEv2's to watch: here it only ends the SA. Volumes are the forwarder's to count."""
    return Lifetime(
        hard_s=child.lifetime_s,
        soft_bytes=_soft(limits.bytes),
        hard_bytes=limits.bytes,
        soft_packets=_soft(limits.packets),
        hard_packets=limits.packets,
    )


def _soft(volume: int | None) -> int | None:
    return None if volume is None else int(volume * _SOFT_SHARE)
