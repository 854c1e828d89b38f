"""vcstack as it is delivered: `vcstack up` with two tunnels at the near end, and once at each far end.

IKE negotiates the keys, GRE keepalives run, BGP brings the routes that the measured packets follow.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.netns.contenders import Contender, await_path
from benchmarks.netns.network import FAR_NETWORKS, OUTER, BenchError, Field, Space, pss_mib, wait_until
from vcstack.control import api
from vcstack.lab.namespaces import python

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import Popen

LAYERS = ("ike", "esp", "gre", "bgp")
_PATIENCE_S = 30.0

_TUNNEL = """
[tunnels.dc-{number}]
prefix = "{prefix}"
[tunnels.dc-{number}.ipsec]
local_address = "{local}"
remote_address = "{remote}"
psk = {{ file = "secret" }}
ike_proposals = ["aes256gcm16-prfsha384-ecp384"]
esp_proposals = ["aes256gcm16-ecp384"]
udp_encapsulation = "{encapsulation}"
[tunnels.dc-{number}.gre]
local_address = "{transport}"
remote_address = "{remote_transport}"
[tunnels.dc-{number}.interface]
address = "{address}/30"
[tunnels.dc-{number}.bgp]
local_as = {local_as}
remote_as = {remote_as}
"""


class Vcstack(Contender):
    """In UDP, or in IP protocol 50."""

    ends = 2

    def __init__(self, *, udp: bool) -> None:
        self.name = "vcstack" if udp else "vcstack, raw ESP"
        self._daemons: list[tuple[Popen[bytes], Path]] = []
        self._encapsulation = "always" if udp else "auto"

    def missing(self) -> str | None:
        return None

    def start(self, field: Field) -> dict[str, float]:
        self._daemons.clear()
        secret = field.folder / "secret"
        secret.write_text("the secret of this benchmark\n")
        secret.chmod(0o600)
        for number, far in enumerate(field.fars, 1):
            self._up(field, far, f"dc-{number}", "headend", [number])
        for number in (1, 2):
            self._wait(lambda name=f"dc-{number}": _status(field, name) is not None, f"dc-{number}")  # type: ignore[misc]
        started_at = time.monotonic()
        self._up(field, field.near, "cpe", "cpe", [1, 2])
        times: dict[str, float] = {}
        self._wait(lambda: _all_up(_status(field, "cpe"), times), "both tunnels")
        await_path(field)
        return {"up_s": max(times.values()) - started_at}

    def finish(self, field: Field) -> dict[str, float]:
        return {"pss_mib": pss_mib(field.near.contender_pids())}

    def _wait(self, probe: Callable[[], bool], what: str) -> None:
        def probe_the_living() -> bool:
            for daemon, log in self._daemons:
                if daemon.poll() is not None:
                    raise BenchError(f"vcstack ended: {log.read_text().strip().splitlines()[-1]}")
            return probe()

        wait_until(probe_the_living, _PATIENCE_S, what, every_s=0.05)

    def _up(self, field: Field, space: Space, name: str, role: str, numbers: list[int]) -> None:
        text = f'role = "{role}"\nname = "{name}"\nregion = "10.77.0.0/24"\n'
        text += f'control_socket = "{field.folder}/{name}.sock"\n'
        text += "".join(self._tunnel(number, role) for number in numbers)
        file = field.folder / f"{name}.toml"
        file.write_text(text)
        command = python("-m", "vcstack.cli.main", "up", str(file))
        log = field.folder / f"{name}.log"
        self._daemons.append((space.spawn(*command, log=log), log))

    def _tunnel(self, number: int, role: str) -> str:
        outer, transports = OUTER[number - 1], (f"10.255.0.{number}", f"10.255.{number}.1")
        here, there = (0, 1) if role == "cpe" else (1, 0)
        return _TUNNEL.format(
            number=number,
            prefix=FAR_NETWORKS[number - 1],
            encapsulation=self._encapsulation,
            local=outer[here],
            remote=outer[there],
            transport=transports[here],
            remote_transport=transports[there],
            address=f"100.64.{number}.{2 - here}",
            local_as=(64512, 64600)[here],
            remote_as=(64512, 64600)[there],
        )


def _status(field: Field, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = api.ask(field.folder / f"{name}.sock", "status")
    except api.UnreachableError:
        return None
    return found


def _all_up(status: dict[str, Any] | None, times: dict[str, float]) -> bool:
    """Whether every layer of both tunnels is up; `times` gets when each of the sessions came up."""
    if status is None:
        return False
    now = time.monotonic()
    for name, tunnel in status["tunnels"].items():
        if any(tunnel[layer]["state"] != "up" for layer in LAYERS):
            return False
        times[name] = now - tunnel["bgp"]["since_s"]
    return True
