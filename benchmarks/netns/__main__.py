"""`python -m benchmarks.netns`: vcstack and its peers, in turns, on this machine."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from benchmarks.netns import bars, plot
from benchmarks.netns.contenders import program
from benchmarks.netns.measures import FULL, QUICK
from benchmarks.netns.network import remove_leftovers
from benchmarks.netns.results import Results, tables
from benchmarks.netns.suite import Suite, about, contenders
from vcstack.lab.namespaces import LabError

INTERRUPTED = 130


def main() -> int:
    options = _options()
    if os.geteuid() != 0:
        return _refuse("network namespaces need root")
    if program("iperf3") is None:
        return _refuse("iperf3 is not installed")
    if options.plot and (why := plot.missing()):
        return _refuse(why)
    signal.signal(signal.SIGTERM, _interrupt)
    results = Results(about())
    start = time.monotonic()
    status = 0
    with tempfile.TemporaryDirectory(prefix="vcbench-") as name:
        folder = Path(name)
        suite = Suite(folder, QUICK if options.quick else FULL, results, _say)
        try:
            remove_leftovers()
            every = contenders(folder, options.wireguard_go)
            if options.only:
                every = [one for one in every if one.name in options.only]
            chosen = suite.select(every)
            suite.run(chosen, options.runs)
            if options.plot:
                suite.sweep(chosen)
        except KeyboardInterrupt:
            _say("interrupted; everything is removed")
            status = INTERRUPTED
        except LabError as error:
            return _refuse(str(error))
    _report(results, options, time.monotonic() - start)
    return status


def _report(results: Results, options: argparse.Namespace, seconds: float) -> None:
    print(f"{results.about['date']}; {results.about['machine']}; {options.runs} runs in {seconds:.0f} s\n")
    print(tables(results, bars.OURS))
    if verdicts := bars.verdicts(results):
        print(f"\n{verdicts}")
    if options.json:
        results.write(options.json)
    if options.plot and results.sweep:
        plot.draw(results, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.netns", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="turns of every contender (default 5)")
    parser.add_argument("--quick", action="store_true", help="short measurements, for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="measure packet sizes, too, and draw")
    parser.add_argument("--wireguard-go", metavar="PATH", help="the program, if not on PATH")
    parser.add_argument("--only", action="append", metavar="NAME", help="this contender alone; repeatable")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    return options


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse(why: str) -> int:
    _say(f"error: {why}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
