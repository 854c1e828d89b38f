"""One run of the lab as a whole: claims it, runs the scenario, removes everything whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vcstack.io.netlink import PROTOCOL
from vcstack.lab import registry, scenario
from vcstack.lab.bench import Bench
from vcstack.lab.failover import cut_commands, restore_commands
from vcstack.lab.namespaces import LabError, inside, search_path
from vcstack.lab.plan import DC_A, Plan
from vcstack.lab.registry import State
from vcstack.lab.report import Report

if TYPE_CHECKING:
    from vcstack.lab.display import Display
    from vcstack.lab.registry import Claim

_PROGRAMS = {"ip": "iproute2", "ping": "iputils-ping"}
_NAT_PROGRAMS = {"nft": "nftables"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedRunError(Exception):
    """A signal ended the run; everything is removed."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"ended by {number.name}")
        self.number = number


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    keep: bool = False
    nat: bool = False
    keepalive_s: float = 1.0


def run(options: Options, display: Display) -> Report:
    """Run the lab. Raises LabError where it cannot start, InterruptedRunError after a signal."""
    check_system(options)
    _tidy(display)
    return asyncio.run(_run(options, display))


def remove(display: Display) -> None:
    """Remove kept labs and what killed ones left. Raises LabError."""
    removed = registry.remove(State.KEPT, State.LEFT_OVER)
    for number in removed:
        display.note(f"lab {number} is removed")
    running = [str(number) for number in registry.labs()]
    if running:
        display.note(f"still running: lab {', '.join(running)}")
    elif not removed:
        display.note("there is no lab to remove")


def check_system(options: Options) -> None:
    """Refuse what cannot work. Raises LabError."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces: run it as root")
    if not Path("/dev/net/tun").exists():
        raise LabError("there is no /dev/net/tun: load the kernel module tun, or give it to the container")
    wanted = _PROGRAMS | (_NAT_PROGRAMS if options.nat else {})
    missing = [
        f"{program} (package {package})"
        for program, package in wanted.items()
        if not shutil.which(program, path=search_path())
    ]
    if missing:
        raise LabError(f"not installed: {', '.join(missing)}")


def _tidy(display: Display) -> None:
    """Remove what killed runs left; say what else stands."""
    for number in registry.remove(State.LEFT_OVER):
        display.note(f"removed what a killed lab {number} left")
    for number, state in registry.labs().items():
        how = "; `vcstack lab --remove` removes it" if state is State.KEPT else ""
        display.note(f"lab {number} is {state} beside this one{how}")


async def _run(options: Options, display: Display) -> Report:
    interruption = _Interruption()
    claim = registry.claim()
    plan = Plan(claim.number, nat=options.nat, keepalive_s=options.keepalive_s)
    bench = Bench(plan, claim.folder, display, Report(plan.number, plan.nat, plan.keepalive_s))
    kept = False
    try:
        await _attempt(bench, stop=not options.keep)
        kept = options.keep
    except asyncio.CancelledError:
        raise InterruptedRunError(interruption.number or signal.SIGINT) from None
    finally:
        interruption.ignore_from_now_on()
        _leave(claim, bench, keep=kept)
    bench.report.duration_s = display.elapsed_s
    return bench.report


async def _attempt(bench: Bench, *, stop: bool) -> None:
    """What stops the scenario early is a failed expectation like any other."""
    try:
        await scenario.run(bench, stop=stop)
    except LabError as error:
        bench.report.expect(held=False, otherwise=str(error))


def _leave(claim: Claim, bench: Bench, *, keep: bool) -> None:
    if keep:
        claim.keep()
    else:
        with bench.display.doing("everything is removed"):
            claim.remove()
            for daemon in bench.daemons.values():
                daemon.reap()
        bench.display.say("everything is removed")
    claim.release()


class _Interruption:
    """The first signal cancels the running task; further ones are not let into its clean-up."""

    def __init__(self) -> None:
        self.number: signal.Signals | None = None
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._received, number)

    def ignore_from_now_on(self) -> None:
        self._task = None

    def _received(self, number: signal.Signals) -> None:
        if self._task is not None:
            self.number = number
            self._task.cancel()
            self._task = None


def how_to_play(number: int) -> str:
    """What can be done with a lab that was kept."""
    plan = Plan(number)
    folder = registry.folder_of(number)
    cpe, lan = (" ".join(inside(plan.namespace(node))) for node in ("cpe", "lan"))
    vcstack = _own_command()
    cut, restore = (
        "; ".join(map(" ".join, commands)) for commands in (cut_commands(plan), restore_commands(plan))
    )
    lines = {
        f"{vcstack} status --socket {folder}/cpe.sock": "every layer of both tunnels",
        f"{vcstack} show ipsec --socket {folder}/cpe.sock": "or ikev2, tunnel, bgp, routes",
        f"{vcstack} status --socket {folder}/{DC_A.name}.sock": f"as {DC_A.name} sees it",
        f"{cpe} ip route show proto {PROTOCOL}": "the routes that BGP brought",
        f"{lan} ping {DC_A.host.ip}": f"from the LAN to the host behind {DC_A.name}",
        cut: f"cut {DC_A.name} off",
        restore: "and back",
        f"tail -f {folder}/cpe.log": "what the CPE says",
        f"{vcstack} lab --remove": "end it",
    }
    return "\n".join(f"  # {what}\n  {command}" for command, what in lines.items())


def _own_command() -> str:
    """How the user starts this vcstack again."""
    installed = Path(sys.executable).with_name("vcstack")
    return str(installed) if installed.exists() else f"{sys.executable} -m vcstack.cli.main"
