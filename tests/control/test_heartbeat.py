"""A forwarder that does not answer."""

from __future__ import annotations

from vcstack.control.heartbeat import MAX_MISSED, MAX_MISSED_AT_START, Heartbeat


class World:
    def __init__(self) -> None:
        self.pings = 0
        self.hung: list[str] = []
        self.heartbeat = Heartbeat(self._ping, self.hung.append)

    def _ping(self) -> None:
        self.pings += 1

    def beat(self, times: int, *, answered: bool = False) -> None:
        for _ in range(times):
            self.heartbeat.beat()
            if answered:
                self.heartbeat.answered()


def test_a_forwarder_that_answers_is_left_alone() -> None:
    world = World()
    world.beat(100, answered=True)
    assert world.pings == 100
    assert world.hung == []


def test_one_that_falls_silent_is_reported_once() -> None:
    world = World()
    world.beat(1, answered=True)
    world.beat(MAX_MISSED)
    assert world.hung == []
    world.beat(1)
    assert world.hung == [f"it answered none of {MAX_MISSED} questions in {MAX_MISSED} s"]
    world.beat(100)
    assert len(world.hung) == 1
    assert world.pings == MAX_MISSED + 2  # no questions into a queue that nobody reads


def test_a_late_answer_in_time_counts() -> None:
    world = World()
    world.beat(1, answered=True)
    for _ in range(20):
        world.beat(MAX_MISSED)
        world.heartbeat.answered()
    assert world.hung == []


def test_a_new_process_has_time_to_start() -> None:
    world = World()
    world.beat(MAX_MISSED_AT_START)
    assert world.hung == []
    world.heartbeat.answered()
    world.heartbeat.restart()
    world.beat(MAX_MISSED_AT_START)
    assert world.hung == []
    world.beat(1)
    assert len(world.hung) == 1
