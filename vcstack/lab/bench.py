"""What every part of a run shares: the plan, the daemons, the display and the report."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vcstack.control import api
from vcstack.lab.namespaces import LabError, environment, inside, python, spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vcstack.lab.display import Display
    from vcstack.lab.plan import Plan
    from vcstack.lab.report import Report

_STOP_S = 5.0
_TAIL_LINES = 5


@dataclass(slots=True)
class Bench:
    """One run."""

    plan: Plan
    folder: Path
    display: Display
    report: Report
    daemons: dict[str, Daemon] = field(default_factory=dict)

    def start(self, node: str, file: Path) -> Daemon:
        """Start vcstack on a node."""
        self.daemons[node] = Daemon(self.plan.namespace(node), node, self.folder, file)
        return self.daemons[node]

    def namespace(self, node: str) -> str:
        """The namespace of a node."""
        return self.plan.namespace(node)

    @contextlib.asynccontextmanager
    async def child(self, node: str, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command on a node, its output in a pipe; killed at the end unless it has ended by itself."""
        process = await asyncio.create_subprocess_exec(
            *inside(self.namespace(node)),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=environment(),
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def output(self, node: str, *command: str) -> str:
        """What a command on a node prints until its end."""
        async with self.child(node, *command) as process:
            output, _ = await process.communicate()
        return output.decode(errors="replace").strip()


def program(name: str, *arguments: object) -> tuple[str, ...]:
    """The command line of one of `lab.programs`."""
    return python("-m", f"vcstack.lab.programs.{name}", *map(str, arguments))


class Daemon:
    """`vcstack up FILE` in a namespace, with its log in the lab's folder."""

    def __init__(self, namespace: str, node: str, folder: Path, file: Path) -> None:
        self.node = node
        self.socket = folder / f"{node}.sock"
        self.log = folder / f"{node}.log"
        with self.log.open("wb") as output:
            command = python("-m", "vcstack.cli.main", "up", str(file))
            self._process = spawn(namespace, *command, output=output)

    async def status(self) -> dict[str, Any] | None:
        """What `vcstack status` knows; None while nobody answers. Raises LabError when it has ended."""
        if self._process.poll() is not None:
            raise LabError(
                f"vcstack on {self.node} ended with status {self._process.returncode}: {self.tail()}"
            )
        try:
            answer: dict[str, Any] = await asyncio.to_thread(api.ask, self.socket, "status")
        except api.UnreachableError:
            return None
        return answer

    async def stop(self) -> int | None:
        """Ask it to end; its exit status, or None when it did not within 5 s."""
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.reap)
        return self._process.poll()

    def reap(self) -> None:
        """Wait for its end, at most 5 s."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return " | ".join(lines[-_TAIL_LINES:]) or "it said nothing"
