"""What becomes of a changed PEF: refused in the toolchain's own words, the same numbers, or another program.

A change may change the numbers only where it changes what the PEF says is computed: the fields of MEANING. Then the
numbers have to be those of the changed program, which another way of executing it tells.
"""

from __future__ import annotations

import json
import math
import signal
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np

from ir.errors import SncError
from ir.op import Array
from pef import file
from pef import pef_pb2 as pb
from pef.check import check
from pef.describe import as_dict
from runtime.timing import simulate
from tests.mutants.structure import Change
from tests.mutants.subjects import Subject

MEANING = frozenset(
    f"snc.pef.{name}"
    for name in (
        # which operator, with which attributes, on what
        "Operation.op", "Operation.operands", "Operation.results", "Attribute.name", "Attribute.flag",
        "Attribute.integer", "Attribute.real", "Attribute.text", "Attribute.dtype", "Attribute.integers",
        "Integers.values", "Stage.operations", "Stream.operations", "Operation.attributes",
        # what reads and writes what
        "Port.value", "Port.buffer", "Stage.inputs", "Stage.outputs", "Stream.slot", "Stream.buffer", "Phase.streams",
        "Section.bindings", "Section.configuration", "Symbol.name", "Pef.symbols",
    )
)  # fmt: skip
"""Fields that say what is computed, of which tensors."""

VISIBILITY = frozenset({"snc.pef.Symbol.kind"})
"""Fields that say which of the tensors the host gets to see: what it sees of both is the same."""

SECONDS = 30
"""Of CPU time, after which a change counts as one that hangs the toolchain: a crowded machine takes none of them."""

WAITING_SECONDS = 1800
"""By the clock, for what hangs without computing."""


class HangsError(BaseException):
    """The toolchain was still busy after SECONDS, or did not answer within WAITING_SECONDS."""


def judge(subject: Subject, pef: pb.Pef, changes: Sequence[Change], path: Path, usual: Mapping[str, Array]) -> str:
    """One of "refused", "same", "another program"; AssertionError for anything that must not happen."""
    file.write(pef, path)
    with time_limit(), np.errstate(all="ignore"):
        try:
            record = file.read(path)
            check(record)
            json.dumps(as_dict(record))
            cycles = simulate(record).cycles
            assert math.isfinite(cycles) and cycles >= 0, f"{cycles} cycles"
            numbers = subject.numbers(record)
        except SncError as error:
            assert error.problems and all(problem.message for problem in error.problems)
            assert len(str(error)) < 100_000
            return "refused"
        if is_same(numbers, usual):
            return "same"
        touched = {change.field for change in changes}
        if touched & VISIBILITY and is_same(*_common(numbers, usual)):
            return "another program"
        assert touched & MEANING, "other numbers without another program"
        assert is_same(numbers, subject.numbers(record, strict=True)), "the strict executor computes something else"
        return "another program"


def _common(numbers: Mapping[str, Array], others: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Of each, what the other has too."""
    shared = numbers.keys() & others.keys()
    return [{name: some[name] for name in sorted(shared)} for some in (numbers, others)]


def is_same(numbers: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    """The same tensors with the same numbers, but for the association of sums."""
    return numbers.keys() == others.keys() and all(
        array.shape == others[name].shape
        and np.allclose(array.astype(np.float64), others[name].astype(np.float64), 1e-4, 1e-5, equal_nan=True)
        for name, array in numbers.items()
    )


@contextmanager
def time_limit() -> Iterator[None]:
    """Raises HangsError in a block that takes too long."""

    def ring(number: int, frame: FrameType | None) -> None:
        limit = f"{SECONDS} s of CPU time" if number == signal.SIGPROF else f"{WAITING_SECONDS} s by the clock"
        raise HangsError(f"still busy after {limit}:\n{''.join(traceback.format_stack(frame, limit=8))}")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAITING_SECONDS)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
