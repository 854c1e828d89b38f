"""The forwarder's process as control sees it: started, spoken to over its channel, watched.

The TUN and the counters belong to control, which hands their descriptors down: an interface, its routes and
its counters survive the process that serves them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from vcstack.io import channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.io.channel import Command, ControlEnd, Report

_INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "LANG")
"""Of the environment; secrets that the configuration takes from it stay here."""
_OWN = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's linear algebra, which nobody uses here, would start a thread per processor."""
_STOP_S = 1.0


class ForwarderProcess:
    """One worker. `received` gets its reports; `died` is told once, why, unless `stop` was called."""

    def __init__(self, received: Callable[[Report], None], died: Callable[[str], None]) -> None:
        self._received = received
        self._died = died
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: ControlEnd | None = None
        self._pidfd = -1
        self._writing = False

    @property
    def pid(self) -> int | None:
        """The process, or None when none runs."""
        return self._process.pid if self._process is not None else None

    def start(self, tun: int, counters: int) -> None:
        """Start the process with these descriptors. OSError when the system has no room for it."""
        control, theirs = channel.pair()
        inherited = {"--channel-fd": theirs.fileno(), "--tun-fd": tun, "--counters-fd": counters}
        arguments = [f"{name}={number}" for name, number in inherited.items()]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, and numbers)
                [sys.executable, "-m", "vcstack.io.worker", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(inherited.values()),
                start_new_session=True,  # the terminal's Ctrl-C is for control, which stops in order
                env={name: os.environ[name] for name in _INHERITED if name in os.environ} | _OWN,
            )
        self._channel = control
        self._pidfd = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(control.fileno(), self._readable)
        loop.add_reader(self._pidfd, self._exited)

    def send(self, *commands: Command) -> None:
        """Send commands, in order; into the void while no process runs."""
        if self._channel is None:
            return
        with contextlib.suppress(channel.ChannelClosed):  # its end is reported by the process watcher
            self._channel.send(*commands)
        self._watch_writable()

    async def stop(self) -> None:
        """End the process: politely, then by force."""
        if self._process is None:
            return
        self.send(channel.Stop())
        process = self._process
        asyncio.get_running_loop().remove_reader(self._pidfd)
        try:
            await asyncio.to_thread(process.wait, _STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._release()

    def _readable(self) -> None:
        if self._channel is None:
            return
        try:
            reports = self._channel.receive()
        except channel.ChannelClosed:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            return
        for report in reports:
            self._received(report)

    def _watch_writable(self) -> None:
        if self._channel is None or self._channel.wants_write == self._writing:
            return
        loop = asyncio.get_running_loop()
        self._writing = self._channel.wants_write
        if self._writing:
            loop.add_writer(self._channel.fileno(), self.send)
        else:
            loop.remove_writer(self._channel.fileno())

    def _exited(self) -> None:
        assert self._process is not None, "watched while it runs"
        status = self._process.wait()
        while self._channel is not None and self._drain_last_reports():
            pass
        self._release()
        self._died(_end_of(status))

    def _drain_last_reports(self) -> bool:
        """Read what it said before it ended; False at the end."""
        assert self._channel is not None, "not yet released"
        try:
            reports = self._channel.receive()
        except channel.ChannelClosed:
            return False
        for report in reports:
            self._received(report)
        return bool(reports)

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        if self._channel is not None:
            loop.remove_reader(self._channel.fileno())
            loop.remove_writer(self._channel.fileno())
            self._channel.close()
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._process, self._channel, self._pidfd, self._writing = None, None, -1, False


def _end_of(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    return f"it was killed by {signal.Signals(-status).name}"
