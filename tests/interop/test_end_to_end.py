"""The whole road in namespaces: LAN host, CPE, two data centres of ours, real packets.

lan -> TUN of the CPE -> GRE -> ESP -> internet -> ESP -> GRE -> TUN of the data centre -> host
"""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.deployment import LAN_HOST, A, B, Centre, Deployment, cli
from tests.support.netns import python, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

ROADS: dict[str, dict[str, Any]] = {
    "esp": {},
    "udp": {"cpe": {"ipsec": 'udp_encapsulation = "always"'}},
    "nat": {"nat": True},
}


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path, **ROADS[request.param]) as deployment:
        yield deployment.start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def standing(shared: Deployment) -> Deployment:
    """Both tunnels up, whatever the test before did to them."""
    shared.mend().cpe.up(timeout_s=60)
    return shared


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path) as made:
        yield made


def transfer(deployment: Deployment, centre: Centre, megabytes: int) -> int:
    """Send data over TCP from the LAN host to a data centre's host; how many bytes arrived there."""
    receive = (
        "import socket; s = socket.create_server(('', 5001)); c, _ = s.accept(); n = 0\n"
        "while d := c.recv(1 << 16): n += len(d)\n"
        "c.sendall(str(n).encode())"
    )
    send = (
        f"import socket; s = socket.create_connection(('{centre.host}', 5001), 5)\n"
        f"for _ in range({megabytes}): s.sendall(bytes(1000000))\n"
        "s.shutdown(1); print(s.recv(100).decode())"
    )
    host = deployment.hosts[centre.name]
    host.spawn(*python("-c", receive))
    wait_until(lambda: ":5001" in host.run("ss", "-ltn").stdout, 5, "the receiver to listen")
    return int(deployment.lan.run(*python("-c", send), timeout_s=60).stdout)


def kernel_routes(deployment: Deployment) -> set[tuple[str, str | None, int]]:
    shown = json.loads(deployment.cpe_space.ip("-j", "route", "show", "proto", "176"))
    return {(route["dst"], route.get("dev"), route["metric"]) for route in shown}


def leftovers(deployment: Deployment) -> list[str]:
    """What of the daemon is still in the CPE's namespace."""
    space = deployment.cpe_space
    found = [line for line in space.ip("-br", "link").splitlines() if line.startswith("vc-")]
    found += space.ip("route", "show", "proto", "176", "table", "all").splitlines()
    found += [line for line in space.ip("rule").splitlines() if "proto 176" in line]
    return found + [str(pid) for pid in space.pids()]


def test_packets_cross_both_tunnels(road: Deployment, request: pytest.FixtureRequest) -> None:
    status = road.cpe.up()
    for centre in (A, B):
        tunnel = status["tunnels"][centre.name]
        assert tunnel["esp"]["udp_encapsulation"] == ("esp" not in request.node.callspec.id)
        assert tunnel["mtu"] == (1414 if tunnel["esp"]["udp_encapsulation"] else 1422)
        assert road.lan.ping(centre.host, count=3)
        assert road.hosts[centre.name].ping(LAN_HOST)
        assert road.cpe_space.ping(f"100.64.{centre.number}.1")
        assert transfer(road, centre, 5) == 5_000_000
    assert kernel_routes(road) == {
        ("10.77.0.0/25", "vc-dc-a", 196),
        ("10.77.0.0/24", "vc-dc-a", 196),
        ("10.77.0.128/25", "vc-dc-b", 197),
        ("10.77.0.0/24", "vc-dc-b", 197),
        ("10.77.0.0/24", None, 4196),
    }


def test_the_command_line_shows_what_the_daemon_knows(standing: Deployment) -> None:
    socket = ("--socket", str(standing.cpe.socket))
    screen = standing.cpe_space.run(*cli("status", *socket)).stdout
    assert "established with" in screen
    for view, word in (
        ("ikev2", "aes256gcm16"),
        ("ipsec", "spi in"),
        ("tunnel", "keepalive"),
        ("bgp", "Established"),
        ("routes", "10.77.0.128/25"),
    ):
        assert word.lower() in standing.cpe_space.run(*cli("show", view, *socket)).stdout.lower()
        json.loads(standing.cpe_space.run(*cli("show", view, *socket, "--json")).stdout)
    assert standing.cpe_space.run(*cli("status", "--socket", "/absent"), check=False).returncode == 3


