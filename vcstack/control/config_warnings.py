"""What a configuration may say but surely does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.control.config_problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vcstack.control.config_model import Configuration, Tunnel


def find_warnings(configuration: Configuration) -> tuple[Problem, ...]:
    """Every warning, tunnel by tunnel."""
    warnings: list[Problem] = []
    for name, tunnel in configuration.tunnels.items():
        warnings += _inside_the_region(f"tunnels.{name}", tunnel, configuration)
    return tuple(warnings)


def _inside_the_region(key: str, tunnel: Tunnel, configuration: Configuration) -> Iterator[Problem]:
    """An outer address that the tunnel itself would carry: the tunnel could never come up."""
    outer = {
        "ipsec.local_address": tunnel.ipsec.local_address,
        "ipsec.remote_address": tunnel.ipsec.remote_address,
        "gre.local_address": tunnel.gre.local_address,
        "gre.remote_address": tunnel.gre.remote_address,
    }
    for field, address in outer.items():
        if address is not None and address in configuration.region:
            message = f"inside the region's {configuration.region}, which is reached through the tunnel"
            yield Problem(f"{key}.{field}", str(address), message)
