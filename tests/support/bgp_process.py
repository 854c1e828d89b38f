"""Starts tests.support.bgp_speaker in a namespace and reads what it says."""

from __future__ import annotations

import json
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.support.netns import REPOSITORY, Namespace, python

if TYPE_CHECKING:
    from collections.abc import Callable


class Speaker:
    """One speaker process; leaving the `with` ends it.

    `told` has every event, `events` those that nobody has waited for.
    """

    def __init__(self, namespace: Namespace, **values: Any) -> None:
        command = python("-m", "tests.support.bgp_speaker", json.dumps(values))
        self.events: list[tuple[str, str]] = []
        self.told: list[tuple[str, str]] = []
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        self._rest = b""
        self._answers: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def tell(self, command: str) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def snapshot(self) -> dict[str, Any]:
        """The peer's snapshot, with `tcp` and the last reset's text beside it."""
        self._answers.clear()
        self.tell("snapshot")
        answer = self._wait(lambda: self._answers[-1] if self._answers else None, 5.0, "a snapshot")
        return {**answer["snapshot"], "tcp": answer["tcp"], "reset_text": answer["reset"]}

    def wait_for(
        self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """Poll snapshots until one fulfils the condition."""
        end = time.monotonic() + timeout_s
        while True:
            snapshot = self.snapshot()
            if condition(snapshot):
                return snapshot
            if time.monotonic() > end:
                pytest.fail(f"in vain after {timeout_s} s: {snapshot}, events {self.events}")
            self._pump(0.05)

    def wait_event(self, kind: str, timeout_s: float = 10.0) -> str:
        """Wait for an event that has not been waited for, and return its text."""
        return str(self._wait(lambda: self._take(kind), timeout_s, f"the event {kind}"))

    def _take(self, kind: str) -> str | None:
        for at, (name, text) in enumerate(self.events):
            if name == kind:
                del self.events[: at + 1]
                return text
        return None

    def _wait(self, probe: Callable[[], Any], timeout_s: float, what: str) -> Any:
        end = time.monotonic() + timeout_s
        while (found := probe()) is None:
            if time.monotonic() > end:
                pytest.fail(f"waited {timeout_s} s in vain for {what}; events {self.events}")
            self._pump(0.1)
        return found

    def _pump(self, seconds: float) -> None:
        """Read lines for at most this long."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return
        data = self._process.stdout.read1(65536)  # type: ignore[attr-defined]  # a pipe's reader is buffered
        if not data:
            pytest.fail(f"the speaker has ended with {self._process.poll()}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            assert "bug" not in said, said
            if "event" in said:
                self.events.append((said["event"], said["text"]))
                self.told.append(self.events[-1])
            else:
                self._answers.append(said)
