"""`vcstack lab`."""

import json
import signal
import sys

import click
from rich.console import Console

from vcstack.lab import run as lab_run
from vcstack.lab.display import Display
from vcstack.lab.namespaces import LabError

EXIT_FAILURE = 1
_SHORTEST_KEEPALIVE_S = 0.1
_LONGEST_KEEPALIVE_S = 60.0


@click.command()
@click.option("--nat", is_flag=True, help="Put a NAT in front of the CPE.")
@click.option(
    "--keepalive",
    "keepalive_s",
    type=click.FloatRange(_SHORTEST_KEEPALIVE_S, _LONGEST_KEEPALIVE_S),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between GRE keepalives; three lost ones take a tunnel down.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; progress goes to stderr.")
@click.option("--keep", is_flag=True, help="Leave everything standing, and say how to use it.")
@click.option(
    "--remove", is_flag=True, help="Remove kept labs and what killed ones left, and do nothing else."
)
def lab(nat: bool, keepalive_s: float, as_json: bool, keep: bool, remove: bool) -> None:  # noqa: FBT001
    """Run two data centres, the CPE and a LAN in network namespaces, measure, and remove everything.

    Both tunnels come up; pings and TCP cross them; data centre A is cut off and comes back, and a sniffer on
    the internet between them looks for cleartext. Needs root, and leaves nothing behind.

    The exit status is 0 only when all of it held.
    """
    display = Display(Console(stderr=as_json))
    try:
        if remove:
            lab_run.remove(display)
            return
        report = lab_run.run(lab_run.Options(keep=keep, nat=nat, keepalive_s=keepalive_s), display)
    except LabError as error:
        click.echo(f"vcstack lab: {error}", err=True)
        sys.exit(EXIT_FAILURE)
    except lab_run.InterruptedRunError as interrupted:
        click.echo(f"vcstack lab: {interrupted}, everything is removed", err=True)
        sys.exit(128 + interrupted.number)
    except BrokenPipeError:
        sys.exit(128 + signal.SIGPIPE)
    display.summary(report)
    if keep:
        display.note(f"\nit stands; play with it:\n{lab_run.how_to_play(report.number)}")
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    sys.exit(0 if report.ok else EXIT_FAILURE)
