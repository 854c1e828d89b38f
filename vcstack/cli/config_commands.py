"""`vcstack config example` and `vcstack config check FILE`."""

import sys
from importlib import resources
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from vcstack.control.config import ConfigError, Configuration, Problem, load

EXIT_BAD_CONFIGURATION = 2


@click.group()
def config() -> None:
    """Check a configuration file, or print an example."""


@config.command()
def example() -> None:
    """Print a commented configuration file of both tunnels."""
    click.echo(resources.files("vcstack.control").joinpath("example.toml").read_text("utf-8"), nl=False)


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Say everything that is wrong or doubtful about FILE.

    The exit status is 0 for a usable file, also with warnings, and 2 for one with errors.
    """
    try:
        configuration = load(file)
    except ConfigError as error:
        errors = Console(stderr=True)
        for problem in error.problems:
            _print(errors, file, "error", "bold red", problem)
        sys.exit(EXIT_BAD_CONFIGURATION)
    output = Console()
    for problem in configuration.warnings:
        _print(output, file, "warning", "bold yellow", problem)
    _print_summary(output, file, configuration)


def _print(console: Console, file: Path, kind: str, style: str, problem: Problem) -> None:
    """One line, whatever the width of the terminal, so that it can be searched and copied."""
    line = Text.assemble(f"{file}: ", (f"{kind}: ", style), str(problem))
    console.print(line, soft_wrap=True, highlight=False)


def _print_summary(console: Console, file: Path, configuration: Configuration) -> None:
    tunnels = " and ".join(configuration.tunnels)
    warnings = len(configuration.warnings)
    counted = f", {warnings} warning{'s' if warnings > 1 else ''}" if warnings else ""
    line = Text.assemble(
        f"{file}: ", ("usable", "bold green"), f": {configuration.role} with {tunnels}{counted}"
    )
    console.print(line, soft_wrap=True, highlight=False)
