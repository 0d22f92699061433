"""Loop nests: which stages stream together along which loops.

The outer loop decides who belongs to a phase: a stage joins if the axis along which it reads what the phase makes
leads, through the iteration spaces of its operators, to one dim of each; what it reduces over the outer loop is
complete only when the phase ends. Inner loops cut the iterations of the outer ones further, where that can be done:
a stage that cannot be cut, or needs all of a block at once, fires in the tempo of the loops outside.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from backends.rdu.fuse.stages import SMALL_ELEMENTS, StageNodes
from backends.rdu.stream.forms import Cutting, Form, Seed, cut_form, form_of, iteration, seeds
from ir.graph import Value
from ir.types import TensorType
from pef.cycles import StageWork
from pef.nest import WHOLE, Nest, Reader, Slicing, Writer, level_of

MOST_OUTER = 64
"""Iterations of an outer loop at most: beyond, fill and drain are already a small part of the phase."""


@dataclass(frozen=True)
class NestedStage:
    """A stage in a nest: how each of its values is cut, by name, and the form of one firing.

    `loops` are those that cut it: it fires once per iteration of the outer `level` ones.
    """

    stage: StageNodes
    names: tuple[str, ...]
    form: Form
    slicings: tuple[Slicing, ...]
    accumulated: frozenset[int] = frozenset()

    @staticmethod
    def of(stage: StageNodes) -> NestedStage:
        """The stage outside of any loop."""
        form, names = form_of(stage)
        return NestedStage(stage, names, form, ((),) * len(names))

    @functools.cached_property
    def level(self) -> int:
        """The loops down to the innermost that cuts what it reads or writes."""
        return max((level_of(self.slicings[i]) for i in (*self.form.reads, *self.form.writes)), default=0)

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each value."""
        return _numbers(self.names)

    @property
    def work(self) -> StageWork:
        """What one firing asks of PCUs."""
        return self.form.work

    def slicing(self, value: Value) -> Slicing:
        """How a value is cut."""
        return self.slicings[self.numbers[value.name]]

    def type(self, value: Value) -> TensorType:
        """The type of a value in one firing."""
        return self.form.types[self.numbers[value.name]]

    def accumulates(self, value: Value) -> bool:
        """Whether the value is combined over iterations of a loop."""
        return self.numbers[value.name] in self.accumulated

    def within(self, cutting: Cutting | None, count: int) -> NestedStage:
        """The stage inside one more loop, which leaves it alone where `cutting` is None."""
        if cutting is None or count == 1:
            return replace(self, slicings=tuple((*slicing, WHOLE) for slicing in self.slicings))
        slicings = tuple((*slicing, axis) for slicing, axis in zip(self.slicings, cutting.axes))
        return NestedStage(
            self.stage,
            self.names,
            iteration(self.form, cutting.axes, count),
            slicings,
            self.accumulated | cutting.accumulators,
        )


@functools.cache
def _numbers(names: tuple[str, ...]) -> Mapping[str, int]:
    """The number of each name: a stage is cut in many ways, which all have the same."""
    return {name: number for number, name in enumerate(names)}


@dataclass(frozen=True)
class Phase:
    """Stages that stream together along a nest, in dataflow order. `divisor` limits the count of the outer loop."""

    nest: Nest
    stages: tuple[NestedStage, ...]
    divisor: int = 1

    @property
    def tiles(self) -> int:
        """Iterations of all loops."""
        return self.nest.events(len(self.nest.counts))

    def events(self, stage: NestedStage) -> int:
        """Firings of a stage."""
        return self.nest.events(stage.level)


