"""Two worker processes over a veth, with real TUN devices, sockets and TCP at both ends.

end a (10.9.0.1 on vc0, 192.0.2.1 on eth0) ---- veth, MTU 1500 ---- end b (192.0.2.2, 10.9.0.2)
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.netns import Namespace, Network, python, wait_until
from vcstack.dataplane.pmtu import tunnel_mtu

pytestmark = pytest.mark.netns

TRANSFER = """
import hashlib, socket, sys
if sys.argv[1] == "serve":
    server = socket.create_server(("10.9.0.2", 5001))
    print("ready", flush=True)
    peer, _ = server.accept()
    digest, total = hashlib.sha256(), 0
    while data := peer.recv(1 << 16):
        digest.update(data); total += len(data)
    peer.sendall(digest.hexdigest().encode())
else:
    size, sizes = int(sys.argv[2]), [1, 7, 1349, 1350, 1351, 65535, 100_001]
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    sock = socket.create_connection(("10.9.0.2", 5001), 10)
    position = index = 0
    while position < size:
        position += sock.send(body[position : position + sizes[index % len(sizes)]]); index += 1
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(100).decode() == hashlib.sha256(body).hexdigest(), "what arrived is not what was sent"
"""


def mtu_of(settings: dict[str, Any]) -> int:
    key_present = "gre_key" in settings.get("config", {})
    return tunnel_mtu(1500, udp_encapsulation=settings.get("udp", True), key_present=key_present)


@dataclass
class Side:
    namespace: Namespace
    process: subprocess.Popen[str]
    output: Path

    def finish(self) -> dict[str, Any]:
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(10)
        result: dict[str, Any] = json.loads(self.output.read_text().splitlines()[-1])
        return result


class Tunnel:
    def __init__(self, network: Network, folder: Path, **settings: Any) -> None:
        namespaces = network.namespace("a"), network.namespace("b")
        network.link(namespaces[0], "eth0", namespaces[1], "eth0")
        for number, namespace in enumerate(namespaces, 1):
            namespace.address("eth0", f"192.0.2.{number}/24")
        self.sides = [self._start(folder, space, first, settings) for first, space in enumerate(namespaces)]
        for side in self.sides:
            wait_until(lambda side=side: "ready" in side.output.read_text(), 20, "the worker")  # type: ignore[misc]

    def _start(self, folder: Path, namespace: Namespace, index: int, settings: dict[str, Any]) -> Side:
        number = index + 1
        own = {
            "first": index == 0,
            "tun": "vc0",
            "local": f"192.0.2.{number}",
            "remote": f"192.0.2.{3 - number}",
            "address": f"10.9.0.{number}/24",
            "mtu": mtu_of(settings),
        }
        output = folder / f"end{number}"
        with output.open("w") as sink:
            process = namespace.spawn(
                *python("-m", "tests.support.forwarder_process", json.dumps(own | settings)), output=sink
            )
        return Side(namespace, process, output)

    def transfer(self, folder: Path, size: int) -> None:
        served = folder / "served"
        with served.open("w") as sink:
            self.sides[1].namespace.spawn(*python("-c", TRANSFER, "serve"), output=sink)
        wait_until(lambda: "ready" in served.read_text(), 10, "the server")
        self.sides[0].namespace.run(*python("-c", TRANSFER, "send", str(size)))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


NO_OFFLOADS = {"config": {"udp_segment": False, "udp_gro": False, "sendmmsg": False}, "tun_offloads": []}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"config": {"gre_key": 7}},
        {"udp": False},
        {"tun_offloads": ["csum", "tso4", "tso6", "tso-ecn"]},
        {"config": {"udp_gro": False}},
        {"config": {"udp_segment": False}},
        NO_OFFLOADS,
        NO_OFFLOADS | {"udp": False},
    ],
    ids=[
        "udp",
        "key",
        "raw",
        "no-uso",
        "no-gro",
        "no-segment",
        "udp-without-offloads",
        "raw-without-offloads",
    ],
)
def test_tcp_crosses_unharmed(folder: Path, settings: dict[str, Any]) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder, **settings)
        tunnel.transfer(folder, 3_000_000)
        ping = ("ping", "-c2", "-i0.1", "-W2", "-s", str(mtu_of(settings) - 28), "-M", "do", "10.9.0.2")
        tunnel.sides[0].namespace.run(*ping)
        results = [side.finish() for side in tunnel.sides]
    for result in results:
        assert result["status"] == 0
        drops = {name: count for name, count in result["counters"].items() if "drop" in name and count}
        assert not drops
    if not settings:
        assert results[0]["counters"]["outbound_super_packets"] > 0
        assert results[1]["counters"]["inbound_super_packets"] > 0


def test_a_worker_leaves_when_control_is_gone(folder: Path) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder)
        side = tunnel.sides[0]
        assert len(side.namespace.pids()) == 2
        os.kill(side.process.pid, signal.SIGKILL)
        side.process.wait(5)
        wait_until(lambda: not side.namespace.pids(), 5, "the worker to leave")


def test_an_interface_that_was_deleted_is_told_once_and_costs_nothing(folder: Path) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder, config={"interface_local": "10.9.0.1"})
        tunnel.transfer(folder, 10_000)
        side = tunnel.sides[0]
        side.namespace.ip("link", "delete", "vc0")
        (worker,) = (pid for pid in side.namespace.pids() if pid != side.process.pid)
        before = cpu_ticks(worker)
        time.sleep(1.0)
        spent = cpu_ticks(worker) - before
        result = side.finish()
    assert result["reports"].count("Fault") == 1
    assert spent < os.sysconf("SC_CLK_TCK") / 4


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_route_with_a_smaller_mtu_is_learned(folder: Path) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder, config={"interface_remote": "10.9.0.2"})
        near = tunnel.sides[0].namespace
        near.ip("route", "replace", "192.0.2.2/32", "dev", "eth0", "mtu", "1300")
        tunnel.transfer(folder, 500_000)
        result = tunnel.sides[0].finish()
    assert "PathMtu" in result["reports"]
    assert result["counters"]["outbound_icmp_too_big"] > 0
