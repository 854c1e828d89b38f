"""A smoke of the suite: seconds long, no figure is judged."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from benchmarks.netns import measures
from benchmarks.netns.contenders.vcstack import Vcstack
from benchmarks.netns.contenders.veth import Veth
from benchmarks.netns.generator import LATE_NS
from benchmarks.netns.network import Field
from benchmarks.netns.results import DELAYS, OWN, THROUGHPUT, Results
from benchmarks.netns.suite import Suite
from tests.support.netns import python, require_netns, require_program, wait_until
from vcstack.lab.namespaces import MOUNTS, environment

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def _requirements() -> None:
    require_netns()
    require_program("iperf3")


def left(pid: int) -> list[str]:
    return [path.name for path in MOUNTS.glob(f"vcbench-{pid}-*")]


def test_one_run_measures_everything_and_leaves_nothing(tmp_path: Path) -> None:
    results, said = Results(), list[str]()
    suite = Suite(tmp_path, measures.SMOKE, results, said.append)
    suite.run([Vcstack(udp=True), Veth()], 1)
    assert set(results.samples["vcstack"]) == {*THROUGHPUT, *DELAYS, *OWN}, said
    assert set(results.samples["plain veth"]) == {*THROUGHPUT, *DELAYS} - {"two_mbps", "cpu_s_per_gb"}, said
    assert all(
        value > 0 for one in results.samples.values() for runs in one.values() for value in runs.values()
    )
    assert left(os.getpid()) == []
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_swept(tmp_path: Path) -> None:
    results, said = Results(), list[str]()
    Suite(tmp_path, measures.SMOKE, results, said.append).sweep([Veth()], (64, 1400))
    assert set(results.sweep["plain veth"]) == {64, 1400}, said


def test_what_is_lost_is_counted(tmp_path: Path) -> None:
    with Field(tmp_path) as field:
        Veth().start(field)
        with measures.Generator(field) as generator:
            before = generator.trial(2000, 200, 0.2)
            field.far.run("nft", "add table ip t")
            field.far.run("nft", "add chain ip t in { type filter hook input priority 0 ; }")
            field.far.run("nft", "add rule ip t in udp dport 9000 ip saddr 10.88.0.64/26 drop")
            after = generator.trial(2000, 200, 0.2)
    assert before.lost == 0
    assert before.p50_us <= before.p99_us < LATE_NS / 1000
    assert 0.3 < after.lost / after.sent < 0.7  # 64 of 128 flows


def test_a_failing_contender_does_not_stop_the_others(tmp_path: Path) -> None:
    class Broken(Veth):
        name = "broken"

        def start(self, field: Field) -> dict[str, float]:
            field.far.run("false")
            return {}

    results, said = Results(), list[str]()
    Suite(tmp_path, measures.SMOKE, results, said.append).run([Broken(), Veth()], 1)
    assert "failed" in said[0]
    assert results.values("plain veth", "tcp_mbps")
    assert left(os.getpid()) == []


def test_ctrl_c_leaves_nothing_behind() -> None:
    command = python("-m", "benchmarks.netns", "--quick", "--only", "vcstack", "--runs", "1")
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: len(left(process.pid)) == 3, 20, "the namespaces")
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert left(process.pid) == []
