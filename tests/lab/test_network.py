"""The lab's network without vcstack in it: plain routing, the cut, the sniffer, and what is left of it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import REPOSITORY, require_netns, require_program, wait_until
from vcstack.lab import namespaces, registry
from vcstack.lab.failover import cut_commands, restore_commands
from vcstack.lab.namespaces import LabError, inside
from vcstack.lab.plan import CPE_PUBLIC, DC_A, DC_B, Plan
from vcstack.lab.registry import State
from vcstack.lab.sniffer import Sniffer

pytestmark = pytest.mark.netns


@pytest.fixture
def claim() -> Iterator[registry.Claim]:
    require_netns()
    claimed = registry.claim()
    try:
        yield claimed
    finally:
        claimed.remove()
        claimed.release()


def build(claim: registry.Claim, *, nat: bool = False) -> Plan:
    plan = Plan(claim.number, nat=nat)
    for _ in namespaces.build(plan):
        pass
    return plan


def reaches(plan: Plan, node: str, destination: object) -> bool:
    command = ("ping", "-n", "-q", "-c", "1", "-W", "1", str(destination))
    try:
        namespaces.run(*inside(plan.namespace(node)), *command)
    except LabError:
        return False
    return True


def test_data_centres_and_cpe_meet_on_the_internet_and_hosts_over_the_backbone(claim: registry.Claim) -> None:
    plan = build(claim)
    assert reaches(plan, "cpe", DC_A.wan.ip)
    assert reaches(plan, "cpe", DC_B.wan.ip)
    assert reaches(plan, "host-a", DC_B.host.ip)
    assert not reaches(plan, "lan", DC_A.host.ip)


def test_the_nat_hides_the_cpe(claim: registry.Claim) -> None:
    require_program("nft")
    plan = build(claim, nat=True)
    program = (*namespaces.python("-m", "vcstack.lab.programs.host"), str(DC_A.wan.ip), "9")
    command = (*inside(plan.namespace("dc-a")), *program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as host:
        assert host.stdout is not None
        host.stdout.readline()
        with namespaces.made_inside(
            plan.namespace("cpe"), lambda: socket.create_connection((str(DC_A.wan.ip), 9), 5)
        ):
            shown = namespaces.run("ip", "netns", "exec", plan.namespace("dc-a"), "ss", "-tnH")
        host.kill()
    assert f"{CPE_PUBLIC.ip}:" in shown


def test_the_cut_is_silent_and_leaves_the_link_up(claim: registry.Claim) -> None:
    plan = build(claim)
    for command in cut_commands(plan):
        namespaces.run(*command)
    said = subprocess.run(
        (*inside(plan.namespace("cpe")), "ping", "-n", "-c", "1", "-W", "1", str(DC_A.wan.ip)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert "nreachable" not in said.stdout + said.stderr
    (link,) = json.loads(
        namespaces.run("ip", "-n", plan.namespace("dc-a"), "-j", "link", "show", "dev", "wan")
    )
    assert link["operstate"] == "UP"
    assert reaches(plan, "cpe", DC_B.wan.ip)
    for command in restore_commands(plan):
        namespaces.run(*command)
    assert reaches(plan, "cpe", DC_A.wan.ip)


def test_the_sniffer_counts_each_cleartext_packet_once_also_during_the_cut(claim: registry.Claim) -> None:
    plan = build(claim)
    with Sniffer(plan.namespace("internet")) as sniffer:
        assert reaches(plan, "cpe", DC_A.wan.ip)
        assert sniffer.leaked() == 0
        send_udp(plan, str(DC_A.host.ip), 9, 5)
        assert wait_until(sniffer.leaked, 2, "cleartext") == 5
        for command in cut_commands(plan):
            namespaces.run(*command)
        send_udp(plan, str(DC_A.host.ip), 9, 2)
        assert sniffer.leaked() == 7
        assert sniffer.samples()[0] == f"192.168.50.10 > {DC_A.host.ip} protocol 17"
        assert sniffer.encrypted() == 0
        send_udp(plan, str(DC_B.wan.ip), 4500, 3)
        assert sniffer.encrypted() == 3


def send_udp(plan: Plan, destination: str, port: int, count: int) -> None:
    with namespaces.made_inside(
        plan.namespace("lan"), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ) as sender:
        for _ in range(count):
            sender.sendto(b"in clear", (destination, port))
    time.sleep(0.1)


def test_a_running_lab_is_not_a_leftover(claim: registry.Claim) -> None:
    build(claim)
    assert registry.labs()[claim.number] is State.RUNNING
    assert claim.number not in registry.remove(State.LEFT_OVER, State.RUNNING)
    assert namespaces.existing(claim.number)


def test_a_kept_lab_stays_until_it_is_asked_to_go() -> None:
    require_netns()
    claim = registry.claim()
    try:
        build(claim)
        claim.keep()
        claim.release()
        assert registry.labs()[claim.number] is State.KEPT
        assert claim.number not in registry.remove(State.LEFT_OVER)
        assert claim.number in registry.remove(State.KEPT)
    finally:
        claim.remove()
    assert namespaces.existing(claim.number) == []
    assert not claim.folder.exists()


def test_what_a_killed_lab_left_is_removed_with_its_processes(tmp_path: Path) -> None:
    require_netns()
    ready = tmp_path / "ready"
    script = f"""
import pathlib, signal
from tests.lab.test_network import build
from vcstack.lab import namespaces, registry
claim = registry.claim()
plan = build(claim)
sleeper = namespaces.spawn(plan.namespace("cpe"), "sleep", "1000", output=open("/dev/null", "wb"))
fresh = pathlib.Path({str(ready)!r} + ".new")
fresh.write_text(f"{{claim.number}} {{sleeper.pid}}")
fresh.replace({str(ready)!r})
signal.pause()
"""
    with subprocess.Popen((sys.executable, "-c", script), cwd=REPOSITORY) as lab:
        wait_until(ready.exists, 20, "the lab to stand")
        number, sleeper = map(int, ready.read_text().split())
        lab.send_signal(signal.SIGKILL)
    assert registry.labs()[number] is State.LEFT_OVER
    assert number in registry.remove(State.LEFT_OVER)
    assert namespaces.existing(number) == []
    assert not Path(f"/proc/{sleeper}/cmdline").exists() or not Path(f"/proc/{sleeper}/cmdline").read_bytes()
