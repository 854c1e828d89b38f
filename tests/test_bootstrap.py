"""The bootstrap: what it installs, when it installs nothing, and what it says where it cannot work."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from vcstack import bootstrap

ROOT = Path(__file__).parents[1]


class Machine:
    """A machine that records the commands, with apt lists, installed packages and a network of its own."""

    def __init__(self, installed: set[str], listed: set[str], archive: set[str]) -> None:
        self.installed, self.listed, self.archive = installed, listed, archive
        self.commands: list[list[str]] = []
        self.policy_during_install: list[bool] = []

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(list(command))
        status, output = self._answer(list(command))
        return subprocess.CompletedProcess(command, status, output)

    def _answer(self, command: list[str]) -> tuple[int, str]:
        if command[0] == "systemctl":
            return int(not self.installed & {"bird2"} or "starter" in command[-1]), ""
        if command[0] == "dpkg-query":
            return 1, "".join(f"{name} installed\n" for name in command[4:] if name in self.installed)
        if command[:2] == ["apt-get", "install"]:
            return 100 * (not set(command[4:]) <= self.listed), ""
        if command[0] == "apt-get" and "update" in command:
            self.listed |= self.archive
            return 0, ""
        if command[0] == "apt-get":
            self.policy_during_install.append(bootstrap.POLICY.exists())
            names = set(command[command.index("--no-install-recommends") + 1 :])
            self.installed |= names if names <= self.listed else set()
            return 100 * (not names <= self.listed), "E: Unable to locate package\n"
        return 0, ""

    @property
    def apt_verbs(self) -> list[str]:
        """The apt-get runs that change something."""
        lines = [" ".join(command) for command in self.commands if command[0] == "apt-get"]
        return [
            verb
            for line in lines
            for verb in ("update", "install")
            if f" {verb}" in line and "simul" not in line
        ]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    host = Machine(set(), set(), set(bootstrap.TEST_PACKAGES))
    monkeypatch.setattr(bootstrap, "run", host.run)
    monkeypatch.setattr(bootstrap, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(bootstrap, "has_venv", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    yield host
    assert not bootstrap.POLICY.exists()


def test_a_bare_machine_gets_its_lists_and_every_package_by_name(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.install_packages(bootstrap.TEST_PACKAGES)
    assert machine.apt_verbs == ["update", "install"]
    assert machine.installed == set(bootstrap.TEST_PACKAGES)
    assert machine.policy_during_install == [True]
    said = capsys.readouterr().err
    assert all(name in said for name in bootstrap.TEST_PACKAGES)
    assert ["systemctl", "disable", "--quiet", "bird.service"] in machine.commands


def test_only_what_is_missing_is_installed_without_an_update(machine: Machine) -> None:
    machine.listed |= set(bootstrap.TEST_PACKAGES)
    machine.installed |= set(bootstrap.TEST_PACKAGES) - {"iperf3"}
    bootstrap.install_packages(bootstrap.TEST_PACKAGES)
    assert machine.apt_verbs == ["install"]
    assert machine.installed == set(bootstrap.TEST_PACKAGES)
    assert not any("disable" in command for command in machine.commands)


def test_a_complete_machine_is_only_asked(machine: Machine) -> None:
    machine.installed |= set(bootstrap.TEST_PACKAGES)
    bootstrap.install_packages(bootstrap.TEST_PACKAGES)
    assert [command[0] for command in machine.commands] == ["dpkg-query"]


def test_what_an_architecture_lacks_is_said_and_left_out(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.archive -= {"user-mode-linux"}
    bootstrap.install_packages(bootstrap.TEST_PACKAGES)
    assert machine.installed == set(bootstrap.TEST_PACKAGES) - {"user-mode-linux"}
    assert "not available here, tests that need it are skipped: user-mode-linux" in capsys.readouterr().err


def test_an_unknown_package_is_one_clear_line(machine: Machine) -> None:
    machine.archive -= {"bird2"}
    with pytest.raises(bootstrap.BootstrapError, match=r"apt-get could not install: .*bird2"):
        bootstrap.install_packages(bootstrap.TEST_PACKAGES)


def test_an_existing_policy_is_left_alone(machine: Machine) -> None:
    bootstrap.POLICY.write_text("mine")
    bootstrap.install_packages(bootstrap.LAB_PACKAGES)
    assert bootstrap.POLICY.read_text() == "mine"
    bootstrap.POLICY.unlink()


def test_another_system_needs_the_commands(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"ip", "ping", "nft"}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in present else None)
    bootstrap.install_packages(bootstrap.LAB_PACKAGES)
    present.remove("nft")
    with pytest.raises(
        bootstrap.BootstrapError, match="no apt-get here, and these commands are missing: nft"
    ):
        bootstrap.install_packages(bootstrap.LAB_PACKAGES)
    assert machine.commands == []


def test_the_environment_is_made_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / "vcstack.json")
    bootstrap.install_project(["dev"])
    assert machine.commands[-1][-1] == f"{ROOT}[dev]"
    made = len(machine.commands)
    bootstrap.install_project(["dev"])
    bootstrap.install_project([])
    assert len(machine.commands) == made
    monkeypatch.setattr(bootstrap, "fingerprint", lambda: {"project": "changed"})
    bootstrap.install_project([])
    assert machine.commands[-1][-1] == str(ROOT)
    bootstrap.install_project(["dev"])
    assert machine.commands[-1][-1] == f"{ROOT}[dev]"


def test_a_failed_check_fails_the_run_and_the_tests_still_come_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []

    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        order.append(Path(command[0]).name)
        return subprocess.CompletedProcess(command, int(order[-1] == "mypy"), "vcstack: error: wrong\n")

    def attend(command: Sequence[str]) -> int:
        order.extend(command[1:])
        return 0

    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "attend", attend)
    assert bootstrap.test(["-k", "x"]) == 1
    assert order == ["ruff", "ruff", "mypy", "lint-imports", "-m", "pytest", "-k", "x"]
    said = capsys.readouterr().err
    assert "mypy: FAILED" in said
    assert "error: wrong" in said
    assert "checks failed: mypy; now the tests" in said


def test_a_stopped_run_lets_the_tests_clean_up(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    child = f"""
import os, signal, sys, time
try:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(20)
except KeyboardInterrupt:
    open({str(cleaned)!r}, "w").close()
    sys.exit(7)
"""
    attend = f"bootstrap.attend([sys.executable, '-c', {child!r}])"
    parent = f"import sys; from vcstack import bootstrap; sys.exit({attend})"
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    assert process.wait(timeout=10) == 7
    assert cleaned.exists()


def start(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vcstack.bootstrap", *arguments]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30, **options
    )


def test_usage() -> None:
    for arguments in ([], ["build"]):
        result = start(*arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == "vcstack: usage: python3 -m vcstack.bootstrap lab|test [arguments]\n"


def test_an_ordinary_user_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert bootstrap.main(["lab"]) == 1
    said = capsys.readouterr().err
    assert said == "vcstack: error: must run as root: it installs packages and makes network namespaces\n"


def test_an_old_python_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert bootstrap.main(["test"]) == 1
    assert capsys.readouterr().err == "vcstack: error: Python 3.11 or newer is needed, this is 3.9\n"


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import vcstack.bootstrap, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(result.stdout.split()) - sys.stdlib_module_names <= {"vcstack", "__main__"}
