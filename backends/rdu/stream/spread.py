"""The ways to spread a stage over PCUs."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.rdu.stream.forms import Form
from ir.op import Gemm
from pef.cycles import Parallelism, StageWork, chain_length, compute_cycles_of_all, operand_bytes, result_bytes
from pef.machine import Machine, SiteKind

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to spread a stage: PCUs it takes and cycles per firing it then needs."""

    units: int
    cycles: int
    parallel: Parallelism


@dataclass(frozen=True, eq=False)
class Spread:
    """The ways to spread stages of one form that no other beats in both PCUs and cycles, narrowest first."""

    form: Form
    machine: Machine
    options: tuple[Option, ...]
    chain: int
    """The fewest PCUs."""
    paces: tuple[int, ...]
    """Cycles per firing of each option, negated."""

    def within(self, cycles: float) -> int:
        """The narrowest option that takes no more than `cycles` for a firing, or the widest, by its number."""
        return min(bisect.bisect_left(self.paces, -cycles), len(self.paces) - 1)

    @functools.cache  # noqa: B019  (a spread is kept for good)
    def sent_bytes(self, option: int) -> tuple[int, ...]:
        """Bytes that the buffers send for a firing with this option, for each value that is read."""
        form, parallel = self.form, self.options[option].parallel
        return tuple(
            operand_bytes(form.work, parallel, self.machine, form.types[number], form.sides.get(number))
            for number in form.reads
        )

    @functools.cache  # noqa: B019  (a spread is kept for good)
    def written_bytes(self, option: int) -> tuple[int, ...]:
        """Bytes that the stage sends for a firing with this option, for each value that is written."""
        form, parallel = self.form, self.options[option].parallel
        return tuple(result_bytes(form.work, parallel, form.types[number]) for number in form.writes)


@functools.cache
def spread_of(form: Form, machine: Machine) -> Spread:
    """The ways to spread stages of a form."""
    found = options(form.work, machine)
    return Spread(form, machine, found, chain_length(form.work, machine), tuple(-option.cycles for option in found))


@functools.cache
def options(work: StageWork, machine: Machine) -> tuple[Option, ...]:
    """The ways to spread work over no more PCUs than there are that no other beats in both PCUs and cycles, narrowest
    first; there is always one."""
    chain = chain_length(work, machine)
    lanes = np.array(list(_lanes(work, max(1, len(machine.working_sites(SiteKind.PCU)) // chain), machine))).T
    cycles, units = compute_cycles_of_all(work, lanes, machine), lanes.prod(axis=0) * chain
    order = np.lexsort((lanes[0], lanes[1], _sent(work, lanes, machine), cycles, units))
    slowest = np.minimum.accumulate(cycles[order])
    best = order[np.concatenate([[True], slowest[1:] < slowest[:-1]])]
    return tuple(
        Option(count, slow, Parallelism(batch, row, column, chain))
        for count, slow, (batch, row, column) in zip(
            units[best].tolist(), cycles[best].tolist(), lanes[:, best].T.tolist()
        )
    )


def _sent(work: StageWork, lanes: Ints, machine: Machine) -> Ints:
    """Elements that the operands of a product send in all: those of one side once for each block of the other."""
    if work.gemm is None:
        return np.zeros(lanes.shape[1], np.int64)
    gemm = work.gemm
    left = gemm.m * -(-gemm.n // (machine.pcu_stages * lanes[2]))
    right = gemm.n * -(-gemm.m // (machine.pcu_lanes * lanes[1]))
    sent: Ints = gemm.batch * gemm.k * (left + right)
    return sent


def _lanes(work: StageWork, most: int, machine: Machine) -> Iterable[tuple[int, int, int]]:
    """PCUs side by side for the batch, the rows and the columns of a stage's work, no more than `most` in all."""
    if work.gemm is None:
        vectors = max(1, math.ceil(work.elements / machine.pcu_lanes))
        for row in _up_to(most, _useful(min(vectors, work.rows))):
            yield 1, row, 1
        return
    rows = _useful(math.ceil(work.gemm.m / machine.pcu_lanes))
    columns = _useful(math.ceil(work.gemm.n / machine.pcu_stages))
    for batch in _up_to(most, _parts(work.gemm)):
        for row in _up_to(most // batch, rows):
            for column in _up_to(most // (batch * row), columns):
                yield batch, row, column


def _up_to(most: int, ascending: Iterable[int]) -> Iterable[int]:
    return itertools.takewhile(lambda number: number <= most, ascending)


def _parts(gemm: Gemm) -> Iterable[int]:
    """The ways to share out a batch, and the parts of its products: a product's parts once each has PCUs of its own."""
    yield from _useful(gemm.batch)
    yield from (gemm.batch * parts for parts in _useful(gemm.parts)[1:])


def _useful(blocks: int) -> list[int]:
    """The ways to deal `blocks` to units where one unit less would make someone take a block more."""
    found = []
    parts = 1
    while parts <= blocks:
        each = math.ceil(blocks / parts)
        parts = math.ceil(blocks / each)
        found.append(parts)
        if each == 1:
            break
        parts = math.ceil(blocks / (each - 1))
    return found
