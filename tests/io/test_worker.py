"""The worker's loop with its forwarder replaced."""

from __future__ import annotations

import gc
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from vcstack.io import channel
from vcstack.io.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator


class Forwarder:
    """Remembers what it was told."""

    transport = None
    stopped = False

    def __init__(self) -> None:
        self.commands: list[channel.Command] = []

    def apply(self, command: channel.Command, _: float) -> None:
        self.commands.append(command)
        self.stopped = isinstance(command, channel.Stop)

    def next_timeout(self) -> None:
        """Nothing is due."""

    def reports_to_send(self) -> list[channel.Report]:
        return []


@pytest.fixture
def collector() -> Iterator[None]:
    """The worker freezes what there is and switches the collector off."""
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_a_ping_is_answered_by_the_loop_before_and_while_it_runs() -> None:
    control, theirs = channel.pair()
    idle, other_end = os.pipe()
    forwarder = Forwarder()
    tun: Any = SimpleNamespace(fileno=lambda: idle, name="vc0", control_queue=-1)
    handed: Any = forwarder
    worker = Worker(channel.ForwarderEnd(theirs), tun, handed)
    worker.start([channel.Ping()], 0.0)
    assert control.receive() == [channel.Pong()]
    control.send(channel.Ping(), channel.Stop())
    worker.run()
    assert control.receive() == [channel.Pong()]
    assert forwarder.commands == [channel.Stop()]
    for descriptor in (idle, other_end):
        os.close(descriptor)
