"""A data centre without our code: strongSwan, a GRE end of the tests, BIRD; and a CPE that is ours.

    cpe 198.51.100.1 ===[nat]=== internet (bridge) === dc 198.51.100.10
        (behind the NAT: 192.168.1.2)

The LAN is an address on the CPE's loopback, the host of the /25 one on the data centre's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from tests.support.bird import TABLE, Bird, Session
from tests.support.deployment import Daemon
from tests.support.netns import Namespace, Network, python, wait_until
from tests.support.strongswan import Connection, Strongswan

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

LAN = "10.88.0.10"
HOST = "10.77.0.10"
CPE, CPE_INSIDE, CENTRE = "198.51.100.1", "192.168.1.2", "198.51.100.10"
CPE_TRANSPORT, CENTRE_TRANSPORT = "10.255.0.1", "10.255.1.1"
CPE_TUNNEL, CENTRE_TUNNEL = "100.64.1.2", "100.64.1.1"

CONNECTION = Connection(
    local=CENTRE,
    remote=f"{CPE},%any",
    local_ts=f"{CENTRE_TRANSPORT}/32[gre]",
    remote_ts=f"{CPE_TRANSPORT}/32[gre]",
    local_id=CENTRE,
    remote_id=CPE,
    psk="the secret of both",
)
SESSION = Session(
    local=CENTRE_TUNNEL,
    remote=CPE_TUNNEL,
    local_as=64600,
    remote_as=64512,
    announce=("10.77.0.0/25", "10.77.0.0/24"),
    password="the bgp secret",
)

FILE = """
name = "branch-1"
region = "10.77.0.0/24"
[tunnels.dc-a]
prefix = "10.77.0.0/25"
[tunnels.dc-a.ipsec]
local_address = "{local}"
remote_address = "198.51.100.10"
local_id = "198.51.100.1"
{credentials}
ike_proposals = ["aes256gcm16-prfsha384-ecp384"]
esp_proposals = ["aes256gcm16-ecp384"]
{ipsec}
[tunnels.dc-a.gre]
local_address = "10.255.0.1"
remote_address = "10.255.1.1"
keepalive_interval_s = 0.5
{gre}
[tunnels.dc-a.interface]
address = "100.64.1.2/30"
[tunnels.dc-a.bgp]
local_as = 64512
remote_as = 64600
password = {{ file = "bgp.password" }}
"""


@dataclass
class StrongswanCentre:
    """Built on entering the `with`, gone on leaving it; `start_centre` and `cpe.start` start its sides."""

    folder: Path
    nat: bool = False
    credentials: str = 'psk = { file = "ike.psk" }'
    """Relative to `folder`."""
    ipsec: str = ""
    gre: str = ""
    connection: Connection = CONNECTION
    session: Session = SESSION
    network: Network = field(default_factory=Network)

    def __enter__(self) -> Self:
        self.network.__enter__()
        try:
            self._build()
        except BaseException:
            self.network.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.network.close()

    def start_centre(self, *, key: int | None = None) -> Self:
        """Start charon, the GRE end and BIRD."""
        self.charon.start(self.connection)
        extra = ("--key", str(key)) if key is not None else ()
        command = ("-m", "tests.support.gre_end", "gre1", CENTRE_TRANSPORT, CPE_TRANSPORT, *extra)
        state = self.folder / "gre.json"
        self.centre.spawn(*python(*command, "--keepalive", "0.5", "--state", str(state)))
        wait_until(state.exists, 5, "the GRE end")
        self.centre.address("gre1", f"{CENTRE_TUNNEL}/30")
        self.centre.ip("link", "set", "gre1", "mtu", "1400")
        self.bird.start(self.session)
        return self

    def gre_end(self) -> dict[str, int]:
        """The counts of the data centre's GRE end."""
        counts: dict[str, int] = json.loads((self.folder / "gre.json").read_text())
        return counts

    def up(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until the CPE says that every layer is up; its status."""
        try:
            return self.cpe.up(("dc-a",), timeout_s)
        except BaseException as error:
            error.add_note(self.charon.log()[-6000:])
            raise

    def start_ping(self, count: int, interval_s: float = 0.01) -> subprocess.Popen[str]:
        """A steady ping LAN to host; `lost` waits for it."""
        output = (self.folder / "ping.out").open("w")
        command = ("ping", "-n", "-q", "-c", str(count), "-i", str(interval_s), "-I", LAN, HOST)
        return self.cpe_space.spawn(*command, output=output)

    def lost(self, ping: subprocess.Popen[str], timeout_s: float = 60.0) -> int:
        """How many echoes of `start_ping` did not come back."""
        ping.wait(timeout_s)
        words = (self.folder / "ping.out").read_text().split("--- ")[-1].split()
        return int(words[words.index("packets") - 1]) - int(words[words.index("received,") - 1])

    def variant(self, **changes: Any) -> None:
        """Change values of charon's connection; before the start, or loaded at once."""
        self.connection = replace(self.connection, **changes)

    def _build(self) -> None:
        space = self.network.namespace
        self.internet, self.cpe_space, self.centre = space("net"), space("cpe"), space("dc")
        self.internet.bridge("br0")
        self.network.link(self.centre, "wan0", self.internet, "to-dc", bridge="br0")
        self.centre.router()
        self.centre.sysctl("net.ipv4.conf.all.accept_local", "1")
        self.centre.address("wan0", f"{CENTRE}/24")
        for address in (CENTRE_TRANSPORT, HOST):
            self.centre.address("lo", f"{address}/32")
        self.centre.ip("rule", "add", "from", "10.77.0.0/24", "lookup", str(TABLE), "priority", "100")
        self._join_cpe()
        self.cpe_space.address("lo", f"{LAN}/32")
        for name, secret in (("ike.psk", self.connection.psk), ("bgp.password", SESSION.password)):
            (self.folder / name).write_text(f"{secret}\n")
            (self.folder / name).chmod(0o600)
        local = CPE_INSIDE if self.nat else CPE
        text = FILE.format(local=local, credentials=self.credentials, ipsec=self.ipsec, gre=self.gre)
        self.cpe = Daemon(self.cpe_space, self.folder, "cpe", text)
        self.charon = Strongswan(self.centre, self.folder / "charon")
        self.bird = Bird(self.centre, self.folder / "bird")

    def _join_cpe(self) -> None:
        if not self.nat:
            self.network.link(self.cpe_space, "wan0", self.internet, "to-cpe", bridge="br0")
            self.cpe_space.address("wan0", f"{CPE}/24")
            return
        nat = self.network.namespace("nat")
        nat.router()
        self.network.link(nat, "wan0", self.internet, "to-nat", bridge="br0")
        self.network.link(self.cpe_space, "wan0", nat, "lan0")
        nat.address("wan0", f"{CPE}/24")
        nat.address("lan0", "192.168.1.1/24")
        self.cpe_space.address("wan0", f"{CPE_INSIDE}/24")
        self.cpe_space.route("default", "192.168.1.1")
        masquerade(nat, "wan0")


def masquerade(namespace: Namespace, device: str) -> None:
    """Source NAT for what leaves by `device`."""
    namespace.run("nft", "add table ip nat")
    namespace.run("nft", "add chain ip nat post { type nat hook postrouting priority 100 ; }")
    namespace.run("nft", f'add rule ip nat post oifname "{device}" masquerade')
