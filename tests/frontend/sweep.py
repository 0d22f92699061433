"""Sweeps over PyTorch's own sample inputs: `python -m tests.frontend.sweep modules|ops`.

Every sample of every module family, or operator, that PyTorch tests itself with is captured, improved, run forward and
backward, and compared. Prints the coverage, what is missing most often, and every fault.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from tests.frontend.sweep_cases import Family, families
from tests.frontend.sweep_check import Outcome, Status, check, interpreted, simulated

FAULTS = (Status.WRONG, Status.FAILED)
TOGETHER = 12
"""Calls traced at once."""
LIMIT_SECONDS = 3600
"""Of processor time for a family, which other work on the computer does not change."""


@dataclass(frozen=True)
class Result:
    """The outcomes of the samples of one family that were tried, by their number, and the processor time they took."""

    family: Family
    outcomes: tuple[tuple[int, Outcome], ...]
    seconds: float = 0.0

    def count(self, *statuses: Status) -> int:
        """How many samples came out so."""
        return sum(outcome.status in statuses for _, outcome in self.outcomes)

    def __str__(self) -> str:
        counts = Counter(outcome.status.value for _, outcome in self.outcomes)
        shown = ", ".join(f"{count} {status}" for status, count in counts.items()) or "no samples"
        return f"{self.family.key}: {shown}; {self.seconds:.1f} s"


class TooSlow(Exception):
    """A family that takes longer than its time."""


def run(family: Family, most: int | None = None, backend: bool = False) -> Result:
    """Check the samples of one family, or `most` of them, the same ones every time."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
    begun = time.process_time()
    try:
        calls = family.calls()
        chosen = sorted(random.Random(family.name).sample(range(len(calls)), min(most or len(calls), len(calls))))
        runner = simulated if backend else interpreted
        outcomes: list[Outcome] = []
        for start in range(0, len(chosen), TOGETHER):
            part = [calls[i] for i in chosen[start : start + TOGETHER]]
            outcomes += check(part, family.tolerances(), runner)
        return Result(family, tuple(zip(chosen, outcomes)), time.process_time() - begun)
    except Exception as error:
        failure = Outcome(Status.FAILED, f"{type(error).__name__}: {error}")
        return Result(family, ((-1, failure),), time.process_time() - begun)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(*_: Any) -> None:
    raise TooSlow("the family took too long")


def run_all(chosen: list[Family], most: int | None, backend: bool, processes: int) -> Iterator[Result]:
    """Check families in several processes, in order."""
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield from pool.map(partial(run, most=most, backend=backend), chosen)


def coverage(results: list[Result]) -> str:
    """How much of what could be covered is."""
    tried = [result for result in results if result.count(*Status) > result.count(Status.INELIGIBLE)]
    names = {result.family.name for result in tried}
    partly = {r.family.name for r in tried if r.count(Status.REFUSED, *FAULTS)}
    good = sum(r.count(Status.EQUAL, Status.RANDOM) for r in tried)
    eligible = sum(len(r.outcomes) - r.count(Status.INELIGIBLE) for r in tried)
    left = sum(r.count(Status.INELIGIBLE) for r in results)
    return (
        f"{len(names - partly)} of {len(names)} families, {good} of {eligible} samples "
        f"({good / max(eligible, 1):.1%}); {left} samples are not eligible; "
        f"{sum(r.count(*FAULTS) for r in results)} faults"
    )


def report(results: list[Result], verbose: bool) -> str:
    """Coverage, operators missing by frequency, other reasons, and faults."""
    missing: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    lines = []
    for result in results:
        for number, outcome in result.outcomes:
            if outcome.status in FAULTS:
                lines.append(f"{outcome.status.value}: {result.family.key} {number}: {outcome.reason}")
            if outcome.status is Status.REFUSED or (verbose and outcome.status is Status.INELIGIBLE):
                missing.update(outcome.missing)
                if not outcome.missing:
                    reasons[f"{outcome.status.value}: {outcome.reason[:150]}"] += 1
    lines += [f"{count:5} {name}" for name, count in missing.most_common(60)]
    lines += [f"{count:5} {reason}" for reason, count in reasons.most_common(60)]
    return "\n".join([*lines, coverage(results)])


class Record:
    """Outcomes in a file, a line of JSON for each family as soon as it is done: a sweep goes on where it was stopped.

    They hold for the code that they were made with, and for samples chosen and run in the same way.
    """

    def __init__(self, path: Path, most: int | None, backend: bool) -> None:
        self.path = path
        self.how = {"most": most, "backend": backend}

    def read(self, chosen: list[Family]) -> dict[Family, Result]:
        """What is known of the families, the newest of each."""
        known = {family.key: family for family in chosen}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        found = {}
        for line in map(json.loads, lines):
            if line["how"] == self.how and line["family"] in known:
                family = known[line["family"]]
                outcomes = tuple((i, Outcome(Status(status), why, tuple(m))) for i, status, why, m in line["outcomes"])
                found[family] = Result(family, outcomes, line["seconds"])
        return found

    def add(self, result: Result) -> None:
        """Write down one more."""
        outcomes = [(i, outcome.status.value, outcome.reason, outcome.missing) for i, outcome in result.outcomes]
        line = {"family": result.family.key, "how": self.how, "seconds": result.seconds, "outcomes": outcomes}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("modules", "ops"))
    parser.add_argument("--only", help="the family of this name, or whose name has this in it")
    parser.add_argument("--most", type=int, help="samples to take of each family")
    parser.add_argument("--backend", action="store_true", help="run what the backend maps, not the reference")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--record", type=Path, help="keep outcomes in this file; families in it are not run again")
    parser.add_argument("--again", action="store_true", help="run again what --record says was refused or at fault")
    parser.add_argument("--verbose", action="store_true", help="say what the ineligible samples miss too")
    options = parser.parse_args()
    if options.again and not options.record:
        parser.error("--again needs --record")
    chosen = _named(families(options.kind), options.only)
    record = Record(options.record, options.most, options.backend) if options.record else None
    results = record.read(chosen) if record else {}
    if options.again:
        results = {family: result for family, result in results.items() if not result.count(Status.REFUSED, *FAULTS)}
    left = [family for family in chosen if family not in results]
    for number, result in enumerate(run_all(left, options.most, options.backend, options.processes), 1):
        print(f"[{number}/{len(left)}] {result}", file=sys.stderr, flush=True)
        results[result.family] = result
        if record:
            record.add(result)
    print(report([results[family] for family in chosen], options.verbose))


def _named(known: list[Family], name: str | None) -> list[Family]:
    """The families of this name, else those with it in theirs; all without one."""
    exact = [family for family in known if family.name == name]
    return exact or [family for family in known if name is None or name in family.name]


if __name__ == "__main__":
    main()
