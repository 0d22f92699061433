"""Where the functional simulator's time goes on this computer: processor time by operator."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ir.kernels.gemm import OneThread
from ir.op import Op
from runtime.numbers.fast.executor import FunctionalSimulator
from runtime.numbers.fast.plan import Step
from runtime.session import Session

ROUNDS = 10
SHOWN_SHARE = 0.01


def print_profile(pef: Path, title: str) -> None:
    """Run every section on one thread, timing each kernel call."""
    session = Session(pef, threads=1)
    with np.load(pef.with_suffix(".npz")) as values:
        session.load_weights(dict(values), strict=False)
    session.run()
    spent: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    simulator = session._simulator
    assert isinstance(simulator, FunctionalSimulator)
    with OneThread(), np.errstate(all="ignore"):
        for _ in range(ROUNDS):
            for number in range(len(session.pef.sections)):
                for part in simulator.plan(number).parts:
                    for lane in part:
                        for step in lane:
                            name = label(step)
                            start = time.process_time()
                            step[0](*step[1])
                            spent[name] += time.process_time() - start
                            calls[name] += 1
    total = sum(spent.values())
    table = Table("kernel", "calls", "ms", "share", title=f"{title}: {1e3 * total / ROUNDS:.1f} ms a step")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        if seconds > SHOWN_SHARE * total:
            table.add_row(name, str(calls[name] // ROUNDS), f"{1e3 * seconds / ROUNDS:.2f}", f"{seconds / total:.0%}")
    Console().print(table)


def label(step: Step) -> str:
    """The operator a step belongs to, with the shapes it works on."""
    kernel, arguments = step
    owner = getattr(kernel, "__self__", None)
    name = owner.name if isinstance(owner, Op) else kernel.__name__
    shapes = [list(argument.shape) for argument in arguments[:3] if isinstance(argument, np.ndarray)]
    return f"{name} {' '.join(map(str, shapes))}".replace(", ", ",")
