"""`vcstack lab` as a user runs it: the whole road, the JSON, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.netns import REPOSITORY, require_netns, require_program

pytestmark = pytest.mark.netns

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "vcstack.cli.main", "lab", *arguments)


def traces(number: int) -> list[str]:
    """What a lab of that number has on this machine: namespaces, folders, processes."""
    names = [*Path("/run/netns").glob("vclab-*"), *Path("/run").glob("vclab-*")]
    found = [str(path) for path in names if path.name.split("-")[1] == str(number)]
    needle = f"vclab-{number}".encode()
    return found + [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if needle in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def host_network() -> set[str]:
    """The routes, rules and links of the machine itself, one line each."""
    questions = (("route", "show", "table", "all"), ("rule", "show"), ("-br", "link", "show"))
    texts = (subprocess.check_output(("ip", *question), text=True) for question in questions)
    return {line for text in texts for line in text.splitlines()}


@pytest.fixture(scope="module")
def finished() -> subprocess.CompletedProcess[str]:
    require_netns()
    require_program("ping")
    before = host_network()
    with subprocess.Popen(
        command("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as lab:
        output, progress = lab.communicate(timeout=90)
    assert traces(lab.pid) == []
    assert host_network() <= before
    return subprocess.CompletedProcess(lab.args, lab.returncode, output, progress)


@pytest.fixture
def result(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(finished.stdout)
    return parsed


def test_all_of_it_holds(finished: subprocess.CompletedProcess[str], result: dict[str, Any]) -> None:
    assert result["failures"] == []
    assert result["ok"] is True
    assert finished.returncode == 0, finished.stderr
    assert result["duration_s"] < 60


def test_every_layer_of_both_tunnels_is_up(result: dict[str, Any]) -> None:
    assert set(result["tunnels"]) == {"dc-a", "dc-b"}
    for tunnel in result["tunnels"].values():
        assert [tunnel[layer] for layer in ("ike", "esp", "gre", "bgp")] == ["up"] * 4
        after = tunnel["up_after_ms"]
        assert 0 < after["ike"] <= after["esp"] <= after["gre"] <= after["bgp"]


def test_pings_and_tcp_crossed_both_tunnels(result: dict[str, Any]) -> None:
    for tunnel in result["tunnels"].values():
        assert 0 < tunnel["ping_ms"] < 1000
        assert 0 < tunnel["lan_ping_ms"] < 1000
        assert tunnel["throughput_mbps"] > 1


def test_the_lan_reaches_a_through_b_while_a_is_cut_off(result: dict[str, Any]) -> None:
    failover = result["failover"]
    assert failover["through"] == "dc-b"
    # Three keepalives of one second have to be missed, and no tunnel may need much longer than that.
    assert 2000 < failover["outage_ms"] < 6000
    assert failover["packets_lost"] == pytest.approx(failover["outage_ms"] / 5, rel=0.1)
    assert failover["packets_lost"] < failover["packets_sent"]


def test_traffic_comes_back_to_a_without_an_outage_to_speak_of(result: dict[str, Any]) -> None:
    failback = result["failback"]
    assert failback["through"] == "dc-a"
    assert failback["outage_ms"] < 1000
    assert failback["packets_sent"] > 0
    assert 0 < failback["tunnel_after_ms"] < 30_000


def test_without_tunnels_the_region_is_unreachable(result: dict[str, Any]) -> None:
    assert result["fail_closed"]["packets_refused"] > 50


def test_nothing_leaked(result: dict[str, Any]) -> None:
    assert result["cleartext_leaked_packets"] == 0
    assert result["encrypted_packets"] > 1000


def test_progress_goes_to_stderr_as_plain_lines(finished: subprocess.CompletedProcess[str]) -> None:
    for name in ("dc-a", "dc-b"):
        for layer in ("ike", "esp", "gre", "bgp"):
            assert f"s  {name} {layer} up after " in finished.stderr
    assert "\x1b" not in finished.stderr


def test_ctrl_c_behind_a_nat_leaves_nothing_behind() -> None:
    require_netns()
    require_program("nft")
    before = host_network()
    lab = subprocess.Popen(
        command("--nat"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    with lab:
        assert lab.stdout is not None
        for line in lab.stdout:
            if "TCP from the LAN through dc-a" in line:
                break
        lab.send_signal(signal.SIGINT)
        _, errors = lab.communicate(timeout=30)
    assert errors == "vcstack lab: ended by SIGINT, everything is removed\n"
    assert lab.returncode == 130
    assert traces(lab.pid) == []
    assert host_network() <= before
