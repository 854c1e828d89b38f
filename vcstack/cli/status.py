"""`vcstack status` and `vcstack show`: questions to the running daemon."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vcstack.control import api

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FAILURE = 1
EXIT_UNREACHABLE = 3
DEFAULT_SOCKET = Path("/run/vcstack/control.sock")
_VIEWS = ("ikev2", "ipsec", "tunnel", "bgp", "routes")

_socket_option = click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_SOCKET,
    envvar="VCSTACK_SOCKET",
    show_default=True,
    help="The daemon's control socket.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_socket_option
@_json_option
def status(path: Path, as_json: bool) -> None:  # noqa: FBT001 (click's way of a flag)
    """Show both tunnels with every layer: its state, since when, and why.

    The exit status is 3 when no daemon answers.
    """
    answer = _ask(path, "status")
    _print(answer, as_json=as_json, render="status")


@click.command()
@click.argument("what", type=click.Choice(_VIEWS))
@_socket_option
@_json_option
def show(what: str, path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Show one protocol in full: ikev2, ipsec, tunnel, bgp or routes."""
    answer = _ask(path, "show", what=what)
    _print(answer, as_json=as_json, render=what)


def _ask(path: Path, command: str, **arguments: str) -> Any:
    try:
        return api.ask(path, command, arguments)
    except api.UnreachableError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_UNREACHABLE)
    except api.RefusedError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_FAILURE)


def _print(answer: Any, *, as_json: bool, render: str) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from vcstack.cli import render as views  # noqa: PLC0415 (rich is not needed for JSON)

    view: Callable[[Any], None] = getattr(views, f"print_{render}", views.print_tree)
    view(answer)
