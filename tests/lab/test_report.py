"""The report, its JSON, and the summary in words."""

import io

import pytest
from rich.console import Console

from vcstack.lab.bringup import down
from vcstack.lab.display import Display
from vcstack.lab.outage import Outage
from vcstack.lab.report import LAYERS, Move, Report
from vcstack.lab.traffic import mean_round_trip

PING = """\
PING 10.77.0.10 (10.77.0.10) 56(84) bytes of data.

--- 10.77.0.10 ping statistics ---
5 packets transmitted, {received} received, 0% packet loss, time 803ms
rtt min/avg/max/mdev = 1.827/4.626/8.763/2.123 ms
"""


@pytest.fixture
def report() -> Report:
    made = Report(1, nat=False, keepalive_s=1.0)
    for tunnel in made.tunnels.values():
        tunnel.layers = dict.fromkeys(LAYERS, "up")
        tunnel.ping_ms, tunnel.lan_ping_ms, tunnel.throughput_mbps = 1.25, 2.5, 251.4
    made.failover = Move(Outage(3105.2, 621, 900), 3110.0, 3100.0, "dc-b")
    made.failback = Move(Outage(0.0, 0, 400), 900.0, 890.0, "dc-a")
    made.leaked, made.encrypted = 0, 12345
    return made


def summary(report: Report) -> str:
    text = io.StringIO()
    Display(Console(file=text, width=80)).summary(report)
    return text.getvalue()


def test_a_run_in_which_all_held(report: Report) -> None:
    assert report.ok
    assert report.as_json()["tunnels"]["dc-a"]["bgp"] == "up"
    assert report.as_json()["failover"]["outage_ms"] == 3105.2
    assert "all of it held" in summary(report)
    assert "failover  LAN to 10.77.0.0/25 through dc-b: outage 3105 ms, 621 of 900 packets lost" in summary(
        report
    )


def test_one_failed_expectation_is_named_and_not_ok(report: Report) -> None:
    assert not report.expect(held=False, otherwise="ping LAN to A: not every echo came back")
    assert not report.ok
    assert report.as_json()["failures"] == ["ping LAN to A: not every echo came back"]
    assert "failed: ping LAN to A: not every echo came back" in summary(report)
    assert "all of it held" not in summary(report).replace("not all of it held", "")


def test_an_empty_report_says_what_was_not_measured() -> None:
    empty = Report(1, nat=True, keepalive_s=1.0)
    empty.expect(held=False, otherwise="no network")
    text = summary(empty)
    assert "failover  not measured" in text
    assert "not counted" in text
    assert empty.as_json()["cleartext_leaked_packets"] is None


def test_a_failure_longer_than_the_screen_stays_on_one_line(report: Report) -> None:
    report.expect(held=False, otherwise="x" * 200)
    assert f"failed: {'x' * 200}\n" in summary(report)


def test_a_ping_counts_only_when_every_echo_came_back() -> None:
    assert mean_round_trip(PING.format(received=5)) == 4.626
    assert mean_round_trip(PING.format(received=4)) is None
    assert mean_round_trip("connect: Network is unreachable") is None


def test_layers_that_are_down_are_named_with_their_reason() -> None:
    layers = {layer: {"state": "up", "reason": ""} for layer in LAYERS}
    layers["ike"] = {"state": "connecting", "reason": "starting", "last_error": "AUTHENTICATION_FAILED"}
    layers["gre"] = {"state": "down", "reason": "no child SA yet"}
    assert down({"tunnels": {"dc-a": layers}}) == [
        "dc-a ike connecting: AUTHENTICATION_FAILED",
        "dc-a gre down: no child SA yet",
    ]
    assert down(None) == ["the CPE does not answer"]