def test_the_tunnels_view_names_the_peers_keepalives(standing: Deployment) -> None:
    command = cli("show", "tunnel", "--json", "--socket", str(standing.cpe.socket))

    def keepalives() -> list[dict[str, Any]]:
        shown = json.loads(standing.cpe_space.run(*command).stdout)
        return [shown[name]["keepalives"] for name in ("dc-a", "dc-b")]

    both = "both ends send keepalives and answer them"
    wait_until(lambda: [info["verdict"] for info in keepalives()] == [both] * 2, 10, "both ends to ask")
    for info in keepalives():
        assert info["dialect"] == "Cisco"
        assert info["requests"]["Cisco"] >= info["reflected"] > 0
        assert (info["refused"], info["on_hold_for"]) == ({}, 0)


def test_a_silent_centre_is_replaced_by_the_other_and_comes_back(standing: Deployment) -> None:
    assert standing.lan.ping(A.host)
    standing.cut(A)
    wait_until(lambda: standing.lan.ping(A.host), 10, "A's host through B")
    assert standing.cpe.layer("dc-a", "gre")["state"] == "down"
    assert ("10.77.0.0/25", "vc-dc-a", 196) not in kernel_routes(standing)
    standing.cut(A, cut=False)
    standing.cpe.up(timeout_s=60)
    wait_until(lambda: ("10.77.0.0/25", "vc-dc-a", 196) in kernel_routes(standing), 5, "A's own route")
    assert standing.lan.ping(A.host)


def test_a_centre_that_says_goodbye_is_left_at_once(standing: Deployment) -> None:
    standing.centres["dc-a"].signal(signal.SIGTERM)
    started = time.monotonic()
    wait_until(lambda: standing.lan.ping(A.host), 5, "A's host through B")
    assert time.monotonic() - started < 3
    assert standing.centres["dc-a"].wait() == 0


def test_without_a_tunnel_nothing_leaves_in_clear(standing: Deployment) -> None:
    standing.cpe_space.route("default", "198.51.100.20")
    for centre in (A, B):
        standing.cut(centre)
    wait_until(lambda: kernel_routes(standing) == {("10.77.0.0/24", None, 4196)}, 10, "the routes to go")
    refused = standing.lan.run("ping", "-c1", "-W1", A.host, check=False).stdout
    assert "Unreachable" in refused
    standing.cpe_space.ip("route", "delete", "default")


def test_sigterm_leaves_nothing_and_tells_the_peers(standing: Deployment) -> None:
    standing.cpe.signal(signal.SIGTERM)
    assert standing.cpe.wait() == 0
    assert leftovers(standing) == []
    wait_until(lambda: standing.centres["dc-a"].layer("dc-a", "ike")["state"] != "up", 2, "A to notice")


def test_a_killed_daemon_is_cleaned_up_by_its_successor(standing: Deployment) -> None:
    standing.cpe.signal(signal.SIGKILL)
    standing.cpe.wait()
    assert ("10.77.0.0/24", None, 4196) in kernel_routes(standing)
    standing.cpe.start()
    standing.cpe.up(timeout_s=60)
    assert standing.lan.ping(A.host)
    standing.cpe.signal(signal.SIGINT)
    assert standing.cpe.wait() == 0
    assert leftovers(standing) == []


def test_a_killed_forwarder_is_replaced_and_the_tunnel_heals(standing: Deployment) -> None:
    before = standing.cpe.ask("show", "tunnel")["dc-a"]["forwarder_pid"]
    standing.cpe_space.run("kill", "-9", str(before))
    wait_until(lambda: standing.cpe.layer("dc-a", "bgp")["state"] != "up", 5, "the loss to show")
    standing.cpe.up(timeout_s=20)
    assert standing.cpe.ask("show", "tunnel")["dc-a"]["forwarder_pid"] != before
    assert standing.lan.ping(A.host, count=3)


