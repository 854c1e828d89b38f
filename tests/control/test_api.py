from __future__ import annotations

import asyncio
import json
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from vcstack.control import api
from vcstack.control.api_server import AlreadyRunningError, CannotServeError, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def refuse(request: Mapping[str, Any]) -> object:
    raise ValueError(f"no tunnel {request['tunnel']}")


def broken(_: Mapping[str, Any]) -> object:
    raise RuntimeError("a bug")


COMMANDS: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "echo": lambda request: {"heard": request.get("text")},
    "refuse": refuse,
    "broken": broken,
    "large": lambda _: "x" * 300_000,
}


def served(path: Path, client: Callable[[], Any]) -> Any:
    """Run `client` on a thread while a server listens, and return its result."""

    async def run() -> Any:
        server = Server(path, COMMANDS)
        server.claim()
        await server.open()
        try:
            return await asyncio.to_thread(client)
        finally:
            await server.close()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def raw(path: Path, data: bytes) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(data)
        return json.loads(connection.makefile().readline())


def test_a_command_gets_its_answer(path: Path) -> None:
    assert served(path, lambda: api.ask(path, "echo", {"text": "hello"})) == {"heard": "hello"}


def test_a_large_answer_arrives_whole(path: Path) -> None:
    assert len(served(path, lambda: api.ask(path, "large"))) == 300_000


def test_a_commands_value_error_is_the_callers(path: Path) -> None:
    with pytest.raises(api.RefusedError, match="no tunnel dc-z"):
        served(path, lambda: api.ask(path, "refuse", {"tunnel": "dc-z"}))


@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b"null\n", b'{"command": 5}\n', b'{"command": "nonsense"}\n']
)
def test_nonsense_is_answered_with_an_error(path: Path, line: bytes) -> None:
    assert served(path, lambda: raw(path, line))["ok"] is False


def test_a_fault_of_ours_is_answered_and_the_next_question_too(path: Path) -> None:
    def twice() -> Any:
        with pytest.raises(api.RefusedError, match="a bug"):
            api.ask(path, "broken")
        return api.ask(path, "echo")

    assert served(path, twice) == {"heard": None}


def test_the_socket_is_for_its_owner_alone_and_goes_away(path: Path) -> None:
    assert stat.S_IMODE(served(path, path.stat).st_mode) == 0o600
    assert not path.exists()


def test_a_second_daemon_is_refused_and_the_first_lives_on(path: Path) -> None:
    def second() -> Any:
        with pytest.raises(AlreadyRunningError, match=str(path)):
            Server(path, {}).claim()
        return api.ask(path, "echo", {"text": "still here"})

    assert served(path, second) == {"heard": "still here"}


def test_a_stale_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(api.UnreachableError, match="no vcstack is running"):
        api.ask(path, "echo")
    assert served(path, lambda: api.ask(path, "echo")) == {"heard": None}


def test_no_daemon_is_said_plainly(path: Path) -> None:
    with pytest.raises(api.UnreachableError, match="no vcstack is running"):
        api.ask(path, "echo")


def test_a_directory_that_cannot_be_made_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotServeError, match=r"Not a directory|File exists"):
        Server(tmp_path / "file" / "control.sock", {}).claim()


@pytest.mark.parametrize("name", ["x" * 120, "taken"])
def test_a_socket_that_cannot_be_made_is_said_plainly(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").mkdir()
    server = Server(tmp_path / name, COMMANDS)

    async def run() -> None:
        server.claim()
        try:
            await server.open()
        finally:
            server.release()

    with pytest.raises(CannotServeError, match=r"control socket .*: (Is a directory|AF_UNIX path too long)"):
        asyncio.run(run())
