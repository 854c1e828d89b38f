"""More traffic than a tunnel carries: bulk is dropped, at the TUN and in counted packets; control is not."""

import errno
import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.io.test_worker_netns import Tunnel
from tests.support.forwarding import (
    KEYS,
    LOCAL,
    OUTER_LOCAL,
    OUTER_REMOTE,
    REMOTE,
    End,
    forwarder_config,
    hold,
    sa_parameters,
    tcp_packet,
    udp_packet,
)
from tests.support.netns import Network, python, require_netns, wait_until
from vcstack.io import steering
from vcstack.io.channel import InstallOutbound, SetPath
from vcstack.io.memory import MemoryTransport
from vcstack.io.transport import SendOutcome
from vcstack.io.tun import Tun, TunError
from vcstack.wire.batch import Integers, Rows

pytestmark = pytest.mark.netns

SECONDS = 3.0
FLOOD = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end, body, size = time.monotonic() + float(sys.argv[1]), bytes(int(sys.argv[2])), 0
while time.monotonic() < end:
    for port in range(7000, 7100):
        try:
            sock.sendto(body, ("10.9.0.2", port))
        except OSError:
            pass  # full or refused: this is a flood
"""
SESSION = """
import json, socket, sys, time
if sys.argv[1] == "serve":
    server = socket.create_server(("10.9.0.2", 179))
    print("ready", flush=True)
    peer, _ = server.accept()
    while data := peer.recv(4096):
        peer.sendall(data)
