"""strongSwan with kernel-libipsec: ESP in userspace in C, AES-256-GCM in UDP; without GRE."""

import contextlib
from pathlib import Path
from subprocess import TimeoutExpired

from benchmarks.netns.contenders import Contender, await_path, program
from benchmarks.netns.network import FAR_NETWORKS, NEAR_NETWORK, OUTER, BenchError, Field, Space, wait_until

PLUGIN = Path("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so")
_PLUGINS = "random nonce openssl pem pkcs1 hmac kdf kernel-libipsec kernel-netlink socket-default vici"

_DAEMON = """
charon {{
  load = {plugins}
  filelog {{ log {{
    path = {folder}/charon.log
    default = 1
  }} }}
  plugins {{ vici {{
    socket = unix://{folder}/charon.vici
  }} }}
}}
swanctl {{
  load = random openssl pem pkcs1
}}
"""

_CONNECTION = """
connections {{ peer {{
  version = 2
  local_addrs = {local}
  remote_addrs = {remote}
  proposals = aes256gcm16-prfsha384-ecp384
  encap = yes
  mobike = no
  local {{
    auth = psk
  }}
  remote {{
    auth = psk
  }}
  children {{ inner {{
    local_ts = {local_ts}
    remote_ts = {remote_ts}
    esp_proposals = aes256gcm16-ecp384
  }} }}
}} }}
secrets {{ ike-peer {{
  secret = "the secret of this benchmark"
}} }}
"""


class Strongswan(Contender):
    """One charon at each end."""

    name = "strongSwan libipsec"

    def missing(self) -> str | None:
        if program("charon") is None or program("swanctl") is None:
            return "strongSwan is not installed (packages strongswan-charon, strongswan-swanctl)"
        if not PLUGIN.exists():
            return "its plugin kernel-libipsec is not installed (package libstrongswan-extra-plugins)"
        return None

    def start(self, field: Field) -> dict[str, float]:
        (near, far), (near_ts, far_ts) = OUTER[0], (NEAR_NETWORK, FAR_NETWORKS[0])
        _charon(field, field.near, "near", (near, far), (near_ts, far_ts))
        _charon(field, field.far, "far", (far, near), (far_ts, near_ts))
        folder = field.folder / "near"
        _swanctl(field.near, folder, "--initiate", "--child", "inner", "--timeout", "10")
        await_path(field)
        return {}


def _charon(field: Field, space: Space, name: str, ends: tuple[str, str], inner: tuple[str, str]) -> None:
    folder = field.folder / name
    folder.mkdir()
    (folder / "strongswan.conf").write_text(_DAEMON.format(folder=folder, plugins=_PLUGINS))
    (folder / "swanctl.conf").write_text(
        _CONNECTION.format(local=ends[0], remote=ends[1], local_ts=inner[0], remote_ts=inner[1])
    )
    environment = f"STRONGSWAN_CONF={folder}/strongswan.conf"
    shell = f"mount -t tmpfs tmpfs /run && exec env {environment} {program('charon')}"
    process = space.spawn("unshare", "-m", "sh", "-c", shell, log=folder / "charon.out")
    wait_until((folder / "charon.vici").is_socket, 10, "charon's control socket")
    with contextlib.suppress(TimeoutExpired):
        process.wait(0.1)
        raise BenchError(f"charon ended with status {process.returncode}")
    _swanctl(space, folder, "--load-all", "--file", str(folder / "swanctl.conf"))


def _swanctl(space: Space, folder: Path, *arguments: str) -> None:
    environment = ("env", f"STRONGSWAN_CONF={folder}/strongswan.conf", f"SWANCTL_DIR={folder}")
    space.run(*environment, "swanctl", *arguments, "--uri", f"unix://{folder}/charon.vici")
