"""Network namespaces by `ip`: made from a topology, entered, emptied and deleted.

Every call is short and blocks; none is left half done when the lab is interrupted, because the children have
a session of their own and do not see the terminal's Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import vcstack
from vcstack.lab.plan import PREFIX, Node, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
MOUNTS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_STOP_S = 6.0
_KILL_S = 3.0
_POLL_S = 0.05
_ROUTER = {"ip_forward": 1, "conf/all/rp_filter": 0, "conf/default/rp_filter": 0}
_MASQUERADE = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
"""


class LabError(Exception):
    """The lab cannot go on; one line says why."""


def build(plan: Plan) -> Iterator[str]:
    """Make every node and link of the plan; yields before each step what it is about to make."""
    for node in plan.topology.nodes:
        yield f"namespace {plan.namespace(node.name)}"
        run("ip", "netns", "add", plan.namespace(node.name))
        if node.forwards:
            _set_parameters(plan.namespace(node.name), _ROUTER)
    yield "links"
    for link in plan.topology.links:
        left, right = plan.namespace(link.left), plan.namespace(link.right)
        pair = ("type", "veth", "peer", "name", link.right_device, "netns", right)
        run("ip", "-n", left, "link", "add", link.left_device, *pair)
    for node in plan.topology.nodes:
        yield f"addresses of {node.name}"
        _configure(plan.namespace(node.name), node)
    if plan.topology.nat is not None:
        yield "masquerading"
        run(*inside(plan.namespace(plan.topology.nat)), "nft", "-f", "-", text=_MASQUERADE)


def inside(namespace: str) -> tuple[str, ...]:
    """What stands in front of a command that runs in a namespace."""
    return ("ip", "netns", "exec", namespace)


def run(*command: str, text: str | None = None) -> str:
    """Run a command to its end and return what it printed. Raises LabError."""
    try:
        result = subprocess.run(  # noqa: S603 (no shell; commands of this package)
            command,
            input=text,
            capture_output=True,
            text=True,
            start_new_session=True,
            env=environment(),
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed") from None
    if result.returncode:
        said = result.stderr.strip() or result.stdout.strip()
        raise LabError(f"{' '.join(command)}: {said or f'status {result.returncode}'}")
    return result.stdout


def spawn(namespace: str, *command: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a command in a namespace, in a session of its own, with both its outputs in `output`."""
    return subprocess.Popen(  # noqa: S603
        (*inside(namespace), *command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    )


def python(*arguments: str) -> tuple[str, ...]:
    """The command line of this interpreter with `arguments`."""
    return (sys.executable, *arguments)


def environment() -> dict[str, str]:
    """The environment of a child that imports this vcstack, wherever it was imported from."""
    root = str(Path(vcstack.__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    python_path = os.pathsep.join(dict.fromkeys(paths))
    return {**os.environ, "PYTHONPATH": python_path, "PATH": search_path(), "LC_ALL": "C.UTF-8"}


def search_path() -> str:
    """Where programs are looked for: also where Debian has root's, which `su` alone does not name."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def made_inside(namespace: str, make: Callable[[], T]) -> T:
    """What `make` returns when it runs in a namespace: a socket that it opens belongs there ever after.

    It runs in a thread that ends with it, because the namespace belongs to the thread. Raises OSError.
    """

    def enter_and_make() -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        with (MOUNTS / namespace).open("rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
        return make()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(enter_and_make).result()


def existing(number: int | None = None) -> list[str]:
    """The namespaces of one lab, or of all labs."""
    prefix = f"{PREFIX}-" if number is None else f"{PREFIX}-{number}-"
    return sorted(path.name for path in MOUNTS.glob(f"{prefix}*")) if MOUNTS.is_dir() else []


def remove(namespaces: Iterable[str]) -> None:
    """End what runs in the namespaces, politely and then not, and delete them. Raises LabError."""
    names = list(namespaces)
    # The leader of a session is a daemon, which ends its own forwarders.
    leaders = [pid for pid in _pids(names) if _leads(pid)]
    _signal(leaders, signal.SIGTERM)
    _wait_until_gone(names, _STOP_S)
    _signal(_pids(names), signal.SIGKILL)
    _wait_until_gone(names, _KILL_S)
    failed = [error for name in names if (error := _delete(name)) is not None]
    if failed:
        raise failed[0]


def _delete(namespace: str) -> LabError | None:
    """Delete it, or say why not, so that the others can be deleted all the same."""
    try:
        run("ip", "netns", "delete", namespace)
    except LabError as error:
        return error
    return None


def _set_parameters(namespace: str, parameters: dict[str, int]) -> None:
    script = "; ".join(f"echo {value} > /proc/sys/net/ipv4/{name}" for name, value in parameters.items())
    run(*inside(namespace), "sh", "-ec", script)


def _configure(namespace: str, node: Node) -> None:
    lines = ["link set lo up"]
    for device, address in node.addresses.items():
        lines += [f"address add {address} dev {device}", f"link set {device} up"]
    for way in node.routes:
        lines.append(f"route add {way.destination} via {way.via} metric {way.metric}")
    run("ip", "-n", namespace, "-batch", "-", text="\n".join(lines))


def _pids(namespaces: list[str]) -> list[int]:
    return [int(pid) for name in namespaces for pid in run("ip", "netns", "pids", name).split()]


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_until_gone(namespaces: list[str], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while _pids(namespaces) and time.monotonic() < end:
        time.sleep(_POLL_S)
