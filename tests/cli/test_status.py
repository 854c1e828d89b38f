"""`vcstack status`: what it prints, and how it exits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.samples import STATUS
from vcstack.cli.status import status
from vcstack.control import api


def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    def ask(*_: object) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(api, "ask", ask)


def test_json_is_the_answer_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, STATUS)
    result = CliRunner().invoke(status, ["--json"])
    assert result.exit_code == 0
    assert json.loads(result.output) == STATUS


def test_text_elsewhere_than_on_a_terminal_has_whole_lines_and_no_colours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, STATUS)
    result = CliRunner().invoke(status, [])
    assert result.exit_code == 0
    assert "peer said AUTHENTICATION_FAILED in IKE_AUTH; next attempt in 00:00:18\n" in result.output
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [(api.UnreachableError("no vcstack is running"), 3), (api.RefusedError("not now"), 1)],
)
def test_failures_have_their_own_exit_status(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    answer(monkeypatch, error)
    result = CliRunner().invoke(status, [])
    assert result.exit_code == code
    assert result.output == f"vcstack: {error}\n"
