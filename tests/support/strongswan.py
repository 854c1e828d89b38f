"""strongSwan (charon with kernel-libipsec) as a peer in a network namespace.

Every daemon has its own /run (a private mount), its own folder for configuration, log and control socket,
and dies with its namespace.
"""

import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.netns import Namespace, require_program, wait_until

CHARON = Path("/usr/lib/ipsec/charon")
LIBIPSEC = Path("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
PLUGINS = (
    "random nonce openssl pem pkcs1 x509 pubkey hmac kdf kernel-libipsec kernel-netlink socket-default vici"
)

DAEMON = """
charon {{
  load = {plugins}
  threads = 32
  retransmit_tries = 3
  retransmit_timeout = 1.0
  delete_rekeyed_delay = 3
  {settings}
  filelog {{
    log {{
      path = {folder}/charon.log
      time_format = %H:%M:%S
      default = 1
      ike = 2
      chd = 2
      knl = 1
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{folder}/charon.vici
    }}
  }}
}}
swanctl {{
  load = random openssl pem pkcs1 x509 pubkey
}}
"""

CONNECTION = """
connections {{
  peer {{
    version = 2
    local_addrs = {p.local}
    remote_addrs = {p.remote}
    proposals = {p.ike_proposal}
    encap = yes
    mobike = no
    unique = replace
    dpd_delay = 30s
    rekey_time = {p.ike_rekey}
    local {{
      {p.local_auth}
      id = {p.local_id}
    }}
    remote {{
      {p.remote_auth}
      id = {p.remote_id}
    }}
    children {{
      gre {{
        mode = tunnel
        local_ts = {p.local_ts}
        remote_ts = {p.remote_ts}
        esp_proposals = {p.esp_proposal}
        rekey_time = {p.esp_rekey}
        dpd_action = clear
      }}
    }}
  }}
}}
secrets {{
  ike-peer {{
    id-1 = {p.local_id}
    id-2 = {p.remote_id}
    secret = "{p.psk}"
  }}
}}
"""


@dataclass(frozen=True)
class Connection:
    """The values of one swanctl connection with one GRE child."""

    local: str
    remote: str
    local_ts: str
    remote_ts: str
    local_id: str
    remote_id: str
    psk: str
    ike_proposal: str = "aes256gcm16-prfsha384-ecp384"
    esp_proposal: str = "aes256gcm16-ecp384"
    ike_rekey: str = "4h"
    esp_rekey: str = "1h"
    local_auth: str = "auth = psk"
    remote_auth: str = "auth = psk"


@dataclass
class Strongswan:
    """A charon that runs in `namespace`, with its files in `folder`; `settings` are lines of its section."""

    namespace: Namespace
    folder: Path
    settings: str = ""
    environment: dict[str, str] = field(init=False)
    _process: subprocess.Popen[str] = field(init=False)

    def start(self, connection: Connection | str) -> None:
        """Start charon, load the connection (or the text of several), and return when it answers."""
        require_program("swanctl")
        for path in (CHARON, LIBIPSEC):
            if not path.exists():
                pytest.skip(f"{path} is not installed")
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "strongswan.conf"
        configuration.write_text(DAEMON.format(folder=self.folder, plugins=PLUGINS, settings=self.settings))
        self.environment = {"STRONGSWAN_CONF": str(configuration), "SWANCTL_DIR": str(self.folder)}
        shell = f"mount -t tmpfs tmpfs /run && exec {CHARON}"
        with (self.folder / "charon.out").open("w") as output:
            self._process = self.namespace.spawn(
                "unshare", "-m", "sh", "-c", shell, output=output, environment=self.environment
            )
        wait_until((self.folder / "charon.vici").is_socket, 10, "charon's control socket")
        self.load(connection)

    def kill(self) -> None:
        """End charon without a word to its peers; it can be started again."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)
        (self.folder / "charon.vici").unlink()

    def load(self, connection: Connection | str) -> None:
        """Load (or load anew) the connection and its secret; what was loaded before is unloaded."""
        file = self.folder / "swanctl.conf"
        file.write_text(connection if isinstance(connection, str) else CONNECTION.format(p=connection))
        file.chmod(0o600)
        self.swanctl("--load-all", "--file", str(file))

    def swanctl(self, *arguments: str, check: bool = True) -> str:
        """Run swanctl against this daemon; with `check` an error fails the test."""
        uri = ("--uri", f"unix://{self.folder}/charon.vici")
        assignments = [f"{name}={value}" for name, value in self.environment.items()]
        result = self.namespace.run("env", *assignments, "swanctl", *arguments, *uri, check=check)
        return result.stdout + result.stderr

    def initiate(self) -> str:
        """Bring up the child from this side."""
        return self.swanctl("--initiate", "--child", "gre", "--timeout", "10")

    def sas(self) -> str:
        """What `swanctl --list-sas` prints."""
        return self.swanctl("--list-sas")

    def child_spis(self) -> set[str]:
        """The inbound SPIs of the installed children, in hexadecimal."""
        return set(re.findall(r"^\s+in\s+([0-9a-f]{8})", self.sas(), re.MULTILINE))

    def ike_spis(self) -> set[str]:
        """Initiator SPIs of the established IKE SAs."""
        return set(re.findall(r"ESTABLISHED, IKEv2, ([0-9a-f]{16})_i", self.sas()))

    def log(self) -> str:
        """The daemon's log so far."""
        return (self.folder / "charon.log").read_text(errors="replace")
