"""`vcstack show`: its views, its filter, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli import samples
from vcstack.cli.show import VIEWS, show
from vcstack.control import api

ANSWERS: dict[str, Any] = {
    "ikev2": {"dc-a": samples.IKEV2_UP, "dc-b": samples.IKEV2_REFUSED},
    "ipsec": {"dc-a": samples.IPSEC_UP, "dc-b": samples.IPSEC_REFUSED},
    "tunnel": {"dc-a": samples.TUNNEL_UP, "dc-b": samples.TUNNEL_DOWN},
    "bgp": {"dc-a": samples.BGP_UP, "dc-b": samples.BGP_REFUSED},
    "routes": samples.ROUTES,
}


@pytest.fixture(autouse=True)
def daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(path: Path, command: str, arguments: dict[str, Any]) -> Any:
        assert command == "show"
        if path == Path("/absent"):
            raise api.UnreachableError("no vcstack is running with control socket /absent")
        return ANSWERS[arguments["what"]]

    monkeypatch.setattr(api, "ask", ask)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(show, arguments)


def test_without_a_view_the_views_are_listed() -> None:
    result = run()
    assert result.exit_code == 0
    assert [line.split()[2] for line in result.output.splitlines()] == list(VIEWS) == list(ANSWERS)


@pytest.mark.parametrize("what", VIEWS)
def test_each_view_has_text_and_json(what: str) -> None:
    text, as_json = run(what), run(what, "--json")
    assert text.exit_code == as_json.exit_code == 0
    assert "dc-a" in text.output
    assert json.loads(as_json.output) == ANSWERS[what]


@pytest.mark.parametrize("what", VIEWS)
def test_a_tunnel_can_be_picked(what: str) -> None:
    text, as_json = run(what, "dc-a"), run(what, "dc-a", "--json")
    assert text.exit_code == as_json.exit_code == 0
    assert "dc-b" not in text.output
    picked = json.loads(as_json.output)
    if what == "routes":
        assert [route["prefix"] for route in picked] == ["10.77.0.0/24", "10.77.0.0/25"]
    else:
        assert picked == {"dc-a": ANSWERS[what]["dc-a"]}


def test_an_unknown_tunnel_is_a_usage_error_that_names_the_known_ones() -> None:
    result = run("bgp", "dc-c")
    assert result.exit_code == 2
    assert result.output == "vcstack: no tunnel dc-c: dc-a or dc-b is expected\n"


def test_an_unknown_view_is_a_usage_error_that_names_the_known_ones() -> None:
    result = run("nonsense")
    assert result.exit_code == 2
    for what in VIEWS:
        assert what in result.output


def test_without_a_daemon_there_is_one_line_and_status_3() -> None:
    result = run("bgp", "--socket", "/absent")
    assert result.exit_code == 3
    assert result.output == "vcstack: no vcstack is running with control socket /absent\n"


def test_all_shows_counters_that_are_zero() -> None:
    assert "gre_drop_key_mismatch" not in run("tunnel").output
    assert "gre_drop_key_mismatch" in run("tunnel", "--all").output
    assert "CREATE_CHILD_SA" in run("ikev2", "--all").output
