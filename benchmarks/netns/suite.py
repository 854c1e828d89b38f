"""The order of things: every contender in every run, one at a time, each in fresh namespaces."""

import datetime as dt
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import CalledProcessError

from benchmarks.netns import measures
from benchmarks.netns.contenders import Contender
from benchmarks.netns.contenders.floor import Floor
from benchmarks.netns.contenders.strongswan import Strongswan
from benchmarks.netns.contenders.vcstack import Vcstack
from benchmarks.netns.contenders.veth import Veth
from benchmarks.netns.contenders.wireguard import WireguardGo
from benchmarks.netns.measures import Effort
from benchmarks.netns.network import BenchError, Field
from benchmarks.netns.results import Results
from vcstack.lab.namespaces import LabError

SIZES = (64, 128, 200, 400, 800, 1400)
SWEEP_PRECISION = 0.1
FAILURES = (BenchError, LabError, OSError, CalledProcessError)


def contenders(folder: Path, wireguard_go: str | None) -> list[Contender]:
    """All of them, whether they can take part or not."""
    tunnels = [Vcstack(udp=True), Vcstack(udp=False), Strongswan(), WireguardGo(wireguard_go)]
    return [*tunnels, Floor("a", folder), Floor("c", folder), Veth()]


@dataclass(slots=True)
class Suite:
    """Runs contenders and notes what they bring; `say` gets a line for each turn."""

    folder: Path
    effort: Effort
    results: Results
    say: Callable[[str], None]

    def select(self, every: Sequence[Contender]) -> list[Contender]:
        """Those who can take part; why the others cannot goes into the results."""
        chosen = []
        for contender in every:
            why = contender.missing()
            if why is None:
                chosen.append(contender)
            else:
                self.results.skipped[contender.name] = why
                self.say(f"{contender.name} is left out: {why}")
        return chosen

    def run(self, chosen: Sequence[Contender], runs: int) -> None:
        """Every contender once per run; another one begins each time."""
        for contender in chosen:
            self.results.samples.setdefault(contender.name, {})
        for number in range(runs):
            first = number % len(chosen)
            for contender in (*chosen[first:], *chosen[:first]):
                what = f"run {number + 1} of {runs}"
                self._attempt(what, contender, partial(self._turn, contender, number))

    def sweep(self, chosen: Sequence[Contender], sizes: Sequence[int] = SIZES) -> None:
        """The loss-free rate at each packet size, for the plot."""
        for contender in chosen:
            self._attempt("sizes", contender, partial(self._sizes, contender, sizes))

    def _attempt(self, what: str, contender: Contender, turn: Callable[[], str]) -> None:
        start = time.monotonic()
        try:
            found = turn()
        except FAILURES as error:
            found = f"failed: {error}"
        self.say(f"{what}: {contender.name}: {found} ({time.monotonic() - start:.0f} s)")

    def _turn(self, contender: Contender, number: int) -> str:
        found: dict[str, float] = {}
        with self._field(contender) as field:
            try:
                found |= contender.start(field)
                found |= measures.tcp(field, self.effort)
                found |= measures.both_ways(field, self.effort)
                if contender.ends > 1:
                    found |= measures.two_tunnels(field, self.effort)
                with measures.Generator(field) as generator:
                    found |= measures.voice(generator, self.effort, self._guess(contender))
                found |= contender.finish(field)
            finally:
                self.results.add(contender.name, number, found)
        return f"{found['tcp_mbps']:,.0f} Mbit/s, {found['voice_pps']:,.0f} packets/s"

    def _sizes(self, contender: Contender, sizes: Sequence[int]) -> str:
        with self._field(contender) as field:
            contender.start(field)
            rates = self.results.sweep.setdefault(contender.name, {})
            guess, effort = self._guess(contender), replace(self.effort, precision=SWEEP_PRECISION)
            with measures.Generator(field) as generator:
                for size in sizes:
                    rates[size] = generator.loss_free(size, effort, guess)
                    guess = rates[size] or None
        return ", ".join(f"{size}: {rate:,.0f}" for size, rate in rates.items())

    @contextmanager
    def _field(self, contender: Contender) -> Iterator[Field]:
        folder = tempfile.TemporaryDirectory(dir=self.folder)
        with folder as name, Field(Path(name), ends=contender.ends) as field:
            yield field

    def _guess(self, contender: Contender) -> float | None:
        known = [rate for rate in self.results.values(contender.name, "voice_pps").values() if rate]
        return median(known) if known else None


def about() -> dict[str, str]:
    """Where and when: figures do not travel."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    cores = sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{model}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "load": Path("/proc/loadavg").read_text().split()[0],
        "command": " ".join(sys.argv[1:]),
    }
