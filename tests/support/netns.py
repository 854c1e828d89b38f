"""Network namespaces for tests: named after the test process, and removed with all that ran in them.

    with Network() as network:
        left, right = network.namespace("left"), network.namespace("right")
        network.link(left, "eth0", right, "eth0")
        left.address("eth0", "192.0.2.1/24")
        left.run("ping", "-c1", "192.0.2.2")

A namespace is called `vct-<pid>-<number>-<name>`; leaving the `with` kills its processes and deletes it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
_NUMBERS = itertools.count(1)
_STOP_S = 5.0


def require_netns() -> None:
    """Skip the calling test, with the reason, where namespaces and TUN devices cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun")
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")


def require_program(name: str) -> str:
    """The path of a program, or a skip with the reason."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/lib/ipsec")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def sweep() -> list[str]:
    """Remove the namespaces, with what runs in them, of test processes that were killed; their names."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return []
    names = re.findall(r"^(vct-(\d+)-\S+)", _ip("netns", "list"), re.MULTILINE)
    stale = [name for name, pid in names if not Path(f"/proc/{pid}").exists()]
    for name in stale:
        for pid in _ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "delete", name)
    return stale


def wait_until(probe: Callable[[], T], timeout_s: float, what: str, *, every_s: float = 0.05) -> T:
    """Call `probe` until it returns something true, and return that; fail the test after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout_s} s in vain for {what}; last answer: {found!r}")
        time.sleep(every_s)


def python(*arguments: str) -> tuple[str, ...]:
    """The command line of this interpreter with `arguments`."""
    return (sys.executable, *arguments)


class Namespace:
    """One network namespace, with its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[str]] = []
        _ip("netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def run(
        self, *command: str, check: bool = True, timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end; with `check`, fail on another status than 0."""
        result = subprocess.run(
            self._command(command),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=_environment(),
            check=False,
        )
        if check and result.returncode != 0:
            output = f"{result.stdout}{result.stderr}".strip()
            message = f"{self.name}: {' '.join(command)} ended with {result.returncode}: {output}"
            raise AssertionError(message)
        return result

    def spawn(
        self,
        *command: str,
        output: IO[str] | int = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command here, in a process group of its own, killed at the latest with the namespace."""
        process = subprocess.Popen(
            self._command(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=_environment() | dict(environment or {}),
        )
        self._processes.append(process)
        return process

    def ip(self, *arguments: str) -> str:
        """Run `ip` on this namespace and return what it printed."""
        return _ip("-n", self.name, *arguments)

    def address(self, device: str, cidr: str) -> None:
        """Give `device` an address and bring it up."""
        self.ip("address", "add", cidr, "dev", device)
        self.ip("link", "set", device, "up")

    def route(self, destination: str, gateway: str) -> None:
        """Add a route."""
        self.ip("route", "add", destination, "via", gateway)

    def sysctl(self, name: str, value: str) -> None:
        """Set a kernel parameter of this namespace, such as `net.ipv4.ip_forward`."""
        self.run("sysctl", "-qw", f"{name}={value}")

    def router(self) -> None:
        """Forward packets, without the reverse path filter."""
        self.sysctl("net.ipv4.ip_forward", "1")
        self.sysctl("net.ipv4.conf.all.rp_filter", "0")
        self.sysctl("net.ipv4.conf.default.rp_filter", "0")

    def bridge(self, name: str) -> None:
        """Add a bridge, up; `Network.link(..., bridge=name)` attaches to it."""
        self.ip("link", "add", name, "type", "bridge")
        self.ip("link", "set", name, "up")

    def ping(self, destination: str, *, count: int = 1, wait_s: int = 1, source: str | None = None) -> bool:
        """Whether at least one echo came back."""
        extra = ("-I", source) if source else ()
        command = ("ping", "-n", "-q", "-c", str(count), "-i", "0.2", "-W", str(wait_s), *extra, destination)
        return self.run(*command, check=False).returncode == 0

    def pids(self) -> list[int]:
        """The processes that run here."""
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def close(self) -> None:
        """Kill what runs here and delete the namespace."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_S)
        _ip("netns", "delete", self.name)

    def _command(self, command: tuple[str, ...]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]


class Network:
    """A set of namespaces and the links between them, all removed on leaving the `with`."""

    def __init__(self) -> None:
        self._prefix = f"vct-{os.getpid()}-{next(_NUMBERS)}"
        self._namespaces: list[Namespace] = []

    def __enter__(self) -> Self:
        require_netns()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """Create a namespace."""
        made = Namespace(f"{self._prefix}-{name}")
        self._namespaces.append(made)
        return made

    def link(
        self,
        left: Namespace,
        left_device: str,
        right: Namespace,
        right_device: str,
        *,
        bridge: str | None = None,
        mtu: int = 1500,
    ) -> None:
        """Join two namespaces by a veth pair, both ends up; the right end into `bridge` when one is named."""
        peer = ("type", "veth", "peer", "name", right_device, "netns", right.name, "mtu", str(mtu))
        left.ip("link", "add", left_device, "mtu", str(mtu), *peer)
        left.ip("link", "set", left_device, "up")
        right.ip("link", "set", right_device, "up")
        if bridge is not None:
            right.ip("link", "set", right_device, "master", bridge)

    def close(self) -> None:
        """Remove every namespace, the youngest first."""
        while self._namespaces:
            self._namespaces.pop().close()


def _ip(*arguments: str) -> str:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = f"ip {' '.join(arguments)}: {result.stderr.strip()}"
        raise AssertionError(message)
    return result.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C"}
