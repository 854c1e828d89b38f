"""What surrounds a run: what is required of the system, and what is said about a kept lab."""

import os
import shutil
from pathlib import Path

import pytest

from vcstack.lab import run as lab_run
from vcstack.lab.failover import cut_commands
from vcstack.lab.namespaces import LabError
from vcstack.lab.plan import Plan


def test_an_ordinary_user_is_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="run it as root"):
        lab_run.check_system(lab_run.Options())


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(shutil, "which", lambda name, path: None if name in {"ping", "nft"} else name)
    with pytest.raises(LabError, match=r"^not installed: ping \(package iputils-ping\)$"):
        lab_run.check_system(lab_run.Options())
    with pytest.raises(LabError, match=r"nft \(package nftables\)$"):
        lab_run.check_system(lab_run.Options(nat=True))


def test_a_kept_lab_comes_with_its_commands() -> None:
    text = lab_run.how_to_play(4711)
    assert "status --socket /run/vclab-4711/cpe.sock" in text
    assert "ip netns exec vclab-4711-lan ping 10.77.0.10" in text
    assert "; ".join(" ".join(command) for command in cut_commands(Plan(4711))) in text
    assert text.endswith("lab --remove")
