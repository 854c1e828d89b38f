"""`vcstack config` as an engineer meets it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vcstack.cli.main import COMMANDS, main

SECRET_FILES = ("dc-a.psk", "dc-a.bgp", "dc-b.psk", "dc-b.bgp")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    file = tmp_path / "vc.toml"
    file.write_text(run("config", "example").stdout)
    for name in SECRET_FILES:
        (tmp_path / name).write_text(f"hunter2 {name}")
        (tmp_path / name).chmod(0o600)
    return file


def test_the_example_passes_the_check(example: Path) -> None:
    result = run("config", "check", str(example))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{example}: usable: cpe with dc-a and dc-b\n"


def test_only_the_secrets_are_missing_from_the_example(example: Path) -> None:
    for name in SECRET_FILES:
        (example.parent / name).unlink()
    result = run("config", "check", str(example))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        "tunnels.dc-a.ipsec.psk",
        "tunnels.dc-a.bgp.password",
        "tunnels.dc-b.ipsec.psk",
        "tunnels.dc-b.bgp.password",
    ]
    assert all("cannot be read: No such file or directory" in line for line in lines)


def test_each_error_is_one_line_however_long(example: Path) -> None:
    text = (
        example.read_text()
        .replace('"192.0.2.10"', f'"{"x" * 90}"')
        .replace("[tunnels.dc-b.gre]", "[tunnels.dc-b.gr]")
    )
    example.write_text(text)
    result = run("config", "check", str(example))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 3
    assert f'{example}: error: tunnels.dc-b.gr: unknown key; did you mean "gre"?' in result.stderr
    assert "hunter2" not in result.output


def test_warnings_leave_the_file_usable(example: Path) -> None:
    example.write_text(example.read_text().replace("203.0.113.10", "198.51.100.10"))
    result = run("config", "check", str(example))
    assert result.exit_code == 0
    assert (
        "warning: tunnels.dc-b.ipsec.remote_address: 198.51.100.10: both tunnels lead to one peer"
        in result.stdout
    )
    assert "usable: cpe with dc-a and dc-b, 1 warning" in result.stdout


def test_a_broken_file_is_told_with_line_and_column(example: Path) -> None:
    example.write_text('role = "cpe"\nname = \n')
    result = run("config", "check", str(example))
    assert result.exit_code == 2
    assert "not TOML" in result.stderr
    assert "line 2, column 8" in result.stderr


def test_an_absent_file_is_one_line() -> None:
    result = run("config", "check", "/nowhere/vc.toml")
    assert result.exit_code == 2
    assert result.stderr == "/nowhere/vc.toml: error: cannot be read: No such file or directory\n"


def test_help_lists_every_command_and_each_can_be_loaded() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in result.stdout
        assert run(name, "--help").exit_code == 0


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("cofnig").exit_code == 2