def test_rekeys_of_both_sas_lose_no_packet(tmp_path: Path) -> None:
    lifetimes = "child_lifetime_s = 3\nike_lifetime_s = 5"
    with Deployment(tmp_path, cpe={"ipsec": lifetimes}) as deployment:
        deployment.start().cpe.up()
        before = deployment.cpe.ask("status")["tunnels"]["dc-a"]["esp"]["spi_in"]
        pinged = deployment.lan.run("ping", "-q", "-i", "0.01", "-c", "700", A.host, timeout_s=60).stdout
        assert " 0% packet loss" in pinged
        assert deployment.cpe.ask("status")["tunnels"]["dc-a"]["esp"]["spi_in"] != before
        log = deployment.cpe.log.read_text()
        assert log.count("dc-a child SA") >= 2
        assert "dc-a IKE SA rekeyed" in log


def test_a_second_daemon_is_refused_in_one_line(standing: Deployment) -> None:
    second = standing.cpe_space.run(*_up(standing), check=False)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "another vcstack is running" in second.stderr
    assert standing.cpe.ask("status") is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'local_address = "198.51.100.1"',
            'local_address = "198.51.100.77"',
            "198.51.100.77 is not an address",
        ),
        ('address = "100.64.1.2/30"', 'address = "100.64.1.2/30"\nname = "wan0"', "wan0"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(
    deployment: Deployment, old: str, new: str, said: str
) -> None:
    deployment.cpe.file.write_text(deployment.cpe.file.read_text().replace(old, new))
    result = deployment.cpe_space.run(*_up(deployment), check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("vcstack cannot start: ")
    assert said in result.stderr.splitlines()[-1]
    assert leftovers(deployment) == []


def test_a_taken_port_is_said_in_one_line(deployment: Deployment) -> None:
    hold = "import socket, time; s = socket.socket(2, 2); s.bind(('198.51.100.1', 500)); time.sleep(60)"
    deployment.cpe_space.spawn(*python("-c", hold))
    wait_until(lambda: ":500 " in deployment.cpe_space.run("ss", "-lun").stdout, 5, "the port to be taken")
    result = deployment.cpe_space.run(*_up(deployment), check=False)
    assert result.returncode == 1
    assert "UDP port 500 of 198.51.100.1 is taken" in result.stderr.splitlines()[-1]


def _up(deployment: Deployment) -> tuple[str, ...]:
    return cli("up", str(deployment.cpe.file))


WRONG: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # name: options of the deployment, layer, what the CPE says, what the data centre says
    "psk": ({"cpe": {"ipsec": 'psk = { file = "dc-b.md5" }'}}, "ike", "AUTHENTICATION_FAILED", "AUTH"),
    "ike proposal": (
        {
            "cpe": {"ipsec": 'ike_proposals = ["aes128-sha256-modp3072"]'},
            "centres": {"ipsec": 'ike_proposals = ["aes256gcm16-prfsha384-ecp384"]'},
        },
        "ike",
        "NO_PROPOSAL_CHOSEN",
        "NO_PROPOSAL_CHOSEN",
    ),
    "selectors": (
        {"cpe": {"gre": 'local_address = "10.255.9.9"'}},
        "esp",
        "TS_UNACCEPTABLE",
        "TS_UNACCEPTABLE",
    ),
    "asn": ({"cpe": {"bgp": "local_as = 64999"}}, "bgp", "peer said", "we said"),
    "bgp password": (
        {"cpe": {"bgp": 'password = { file = "dc-b.psk" }'}},
        "bgp",
        "BGP password",
        "BGP password",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_on_both_sides(tmp_path: Path, name: str) -> None:
    options, layer, at_cpe, at_centre = WRONG[name]
    with Deployment(tmp_path, **options) as deployment:
        deployment.start()

        def told(daemon: Any, words: str) -> Any:
            status = daemon.ask("status")
            found = status["tunnels"]["dc-a"][layer] if status else {}
            return found if words in json.dumps(found) and found.get("state") != "up" else None

        ours = wait_until(lambda: told(deployment.cpe, at_cpe), 25, f"the CPE to say {at_cpe!r}")
        assert ours["reason"]
        wait_until(lambda: told(deployment.centres["dc-a"], at_centre), 25, f"A to say {at_centre!r}")


def test_an_unreachable_peer_is_named_and_tried_again(tmp_path: Path) -> None:
    with Deployment(tmp_path) as deployment:
        deployment.centres["dc-b"].start()
        deployment.cpe.start()
        deployment.cpe.up(("dc-b",))
        ike = deployment.cpe.layer("dc-a", "ike")
        assert ike["state"] == "connecting"
        deployment.centres["dc-a"].start()
        deployment.cpe.up(("dc-a",), timeout_s=60)
