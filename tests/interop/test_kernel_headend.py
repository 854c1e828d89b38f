"""A data centre on a real Linux kernel (ESP, GRE, strongSwan, BIRD in User-Mode Linux) and `vcstack up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.deployment import Daemon
from tests.support.headend import Headend
from tests.support.netns import Network, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

FILE = """
name = "branch-1"
region = "10.77.0.0/24"
[tunnels.dc-a]
prefix = "10.77.0.0/25"
[tunnels.dc-a.ipsec]
local_address = "198.51.100.1"
remote_address = "198.51.100.10"
psk = {{ file = "ike.psk" }}
ike_proposals = ["aes256gcm16-prfsha512-ecp384"]
esp_proposals = ["aes256gcm16-ecp384"]
udp_encapsulation = "{encapsulation}"
[tunnels.dc-a.gre]
local_address = "10.255.0.1"
remote_address = "10.255.1.1"
keepalive_interval_s = 0.5
[tunnels.dc-a.interface]
address = "100.64.1.2/30"
[tunnels.dc-a.bgp]
local_as = 64512
remote_as = 64600
password = {{ file = "bgp.password" }}
"""


class Site:
    """The CPE and the kernel headend on one bridge."""

    def __init__(self, network: Network, folder: Path, encapsulation: str) -> None:
        self.internet, self.space = network.namespace("net"), network.namespace("cpe")
        self.internet.bridge("br0")
        network.link(self.space, "wan0", self.internet, "to-cpe", bridge="br0")
        self.space.address("wan0", "198.51.100.1/24")
        self.space.address("lo", "10.88.0.10/32")
        for name, secret in (("ike.psk", "lab-psk-a"), ("bgp.password", "lab-md5-a")):
            (folder / name).write_text(f"{secret}\n")
            (folder / name).chmod(0o600)
        self.cpe = Daemon(self.space, folder, "cpe", FILE.format(encapsulation=encapsulation))
        self.headend = Headend(self.internet, folder / "headend")

    def capture(self, expression: str, count: int) -> str:
        """The first packets on the wire that match, as tcpdump prints them."""
        command = ("timeout", "10", "tcpdump", "-nn", "-i", "br0", "-c", str(count), *expression.split())
        return self.internet.run(*command, check=False).stdout


@pytest.fixture(params=["auto", "always"], ids=["esp", "udp"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with Network() as network:
        made = Site(network, tmp_path, request.param)
        made.headend.start()
        try:
            yield made
        finally:
            made.headend.stop()


def test_the_kernel_takes_what_we_send(site: Site, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    site.cpe.start()
    status = site.cpe.up(("dc-a",), 30)["tunnels"]["dc-a"]
    raw = "esp" in request.node.callspec.id
    assert status["esp"]["udp_encapsulation"] is not raw
    assert site.capture("ip proto 50" if raw else "udp port 4500", 3).count("ESP") == 3
    check_traffic(site)
    check_routes(site)
    check_keepalives(site)
    check_rekey(site, tmp_path)


def check_traffic(site: Site) -> None:
    """Its kernel opens our ESP and GRE, up to the size of the tunnel, and we open its."""
    assert site.space.ping("100.64.1.1")
    assert site.space.ping("10.77.0.10", source="10.88.0.10")
    assert ", 0% packet loss" in site.headend.run("ping -c 3 -i 0.2 -W 2 -M do -s 1372 100.64.1.2")


def check_routes(site: Site) -> None:
    """BIRD learned exactly the default route, and we exactly its two networks."""
    counts = site.headend.run("birdc -s /run/bird.ctl show protocols all peer")
    assert "1 imported, 0 filtered, 2 exported" in counts
    assert "default via 100.64.1.2" in site.headend.run("ip route show table 77")
    shown = site.space.ip("route", "show", "proto", "176", "type", "unicast")
    assert sorted(line.split()[0] for line in shown.splitlines()) == ["10.77.0.0/24", "10.77.0.0/25"]


def check_keepalives(site: Site) -> None:
    """Ours come back through its kernel; its own come back through us; a deaf kernel takes the line down."""
    assert "3 of 3" in site.headend.run("$PY /run/lab/grekeepalive.py $L_TRANSPORT $R_TRANSPORT 3 1")
    site.headend.run("echo 0 >/proc/sys/net/ipv4/ip_forward")
    wait_until(lambda: site.cpe.layer("dc-a", "gre")["state"] == "down", 10, "the line to go down")
    assert "3 of 3" in site.headend.run("$PY /run/lab/grekeepalive.py $L_TRANSPORT $R_TRANSPORT 3 1")
    site.headend.run("echo 1 >/proc/sys/net/ipv4/ip_forward")
    site.cpe.up(("dc-a",), 30)


def check_rekey(site: Site, folder: Path) -> None:
    """Its charon rekeys the child and the IKE SA under a ping that loses nothing."""
    with (folder / "ping.out").open("w") as output:
        ping = site.space.spawn("ping", "-q", "-c", "250", "-i", "0.02", "100.64.1.1", output=output)
    site.headend.run("swanctl --rekey --child gre && sleep 1 && swanctl --rekey --ike peer")
    site.headend.run("sleep 1 && swanctl --rekey --child gre")
    ping.wait(20)
    assert ", 0% packet loss" in (folder / "ping.out").read_text()
