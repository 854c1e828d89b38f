from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from vcstack.control.layers import Layer, State

if TYPE_CHECKING:
    import pytest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_change_restarts_the_time_and_a_new_reason_does_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="vcstack")
    clock = Clock()
    layer = Layer("dc-a", "gre", clock)
    clock.now = 110.0
    assert layer.become(State.UP, "keepalive returned")
    clock.now = 115.0
    assert not layer.become(State.UP, "keepalive returned")
    assert not layer.become(State.UP, "keepalive returned again")
    assert layer.report() == {"state": "up", "since_s": 5.0, "reason": "keepalive returned again"}
    assert layer.is_up
    assert [record.getMessage() for record in caplog.records] == [
        "dc-a gre up: keepalive returned",
        "dc-a gre up: keepalive returned again",
    ]
