"""The measurements of one turn: a contender is up, and carries the inner networks between the ends."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.netns.network import (
    DESTINATIONS,
    SOURCES,
    BenchError,
    Field,
    Space,
    cpu_seconds,
    wait_until,
)

VOICE_BYTES = 200
"""An IPv4 packet of G.711 with 20 ms: 160 bytes of speech, RTP, UDP."""

LOWEST_RATE, HIGHEST_RATE = 100, 600_000
_SETTLE_S = 0.08
_IPERF_PORT = 5201
_WORTH_A_RETRY = 0.01
_UNDERRUN, _GROWTH, _STALLS = 0.9, 1.02, 2
_TCP_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: seconds of a TCP stream, of a trial, of a delay; precision of the rate."""

    tcp_s: int
    trial_s: float
    delay_s: float
    precision: float


FULL = Effort(tcp_s=2, trial_s=0.6, delay_s=1.2, precision=0.04)
QUICK = Effort(tcp_s=1, trial_s=0.3, delay_s=0.4, precision=0.15)
SMOKE = Effort(tcp_s=1, trial_s=0.1, delay_s=0.1, precision=2.0)


# ------------------------------------------------------------------------------- TCP by iperf3


def tcp(field: Field, effort: Effort) -> dict[str, float]:
    """One TCP stream one way: Mbit/s received, and the contender's processor time per gigabyte."""
    with _servers(field.fars[:1]):
        pids = field.contender_pids()
        before = cpu_seconds(pids)
        received, mbps = _stream(_client(field, 0, effort), "sum_received")
        used = cpu_seconds(pids) - before
    found = {"tcp_mbps": mbps}
    if pids:
        found["cpu_s_per_gb"] = used / (received / 1e9)
    return found


def both_ways(field: Field, effort: Effort) -> dict[str, float]:
    """One TCP stream each way at once: the sum in Mbit/s."""
    with _servers(field.fars[:1]):
        report = _report(_client(field, 0, effort, "--bidir"))
    return {"both_mbps": sum(_mbps(report, f"sum_received{way}") for way in ("", "_bidir_reverse"))}


def two_tunnels(field: Field, effort: Effort) -> dict[str, float]:
    """One TCP stream through each of two tunnels at once: the sum in Mbit/s."""
    with _servers(field.fars):
        clients = [_client(field, number, effort) for number in range(len(field.fars))]
        return {"two_mbps": sum(_stream(client, "sum_received")[1] for client in clients)}


@contextlib.contextmanager
def _servers(spaces: list[Space]) -> Iterator[None]:
    servers = [space.tool("iperf3", "-s", "-p", str(_IPERF_PORT)) for space in spaces]
    try:
        for space, server in zip(spaces, servers, strict=True):
            wait_until(lambda pid=server.pid: _listens(pid), 5, f"iperf3 in {space.name}")  # type: ignore[misc]
        yield
    finally:
        for server in servers:
            _end(server)


def _listens(pid: int) -> bool:
    for family in ("tcp", "tcp6"):
        table = Path(f"/proc/{pid}/net/{family}").read_text()
        rows = [line.split() for line in table.splitlines()]
        if any(row[1].endswith(f":{_IPERF_PORT:04X}") and row[3] == _TCP_LISTEN for row in rows[1:]):
            return True
    return False


def _client(field: Field, number: int, effort: Effort, *extra: str) -> subprocess.Popen[bytes]:
    ends = ("-c", DESTINATIONS[number], "-B", SOURCES[number], "-p", str(_IPERF_PORT))
    return field.near.tool("iperf3", *ends, "-t", str(effort.tcp_s), "-J", *extra)


def _stream(client: subprocess.Popen[bytes], name: str) -> tuple[float, float]:
    report = _report(client)
    return float(report["end"][name]["bytes"]), _mbps(report, name)


def _mbps(report: dict[str, Any], name: str) -> float:
    return float(report["end"][name]["bits_per_second"]) / 1e6


