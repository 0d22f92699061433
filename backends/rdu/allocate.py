"""Allocation: how many tiles a phase has, and how many PCUs each stage gets.

Phases of a section run one after another on their own units, so the section takes the sum of their times: the first
tile's way through the stages, then an interval for each other tile. Starting from the least any stage can do with,
the PCUs go where each buys the most cycles, until none buys enough to be worth its place or the budget is spent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.rdu.phases import Phase, tile_counts
from backends.rdu.tiling import TiledStage, tile_stage
from pef.cycles import Parallelism, StageWork, chain_length, compute_cycles, fill_cycles
from pef.machine import Machine

WORTHWHILE_GAIN = 1e-4
"""A PCU must shorten its section by this fraction of its time, or it stays free: smaller designs place better."""


@dataclass(frozen=True, slots=True)
class Microbatches:
    """The pieces of `size` samples in which a batch is to be processed."""

    batch: int
    size: int

    def tiles(self, phase: Phase) -> int | None:
        """A tile for each piece where the phase streams the batch, alone or times something; else None."""
        return self.batch // self.size if phase.divisor and phase.divisor % self.batch == 0 else None


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


def allocate(
    phases: Sequence[Phase],
    dram_bytes: Sequence[int],
    machine: Machine,
    pcus: int,
    *,
    finest: bool = False,
    microbatches: Microbatches | None = None,
) -> list[AllocatedPhase]:
    """Tile counts and PCUs for the phases of one section.

    `dram_bytes[i]` is what phase i streams from and to memory in all: a phase need not be faster than that. Every
    stage gets at least one lane, even where that is more than `pcus`. With `finest`, phases have as many tiles as they
    can, to need the least memory on chip, instead of as many as are fastest; with `microbatches`, a phase that streams
    the batch has a tile for each of them.
    """
    memory_rate = machine.tier_bytes_per_cycle(0)
    share = pcus // max(1, len(phases))
    plans = []
    for phase, nbytes in zip(phases, dram_bytes):
        asked = microbatches.tiles(phase) if microbatches is not None and not finest else None
        if asked is not None:
            plans.append(_PhasePlan(phase, asked, nbytes / memory_rate, machine))
        else:
            plans.append(_choose_tiles(phase, nbytes / memory_rate, machine, share, finest))
    _spend(plans, machine, pcus)
    return [plan.allocated() for plan in plans]


class _PhasePlan:
    """A phase with a tile count, and the option each stage has chosen so far.

    Its time is that of the first tile through the longest path of stages, then one interval for each other tile; the
    interval is the slowest stage's, or what memory needs for a tile.
    """

    def __init__(self, phase: Phase, tiles: int, floor: float, machine: Machine) -> None:
        self.phase = phase
        self.tiles = tiles
        self.floor = floor / tiles
        self.stages = [tile_stage(streamed, tiles) for streamed in phase.stages]
        self.tables = [options(stage.work, machine) for stage in self.stages]
        self.choice = [0] * len(self.stages)
        self._steps: list[_Step] | None = None
        self.least_units = sum(table[0].units for table in self.tables)
        self.fills = [fill_cycles(s.work, t[0].parallel, machine) for s, t in zip(self.stages, self.tables)]
        maker = {v.name: i for i, s in enumerate(phase.stages) for v in s.stage.writes}
        self.sources = [[maker[v.name] for v in s.stage.reads if v.name in maker] for s in phase.stages]

    def chosen(self, choice: Sequence[int] | None = None) -> list[Option]:
        """The option of every stage."""
        return [table[i] for table, i in zip(self.tables, self.choice if choice is None else choice)]

    def interval(self, choice: Sequence[int] | None = None) -> float:
        """Cycles between successive tiles."""
        return max(*(option.cycles for option in self.chosen(choice)), self.floor)

    def time(self, choice: Sequence[int] | None = None) -> float:
        """Cycles of the whole phase."""
        _, length = self._longest_path(self.chosen(choice))
        return length + (self.tiles - 1) * self.interval(choice) + self.floor

    def choose(self, choice: list[int]) -> None:
        """Spread the stages in another way."""
        self.choice = choice
        self._steps = None

    def steps(self) -> list[_Step]:
        """Ways to widen the phase: all stages that set its pace together, or one stage of the longest path."""
        if self._steps is None:
            self._steps = list(self._find_steps())
        return self._steps

    def _find_steps(self) -> Iterable[_Step]:
        path, length = self._longest_path(self.chosen())
        pace = max(option.cycles for option in self.chosen())
        if pace > self.floor:
            wider = [self._below(stage, pace) for stage in range(len(self.stages))]
            if None not in wider:
                before = length + (self.tiles - 1) * self.interval() + self.floor
                yield from self._step([i for i in wider if i is not None], before)
        for stage in path:
            if self.choice[stage] + 1 < len(self.tables[stage]):
                choice = list(self.choice)
                choice[stage] += 1
                units = self.tables[stage][choice[stage]].units - self.tables[stage][choice[stage] - 1].units
                saved = self.tables[stage][choice[stage] - 1].cycles - self.tables[stage][choice[stage]].cycles
                yield _Step(saved / units, self, choice, units)

    def _step(self, choice: list[int], before: float) -> Iterable[_Step]:
        units = sum(t[j].units - t[i].units for t, i, j in zip(self.tables, self.choice, choice))
        if units > 0:
            yield _Step((before - self.time(choice)) / units, self, choice, units)

    def _below(self, stage: int, pace: int) -> int | None:
        """The narrowest option of a stage that is faster than `pace`."""
        table = self.tables[stage]
        return next((j for j in range(self.choice[stage], len(table)) if table[j].cycles < pace), None)

    def _longest_path(self, chosen: Sequence[Option]) -> tuple[list[int], float]:
        """The stages on the longest path from the first to the last, and its cycles."""
        ends: list[float] = []
        before: list[int] = []
        for option, fill, sources in zip(chosen, self.fills, self.sources):
            latest, start = -1, 0.0
            for source in sources:
                if ends[source] > start:
                    latest, start = source, ends[source]
            before.append(latest)
            ends.append(start + option.cycles + fill)
        stage = max(range(len(ends)), key=ends.__getitem__)
        length, path = ends[stage], []
        while stage >= 0:
            path.append(stage)
            stage = before[stage]
        return path, length

    def allocated(self) -> AllocatedPhase:
        """The plan as it stands."""
        chosen = tuple(self.chosen())
        return AllocatedPhase(self.phase, self.tiles, tuple(self.stages), chosen, math.ceil(self.interval()))


@dataclass(frozen=True, slots=True)
class _Step:
    """Widening a phase to `choice` for `units` more PCUs gains `rate` cycles for each."""

    rate: float
    plan: _PhasePlan
    choice: list[int]
    units: int


def _choose_tiles(phase: Phase, floor: float, machine: Machine, pcus: int, finest: bool) -> _PhasePlan:
    """The tile count with the least modelled time on `pcus` units, or the largest."""
    counts = tile_counts(phase.divisor)
    if finest:
        return _PhasePlan(phase, counts[-1], floor, machine)
    plans = [_PhasePlan(phase, tiles, floor, machine) for tiles in counts]
    for plan in plans:
        _spend([plan], machine, pcus)
    best = min(plans, key=lambda plan: plan.time())
    return _PhasePlan(phase, best.tiles, floor, machine)


def _spend(plans: Sequence[_PhasePlan], machine: Machine, pcus: int) -> None:
    """Widen stages, the best gain per PCU first, until no PCU is worth its place."""
    left = pcus - sum(plan.least_units for plan in plans)
    load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    total = load + sum(plan.time() for plan in plans)
    while True:
        steps = [step for plan in plans for step in plan.steps() if step.units <= left]
        best = max(steps, key=lambda step: step.rate, default=None)
        if best is None or best.rate < WORTHWHILE_GAIN * total:
            return
        total -= best.plan.time()
        best.plan.choose(best.choice)
        total += best.plan.time()
        left -= best.units


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
