"""`vcstack show`: one protocol in full. A table of views, each imported when it is asked for."""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vcstack.cli import daemon

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_USAGE = 2


class View(NamedTuple):
    """Where a view lives, and its line in the list."""

    module: str
    summary: str


VIEWS: dict[str, View] = {
    "ikev2": View("vcstack.cli.views.ikev2", "IKE SAs: peers, keys, timers, exchanges, what went wrong"),
    "ipsec": View("vcstack.cli.views.ipsec", "child SAs: SPIs, selectors, lifetimes, packets, drops"),
    "tunnel": View("vcstack.cli.views.tunnel", "GRE: interfaces, MTU, line state, keepalives, packets"),
    "bgp": View("vcstack.cli.views.bgp", "sessions, messages, received and advertised routes"),
    "routes": View("vcstack.cli.views.routes", "what is in the kernel, and which tunnel carries it"),
}


@click.command()
@click.argument("what", type=click.Choice(list(VIEWS)), required=False, metavar="[VIEW]")
@click.argument("tunnel", required=False)
@daemon.socket_option
@daemon.json_option
@click.option("--all", "everything", is_flag=True, help="Also counters that are zero.")
def show(what: str | None, tunnel: str | None, path: Path, as_json: bool, everything: bool) -> None:  # noqa: FBT001
    """Show one protocol in full, of both tunnels or of TUNNEL.

    VIEW is ikev2, ipsec, tunnel, bgp or routes; without it the views are listed. The exit status is 3 when no
    daemon answers.
    """
    if what is None:
        _list()
        return
    answer = _only(tunnel, daemon.ask(path, "show", what=what))
    if as_json:
        daemon.print_json(answer)
        return
    render: Callable[[Any, Any], None] = import_module(VIEWS[what].module).render
    daemon.print_page(lambda page: render(answer, page), everything=everything)


def _list() -> None:
    width = max(map(len, VIEWS))
    for name, view in VIEWS.items():
        click.echo(f"vcstack show {name:<{width}}  {view.summary}")


def _only(tunnel: str | None, answer: Any) -> Any:
    """What concerns one tunnel of an answer by tunnel, or of a list of records that name theirs."""
    if tunnel is None:
        return answer
    if isinstance(answer, list):
        return [record for record in answer if record["tunnel"] == tunnel]
    if tunnel not in answer:
        click.echo(f"vcstack: no tunnel {tunnel}: {' or '.join(answer)} is expected", err=True)
        sys.exit(EXIT_USAGE)
    return {tunnel: answer[tunnel]}
