from __future__ import annotations

import asyncio

from vcstack.io.driver import Driver
from vcstack.wire.deadline import Deadline


class Metronome:
    """Wants to be woken every 10 ms, `beats` times."""

    def __init__(self, beats: int, fault_at: int = -1) -> None:
        self.beats = beats
        self.fault_at = fault_at
        self.due = 0.0
        self.done = 0

    def start(self, now: float) -> None:
        self.due = now + 0.01

    def handle_timeout(self, now: float) -> None:
        if self.done == self.fault_at:
            raise RuntimeError("broken spring")
        if now >= self.due and self.done < self.beats:
            self.done += 1
            self.due += 0.01

    def next_timeout(self) -> Deadline | None:
        return Deadline(self.due, "beat") if self.due > 0 and self.done < self.beats else None


def run(machine: Metronome) -> tuple[list[int], list[Exception]]:
    drained: list[int] = []
    failures: list[Exception] = []

    async def main() -> None:
        driver = Driver(machine, lambda: drained.append(machine.done), failures.append)
        driver.call(machine.start)
        await asyncio.sleep(0.12)
        driver.close()

    asyncio.run(main())
    return drained, failures


def test_the_timer_follows_the_machines_deadline() -> None:
    drained, failures = run(Metronome(beats=3))
    assert drained == [0, 1, 2, 3]
    assert failures == []


def test_a_fault_stops_the_machine_and_is_reported_once() -> None:
    drained, failures = run(Metronome(beats=5, fault_at=2))
    assert drained == [0, 1, 2]
    assert [str(failure) for failure in failures] == ["broken spring"]


def test_a_call_from_drain_is_drained_by_the_outer_call() -> None:
    machine = Metronome(beats=0)
    inputs: list[str] = []
    depth: list[int] = []

    def drain() -> None:
        depth.append(1)
        assert sum(depth) == 1
        if len(inputs) < 2:
            driver.call(lambda _: inputs.append("inner"))
        depth.pop()

    driver = Driver(machine, drain, lambda _: None)
    driver.call(lambda _: inputs.append("outer"))
    assert inputs == ["outer", "inner"]
