"""The command `vcstack`: a table of commands, each imported only when it is called."""

from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """Where a command lives, and its line in the help."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "up": Entry("vcstack.cli.up", "up", "Bring the tunnels up and keep them up."),
    "status": Entry("vcstack.cli.status", "status", "Show both tunnels, layer by layer."),
    "show": Entry("vcstack.cli.show", "show", "Show ikev2, ipsec, tunnel, bgp or routes in full."),
    "config": Entry(
        "vcstack.cli.config_commands", "config", "Check a configuration file, or print an example."
    ),
    "lab": Entry("vcstack.cli.lab", "lab", "Run both tunnels and data centres in network namespaces."),
}


class LazyGroup(click.Group):
    """A group whose help needs no import of its commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, or None where the table has no such name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(entry.module), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table as the help shows it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vcstack", message="vcstack %(version)s")
def main() -> None:
    """GRE over IPsec to the data centres of a Virtual Connect region: IKEv2, ESP and BGP in userspace."""


if __name__ == "__main__":
    main()
