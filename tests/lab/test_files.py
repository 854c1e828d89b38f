"""The lab's configuration files are ones that an engineer could have written."""

from pathlib import Path

import pytest

from vcstack.control.config import load
from vcstack.lab import files
from vcstack.lab.plan import Plan


@pytest.mark.parametrize("nat", [False, True])
def test_every_file_is_usable_and_raises_no_warning(tmp_path: Path, nat: bool) -> None:
    written = files.write(Plan(1, nat=nat), tmp_path)
    assert set(written) == {"cpe", "dc-a", "dc-b"}
    for path in written.values():
        assert load(path).warnings == ()


def test_a_data_centre_needs_about_ten_lines(tmp_path: Path) -> None:
    text = files.texts(Plan(1), tmp_path)["dc-a"]
    assert len(text.splitlines()) <= 10


def test_a_headend_takes_the_cpe_from_any_address_by_its_identity(tmp_path: Path) -> None:
    written = files.write(Plan(1, nat=True), tmp_path)
    (headend,) = load(written["dc-a"]).tunnels.values()
    cpe = load(written["cpe"]).tunnels["dc-a"]
    assert headend.ipsec.remote_address is None
    assert not headend.ipsec.initiate
    assert headend.ipsec.remote_id == cpe.ipsec.local_id == "198.51.100.1"
    assert str(cpe.ipsec.local_address) == "192.168.100.2"


def test_both_ends_of_a_tunnel_agree(tmp_path: Path) -> None:
    written = files.write(Plan(1, keepalive_s=0.5), tmp_path)
    cpe = load(written["cpe"])
    for name in ("dc-a", "dc-b"):
        (there,) = load(written[name]).tunnels.values()
        here = cpe.tunnels[name]
        assert here.ipsec.local_psk == there.ipsec.remote_psk
        assert here.bgp.password == there.bgp.password
        assert (here.bgp.local_as, here.bgp.remote_as) == (there.bgp.remote_as, there.bgp.local_as)
        assert (here.gre.local_address, here.gre.remote_address) == (
            there.gre.remote_address,
            there.gre.local_address,
        )
        assert here.interface.remote_address == there.interface.address.ip
        assert here.gre.keepalive_interval_s == there.gre.keepalive_interval_s == 0.5
    assert cpe.tunnels["dc-a"].ipsec.local_psk != cpe.tunnels["dc-b"].ipsec.local_psk


@pytest.mark.parametrize("keepalive_s", [0.1, 1.0, 10.0])
def test_lost_keepalives_are_noticed_before_bgp_notices(tmp_path: Path, keepalive_s: float) -> None:
    plan = Plan(1, keepalive_s=keepalive_s)
    tunnel = load(files.write(plan, tmp_path)["cpe"]).tunnels["dc-a"]
    assert plan.detection_s < tunnel.bgp.hold_time_s


def test_secrets_are_for_their_owner_alone_and_not_in_the_files(tmp_path: Path) -> None:
    files.write(Plan(1), tmp_path)
    secrets = [path for path in tmp_path.iterdir() if path.suffix in {".psk", ".bgp"}]
    assert len(secrets) == 4
    texts = "".join(path.read_text() for path in tmp_path.glob("*.toml"))
    for path in secrets:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text() not in texts
