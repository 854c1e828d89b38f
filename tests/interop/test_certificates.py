"""`vcstack up` with certificates, from its configuration file to a ping, against strongSwan.

RSA keys of 4096 bits and an intermediate make an IKE_AUTH that no packet holds: it travels in fragments.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.authority import Issued, authority, pem_of
from tests.support.netns import wait_until
from tests.support.strongswan_centre import (
    CENTRE,
    CENTRE_TUNNEL,
    CONNECTION,
    CPE,
    HOST,
    LAN,
    StrongswanCentre,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
VALIDITY: dict[str, Any] = {"starts": YESTERDAY, "ends": TOMORROW}
KIND = "rsa4096"
ROOT = authority("Root", kind=KIND, **VALIDITY)
UPPER = ROOT.issue("upper", kind=KIND, is_authority=True, **VALIDITY)
CREDENTIALS = (
    'auth = "certificate"\ncertificate = "branch.pem"\nprivate_key = { file = "branch.key" }\nca = "ca.pem"'
)
CERTIFIED = replace(
    CONNECTION,
    local_auth="auth = pubkey\n      certs = centre.pem",
    remote_auth="auth = pubkey\n      cacerts = ca.pem",
)


def write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)


def prepare(folder: Path, centre: Issued, ipsec: str = "") -> StrongswanCentre:
    """Both ends with their files; `ipsec` are further lines of ours."""
    branch = UPPER.issue("branch", [CPE], kind=KIND, **VALIDITY)
    write(folder, "branch.pem", branch.pem + UPPER.pem)
    write(folder, "branch.key", pem_of(branch.key))
    write(folder, "ca.pem", ROOT.pem)
    write(folder, "charon/x509ca/ca.pem", ROOT.pem)
    write(folder, "charon/x509ca/upper.pem", UPPER.pem)
    write(folder, "charon/x509/centre.pem", centre.pem)
    write(folder, "charon/private/centre.pem", pem_of(centre.key))
    return StrongswanCentre(folder, credentials=CREDENTIALS, ipsec=ipsec, connection=CERTIFIED)


@pytest.mark.parametrize("initiator", ["we", "charon"])
def test_certificates(tmp_path: Path, initiator: str) -> None:
    centre = UPPER.issue("centre", [CENTRE], kind=KIND, **VALIDITY)
    line = f"initiate = {'true' if initiator == 'we' else 'false'}"
    with prepare(tmp_path, centre, line) as site:
        site.start_centre()
        site.cpe.start()
        if initiator == "charon":
            wait_until(lambda: site.cpe.ask("status"), 10, "the daemon")
            assert "completed successfully" in site.charon.initiate()
        site.up()
        assert site.cpe_space.ping(CENTRE_TUNNEL)
        assert site.cpe_space.ping(HOST, source=LAN)
        assert "EF(" in site.charon.log()


def test_an_expired_certificate_is_said(tmp_path: Path) -> None:
    """Charon has nothing against its own."""
    centre = UPPER.issue("old", [CENTRE], kind=KIND, starts=YESTERDAY - timedelta(days=9), ends=YESTERDAY)
    with prepare(tmp_path, centre) as site:
        site.start_centre()
        site.cpe.start()

        def reason() -> str:
            answer: Any = site.cpe.ask("status")
            return str(answer["tunnels"]["dc-a"]["ike"]) if answer else ""

        wait_until(lambda: "its certificate expired" in reason(), 15, "the expired certificate in the status")