@dataclass
class Streak:
    """Stages that can stream along one outer loop, from the first of them on as far as they go.

    Small ones that read nothing that streams, such as those that make a scale of a batch norm's statistics, are still:
    they fire once, and their cutting is None. What they write is whole when the others read it.
    """

    stages: list[NestedStage] = field(default_factory=list)
    cuttings: list[Cutting | None] = field(default_factory=list)
    divisors: list[int] = field(default_factory=list)
    axes: dict[str, int] = field(default_factory=dict)
    accumulators: set[str] = field(default_factory=set)
    still: set[str] = field(default_factory=set)
    _within: dict[int, list[NestedStage]] = field(default_factory=dict)

    @property
    def divisor(self) -> int:
        """What the count must divide."""
        return self.divisors[-1] if self.divisors else 0

    def add(self, stage: NestedStage, cutting: Cutting | None) -> None:
        """Append a stage that joins, still where `cutting` is None."""
        self.stages.append(stage)
        self.cuttings.append(cutting)
        if cutting is None:
            self.divisors.append(self.divisor)
            self.still.update(stage.names[number] for number in stage.form.writes)
            return
        self.divisors.append(math.gcd(self.divisor, cutting.divisor))
        for number in stage.form.writes:
            self.axes[stage.names[number]] = cutting.axes[number]
            if number in cutting.accumulators:
                self.accumulators.add(stage.names[number])

    def may_be_still(self, stage: NestedStage) -> bool:
        """Whether a stage may fire once: it is small, and all it reads is there before anything streams."""
        work = stage.form.work
        streaming = self.axes.keys() & {stage.names[number] for number in stage.form.reads}
        small = work.gemm is None and work.elements <= SMALL_ELEMENTS
        return small and not streaming and not stage.stage.gathers

    def makes_index(self, stage: NestedStage) -> bool:
        """Whether the streak makes an index by which what a stage reads is fetched: that must be there before."""
        return any(gather.index.name in self.axes or gather.index.name in self.still for gather in stage.stage.gathers)

    def joining(self, stage: NestedStage) -> Cutting | None:
        """How a stage would be cut, or None where it cannot join: one that reads nothing the streak makes may stream
        beside it if that does not coarsen its iterations."""
        names, form = stage.names, stage.form
        if self.makes_index(stage):
            return None
        made = [number for number in form.reads if names[number] in self.axes]
        if any(names[number] in self.accumulators for number in made):
            return None
        if made:
            facts = tuple((number, self.axes[names[number]]) for number in made)
            if any(axis == WHOLE for _, axis in facts):
                return None
            cutting = cut_form(form, facts, None)
            if cutting is None or math.gcd(cutting.divisor, self.divisor) == 1:
                return None
            return cutting
        for seed in self._preferred(form):
            cutting = cut_form(form, (), seed)
            if cutting is not None and math.gcd(cutting.divisor, self.divisor) == self.divisor:
                return cutting
        return None

    def _preferred(self, form: Form) -> list[Seed]:
        """The form's seeds, first those that cut an operator as the streak cuts others of its name: what starts beside
        the streak, such as the keys beside the queries, will probably meet it."""
        known = {dim for cutting in self.cuttings if cutting is not None for dim in cutting.dims}
        return sorted(
            seeds(form, reductions=True),
            key=lambda seed: (form.operations[seed[0]].op.name, seed[1]) not in known,
        )

    def phase(self, length: int, count: int) -> Phase:
        """The first `length` stages as a phase of one loop."""
        known = self._within.setdefault(count, [])
        for stage, cutting in zip(self.stages[len(known) : length], self.cuttings[len(known) : length]):
            known.append(stage.within(cutting, count))
        return Phase(Nest((count,)), tuple(known[:length]), self.divisors[length - 1])


def streaks(stages: Sequence[NestedStage]) -> list[Streak]:
    """The ways in which the first of these stages can stream along an outer loop, each as long as it goes."""
    still = 0
    while still < len(stages) and Streak().may_be_still(stages[still]):
        still += 1
    found = _streaks([], stages)
    if 0 < still < len(stages):
        found += _streaks(stages[:still], stages[still:])
    return found


def _streaks(still: Sequence[NestedStage], stages: Sequence[NestedStage]) -> list[Streak]:
    """The ways in which the first of `stages` can stream behind those that are still, each as long as it goes."""
    found = []
    for seed in seeds(stages[0].form, reductions=True):
        first = cut_form(stages[0].form, (), seed)
        if first is None or first.divisor == 1:
            continue
        streak = Streak()
        for stage in still:
            streak.add(stage, None)
        if streak.makes_index(stages[0]):
            break
        streak.add(stages[0], first)
        for stage in stages[1:]:
            cutting = None if streak.may_be_still(stage) else streak.joining(stage)
            if cutting is None and not streak.may_be_still(stage):
                break
            streak.add(stage, cutting)
        found.append(streak)
    return found


def still_phase(stages: Sequence[NestedStage], lanes: int) -> Phase:
    """A phase of one firing: the first stage, and those behind it whose results fit one vector of so many lanes, which
    are not worth a stream of their own."""
    length = 1
    made = {value.name for value in stages[0].stage.writes}
    while length < len(stages) and _largest_result(stages[length]) <= lanes:
        if any(gather.index.name in made for gather in stages[length].stage.gathers):
            break
        made |= {value.name for value in stages[length].stage.writes}
        length += 1
    return Phase(Nest((1,)), tuple(stage.within(None, 1) for stage in stages[:length]))


