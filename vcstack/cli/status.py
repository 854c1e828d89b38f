"""`vcstack status`."""

from pathlib import Path

import click

from vcstack.cli import daemon


@click.command()
@daemon.socket_option
@daemon.json_option
def status(path: Path, as_json: bool) -> None:  # noqa: FBT001 (click's way of a flag)
    """Show both tunnels with every layer: its state, since when, and why.

    The exit status is 3 when no daemon answers.
    """
    answer = daemon.ask(path, "status")
    if as_json:
        daemon.print_json(answer)
        return
    from vcstack.cli.views import summary  # noqa: PLC0415 (rich is not needed for JSON)

    daemon.print_page(lambda page: summary.render(answer, page))
