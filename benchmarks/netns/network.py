"""Network namespaces of the suite: `vcbench-<pid>-<number>-<name>`, gone with all that ran in them.

    near 10.88.0.1-128 --- 198.51.100.1 === veth, MTU 1500 === 198.51.100.2 --- 10.77.0.10 far
                       `- 198.51.100.5 === veth, MTU 1500 === 198.51.100.6 --- 10.77.0.138 far2

The inner addresses are on the loopbacks, so that whoever carries them has the same work: 128 hosts at the
near end, one at each far end. `far2` is there for those who have two tunnels.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from vcstack.lab import namespaces

T = TypeVar("T")
PREFIX = "vcbench"
FLOWS = 128
NEAR_NETWORK, FAR_NETWORKS = "10.88.0.0/24", ("10.77.0.0/25", "10.77.0.128/25")
SOURCES = tuple(f"10.88.0.{host}" for host in range(1, FLOWS + 1))
DESTINATIONS = ("10.77.0.10", "10.77.0.138")
OUTER = (("198.51.100.1", "198.51.100.2"), ("198.51.100.5", "198.51.100.6"))
_NUMBERS = itertools.count(1)
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement cannot be had; one line says why."""


def wait_until(probe: Callable[[], T | None], timeout_s: float, what: str, every_s: float = 0.02) -> T:
    """Call `probe` until it returns something true. Raises BenchError."""
    end = time.monotonic() + timeout_s
    while not (found := probe()):
        if time.monotonic() > end:
            raise BenchError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(every_s)
    return found


class Space:
    """One network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tools: set[int] = set()
        namespaces.run("ip", "netns", "add", name)

    def run(self, *command: str) -> str:
        """Run a command to its end; what it printed. Raises BenchError."""
        try:
            return namespaces.run(*namespaces.inside(self.name), *command)
        except namespaces.LabError as error:
            raise BenchError(str(error)) from None

    def ip(self, *lines: str) -> None:
        """Give these lines to `ip -batch`."""
        namespaces.run("ip", "-n", self.name, "-batch", "-", text="\n".join(lines) + "\n")

    def spawn(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start what is measured; its output goes to a file."""
        with log.open("ab") as output:
            return namespaces.spawn(self.name, *command, output=output)

    def tool(self, *command: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start what measures: its output in a pipe, its processor time not the contender's."""
        process = subprocess.Popen(
            (*namespaces.inside(self.name), *command),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=namespaces.environment(),
        )
        self._tools.add(process.pid)
        return process

    def contender_pids(self) -> list[int]:
        """The processes of who is measured."""
        pids = map(int, namespaces.run("ip", "netns", "pids", self.name).split())
        return [pid for pid in pids if pid not in self._tools]


class Field:
    """The namespaces of one turn of one contender, made on entering the `with`."""

    def __init__(self, folder: Path, *, ends: int = 1) -> None:
        self.folder = folder
        self._prefix = f"{PREFIX}-{os.getpid()}-{next(_NUMBERS)}"
        self._count = ends
        self.near: Space
        self.fars: list[Space] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def far(self) -> Space:
        """The first far end."""
        return self.fars[0]

    @property
    def spaces(self) -> list[Space]:
        """All of them."""
        return [self.near, *self.fars]

    def contender_pids(self) -> list[int]:
        """The processes of who is measured, at all ends."""
        return [pid for space in self.spaces for pid in space.contender_pids()]

    def close(self) -> None:
        """Remove it all, however often Ctrl-C is pressed meanwhile."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
        try:
            _remove(self._prefix)
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _build(self) -> None:
        self.near = Space(f"{self._prefix}-near")
        for number in range(self._count):
            self.fars.append(Space(f"{self._prefix}-far{number + 1}"))
        for space in self.spaces:
            parameters = ("ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0")
            space.run("sysctl", "-qw", *(f"net.ipv4.{parameter}" for parameter in parameters))
            space.ip("link set lo up")
        self.near.ip(*(f"address add {source}/32 dev lo" for source in SOURCES))
        for number, far in enumerate(self.fars):
            near_outer, far_outer = OUTER[number]
            self.near.ip(
                f"link add wan{number} type veth peer name wan0 netns {far.name}",
                f"address add {near_outer}/30 dev wan{number}",
                f"link set wan{number} up",
            )
            far.ip(
                f"address add {far_outer}/30 dev wan0",
                f"address add {DESTINATIONS[number]}/32 dev lo",
                "link set wan0 up",
            )

    def route(self, near_device: str, far_device: str) -> None:
        """Lead the inner networks of the first tunnel into these devices."""
        self.near.ip(f"route add {FAR_NETWORKS[0]} dev {near_device} src {SOURCES[0]}")
        self.far.ip(f"route add {NEAR_NETWORK} dev {far_device} src {DESTINATIONS[0]}")


def remove_leftovers() -> None:
    """Remove what a run that was killed has left."""
    for path in namespaces.MOUNTS.glob(f"{PREFIX}-*") if namespaces.MOUNTS.is_dir() else ():
        owner = path.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            _remove(f"{PREFIX}-{owner}")


def _remove(prefix: str) -> None:
    names = [path.name for path in namespaces.MOUNTS.glob(f"{prefix}-*")]
    namespaces.remove(names)


def cpu_seconds(pids: list[int]) -> float:
    """Processor time, user and system, that these processes and their threads have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def pss_mib(pids: list[int]) -> float:
    """Memory of these processes: what they share with others counts in proportion."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