else:
    sock = socket.create_connection(("10.9.0.2", 179), 20, ("10.9.0.1", 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    end, times = time.monotonic() + float(sys.argv[2]), []
    while time.monotonic() < end:
        begin = time.monotonic()
        sock.sendall(bytes(19))
        assert sock.recv(4096), "the other end has gone"
        times.append(time.monotonic() - begin)
        time.sleep(0.02)
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    print(json.dumps({"times": times, "lost": int.from_bytes(info[100:104], sys.byteorder)}), flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def overloaded(tunnel: Tunnel, folder: Path, size: int) -> dict[str, Any]:
    """What a session on port 179 says of some seconds of flood from the same end."""
    near, far = (side.namespace for side in tunnel.sides)
    served, said = folder / "served", folder / "said"
    with served.open("w") as sink:
        far.spawn(*python("-c", SESSION, "serve"), output=sink)
    wait_until(lambda: "ready" in served.read_text(), 10, "the server")
    with said.open("w") as sink:
        session = near.spawn(*python("-c", SESSION, "speak", str(SECONDS)), output=sink)
    wait_until(lambda: "ready" in said.read_text(), 10, "the session")
    flood = near.spawn(*python("-c", FLOOD, str(SECONDS), str(size)))
    assert session.wait(60) == 0, said.read_text()
    flood.wait(10)
    found: dict[str, Any] = json.loads(said.read_text().splitlines()[-1])
    return found


LINE = {"keepalive": True, "keepalive_interval_s": 0.5, "keepalive_retries": 3}
SETTINGS = {"config": LINE | {"interface_local": "10.9.0.1", "interface_remote": "10.9.0.2"}}


def test_a_flood_takes_neither_the_line_nor_the_session_down(folder: Path) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder, **SETTINGS)
        found = overloaded(tunnel, folder, 160)
        results = [side.finish() for side in tunnel.sides]
    counters = results[0]["counters"]
    assert counters["outbound_drop_queue"] > 0
    assert counters["outbound_drop_send"] == 0
    assert found["times"]
    assert [result["line"] for result in results] == [[True], [True]]


def test_a_path_slower_than_we_are_fills_the_tun_and_stalls_nothing(folder: Path) -> None:
    with Network() as network:
        tunnel = Tunnel(network, folder, **SETTINGS)
        near = tunnel.sides[0].namespace
        shaper = ("tbf", "rate", "20mbit", "burst", "16k", "limit", "50m")
        near.run("tc", "qdisc", "add", "dev", "eth0", "root", *shaper)
        found = overloaded(tunnel, folder, 1300)
        results = [side.finish() for side in tunnel.sides]
    counters = results[0]["counters"]
    assert counters["outbound_drop_queue"] > 0
    assert counters["outbound_drop_send"] < counters["outbound_drop_queue"] / 10
    assert max(found["times"]) < SECONDS
    assert [result["line"] for result in results] == [[True], [True]]


def test_bgp_does_not_wait_behind_bulk() -> None:
    require_netns()
    tun = Tun.open("vct-steer")
    with closing(tun):
        assert tun.separate_control(IPv4Address("203.0.113.1"))
        for words in ("address add 203.0.113.1/30 dev vct-steer", "link set vct-steer up txqueuelen 50"):
            subprocess.run(["ip", *words.split()], check=True)
        bulk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for port in range(1000, 1100):
            with suppress(OSError):
                bulk.sendto(bytes(100), ("203.0.113.2", port))
        assert tun.drops() >= 50
        packets = [spoken_to(179), spoken_to(5001)]
        view = memoryview(bytearray(2000))
        assert tun.read_control(view) == packets[0]
        assert tun.read_control(view) == 0
        sizes = {tun.read(view) for _ in range(100)}
        assert 10 + 20 + 8 + 100 in sizes
        assert packets[1] not in sizes  # dropped, as what came before and found no room
        bulk.close()


def spoken_to(port: int) -> int:
    """Begin a connection through the TUN; the size of its first packet, 10 bytes before it included."""
    sock = socket.socket()
    sock.setblocking(False)
    with closing(sock), suppress(BlockingIOError):
        sock.connect(("203.0.113.2", port))
    return 10 + 60


def test_without_the_right_to_steer_there_is_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    require_netns()
    monkeypatch.setattr(steering, "_SYSCALL", None)
    tun = Tun.open("vct-steer")
    with closing(tun):
        assert not tun.separate_control(IPv4Address("203.0.113.1"))
        assert tun.control_queue == -1
        assert "control-queue" not in tun.offloads


def test_an_interface_that_is_served_is_not_joined() -> None:
    require_netns()
    with closing(Tun.open("vct-steer")), pytest.raises(TunError, match="busy") as caught:
        Tun.open("vct-steer")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EBUSY


class Narrow(MemoryTransport):
    """Takes nothing but out of its reserve."""

    def __init__(self) -> None:
        super().__init__()
        self.room = self.reserve = False

    def wait_for_room(self) -> bool:
        return self.room

    def set_reserve(self, *, on: bool) -> None:
        self.reserve = on

    def send(self, rows: Rows, tos: Integers | int) -> SendOutcome:
        if self.room or self.reserve:
            return super().send(rows, tos)
        return SendOutcome(len(rows), full=True)


def test_a_full_transport_leaves_bulk_in_the_tun_and_takes_keepalives() -> None:
    transport = Narrow()
    end = End(forwarder_config(LOCAL, REMOTE, **LINE), transport)
    datagrams: list[bytes] = []
    transport.tap = hold(datagrams)
    end.forwarder.apply(SetPath(OUTER_LOCAL, 4500, OUTER_REMOTE, 4500, True), 0.0)
    end.forwarder.apply(InstallOutbound(sa_parameters(0x1001, KEYS[0], LOCAL, REMOTE)), 0.0)
    assert len(datagrams) == 1  # the first keepalive
    for _ in range(300):
        end.tun.inject(udp_packet(bytes(100)))
    end.tun.inject_control(tcp_packet(b"BGP"))
    end.step()
    end.step()
    assert end.count("outbound_drop_send") <= 128
    assert len(datagrams) == 1
    end.forwarder.control_queue_readable(0.0)
    assert len(datagrams) == 2
    transport.room = True
    end.step()
    assert len(datagrams) >= 2 + 300 - 128
    assert end.count("outbound_packets") == 301
