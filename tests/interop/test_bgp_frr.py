"""Our speaker and FRR's bgpd, in two namespaces on one link, with TCP MD5 and GTSM (RFC 5082).

cpe 100.64.1.2 AS 64512 (vcstack) ------ 100.64.1.1 AS 64600 dc (bgpd without zebra)
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.test_bgp_bird import OURS
from tests.support.bgp_process import Speaker
from tests.support.netns import Namespace, Network, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.interop]

BGPD = Path("/usr/lib/frr/bgpd")
PEER = "neighbor 100.64.1.2"
CONFIGURATION = f"""
router bgp 64600
 bgp router-id 100.64.1.1
 no bgp network import-check
 {PEER} remote-as 64512
 {PEER} password {OURS["password"]}
 {PEER} timers 10 30
 {PEER} timers connect 2
 {PEER} ttl-security hops 1
 %s
 address-family ipv4 unicast
  network 10.77.0.0/25
  network 10.77.0.0/24
  {PEER} soft-reconfiguration inbound
  {PEER} prefix-list accept in
  {PEER} prefix-list announce out
 exit-address-family
ip prefix-list accept permit 0.0.0.0/0
ip prefix-list announce permit 10.77.0.0/24 le 25
"""


@dataclass
class Frr:
    """A bgpd in `namespace`, with its files in `folder`."""

    namespace: Namespace
    folder: Path

    def start(self, extra: str = "") -> None:
        (self.folder / "bgpd.conf").write_text(CONFIGURATION % extra)
        files = ("-f", f"{self.folder}/bgpd.conf", "-i", f"{self.folder}/pid")
        options = ("-Z", "-n", "-S", "-u", "root", "-g", "root", "-A", "127.0.0.1")
        self._process = self.namespace.spawn(str(BGPD), *files, *options, "--vty_socket", str(self.folder))
        wait_until((self.folder / "bgpd.vty").is_socket, 10, "bgpd's terminal")

    def restart(self, extra: str = "") -> None:
        """Kill the daemon, whose connections the kernel closes, and start it again."""
        self._process.kill()
        self._process.wait()
        (self.folder / "bgpd.vty").unlink()
        self.start(extra)

    def vtysh(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        return self.namespace.run("vtysh", "--vty_socket", str(self.folder), *words).stdout

    def neighbor(self) -> str:
        return self.vtysh("show bgp neighbors 100.64.1.2")

    def routes(self) -> str:
        return self.vtysh("show bgp ipv4 unicast neighbors 100.64.1.2 routes")


@pytest.fixture
def frr() -> Iterator[tuple[Namespace, Frr]]:
    if not BGPD.exists():
        pytest.skip("FRR is not installed")
    # a socket's path has 107 characters at most, so pytest's own folder is too deep
    with tempfile.TemporaryDirectory(prefix="vct-frr-") as folder, Network() as network:
        cpe, dc = network.namespace("cpe"), network.namespace("dc")
        network.link(cpe, "eth0", dc, "eth0")
        cpe.address("eth0", "100.64.1.2/30")
        dc.address("eth0", "100.64.1.1/30")
        yield cpe, Frr(dc, Path(folder))


def is_up(snapshot: dict[str, Any]) -> bool:
    return bool(snapshot["state"] == "Established" and snapshot["prefixes_accepted"] == 2)


def test_session_refresh_and_shutdown(frr: tuple[Namespace, Frr]) -> None:
    cpe, bgpd = frr
    bgpd.start()
    with Speaker(cpe, **OURS, gtsm=True) as speaker:
        seen = speaker.wait_for(is_up)
        assert seen["tcp"]["ttl"] == 255
        assert "graceful restart" in seen["capabilities_received"]
        wait_until(lambda: "0.0.0.0/0" in bgpd.routes(), 5, "our route at FRR")
        before = seen["counters"]["messages_received"]["update"]
        speaker.tell("refresh")
        speaker.wait_for(lambda now: now["counters"]["messages_received"]["update"] > before)
        bgpd.vtysh("configure terminal", "router bgp 64600", f"{PEER} shutdown message ticket 8")
        assert "Administrative Shutdown (6/2)" in speaker.wait_event("Down")
        assert '"ticket 8"' in speaker.snapshot()["reset_text"]
        bgpd.vtysh("configure terminal", "router bgp 64600", f"no {PEER} shutdown")
        speaker.wait_for(is_up)
        speaker.tell("stop going home")
        wait_until(
            lambda: "Notification received (Cease/Administrative Shutdown)" in bgpd.neighbor(), 5, "our words"
        )


def test_a_speaker_without_capabilities(frr: tuple[Namespace, Frr]) -> None:
    """AS paths go in two octets, and routes cannot be asked for again."""
    cpe, bgpd = frr
    bgpd.start(f"{PEER} dont-capability-negotiate")
    with Speaker(cpe, **OURS, gtsm=True) as speaker:
        seen = speaker.wait_for(is_up)
        assert seen["capabilities_received"] == []
        assert [route["attributes"]["as_path"]["segments"][0]["asns"] for route in seen["received"]] == [
            [64600],
            [64600],
        ]
        wait_until(lambda: "0.0.0.0/0" in bgpd.routes(), 5, "our route at FRR")
