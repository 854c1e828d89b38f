from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vcstack.control import host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "_SYSCTL", tmp_path)
    for name in ("all", "vc-dc-a"):
        (tmp_path / "conf" / name).mkdir(parents=True)
        (tmp_path / "conf" / name / "rp_filter").write_text("0\n")
    (tmp_path / "ip_forward").write_text("1\n")
    return tmp_path


def test_a_host_that_forwards_has_no_warning(sysctl: Path) -> None:
    assert host.warnings(["vc-dc-a", "vc-absent"]) == []


def test_a_host_that_does_not_forward_is_reported(sysctl: Path) -> None:
    (sysctl / "ip_forward").write_text("0\n")
    (text,) = host.warnings(["vc-dc-a"])
    assert "ip_forward" in text


@pytest.mark.parametrize(
    ("everywhere", "here", "strict"), [(1, 0, True), (0, 1, True), (2, 1, False), (0, 2, False)]
)
def test_the_larger_reverse_path_filter_counts(
    sysctl: Path, everywhere: int, here: int, strict: bool
) -> None:
    (sysctl / "conf" / "all" / "rp_filter").write_text(str(everywhere))
    (sysctl / "conf" / "vc-dc-a" / "rp_filter").write_text(str(here))
    assert bool(host.warnings(["vc-dc-a"])) == strict


def test_root_misses_no_right_and_nobody_misses_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert host.missing_right() is None
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(host, "_effective_capabilities", lambda: 1 << 12)
    text = host.missing_right()
    assert text is not None
    assert "CAP_NET_RAW" in text
    assert "CAP_NET_ADMIN" not in text
