"""What the command line prints, and how it exits, for a daemon's answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from vcstack.cli import render
from vcstack.cli import status as commands
from vcstack.control import api

if TYPE_CHECKING:
    from collections.abc import Callable

UP = {"state": "up", "since_s": 12.3, "reason": "fine"}
DOWN = {
    "state": "connecting",
    "since_s": 3.0,
    "reason": "no answer",
    "last_error": "peer said AUTHENTICATION_FAILED",
}
STATUS: dict[str, Any] = {
    "name": "branch-1",
    "role": "cpe",
    "since_s": 4000.0,
    "pid": 7,
    "warnings": ["net.ipv4.ip_forward is 0"],
    "tunnels": {
        "dc-a": {
            "prefix": "10.77.0.0/25",
            "interface": "vc-dc-a",
            "mtu": 1422,
            **dict.fromkeys(render.LAYERS, UP),
            "gre": UP | {"keepalives": {"sent": 3, "verdict": "the peer never sends one"}},
            "counters": {"outbound_packets": 5, "outbound_bytes": 5000, "inbound_drop_replay": 2},
        },
        "dc-b": {
            **dict.fromkeys(render.LAYERS, DOWN),
            "gre": DOWN | {"keepalives": None},
            "counters": {},
        },
    },
    "routes": [
        {"prefix": "10.77.0.0/24", "tunnel": None, "device": None, "metric": 4196, "table": 254, "best": True}
    ],
}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def give(result: Any) -> None:
        def ask(*_: object) -> Any:
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(api, "ask", ask)

    return give


def test_one_screen_names_every_layer_its_age_and_its_reason(
    answer: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    render.print_status(STATUS)
    text = capsys.readouterr().out
    assert "branch-1 (cpe), running for 1 h 6 min" in text
    assert "warning: net.ipv4.ip_forward is 0" in text
    assert "dc-a  10.77.0.0/25 through vc-dc-a, MTU 1422" in text
    assert "out 5 packets 5.0 kB, in 0 packets 0 bytes; dropped: inbound replay 2" in text
    assert "no answer (last error: peer said AUTHENTICATION_FAILED)" in text
    assert "fine; the peer never sends one" in text
    assert "unreachable" in text
    assert len(text.splitlines()) < 24


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.2 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_json_is_the_answer_itself(answer: Callable[[Any], None]) -> None:
    answer(STATUS)
    result = CliRunner().invoke(commands.status, ["--json"])
    assert result.exit_code == 0
    assert json.loads(result.output) == STATUS


def test_a_tree_shows_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_tree({"dc-a": {"spi_in": "0x1", "esn": False, "child_sas": [{"age_s": 1.5}], "none": None}})
    text = capsys.readouterr().out
    for part in ("dc-a", "spi in", "0x1", "no", "child sas", "age s", "1.5", "-"):
        assert part in text


@pytest.mark.parametrize(
    ("error", "code"),
    [(api.UnreachableError("no vcstack is running"), 3), (api.RefusedError("nothing to show"), 1)],
)
def test_failures_have_their_own_exit_status(
    answer: Callable[[Any], None], error: Exception, code: int
) -> None:
    answer(error)
    result = CliRunner().invoke(commands.show, ["bgp"])
    assert result.exit_code == code
    assert str(error) in result.output


def test_an_unknown_view_is_a_usage_error() -> None:
    assert CliRunner().invoke(commands.show, ["nonsense"]).exit_code == 2
