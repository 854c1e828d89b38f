"""`vcstack up FILE`."""

import sys
from pathlib import Path

import click

from vcstack.control.config import ConfigError, load

EXIT_FAILURE = 1
EXIT_BAD_CONFIGURATION = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def up(file: Path) -> None:
    """Bring the tunnels of FILE up and keep them up, in the foreground, until SIGTERM or Ctrl-C.

    The exit status is 0 after a clean stop, 1 when the daemon cannot start, 2 for a bad FILE.
    """
    try:
        configuration = load(file)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_BAD_CONFIGURATION)
    # The event loop and netlink are imported for a usable file only.
    from vcstack.control import supervisor  # noqa: PLC0415

    try:
        supervisor.run(configuration)
    except supervisor.StartError as error:
        click.echo(f"vcstack cannot start: {error}", err=True)
        sys.exit(EXIT_FAILURE)
