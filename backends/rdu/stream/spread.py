"""The ways to spread a stage over PCUs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from pef.cycles import Parallelism, StageWork, chain_length, compute_cycles
from pef.machine import Machine


@dataclass(frozen=True, slots=True)
class Option:
    """One way to spread a stage: PCUs it takes and cycles per firing it then needs."""

    units: int
    cycles: int
    parallel: Parallelism


@functools.cache
def options(work: StageWork, machine: Machine) -> tuple[Option, ...]:
    """The ways to spread a stage that no other beats in both PCUs and cycles, narrowest first."""
    chain = chain_length(work, machine)
    candidates = [
        Option(parallel.units, compute_cycles(work, parallel, machine), parallel)
        for parallel in _spreads(work, chain, machine)
    ]
    best: list[Option] = []

    def order(option: Option) -> tuple[float, ...]:
        parallel = option.parallel
        return option.units, option.cycles, _sent(work, parallel, machine), parallel.row, parallel.batch

    for option in sorted(candidates, key=order):
        if not best or option.cycles < best[-1].cycles:
            best.append(option)
    return tuple(best)


def _sent(work: StageWork, parallel: Parallelism, machine: Machine) -> float:
    """Elements that the operands of a product send in all: those of one side once for each block of the other."""
    if work.gemm is None:
        return 0.0
    gemm = work.gemm
    left = gemm.m * math.ceil(gemm.n / (machine.pcu_stages * parallel.column))
    right = gemm.n * math.ceil(gemm.m / (machine.pcu_lanes * parallel.row))
    return float(gemm.batch * gemm.k * (left + right))


def _spreads(work: StageWork, chain: int, machine: Machine) -> Iterable[Parallelism]:
    if work.gemm is None:
        vectors = max(1, math.ceil(work.elements / machine.pcu_lanes))
        for lanes in _useful(min(vectors, work.rows)):
            yield Parallelism(row=lanes, chain=chain)
        return
    for batch in _useful(work.gemm.batch):
        for row in _useful(math.ceil(work.gemm.m / machine.pcu_lanes)):
            for column in _useful(math.ceil(work.gemm.n / machine.pcu_stages)):
                yield Parallelism(batch, row, column, chain)


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
