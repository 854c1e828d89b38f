"""The longest silence that a host notices, by pings fifty times a second."""

from __future__ import annotations

import itertools
import re
import signal
from typing import TYPE_CHECKING, Self

from tests.support.netns import wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.netns import Namespace

_EVERY_S = 0.02
_STOP_S = 10.0
_ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from", re.MULTILINE)


class Outage:
    """Pings `destination` inside the `with`; afterwards `longest_s` is the longest time without an answer."""

    def __init__(self, namespace: Namespace, destination: str, directory: Path) -> None:
        self._namespace = namespace
        self._destination = destination
        self._output = directory / f"ping-{destination}"
        self._process: subprocess.Popen[str] | None = None
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        with self._output.open("w") as output:
            command = ("ping", "-n", "-D", "-i", str(_EVERY_S), "-W", "1", self._destination)
            self._process = self._namespace.spawn(*command, output=output)
        wait_until(lambda: _ANSWER.search(self._output.read_text()), _STOP_S, "the first answer")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_STOP_S)
        answered = [float(text) for text in _ANSWER.findall(self._output.read_text())]
        assert len(answered) > 1, "nothing was answered"
        self.longest_s = max(later - earlier for earlier, later in itertools.pairwise(answered))
