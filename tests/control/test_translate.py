"""What each package is told, from one file."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from vcstack.control import translate
from vcstack.control.config import Tunnel, loads
from vcstack.ikev2.child_sa import ChildSa
from vcstack.ikev2.iana import DhGroup, EsnId
from vcstack.ikev2.path import Path
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

FILE = """
region = "10.77.0.0/24"
[tunnels.dc-a]
prefix = "10.77.0.0/25"
[tunnels.dc-a.ipsec]
local_address = "192.168.1.2"
remote_address = "198.51.100.10"
local_id = "198.51.100.1"
local_psk = { env = "OURS" }
remote_psk = { env = "THEIRS" }
esp_proposals = ["aes256gcm16-ecp384"]
[tunnels.dc-a.gre]
local_address = "10.255.0.1"
remote_address = "10.255.1.1"
[tunnels.dc-a.interface]
address = "100.64.1.2/30"
[tunnels.dc-a.bgp]
local_as = 64512
remote_as = 64600
"""
LOCAL_TS = TrafficSelector.host(IPv4Address("10.255.0.1"), 47)
REMOTE_TS = TrafficSelector.host(IPv4Address("10.255.1.1"), 47)


def tunnel(table: str = "", line: str = "") -> Tunnel:
    text = FILE.replace(f"[tunnels.dc-a.{table}]", f"[tunnels.dc-a.{table}]\n{line}")
    return loads(text, environment={"OURS": "1", "THEIRS": "2"}).tunnels["dc-a"]


def test_early_pfs_proof_and_esn() -> None:
    """On unless switched off, and never without a group; ESN comes with the proposal."""
    config = translate.peer_config(tunnel())
    assert config.early_pfs_proof_s == 5.0
    assert translate.peer_config(tunnel("ipsec", "early_pfs_proof = false")).early_pfs_proof_s is None
    assert translate.peer_config(tunnel("ipsec", "pfs = false")).early_pfs_proof_s is None
    text = FILE.replace('"aes256gcm16-ecp384"', '"aes256gcm16-ecp384-esn-noesn"')
    file = loads(text, environment={"OURS": "1", "THEIRS": "2"})
    (proposal,) = translate.peer_config(file.tunnels["dc-a"]).esp_proposals
    assert proposal.esn == (EsnId.ESN, EsnId.NO_ESN)


def child(**changes: object) -> ChildSa:
    values = {
        "spi_in": 0x1001,
        "spi_out": 0x2002,
        "encryption": "aes-gcm-16",
        "key_bits": 256,
        "key_in": Secret(b"i" * 36),
        "key_out": Secret(b"o" * 36),
        "esn": False,
        "udp_encapsulation": True,
        "path": Path(IPv4Address("192.168.1.2"), 4500, IPv4Address("198.51.100.10"), 4500),
        "local_ts": (LOCAL_TS,),
        "remote_ts": (REMOTE_TS,),
        "pfs_group": None,
        "lifetime_s": 3600.0,
    }
    return ChildSa(**(values | changes))  # type: ignore[arg-type]


def test_ikev2_gets_the_gre_ends_as_its_only_selectors() -> None:
    config = translate.peer_config(tunnel())
    assert (config.local_ts, config.remote_ts) == ((LOCAL_TS,), (REMOTE_TS,))
    assert (str(config.local_id), str(config.remote_id)) == ("198.51.100.1", "198.51.100.10")
    assert (config.local_psk, config.remote_psk) == (Secret(b"1"), Secret(b"2"))


@pytest.mark.parametrize(("pfs", "groups"), [("true", (DhGroup.ECP_384,)), ("false", ())])
def test_without_pfs_no_group_is_offered_for_rekeys(pfs: str, groups: tuple[DhGroup, ...]) -> None:
    (proposal,) = translate.peer_config(tunnel("ipsec", f"pfs = {pfs}")).esp_proposals
    assert proposal.groups == groups


@pytest.mark.parametrize(
    ("line", "path_mtu", "udp", "expected"),
    [
        ("", 1500, False, 1422),
        ("", 1500, True, 1414),
        ("key = 7", 1500, False, 1418),
        ("key = 7", 1492, True, 1402),
    ],
)
def test_the_tunnels_mtu_follows_the_path(line: str, path_mtu: int, udp: bool, expected: int) -> None:
    assert translate.tunnel_mtu(tunnel("gre", line), path_mtu, udp_encapsulation=udp) == expected


def test_a_configured_mtu_wins() -> None:
    assert translate.tunnel_mtu(tunnel("interface", "mtu = 1300"), 1500, udp_encapsulation=False) == 1300


def test_the_forwarder_gets_both_ends_of_the_tunnel_and_its_keepalives() -> None:
    plain = translate.forwarder_config(tunnel(), 1414)
    assert (plain.keepalive, plain.keepalive_damping, plain.tunnel_mtu) == (True, False, 1414)
    assert (plain.interface_local, plain.interface_remote) == (
        IPv4Address("100.64.1.2"),
        IPv4Address("100.64.1.1"),
    )
    damped = translate.forwarder_config(tunnel("gre", "keepalive_damping = true\nkey = 7"), 1410)
    assert (damped.keepalive_damping, damped.gre_key) == (True, 7)


def test_each_direction_gets_its_own_spi_and_key() -> None:
    limits = translate.sa_limits(tunnel("ipsec", "replay_window = 1024"))
    inbound, outbound = translate.inbound_sa(child(), limits), translate.outbound_sa(child(), limits)
    assert (inbound.spi, inbound.key) == (0x1001, Secret(b"i" * 36))
    assert (outbound.spi, outbound.key) == (0x2002, Secret(b"o" * 36))
    assert inbound.replay_window == 1024
    for sa in (inbound, outbound):
        assert (sa.local_selectors, sa.remote_selectors) == ((LOCAL_TS,), (REMOTE_TS,))
        assert sa.lifetime.hard_s == 3600.0


def test_a_volume_asks_for_a_successor_before_it_ends_the_sa() -> None:
    limits = translate.sa_limits(tunnel("ipsec", "child_lifetime_bytes = 10000000"))
    lifetime = translate.inbound_sa(child(), limits).lifetime
    assert (lifetime.soft_bytes, lifetime.hard_bytes) == (9_000_000, 10_000_000)
    assert (lifetime.soft_packets, lifetime.hard_packets) == (None, None)
