"""Questions of the command line to the running daemon, and what they have in common."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vcstack.control import api

if TYPE_CHECKING:
    from vcstack.cli.views.page import Page

EXIT_FAILURE = 1
EXIT_UNREACHABLE = 3
DEFAULT_SOCKET = Path("/run/vcstack/control.sock")

socket_option = click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_SOCKET,
    envvar="VCSTACK_SOCKET",
    show_default=True,
    help="The daemon's control socket.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def ask(path: Path, command: str, **arguments: str) -> Any:
    """The daemon's answer; without one the program ends, with 3 where there is no daemon."""
    try:
        return api.ask(path, command, arguments)
    except api.UnreachableError as error:
        click.echo(f"vcstack: {error}", err=True)
        sys.exit(EXIT_UNREACHABLE)
    except api.RefusedError as error:
        click.echo(f"vcstack: {error}", err=True)
        sys.exit(EXIT_FAILURE)


def print_json(answer: Any) -> None:
    """The answer as it is."""
    click.echo(json.dumps(answer, indent=2))


def print_page(fill: Callable[["Page"], None], *, everything: bool = False) -> None:
    """A page of text, with colours on a terminal."""
    # rich is not needed for JSON.
    from rich.console import Console  # noqa: PLC0415

    from vcstack.cli.views.page import Page  # noqa: PLC0415

    page = Page(everything=everything)
    fill(page)
    page.write(Console())
