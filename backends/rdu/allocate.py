"""Allocation: how many tiles a phase has, and how many PCUs each stage gets.

Phases of a section run one after another on their own units, so the section takes the sum of tiles x interval over
its phases, where a phase's interval is that of its slowest stage. Starting from the least any stage can do with, the
PCUs go where each buys the most cycles, until none buys enough to be worth its place or the budget is spent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.rdu.phases import Phase
from backends.rdu.tiling import TiledStage, tile_counts, tile_stage
from pef.cycles import Parallelism, StageWork, chain_length, compute_cycles, fill_cycles
from pef.machine import Machine

MOST_TILES = 64
"""Tiles a phase is cut into at most: beyond, fill and drain are already a small part of it."""

WORTHWHILE_GAIN = 2e-5
"""A PCU must shorten its section by this fraction: at 1e-5, a whole SN30 of 1,280 PCUs would save 2.5 %."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to spread a stage: PCUs it takes and cycles per tile it then needs."""

    units: int
    cycles: int
    parallel: Parallelism


@dataclass(frozen=True, slots=True)
class AllocatedPhase:
    """A phase with its tile count, and for each stage its tile's work and its PCUs; `interval` is in cycles."""

    phase: Phase
    tiles: int
    stages: tuple[TiledStage, ...]
    options: tuple[Option, ...]
    interval: int

    @property
    def units(self) -> int:
        """PCUs in all."""
        return sum(option.units for option in self.options)


def allocate(phases: Sequence[Phase], dram_bytes: Sequence[int], machine: Machine, pcus: int) -> list[AllocatedPhase]:
    """Tile counts and PCUs for the phases of one section.

    `dram_bytes[i]` is what phase i streams from and to memory in all: a phase need not be faster than that. Returns
    an empty list if `pcus` do not suffice for even one lane per stage.
    """
    memory_rate = machine.tier_bytes_per_cycle(0)
    floors = [bytes / memory_rate for bytes in dram_bytes]
    share = pcus // len(phases)
    tiled = [_choose_tiles(phase, floor, machine, share) for phase, floor in zip(phases, floors)]
    choice = [[0] * len(stages) for _, stages in tiled]
    tables = [[options(stage.work, machine) for stage in stages] for _, stages in tiled]
    if sum(table[0].units for phase in tables for table in phase) > pcus:
        return []
    _spend(tables, choice, [tiles for tiles, _ in tiled], floors, machine, pcus)
    return [
        _allocated(phase, tiles, stages, [table[i] for table, i in zip(phase_tables, chosen)], floor)
        for phase, (tiles, stages), phase_tables, chosen, floor in zip(phases, tiled, tables, choice, floors)
    ]


def _allocated(
    phase: Phase, tiles: int, stages: Sequence[TiledStage], chosen: Sequence[Option], floor: float
) -> AllocatedPhase:
    interval = max(*(option.cycles for option in chosen), math.ceil(floor / tiles))
    return AllocatedPhase(phase, tiles, tuple(stages), tuple(chosen), interval)


def _choose_tiles(phase: Phase, floor: float, machine: Machine, pcus: int) -> tuple[int, list[TiledStage]]:
    """The tile count with the least modelled time on `pcus` units: the first tile through memory and all stages, then
    one interval for each other tile."""
    best: tuple[float, int, list[TiledStage]] | None = None
    for tiles in tile_counts(phase.divisor, MOST_TILES):
        stages = [tile_stage(streamed, tiles) for streamed in phase.stages]
        tables = [options(stage.work, machine) for stage in stages]
        choice = [0] * len(stages)
        _spend([tables], [choice], [tiles], [floor], machine, pcus)
        chosen = [table[i] for table, i in zip(tables, choice)]
        interval = max(*(option.cycles for option in chosen), floor / tiles)
        fill = sum(o.cycles + fill_cycles(s.work, o.parallel, machine) for s, o in zip(stages, chosen))
        time = (tiles - 1) * interval + fill + floor / tiles
        if best is None or time < best[0]:
            best = (time, tiles, stages)
    assert best is not None  # tile_counts always offers one tile
    return best[1], best[2]


def _spend(
    tables: Sequence[Sequence[Sequence[Option]]],
    choice: Sequence[list[int]],
    tiles: Sequence[int],
    floors: Sequence[float],
    machine: Machine,
    pcus: int,
) -> None:
    """Move stages to wider options in place, the best gain per PCU first."""
    left = pcus - sum(table[0].units for phase in tables for table in phase)
    load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    while True:
        total = load + sum(map(_phase_cycles, tables, choice, tiles, floors))
        steps = [
            step
            for index in range(len(tables))
            if (step := _widen(index, tables[index], choice[index], tiles[index], floors[index], left)) is not None
        ]
        if not steps:
            return
        rate, _, index, wider, units = max(steps, key=lambda step: step[:2])
        if rate < WORTHWHILE_GAIN * total:
            return
        choice[index][:] = wider
        left -= units


def _phase_cycles(tables: Sequence[Sequence[Option]], choice: list[int], tiles: int, floor: float) -> float:
    return max(floor, tiles * max(table[i].cycles for table, i in zip(tables, choice)))


def _widen(
    index: int, tables: Sequence[Sequence[Option]], choice: list[int], tiles: int, floor: float, left: int
) -> tuple[float, int, int, list[int], int] | None:
    """Widen every stage of a phase that sets its pace: (cycles gained per PCU, -index, index, choice, PCUs)."""
    pace = max(table[i].cycles for table, i in zip(tables, choice))
    if tiles * pace <= floor:
        return None
    wider = [
        next((j for j in range(i, len(table)) if table[j].cycles < pace), None) for table, i in zip(tables, choice)
    ]
    if None in wider:
        return None
    chosen = [i for i in wider if i is not None]
    units = sum(table[j].units - table[i].units for table, i, j in zip(tables, choice, chosen))
    if units > left:
        return None
    gain = tiles * pace - _phase_cycles(tables, chosen, tiles, floor)
    return gain / units, -index, index, chosen, units


@functools.cache
def options(work: StageWork, machine: Machine) -> tuple[Option, ...]:
    """The ways to spread a stage that no other beats in both PCUs and cycles, narrowest first."""
    chain = chain_length(work, machine)
    candidates = [
        Option(parallel.units, compute_cycles(work, parallel, machine), parallel)
        for parallel in _spreads(work, chain, machine)
    ]
    best: list[Option] = []
    for option in sorted(candidates, key=lambda o: (o.units, o.cycles, o.parallel.row, o.parallel.batch)):
        if not best or option.cycles < best[-1].cycles:
            best.append(option)
    return tuple(best)


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
