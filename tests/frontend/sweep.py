"""Sweeps over PyTorch's own sample inputs: `python -m tests.frontend.sweep modules|ops`.

Every sample of every module family, or operator, that PyTorch tests itself with is captured, improved, run forward and
backward, and compared. Prints the coverage, what is missing most often, and every fault.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
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


@dataclass(frozen=True)
class Result:
    """The outcomes of the samples of one family that were tried, and how many samples it has."""

    family: Family
    outcomes: tuple[tuple[int, Outcome], ...]

    def count(self, *statuses: Status) -> int:
        """How many samples came out so."""
        return sum(outcome.status in statuses for _, outcome in self.outcomes)


class TooSlow(Exception):
    """A family that takes longer than its time."""


def run(family: Family, most: int | None = None, backend: bool = False, seconds: int = 600) -> Result:
    """Check the samples of one family, or `most` of them, the same ones every time."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(seconds)
    try:
        calls = family.calls()
        chosen = sorted(random.Random(family.name).sample(range(len(calls)), min(most or len(calls), len(calls))))
        runner = simulated if backend else interpreted
        outcomes: list[Outcome] = []
        for start in range(0, len(chosen), TOGETHER):
            part = [calls[i] for i in chosen[start : start + TOGETHER]]
            outcomes += check(part, family.tolerances(), runner)
        return Result(family, tuple(zip(chosen, outcomes)))
    except Exception as error:
        return Result(family, ((-1, Outcome(Status.FAILED, f"{type(error).__name__}: {error}")),))
    finally:
        signal.alarm(0)


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
                dtype = str(result.family.dtype).removeprefix("torch.")
                lines.append(f"{outcome.status.value}: {result.family.name} {dtype} {number}: {outcome.reason}")
            if outcome.status is Status.REFUSED or (verbose and outcome.status is Status.INELIGIBLE):
                missing.update(outcome.missing)
                if not outcome.missing:
                    reasons[f"{outcome.status.value}: {outcome.reason[:150]}"] += 1
    lines += [f"{count:5} {name}" for name, count in missing.most_common(60)]
    lines += [f"{count:5} {reason}" for reason, count in reasons.most_common(60)]
    return "\n".join([*lines, coverage(results)])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("modules", "ops"))
    parser.add_argument("--only", help="the family of this name, or whose name has this in it")
    parser.add_argument("--most", type=int, help="samples to take of each family")
    parser.add_argument("--backend", action="store_true", help="run what the backend maps, not the reference")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--again", type=Path, help="only the families with refusals or faults in this file")
    parser.add_argument("--save", type=Path, help="write every outcome to this file, as JSON")
    parser.add_argument("--verbose", action="store_true", help="say what the ineligible samples miss too")
    options = parser.parse_args()
    chosen = families(options.kind)
    if options.only:
        exact = [family for family in chosen if family.name == options.only]
        chosen = exact or [family for family in chosen if options.only in family.name]
    if options.again:
        wanted = {
            key
            for key, found in json.loads(options.again.read_text()).items()
            if {"refused", "wrong", "failed"} & {s for _, s, *_ in found}
        }
        chosen = [family for family in chosen if f"{family.name} {family.dtype}" in wanted]
    results = []
    for result in run_all(chosen, options.most, options.backend, options.processes):
        results.append(result)
        if options.save:
            options.save.write_text(json.dumps(_table(results), indent=1))
    print(report(results, options.verbose))


def _table(results: list[Result]) -> dict[str, Any]:
    return {
        f"{r.family.name} {r.family.dtype}": [(i, o.status.value, o.reason, o.missing) for i, o in r.outcomes]
        for r in results
    }


if __name__ == "__main__":
    main()
