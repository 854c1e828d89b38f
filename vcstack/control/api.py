"""The command line's way to the running daemon: one JSON line out, one JSON line back.

{"command": "status"}            ->  {"ok": true, "result": {...}}
{"command": "nonsense"}          ->  {"ok": false, "error": "unknown command nonsense"}
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class UnreachableError(Exception):
    """No daemon answers on the socket; the text says why."""


class RefusedError(Exception):
    """The daemon answered with an error."""


def ask(
    path: Path, command: str, arguments: Mapping[str, object] | None = None, timeout_s: float = 5.0
) -> Any:
    """Ask the daemon behind `path`. Raises UnreachableError, RefusedError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps({**(arguments or {}), "command": command}).encode() + b"\n")
            answer = json.loads(_read_all(connection))
    except TimeoutError:
        raise UnreachableError(f"the daemon behind {path} does not answer") from None
    except PermissionError:
        raise UnreachableError(f"no right to use {path}: run as the user of the daemon") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise UnreachableError(f"no vcstack is running with control socket {path}") from None
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{path}: {error}") from None
    if not answer["ok"]:
        raise RefusedError(answer["error"])
    return answer["result"]


def _read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)
