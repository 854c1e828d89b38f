"""Which of rtnetlink's messages concern us: built by hand, and the kernel's own in a namespace."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.netns import Network, python, wait_until
from vcstack.io.monitor import concerns_us
from vcstack.io.netlink import PROTOCOL

if TYPE_CHECKING:
    from pathlib import Path

NEWLINK, NEWROUTE, DELROUTE, NEWRULE, DELRULE, NEWNEIGH = 16, 24, 25, 32, 33, 28
REPLACE, CREATE = 0x100, 0x400
BOOT = 3


def message(kind: int, flags: int = 0, protocol: int = 0, length: int = 24) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, length, 0, 0, 254, protocol, 0, 1, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(NEWLINK), True),
        (message(DELROUTE, protocol=PROTOCOL), True),
        (message(DELROUTE, protocol=BOOT), False),
        (message(NEWROUTE, CREATE, BOOT), False),
        (message(NEWROUTE, REPLACE, BOOT), True),
        (message(NEWROUTE, REPLACE, PROTOCOL), False),
        (message(NEWROUTE, CREATE, BOOT, length=0), True),
        (message(NEWROUTE, CREATE, PROTOCOL, length=0), False),
        (message(NEWROUTE, REPLACE, BOOT)[:20], False),
        (message(DELRULE), True),
        (message(NEWRULE), False),
        (message(NEWNEIGH), False),
        (message(NEWNEIGH) + message(NEWLINK), True),
        (message(NEWLINK)[:10], False),
        (bytes(32), False),
        (b"", False),
    ],
)
def test_only_what_may_have_taken_ours_away_counts(data: bytes, expected: bool) -> None:
    assert concerns_us(data) is expected


WATCH = """
import asyncio, sys
from vcstack.io.monitor import Monitor
async def main():
    monitor = Monitor(lambda: print("disturbed", flush=True))
    monitor.open()
    print("ready", flush=True)
    await asyncio.sleep(30)
asyncio.run(main())
"""


@pytest.mark.netns
def test_the_kernel_tells_and_a_burst_is_told_once_in_a_while(tmp_path: Path) -> None:
    with Network() as network:
        host = network.namespace("host")
        host.ip("route", "add", "unreachable", "10.77.0.0/24", "metric", "4196", "proto", str(PROTOCOL))
        seen = tmp_path / "seen"
        with seen.open("w") as output:
            host.spawn(*python("-c", WATCH), output=output)
        wait_until(lambda: "ready" in seen.read_text(), 10, "the monitor")
        host.ip("route", "add", "unreachable", "192.0.2.0/24", "proto", "boot")
        host.ip("route", "delete", "unreachable", "192.0.2.0/24")
        assert "disturbed" not in seen.read_text()
        host.ip("route", "flush", "proto", str(PROTOCOL))
        wait_until(lambda: "disturbed" in seen.read_text(), 5, "the loss to be told")
        started = time.monotonic()
        for number in range(10):
            host.ip("address", "add", f"192.0.2.{number}/32", "dev", "lo")
        assert seen.read_text().count("disturbed") <= 2 + (time.monotonic() - started) / 0.5
