"""A whole deployment in namespaces: a LAN host, the CPE, an internet, two data centres and a host in each.

    lan 10.88.0.10 --- cpe ===[nat]=== internet (bridge) ===+=== dc-a 198.51.100.10 --- host-a 10.77.0.10
                   198.51.100.1 (behind the NAT: 192.168.1.2) |         | 172.16.0.0/30
                                                              +=== dc-b 198.51.100.20 --- host-b 10.77.0.138

The data centres reach each other's /25 inside, so that either carries both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.support.netns import Namespace, Network, python, wait_until
from vcstack.control import api

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

STOP_S = 8.0
LAYERS = ("ike", "esp", "gre", "bgp")


@dataclass(frozen=True)
class Centre:
    """The plan of one data centre; `number` 1 or 2 completes the addresses."""

    name: str
    number: int
    outer: str
    prefix: str
    gateway: str
    host: str


A = Centre("dc-a", 1, "198.51.100.10", "10.77.0.0/25", "10.77.0.1", "10.77.0.10")
B = Centre("dc-b", 2, "198.51.100.20", "10.77.0.128/25", "10.77.0.129", "10.77.0.138")
LAN_HOST = "10.88.0.10"
UPSTREAM = "198.51.100.254"


class Daemon:
    """`vcstack up` in a namespace, and questions to it."""

    def __init__(self, namespace: Namespace, directory: Path, name: str, text: str) -> None:
        self.namespace = namespace
        self.file = directory / f"{name}.toml"
        self.socket = directory / f"{name}.sock"
        self.log = directory / f"{name}.log"
        self.file.write_text(f'control_socket = "{self.socket}"\n{text}')
        self._process: subprocess.Popen[str] | None = None

    def start(self, log: Path | None = None) -> Self:
        """Start it in the background; its log goes to a file, `self.log` unless another is given."""
        with (log or self.log).open("a") as output:
            self._process = self.namespace.spawn(*cli("up", str(self.file)), output=output)
        return self

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The control process."""
        assert self._process is not None
        return self._process.pid

    def ask(self, command: str, what: str = "") -> Any:
        """The answer to `status`, or to `show` of something; None while the daemon does not answer."""
        try:
            return api.ask(self.socket, command, {"what": what})
        except api.UnreachableError:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def up(self, tunnels: tuple[str, ...] = ("dc-a", "dc-b"), timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until every layer of these tunnels is up; the status then."""

        def all_up() -> Any:
            assert self.is_running, "the daemon has ended"
            status = self.ask("status")
            if status is None:
                return None
            states = [status["tunnels"][tunnel][layer]["state"] for tunnel in tunnels for layer in LAYERS]
            return status if set(states) == {"up"} else None

        try:
            found: dict[str, Any] = wait_until(all_up, timeout_s, f"{tunnels} to come up", every_s=0.1)
        except BaseException as error:
            error.add_note(self.log.read_text())
            error.add_note(json.dumps(self.ask("status"), indent=1))
            raise
        return found

    def layer(self, tunnel: str, name: str) -> dict[str, Any]:
        """One layer of one tunnel."""
        found: dict[str, Any] = self.ask("status")["tunnels"][tunnel][name]
        return found


class Deployment:
    """Everything built and started on entering the `with`; everything gone on leaving it."""

    def __init__(
        self,
        directory: Path,
        *,
        nat: bool = False,
        cpe: Mapping[str, str] | None = None,
        centres: Mapping[str, str] | None = None,
        keepalive_s: float = 0.3,
    ) -> None:
        """`cpe` and `centres` add lines to the tables of each tunnel: {"ipsec": "pfs = false", ...}."""
        self._network = Network()
        self._directory = directory
        self._nat = nat
        self._options = {"cpe": dict(cpe or {}), "dc": dict(centres or {})}
        self._keepalive_s = keepalive_s

    def __enter__(self) -> Self:
        self._network.__enter__()
        try:
            self._build()
            self._configure()
        except BaseException:
            self._network.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._network.close()

    def start(self) -> Self:
        """Start the data centres, then the CPE."""
        for daemon in (*self.centres.values(), self.cpe):
            daemon.start()
        return self

    def mend(self) -> Self:
        """Join what was cut, and start what has ended."""
        for centre in (A, B):
            self.cut(centre, cut=False)
        for daemon in (*self.centres.values(), self.cpe):
            if not daemon.is_running:
                daemon.start()
        return self

    def join_upstream(self) -> Namespace:
        """Give the CPE a default route, to a router where all arrives that finds no better one."""
        upstream = self._network.namespace("upstream")
        self._network.link(upstream, "wan0", self.internet, "to-upstream", bridge="br0")
        upstream.address("wan0", f"{UPSTREAM}/24")
        self.cpe_space.route("default", UPSTREAM)
        return upstream

    def cut(self, centre: Centre, *, cut: bool = True) -> None:
        """Cut a data centre off the internet without a word, or join it again."""
        self.internet.ip("link", "set", f"to-{centre.name}", "down" if cut else "up")

    def _build(self) -> None:
        space = self._network.namespace
        self.internet, self.cpe_space, self.lan = space("net"), space("cpe"), space("lan")
        self.hosts: dict[str, Namespace] = {}
        self.internet.bridge("br0")
        self.cpe_space.router()
        self._join_cpe()
        self._network.link(self.lan, "eth0", self.cpe_space, "lan0")
        self.lan.address("eth0", f"{LAN_HOST}/24")
        self.cpe_space.address("lan0", "10.88.0.1/24")
        self.lan.route("default", "10.88.0.1")
        self.spaces = {centre.name: self._build_centre(centre) for centre in (A, B)}
        self._join_centres()

    def _join_cpe(self) -> None:
        if not self._nat:
            self._network.link(self.cpe_space, "wan0", self.internet, "to-cpe", bridge="br0")
            self.cpe_space.address("wan0", "198.51.100.1/24")
            return
        nat = self._network.namespace("nat")
        nat.router()
        self._network.link(nat, "wan0", self.internet, "to-nat", bridge="br0")
        self._network.link(self.cpe_space, "wan0", nat, "lan0")
        nat.address("wan0", "198.51.100.1/24")
        nat.address("lan0", "192.168.1.1/24")
        self.cpe_space.address("wan0", "192.168.1.2/24")
        self.cpe_space.route("default", "192.168.1.1")
        nat.run("nft", "add table ip nat")
        nat.run("nft", "add chain ip nat post { type nat hook postrouting priority 100 ; }")
        nat.run("nft", 'add rule ip nat post oifname "wan0" masquerade')

    def _build_centre(self, centre: Centre) -> Namespace:
        router, host = self._network.namespace(centre.name), self._network.namespace(f"host-{centre.name}")
        router.router()
        self._network.link(router, "wan0", self.internet, f"to-{centre.name}", bridge="br0")
        self._network.link(host, "eth0", router, "in0")
        router.address("wan0", f"{centre.outer}/24")
        router.address("in0", f"{centre.gateway}/25")
        host.address("eth0", f"{centre.host}/25")
        host.route("default", centre.gateway)
        self.hosts[centre.name] = host
        return router

    def _join_centres(self) -> None:
        """Inside, each reaches the other's half, and hands over what it has no tunnel for."""
        a, b = self.spaces["dc-a"], self.spaces["dc-b"]
        self._network.link(a, "dci0", b, "dci0")
        for here, own, other in ((a, A, B), (b, B, A)):
            here.address("dci0", f"172.16.0.{own.number}/30")
            here.route(other.prefix, f"172.16.0.{other.number}")
            here.ip("rule", "add", "from", own.prefix, "priority", "19700", "lookup", "77")
            here.ip("route", "add", "default", "via", f"172.16.0.{other.number}", "table", "77")

    def _configure(self) -> None:
        for name in ("dc-a", "dc-b"):
            (self._directory / f"{name}.psk").write_text(f"a secret of {name}\n")
            (self._directory / f"{name}.md5").write_text(f"bgp of {name}\n")
        for path in self._directory.iterdir():
            path.chmod(0o600)
        tunnels = "".join(self._tunnel(centre, "cpe") for centre in (A, B))
        text = 'role = "cpe"\nname = "branch-1"\nregion = "10.77.0.0/24"\n' + tunnels
        self.cpe = Daemon(self.cpe_space, self._directory, "cpe", text)
        self.centres = {centre.name: self._centre(centre) for centre in (A, B)}

    def _centre(self, centre: Centre) -> Daemon:
        text = f'role = "headend"\nname = "{centre.name}"\nregion = "10.77.0.0/24"\n'
        text += self._tunnel(centre, "dc")
        return Daemon(self.spaces[centre.name], self._directory, centre.name, text)

    def _tunnel(self, centre: Centre, side: str) -> str:
        number = centre.number
        ends = {"cpe": ("cpe", "dc"), "dc": ("dc", "cpe")}[side]
        outer = {"cpe": "192.168.1.2" if self._nat else "198.51.100.1", "dc": centre.outer}
        identity = {"cpe": "198.51.100.1", "dc": centre.outer}
        transport = {"cpe": f"10.255.0.{number}", "dc": f"10.255.{number}.1"}
        interface = {"cpe": f"100.64.{number}.2", "dc": f"100.64.{number}.1"}
        numbers = {"cpe": 64512, "dc": 64600}
        here, there = ends
        remote = "any" if side == "dc" and self._nat else outer[there]
        tables = {
            "ipsec": [
                f'local_address = "{outer[here]}"',
                f'remote_address = "{remote}"',
                f'local_id = "{identity[here]}"',
                f'remote_id = "{identity[there]}"',
                f'psk = {{ file = "{centre.name}.psk" }}',
            ],
            "gre": [
                f'local_address = "{transport[here]}"',
                f'remote_address = "{transport[there]}"',
                f"keepalive_interval_s = {self._keepalive_s}",
            ],
            "interface": [f'address = "{interface[here]}/30"'],
            "bgp": [
                f"local_as = {numbers[here]}",
                f"remote_as = {numbers[there]}",
                f'password = {{ file = "{centre.name}.md5" }}',
            ],
        }
        lines = [f"[tunnels.{centre.name}]", f'prefix = "{centre.prefix}"']
        for table, entries in tables.items():
            extra = self._options[side].get(table, "")
            lines += [f"[tunnels.{centre.name}.{table}]", *_override(entries, extra)]
        return "\n".join(lines) + "\n"


def cli(*words: str) -> tuple[str, ...]:
    """The command line of `vcstack` in this checkout."""
    return python("-c", "from vcstack.cli.main import main; main()", *words)


def _override(entries: list[str], extra: str) -> list[str]:
    """The lines of `extra` after those of `entries` whose key they do not repeat."""
    added = [line for line in extra.splitlines() if line.strip()]
    keys = {line.split("=")[0].strip() for line in added}
    return [line for line in entries if line.split("=")[0].strip() not in keys] + added
