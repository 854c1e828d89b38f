"""The log on stderr: one write for each line, and a full disk disturbs nobody."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vcstack.control import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Descriptor 2, put back afterwards, and the logger too."""
    for name, value in (("handlers", []), ("propagate", True), ("level", logging.NOTSET)):
        monkeypatch.setattr(logging.getLogger("vcstack"), name, value)
    kept = os.dup(2)
    yield 2
    os.dup2(kept, 2)
    os.close(kept)


def test_lines_carry_level_and_text(stderr: int, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        os.dup2(file.fileno(), stderr)
        log.configure("info")
        log.get("state").info("dc-a ike up")
        log.get("state").debug("too fine")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.endswith("INFO dc-a ike up")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_costs_the_line_and_nothing_else(stderr: int, tmp_path: Path) -> None:
    log.configure("info")
    with Path("/dev/full").open("w") as full:
        os.dup2(full.fileno(), stderr)
        log.get().info("lost")
    with (tmp_path / "log").open("w") as file:
        os.dup2(file.fileno(), stderr)
        log.get().info("there is room again")
    assert [line.split("INFO ")[1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "there is room again"
    ]
