"""The configuration files and secrets of the lab's three vcstacks, as an engineer would write them."""

from __future__ import annotations

import math
import os
import secrets
from typing import TYPE_CHECKING

from vcstack.lab.plan import CPE_AS, CPE_NAME, CPE_PUBLIC, CPE_TRANSPORT, DATA_CENTRES, REGION

if TYPE_CHECKING:
    from pathlib import Path

    from vcstack.lab.plan import DataCentre, Plan

_MIN_HOLD_TIME_S = 9
_AFTER_KEEPALIVES_S = 5
"""BGP's own timers come later than lost keepalives, so that it is these that the lab measures."""

_HEADEND = """\
role = "headend"
name = "{here.name}"
region = "{region}"
control_socket = "{folder}/{here.name}.sock"
[tunnels.{cpe_name}]
prefix = "{here.prefix}"
ipsec = {{ local_address = "{here.wan.ip}", remote_address = "any", remote_id = "{cpe_id}", {psk} }}
gre = {{ local_address = "{here.transport}", remote_address = "{cpe_transport}", {keepalive} }}
interface = {{ address = "{here.tunnel}" }}
bgp = {{ local_as = {here.autonomous_system}, remote_as = {cpe_as}, {bgp} }}
"""

_CPE = """\
role = "cpe"
name = "{cpe_name}"
region = "{region}"
control_socket = "{folder}/cpe.sock"
"""

_CPE_TUNNEL = """
[tunnels.{here.name}]
prefix = "{here.prefix}"
ipsec = {{ local_address = "{cpe}", local_id = "{cpe_id}", remote_address = "{here.wan.ip}", {psk} }}
gre = {{ local_address = "{cpe_transport}", remote_address = "{here.transport}", {keepalive} }}
interface = {{ address = "{here.cpe_tunnel}" }}
bgp = {{ local_as = {cpe_as}, remote_as = {here.autonomous_system}, {bgp} }}
"""


def write(plan: Plan, folder: Path) -> dict[str, Path]:
    """Write everything; the configuration file of each node that runs vcstack."""
    for centre in DATA_CENTRES:
        for name in (_psk(centre), _password(centre)):
            _write_secret(folder / name)
    files = {}
    for node, text in texts(plan, folder).items():
        files[node] = folder / f"{node}.toml"
        files[node].write_text(text)
    return files


def texts(plan: Plan, folder: Path) -> dict[str, str]:
    """The text of each configuration file, by node."""
    files = {centre.name: _fill(_HEADEND, plan, folder, centre) for centre in DATA_CENTRES}
    tunnels = (_fill(_CPE_TUNNEL, plan, folder, centre) for centre in DATA_CENTRES)
    files["cpe"] = _CPE.format(cpe_name=CPE_NAME, region=REGION, folder=folder) + "".join(tunnels)
    return files


def _fill(template: str, plan: Plan, folder: Path, here: DataCentre) -> str:
    return template.format(
        here=here,
        folder=folder,
        region=REGION,
        cpe=plan.cpe_address,
        cpe_id=CPE_PUBLIC.ip,
        cpe_name=CPE_NAME,
        cpe_as=CPE_AS,
        cpe_transport=CPE_TRANSPORT,
        psk=f'psk = {{ file = "{_psk(here)}" }}',
        keepalive=(
            f"keepalive_interval_s = {plan.keepalive_s:g}, keepalive_retries = {plan.keepalive_retries}"
        ),
        bgp=f'password = {{ file = "{_password(here)}" }}, hold_time_s = {_hold_time_s(plan)}',
    )


def _hold_time_s(plan: Plan) -> int:
    return max(_MIN_HOLD_TIME_S, math.ceil(plan.detection_s + _AFTER_KEEPALIVES_S))


def _psk(here: DataCentre) -> str:
    return f"{here.name}.psk"


def _password(here: DataCentre) -> str:
    return f"{here.name}.bgp"


def _write_secret(path: Path) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(24))