def _largest_result(stage: NestedStage) -> int:
    return max(value.type.numel for node in stage.stage.busy for value in node.results)


def inner_seeds(phase: Phase, stages: int) -> Iterator[tuple[int, Seed]]:
    """Where an inner loop may start: the parallel dims of so many stages, those that write the largest slices first."""
    order = sorted(range(len(phase.stages)), key=lambda i: -_largest_write(phase.stages[i]))
    for position in order[:stages]:
        for seed in seeds(phase.stages[position].form):
            yield position, seed


def _largest_write(stage: NestedStage) -> int:
    return max((stage.form.types[number].nbytes for number in stage.form.writes), default=0)


def inner_cuttings(phase: Phase, position: int, seed: Seed) -> tuple[list[Cutting | None], int]:
    """How an inner loop that starts at one stage cuts the others, and by what its count is limited.

    What it cuts of a value, it cuts for readers behind where they can be cut so, and for the stage that writes the
    value; a stage that can follow only some of what it reads takes the rest whole, a block at a time.
    """
    depth = len(phase.nest.counts)
    cuttings: list[Cutting | None] = [None] * len(phase.stages)
    start = phase.stages[position]
    first = cut_form(start.form, (), seed)
    if first is None or start.level < depth:
        return cuttings, 1
    cuttings[position] = first
    axes: dict[str, int] = {}
    _note(start, first, axes)
    for later in range(position + 1, len(phase.stages)):
        stage = phase.stages[later]
        if stage.level == depth:
            cuttings[later] = _following(stage, axes)
            _note(stage, cuttings[later], axes)
    for earlier in range(position - 1, -1, -1):
        stage = phase.stages[earlier]
        if stage.level == depth:
            cuttings[earlier] = _leading(stage, phase, cuttings, earlier)
    divisor = 0
    for cutting in cuttings:
        divisor = math.gcd(divisor, cutting.divisor) if cutting is not None else divisor
    return cuttings, divisor


def _note(stage: NestedStage, cutting: Cutting | None, axes: dict[str, int]) -> None:
    """Record how what a stage writes is cut."""
    for number in stage.form.writes:
        axes[stage.names[number]] = cutting.axes[number] if cutting is not None else WHOLE


def _following(stage: NestedStage, axes: dict[str, int]) -> Cutting | None:
    """A stage cut as what it reads: as many of its operands as agree, the first ones first."""
    facts: tuple[tuple[int, int], ...] = ()
    best: Cutting | None = None
    for number in stage.form.reads:
        axis = axes.get(stage.names[number], WHOLE)
        if axis == WHOLE:
            continue
        cutting = cut_form(stage.form, (*facts, (number, axis)), None)
        if cutting is not None and cutting.divisor > 1 and _in_step(stage, cutting, axes):
            facts, best = (*facts, (number, axis)), cutting
    return best


def _in_step(stage: NestedStage, cutting: Cutting, axes: dict[str, int]) -> bool:
    """Whether everything the stage reads is cut as its writer cuts it, or not at all, or by the reader alone."""
    written = [(axes.get(stage.names[number], WHOLE), cutting.axes[number]) for number in stage.form.reads]
    return all(axis in (WHOLE, own) or own == WHOLE for own, axis in written)


def _leading(stage: NestedStage, phase: Phase, cuttings: Sequence[Cutting | None], position: int) -> Cutting | None:
    """A stage cut as all its readers in the phase want it, where they want it cut at all and it can be."""
    wanted: dict[int, int] = {}
    for number in stage.form.writes:
        name = stage.names[number]
        for reader, cutting in zip(phase.stages[position + 1 :], cuttings[position + 1 :]):
            for read in reader.form.reads:
                if reader.names[read] == name:
                    axis = cutting.axes[read] if cutting is not None else WHOLE
                    if wanted.setdefault(number, axis) != axis:
                        return None
    facts = tuple((number, axis) for number, axis in sorted(wanted.items()) if axis != WHOLE)
    if not facts or any(axis == WHOLE for axis in wanted.values()):
        return None
    cutting = cut_form(stage.form, facts, None)
    return cutting if cutting is not None and cutting.divisor > 1 and not cutting.accumulators else None


def writer_of(phase: Phase, stage: NestedStage, value: Value) -> Writer:
    """A stage's write as the nest's rules see it."""
    return Writer(phase.nest, stage.slicing(value), stage.level)


def reader_of(phase: Phase, stage: NestedStage, value: Value) -> Reader:
    """A stage's read as the nest's rules see it."""
    return Reader(phase.nest, stage.slicing(value), stage.level)
