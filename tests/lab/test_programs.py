"""The programs of the hosts, over the loopback."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.netns import REPOSITORY
from vcstack.lab import pattern
from vcstack.lab.outage import Flow
from vcstack.lab.programs.send import send

LOOPBACK = "127.0.0.1"


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    name, *rest = arguments
    command = (sys.executable, "-m", f"vcstack.lab.programs.{name}", *rest)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        free: int = probe.getsockname()[1]
    with program("host", LOOPBACK, str(free)) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        yield free


def test_the_sink_counts_and_checks_what_is_sent(port: int) -> None:
    answer = json.loads(send(LOOPBACK, port, 0.2))
    assert answer["intact"] is True
    assert answer["bytes"] > 0
    assert answer["bytes"] % pattern.LENGTH == 0
    assert 0 < answer["seconds"] < 2


def test_the_sink_sees_one_wrong_byte(port: int) -> None:
    data = bytearray(pattern.BLOCK * 3)
    data[100_000] ^= 1
    with socket.create_connection((LOOPBACK, port), 5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile().readline())
    assert answer["bytes"] == len(data)
    assert answer["intact"] is False


def test_the_probe_and_the_echo_tell_the_hops_of_both_ways(port: int) -> None:
    flow = Flow()
    with program("probe", LOOPBACK, str(port), "200") as probe:
        assert probe.stdout is not None
        for _ in range(80):
            flow.feed(probe.stdout.readline())
    assert flow.settled(30, 0, since=0)
    assert flow.outage(0, float("inf")).sent >= 40


def test_the_pattern_is_known_at_every_position() -> None:
    stream = pattern.BLOCK * 3
    for position in (0, 1, 65_535, 65_536, 100_000):
        assert pattern.matches(stream[position : position + 70_000], position)
    assert not pattern.matches(stream[1:1000], 0)
