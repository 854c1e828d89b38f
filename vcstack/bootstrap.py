"""From a bare Debian to the running lab or the passed tests: ``python3 -m vcstack.bootstrap lab|test``.

Needs root and Python's standard library, nothing else. It says what it installs: Debian packages by
apt-get, Python packages by pip into ``.venv`` of the checkout. What is there already is left alone, so a
second run is quick. Further arguments go to the lab or to pytest.
Everything that it says goes to standard error; standard output belongs to the command that it starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "vcstack.json"
POLICY = Path("/usr/sbin/policy-rc.d")
MINIMUM_PYTHON = (3, 11)

LAB_PACKAGES = {"iproute2": "ip", "iputils-ping": "ping", "nftables": "nft"}
"""Debian packages of the lab, each with a command that proves it on other systems."""
TEST_PACKAGES = {
    **LAB_PACKAGES,
    "strongswan-charon": "/usr/lib/ipsec/charon",
    "strongswan-swanctl": "swanctl",
    "strongswan-libcharon": "/usr/lib/ipsec/charon",
    "libcharon-extra-plugins": "/usr/lib/ipsec/charon",
    "libstrongswan-standard-plugins": "/usr/lib/ipsec/charon",
    "bird2": "bird",
    "iperf3": "iperf3",
    "tshark": "tshark",
    "tcpdump": "tcpdump",
    "user-mode-linux": "linux",
    "kmod": "modprobe",
}
"""Debian packages of the tests: real peers and independent tools."""
NOT_EVERYWHERE = frozenset({"user-mode-linux"})
"""Packages that Debian has for some architectures only; tests that need them say so and are skipped."""
SERVICES = ("bird.service", "strongswan-starter.service")
"""What those packages would start at the next boot, which nobody asked for; the second takes our ports."""
PACKAGES: dict[str, dict[str, str]] = {"lab": LAB_PACKAGES, "test": TEST_PACKAGES}
EXTRAS: dict[str, list[str]] = {"lab": [], "test": ["dev"]}
CHECKS = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
    "import-linter": ("lint-imports", "--no-cache"),
}


class BootstrapError(Exception):
    """The one line that says why it cannot go on."""


def main(arguments: Sequence[str]) -> int:
    """Set up, then run `lab` or `test` with the rest of the arguments; returns the exit status."""
    if not arguments or arguments[0] not in PACKAGES:
        say("usage: python3 -m vcstack.bootstrap lab|test [arguments]")
        return 2
    command, rest = arguments[0], arguments[1:]
    try:
        check_system()
        install_packages(PACKAGES[command])
        install_project(EXTRAS[command])
        os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return test(rest) if command == "test" else lab(rest)
    except BootstrapError as error:
        say(f"error: {error}")
    except KeyboardInterrupt:
        say("interrupted")
    return 1


def lab(arguments: Sequence[str]) -> NoReturn:
    """Become the lab."""
    os.execv(VENV / "bin" / "vcstack", ["vcstack", "lab", *arguments])  # noqa: S606 (our own program, no shell)


def test(arguments: Sequence[str]) -> int:
    """Run the checks, then the tests; the last line is the summary of the tests."""
    failed = [name for name, command in CHECKS.items() if not check(name, command)]
    verdict = f"failed: {', '.join(failed)}" if failed else "all passed"
    say(f"checks {verdict}; now the tests")
    status = attend([str(VENV / "bin" / "python"), "-m", "pytest", *arguments])
    return status or (1 if failed else 0)


def attend(command: Sequence[str]) -> int:
    """Run the command with our output, and let it clean up when we are told to stop; its exit status."""
    with subprocess.Popen(command, cwd=ROOT) as process:  # noqa: S603 (no shell, a command of this file)
        # The terminal sends SIGINT to both of us; whoever sends SIGTERM knows this process only.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
        status = process.wait()
    return status if status >= 0 else 128 - status


def check(name: str, command: Sequence[str]) -> bool:
    """Run one check and say its outcome, with its output where it failed."""
    start = time.monotonic()
    result = run([str(VENV / "bin" / command[0]), *command[1:]])
    outcome = "ok" if result.returncode == 0 else "FAILED"
    say(f"{name}: {outcome} ({time.monotonic() - start:.1f} s)")
    if result.returncode:
        sys.stderr.write(result.stdout)
    return result.returncode == 0


def check_system() -> None:
    """Refuse what cannot work: an old Python, an ordinary user."""
    if sys.version_info < MINIMUM_PYTHON:
        wanted, found = (".".join(map(str, version[:2])) for version in (MINIMUM_PYTHON, sys.version_info))
        raise BootstrapError(f"Python {wanted} or newer is needed, this is {found}")
    if os.geteuid() != 0:
        raise BootstrapError("must run as root: it installs packages and makes network namespaces")


def install_packages(wanted: Mapping[str, str]) -> None:
    """Install the Debian packages that are missing; elsewhere, require their commands."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        absent = sorted({command for command in wanted.values() if not shutil.which(command)})
        if absent or not has_venv():
            commands = absent if has_venv() else [*absent, "python3 -m venv"]
            raise BootstrapError(f"no apt-get here, and these commands are missing: {', '.join(commands)}")
        return
    missing = missing_packages(wanted)
    if not has_venv():
        missing.insert(0, "python3-venv")
    if missing:
        apt_install(missing)
    if not has_venv():
        raise BootstrapError(f"{sys.executable} has no working venv module, also with python3-venv installed")


