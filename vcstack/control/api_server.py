"""The daemon's end of the control socket: a unix socket that takes one JSON line and answers with one.

Only the owner may connect (mode 0600). A lock beside the socket tells a running daemon from the socket file
that a killed one left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING, Any

from vcstack.control import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAX_REQUEST_BYTES = 1 << 16
_REQUEST_TIMEOUT_S = 10.0
_LOG = log.get("api")


class AlreadyRunningError(Exception):
    """Another daemon has this control socket."""


class CannotServeError(Exception):
    """The socket cannot be made; the text says why."""


class Server:
    """The daemon's end. `commands` maps a command to a function of its arguments whose result is JSON."""

    def __init__(self, path: Path, commands: Mapping[str, Callable[[Mapping[str, Any]], object]]) -> None:
        self._path = path
        self._commands = commands
        self._lock: int | None = None
        self._server: asyncio.Server | None = None

    @property
    def claimed(self) -> bool:
        """Whether the lock is ours."""
        return self._lock is not None

    def claim(self) -> None:
        """Take the lock, before anything else is touched. Raises AlreadyRunningError, CannotServeError."""
        lock_path = self._path.with_name(self._path.name + ".lock")
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise AlreadyRunningError(
                f"another vcstack is running with control socket {self._path}"
            ) from None
        except OSError as error:
            self.release()
            raise self._cannot_serve(error) from error

    async def open(self) -> None:
        """Listen. Raises CannotServeError."""
        assert self._lock is not None, "claimed first"
        old_mask = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # of a killed predecessor: the lock is ours
            self._server = await asyncio.start_unix_server(
                self._serve, str(self._path), limit=MAX_REQUEST_BYTES
            )
        except OSError as error:
            raise self._cannot_serve(error) from error
        finally:
            os.umask(old_mask)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Give the lock back. Its file stays: removing it would let two daemons lock different files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _cannot_serve(self, error: OSError) -> CannotServeError:
        return CannotServeError(f"control socket {self._path}: {error.strerror or error}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            line = await asyncio.wait_for(reader.readline(), _REQUEST_TIMEOUT_S)
            writer.write(json.dumps(self._answer(line), default=str).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), _REQUEST_TIMEOUT_S)
        writer.close()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"ok": False, "error": "the request is not JSON"}
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            return {"ok": False, "error": "the request is not an object with a command"}
        command = self._commands.get(request["command"])
        if command is None:
            return {"ok": False, "error": f"unknown command {request['command']}"}
        try:
            return {"ok": True, "result": command(request)}
        except ValueError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # noqa: BLE001 (a question must not disturb the tunnels)
            _LOG.error("%s: a fault of vcstack: %r", request["command"], error)
            return {"ok": False, "error": f"a fault of vcstack: {error!r}"}
