from __future__ import annotations

import subprocess

import pytest

from tests.support.netns import Network, python, require_netns, sweep

pytestmark = pytest.mark.netns


def test_two_namespaces_reach_each_other_and_leave_nothing() -> None:
    with Network() as network:
        left, right = network.namespace("left"), network.namespace("right")
        network.link(left, "eth0", right, "eth0")
        left.address("eth0", "192.0.2.1/24")
        right.address("eth0", "192.0.2.2/24")
        assert left.ping("192.0.2.2")
        process = right.spawn(*python("-c", "import time; time.sleep(60)"))
        names = (left.name, right.name)
    assert process.returncode is not None
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(name in listed for name in names)


def test_what_a_killed_test_process_left_is_swept_away() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = f"vct-{dead.pid}-1-left"
    require_netns()
    subprocess.run(["ip", "netns", "add", name], check=True)
    left = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "60"])
    with Network() as network:
        alive = network.namespace("alive")
        assert name in sweep()
        assert alive.pids() == []
    assert left.wait(5) != 0