def has_venv() -> bool:
    """Whether this Python can make a virtual environment with pip in it."""
    importlib.invalidate_caches()
    return all(importlib.util.find_spec(module) is not None for module in ("venv", "ensurepip"))


def missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """The packages that dpkg does not know as installed."""
    result = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted])
    installed = {line.split()[0] for line in result.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def apt_install(packages: list[str]) -> None:
    """Install by name; the lists are updated only where they do not know a package, or know too old a one."""
    updated = not knows_all(packages) and apt_update()
    packages = available(packages)
    if not packages:
        return
    say(f"installing Debian packages: {' '.join(packages)}")
    wanted = enabled_services()
    with no_daemons():
        result = apt_get("install", "--no-install-recommends", *packages)
        if result.returncode and not updated:
            apt_update()
            result = apt_get("install", "--no-install-recommends", *packages)
    if result.returncode:
        sys.stderr.write(result.stdout)
        raise BootstrapError(f"apt-get could not install: {' '.join(packages)}")
    for service in sorted(enabled_services() - wanted):
        say(f"keeping {service} from starting at boot")
        run(["systemctl", "disable", "--quiet", service])


def enabled_services() -> set[str]:
    """Those of SERVICES that systemd starts at boot."""
    if not shutil.which("systemctl"):
        return set()
    return {name for name in SERVICES if run(["systemctl", "--quiet", "is-enabled", name]).returncode == 0}


def available(packages: list[str]) -> list[str]:
    """Without the packages that this architecture does not have."""
    absent = {package for package in packages if package in NOT_EVERYWHERE and not knows_all([package])}
    if absent:
        say(f"not available here, tests that need it are skipped: {' '.join(sorted(absent))}")
    return [package for package in packages if package not in absent]


def knows_all(packages: list[str]) -> bool:
    """Whether apt's lists have all of them."""
    return run(["apt-get", "install", "--simulate", "--no-install-recommends", *packages]).returncode == 0


def apt_update() -> bool:
    """Refresh apt's lists."""
    say("updating the lists of Debian packages")
    result = apt_get("update")
    if result.returncode:
        sys.stderr.write(result.stdout)
        raise BootstrapError("apt-get update failed")
    return True


def apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run apt-get without questions; another apt at work is waited for."""
    return run(["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", *arguments])


@contextlib.contextmanager
def no_daemons() -> Iterator[None]:
    """Keep Debian packages from starting their daemons while they are installed."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install_project(extras: Sequence[str]) -> None:
    """Install the checkout and what it requires into its virtual environment, unless that is done."""
    if is_current(extras):
        return
    python = VENV / "bin" / "python"
    if not python.exists() or run([str(python), "-m", "pip", "--version"]).returncode:
        say(f"making {VENV}")
        must(run([sys.executable, "-m", "venv", "--clear", str(VENV)]), f"cannot make {VENV}")
    STAMP.unlink(missing_ok=True)
    say(f"installing Python packages into {VENV}: {', '.join(requirements(extras))}")
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--editable",
        target,
    ]
    must(run(pip), "pip could not install the project")
    STAMP.write_text(json.dumps({**fingerprint(), "extras": list(extras)}))


def is_current(extras: Sequence[str]) -> bool:
    """Whether the environment was made from this pyproject.toml by this Python, with these extras or more."""
    try:
        stamp = json.loads(STAMP.read_text())
        current: bool = set(extras) <= set(stamp.pop("extras")) and stamp == fingerprint()
    except (OSError, ValueError, KeyError):
        return False
    return current


def fingerprint() -> dict[str, str]:
    """What an environment depends on."""
    project = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = ".".join(map(str, sys.version_info[:3]))
    return {"python": f"{sys.executable} {python}", "project": project, "root": str(ROOT)}


def requirements(extras: Sequence[str]) -> list[str]:
    """The Python packages that pyproject.toml asks for."""
    import tomllib  # noqa: PLC0415 (a Python without it must live to say that it is too old)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(requirement for extra in extras for requirement in optional[extra])]


def must(result: subprocess.CompletedProcess[str], message: str) -> None:
    """Stop where a command failed, after what it had to say."""
    if result.returncode:
        sys.stderr.write(result.stdout)
        raise BootstrapError(message)


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout and capture both its outputs in one."""
    return subprocess.run(  # noqa: S603 (no shell, and commands of this file only)
        command,
        cwd=ROOT,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def say(line: str) -> None:
    """One line to standard error."""
    sys.stderr.write(f"vcstack: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