def _report(client: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        output, _ = client.communicate(timeout=30)
        report: dict[str, Any] = json.loads(output)
    except (subprocess.TimeoutExpired, ValueError):
        raise BenchError("iperf3 has no result") from None
    finally:
        _end(client)
    if "error" in report:
        raise BenchError(f"iperf3: {report['error']}")
    return report


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
    if process.stdin is not None:
        process.stdin.close()


# ------------------------------------------------------------------------------- UDP by our own generator


@dataclass(frozen=True, slots=True)
class Trial:
    """What one rate came to."""

    rate: float
    sent: int
    received: int
    p50_us: float
    p99_us: float

    @property
    def lost(self) -> int:
        """Packets that did not arrive within 50 ms."""
        return self.sent - self.received


class Generator:
    """A sender at the near end and a receiver at the far end, for trial after trial."""

    def __init__(self, field: Field) -> None:
        command = (sys.executable, "-m", "benchmarks.netns.generator")
        self._number = 0
        self._sender = field.near.tool(*command, "send", stdin=subprocess.PIPE)
        self._receiver = field.far.tool(*command, "receive", stdin=subprocess.PIPE)

    def __enter__(self) -> Self:
        for process in (self._sender, self._receiver):
            _answer(process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._sender, self._receiver):
            _end(process)

    def trial(self, rate: float, size: int, seconds: float) -> Trial:
        """Send for some seconds. Raises BenchError when nothing at all arrives."""
        self._number += 1
        order = {"rate": rate, "size": size, "seconds": seconds, "trial": self._number}
        sent = _ask(self._sender, order)
        time.sleep(_SETTLE_S)
        got = _ask(self._receiver, order)
        p50, p99 = (got[name] if got[name] is not None else float("inf") for name in ("p50_us", "p99_us"))
        return Trial(sent["sent"] / sent["seconds"], sent["sent"], got["received"], p50, p99)

    def loss_free(self, size: int, effort: Effort, guess: float | None = None) -> float:
        """The highest rate in packets/s at which not one packet is lost, by bisection.

        A rate at which less than 1 % is lost gets a second chance: a hiccup of the machine is no limit.
        """

        def passes(rate: float) -> float | None:
            trial = self.trial(rate, size, effort.trial_s)
            if 0 < trial.lost < trial.sent * _WORTH_A_RETRY:
                trial = self.trial(rate, size, effort.trial_s)
            return trial.rate if trial.lost == 0 else None

        return search(passes, guess or 20_000, effort.precision)


def search(passes: Callable[[float], float | None], guess: float, precision: float) -> float:
    """The highest rate that passes. `passes` returns the rate that was really offered, or None for loss."""
    low, high, best, rate, step = 0.0, float("inf"), 0.0, guess, 1.15
    stalls = 0
    while high / max(low, 1.0) > 1 + precision and LOWEST_RATE <= rate <= HIGHEST_RATE:
        offered = passes(rate)
        if offered is None:
            high = rate
        else:
            if offered < rate * _UNDERRUN and offered < best * _GROWTH:
                stalls += 1
                if stalls == _STALLS:
                    break  # the sender is at its own limit
            low, best = rate, max(best, offered)
        if high == float("inf"):
            rate, step = low * step, min(2.0, step * 1.3)
        elif not low:
            rate, step = high / step, min(2.0, step * 1.3)
        else:
            rate = (low * high) ** 0.5
    return best


def voice(generator: Generator, effort: Effort, guess: float | None) -> dict[str, float]:
    """200-byte packets of 128 flows one way: the loss-free rate, and delays at 5 % and 70 % of it."""
    rate = generator.loss_free(VOICE_BYTES, effort, guess)
    found = {"voice_pps": rate}
    if not rate:
        return found
    for percent in (5, 70):
        trial = generator.trial(rate * percent / 100, VOICE_BYTES, effort.delay_s)
        found |= {f"delay{percent}_p50_us": trial.p50_us, f"delay{percent}_p99_us": trial.p99_us}
    return found


def _ask(process: subprocess.Popen[bytes], order: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None, "made with a pipe"
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    return _answer(process)


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None, "made with a pipe"
    line = process.stdout.readline()
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        text = (line + process.stdout.read()).decode(errors="replace").strip().splitlines()
        raise BenchError(f"the generator failed: {text[-1] if text else 'no word'}") from None
    return answer
