"""wireguard-go: the best userspace tunnel in Go, with TSO and GRO since 2023 (ChaCha20-Poly1305)."""

import os
import subprocess
from pathlib import Path

from benchmarks.netns.contenders import Contender, await_path, program
from benchmarks.netns.network import FAR_NETWORKS, NEAR_NETWORK, OUTER, Field, Space, wait_until

DEVICE = "wg0"
MTU = 1420
_PORT = 51820


class WireguardGo(Contender):
    """One process at each end, configured with `wg`."""

    name = "wireguard-go"

    def __init__(self, path: str | None = None) -> None:
        self._path = path or program("wireguard-go")

    def missing(self) -> str | None:
        if self._path is None or not os.access(self._path, os.X_OK):
            return "there is no wireguard-go: give its place with --wireguard-go"
        if program("wg") is None:
            return "there is no wg (package wireguard-tools)"
        return None

    def start(self, field: Field) -> dict[str, float]:
        ends = (field.near, field.far)
        allowed = (FAR_NETWORKS[0], NEAR_NETWORK)
        keys = [_wg("genkey") for _end in ends]
        for here, there in ((0, 1), (1, 0)):
            file = field.folder / f"wg{here}.key"
            file.write_text(keys[here])
            file.chmod(0o600)
            own = ("listen-port", str(_PORT), "private-key", str(file))
            peer = ("peer", _wg("pubkey", keys[there]), "allowed-ips", allowed[here])
            inside = self._run(field, ends[here])
            ends[here].run(
                *inside, "wg", "set", DEVICE, *own, *peer, "endpoint", f"{OUTER[0][there]}:{_PORT}"
            )
            ends[here].ip(f"link set {DEVICE} up mtu {MTU}")
        field.route(DEVICE, DEVICE)
        await_path(field)
        return {}

    def _run(self, field: Field, space: Space) -> tuple[str, ...]:
        """Start it with a /run of its own, for its control socket; what leads a command there."""
        shell = f"mount -t tmpfs tmpfs /run && exec {self._path} -f {DEVICE}"
        process = space.spawn("unshare", "-m", "sh", "-c", shell, log=field.folder / "wireguard.log")
        socket = Path(f"/proc/{process.pid}/root/run/wireguard/{DEVICE}.sock")
        wait_until(lambda: process.poll() is None and socket.is_socket(), 5, "wireguard-go's socket")
        return ("nsenter", "--mount", "--target", str(process.pid))


def _wg(command: str, text: str | None = None) -> str:
    return subprocess.run(
        ("wg", command), input=text, capture_output=True, text=True, check=True
    ).stdout.strip()
