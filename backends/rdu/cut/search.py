"""The search for sections: which stages are on the fabric at one time, in which phases, along which nests.

Sections run one after another and hand tensors over in memory; each costs a program load, but for one whose program is
that of the section before it. The cut with the least
modelled time is found by dynamic programming over the stages in their order. The time of a section is

    the least time of its phases on the PCUs they share out + fill + program load

where a phase takes the longer of its work on its PCUs and of what streams from memory meanwhile, and begins when what
stays in it has been loaded. A section that needs more PCUs or
PMUs than the budget is not considered. Positions that look alike, such as the layers of a transformer, are searched
once.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import replace

from backends.rdu.cut.alike import Alike
from backends.rdu.cut.bounds import Bounds
from backends.rdu.cut.paths import Look, Paths, Weigh
from backends.rdu.cut.ways import (
    ROUNDING,
    FirstLoad,
    NextPhase,
    Partial,
    Rank,
    Reached,
    Section,
    Way,
    shared_spans,
)
from backends.rdu.fuse.indexed import Indexed
from backends.rdu.fuse.stages import StageNodes, base_values
from backends.rdu.microbatches import Microbatches
from backends.rdu.stream.choices import Break, Choice, choices, other_nests, resident_bytes
from backends.rdu.stream.estimate import KEEP_SHARE, loads_of
from backends.rdu.stream.nests import NestedStage, Phase
from ir.graph import Graph, Value
from pef.machine import Machine, SiteKind
from pef.nest import Slicing, holds_stored, level_of

OTHERS = 2
"""Other ways for the same stages to stream that are weighed beside the one that the model prefers."""

WINDOW = 48
"""Stages that a section may have at most."""

MOST_NESTS, MANY_NESTS = 8, 48
"""Other nests of a phase that are predicted: of many, and in small graphs."""

PHASE_CYCLES = 500.0
"""What a phase costs besides its iterations: latencies and the barrier, as an order of magnitude."""


class Cutter:
    """Sections for runs of stages of one graph, on a share `budget` of the machine."""

    def __init__(
        self,
        graph: Graph,
        stages: Sequence[StageNodes],
        machine: Machine,
        budget: float,
        microbatches: Microbatches | None = None,
        window: int = WINDOW,
        indexed: Indexed | None = None,
        weigh: Weigh | None = None,
    ) -> None:
        self.paths = Paths(len(stages), machine.cycles(machine.program_load_us), weigh, self._other_nests)
        self.in_place = {update.updated.name for update in indexed.updates.values()} if indexed else set()
        self.microbatches = microbatches
        self.window = window
        self.stages = [NestedStage.of(stage) for stage in stages]
        self.machine = machine
        self.all_pcus, self.all_pmus = (len(machine.working_sites(kind)) for kind in (SiteKind.PCU, SiteKind.PMU))
        self.pcus = max(1, int(budget * self.all_pcus))
        self.pmus = int(budget * self.all_pmus)
        self.rate = machine.tier_bytes_per_cycle(0)
        self.keep_bytes = KEEP_SHARE * len(machine.working_sites(SiteKind.PMU)) * machine.pmu_bytes
        self.load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
        self.maker = {value.name: index for index, stage in enumerate(stages) for value in stage.writes}
        self.values = {value.name: value for stage in stages for value in (*stage.needs, *stage.writes)}
        self.updates = _updates(graph)
        if indexed:
            self.updates = {name: symbol for name, symbol in self.updates.items() if symbol not in indexed.updates}
        self.value_pmus = {name: self._pmus_of(value.type.nbytes) for name, value in self.values.items()}
        self.readers: dict[str, list[int]] = {}
        for index, stage in enumerate(stages):
            for value in stage.needs:
                self.readers.setdefault(value.name, []).append(index)
        self.last_use = _last_uses(graph, stages)
        stored = {name for name, last in self.last_use.items() if last == len(stages)}
        self.bounds = Bounds.of(self.stages, self.readers, stored, self.in_place, machine, self.pcus)
        self.breaks = [*(self._may_break(index) for index in range(len(stages))), Break.ALWAYS]
        self._choices: dict[int, tuple[list[Choice], int]] = {}
        self._steps: dict[int, tuple[list[NextPhase], int]] = {}
        self._alike: Alike[tuple[list[Choice], int]] = Alike(self._structure)
        self._leaving: dict[tuple[int, int], int] = {}
        self._sections: Alike[list[Section]] = Alike(self._surroundings)

    def best(self) -> list[Section]:
        """The sections with the least time in all."""
        count = len(self.stages)
        reached, waiting = {0}, [0] if count else []
        ways: dict[int, list[Section]] = {}
        while waiting:
            start = waiting.pop()
            ways[start] = self.sections(start)
            for end in {start + section.length for section in ways[start]} - reached:
                reached.add(end)
                if end < count:
                    waiting.append(end)
        found: list[Section] = []
        position = 0
        for best, rivals in self.paths.best(ways):
            found.append(replace(self.weighed(best, position), rivals=rivals))
            position += best.length
        return found

    def weighed(self, section: Section, start: int) -> Section:
        """The section in those of its phases that are predicted to be fastest, and with that time: as modelled where
        nobody predicts. What does not fit is the last resort."""
        origin, _ = section.kind
        known = self.paths.looked_at(section, Look.REFINED)
        return replace(section, phases=self._moved(known.phases, origin, start), cycles=known.cycles, others=())

    def _other_nests(self, position: int, phase: Phase, many: bool) -> list[Phase]:
        """Nests of the stages of a phase at a position that may be faster than the one it has, the most promising
        first: those near it, or `many`."""
        stages = self.stages[position : position + len(phase.stages)]
        found = other_nests(phase, stages, self.machine, self.microbatches, many)
        return [other for other in found if self._updates_in_step(other)][: MANY_NESTS if many else MOST_NESTS]

    def sections(self, start: int) -> list[Section]:
        """Sections that begin at a position: the best of each length that fits, the shortest if none does."""
        found = self._sections.find(start)
        if found is None:
            sections, reach = self._search(start)
            sections = self._worthwhile(start, sections)
            sections = [replace(section, kind=(start, number)) for number, section in enumerate(sections)]
            self._sections.keep(start, reach, sections)
            return sections
        return found[0]

    def _worthwhile(self, start: int, sections: Sequence[Section]) -> list[Section]:
        """The sections that should not rather go on: a longer one takes them and the stages behind them in less time
        than those would need at least in sections of their own. Those that end where little crosses stay: what is
        predicted may differ from what is modelled."""
        kept: list[Section] = []
        least = [math.inf, math.inf]
        for section in reversed(sections):
            end = start + section.length
            cycles = section.cycles + self.bounds.crossing[end] / self.rate
            beyond = [cycles - least_before[end] for least_before in (self.bounds.memory, self.bounds.work)]
            if section.excess or end in self.bounds.valleys:
                kept.append(section)
            elif not any(long <= short * (1 + ROUNDING) for long, short in zip(least, beyond)):
                kept.append(section)
                least = [min(pair) for pair in zip(least, beyond)]
        return kept[::-1]

    def _moved(self, phases: Sequence[Phase], origin: int, start: int) -> tuple[Phase, ...]:
        """Phases found at one position, with the stages of another that looks the same."""
        if origin == start:
            return tuple(phases)
        position, moved = start, []
        for phase in phases:
            stages = tuple(
                NestedStage(own.stage, own.names, like.form, like.slicings, like.accumulated)
                for own, like in zip(self.stages[position:], phase.stages)
            )
            moved.append(Phase(phase.nest, stages, phase.divisor))
            position += len(stages)
        return tuple(moved)

    def _search(self, start: int) -> tuple[list[Section], int]:
        """Sections from a position on, and how many stages had to be looked at. Where none fits, phases may break
        anywhere."""
        found, fits, reach = self._searched(start)
        if not fits:
            self._choices_anywhere(start)
            found, _, reach = self._searched(start)
        return found, reach

    def _searched(self, start: int) -> tuple[list[Section], bool, int]:
        """The best section of every length, whether one fits, and how many stages were looked at."""
        fits, reach = False, 0
        stop = min(len(self.stages), start + self.window)
        ways: dict[int, Reached] = {}
        found: list[Section] = []
        position, kept = start, [Partial()]
        while True:
            if position < stop:
                nexts, looked = self._steps_at(position)
                reach = max(reach, position - start + looked)
                for step in nexts:
                    end = position + step.choice.length
                    if end <= stop:
                        self._offer(kept, step, start, end, ways.setdefault(end, Reached()))
            ranked: list[tuple[Rank, Partial]] = []
            while ways and not ranked:
                position = min(ways)
                ranked = self._taken(ways.pop(position), start, position)
            if not ranked:
                return found, fits, reach
            kept = [partial for _, partial in ranked]
            best, *others = (Way(partial.phases, cycles) for (_, cycles, _), partial in ranked[: 1 + OTHERS])
            excess = self._excess(kept[0], self.all_pcus, self.all_pmus)
            fits |= self._excess(kept[0], self.pcus, self.pmus) == 0
            found.append(Section(best.phases, best.cycles, excess=excess, others=tuple(others)))

    def _offer(self, kept: Sequence[Partial], step: NextPhase, start: int, end: int, reached: Reached) -> None:
        """Note each way so far with one more phase, where it may fit, with the least that it takes."""
        cost, held = step.choice.cost, step.whole_pmus(start)
        staying, streamed = (nbytes / self.rate for nbytes in step.fresh_bytes(start))
        stored = self._leaving_bytes(start, end) / self.rate
        moved = staying + streamed + stored
        for partial in kept:
            pmus = max(partial.pmus, cost.ring_pmus + held)
            if not partial.phases and step.choice.length == 1:
                reached.offer(0.0, cost.ring_pmus, partial, step)
            elif partial.pcus + cost.pcus <= self.pcus and pmus <= self.pmus:
                roots = partial.roots + step.root
                arrived = max(partial.begun, partial.arrived) + staying
                slowest = max(
                    roots * roots / self.pcus,
                    partial.floor + step.floor,
                    partial.memory + moved,
                    max(partial.ended, arrived) + max(step.floor, step.root * step.root / self.pcus),
                    arrived + streamed + stored,
                )
                overhead = PHASE_CYCLES * (len(partial.works) + 1) + self.load
                least = slowest * (1 - ROUNDING) + overhead
                reached.offer(least, pmus, partial, step)

    def _taken(self, reached: Reached, start: int, end: int) -> list[tuple[Rank, Partial]]:
        """The ways to `end` that are followed further, of all that have been offered: the most promising are worked out
        first, the others only as far as one may still be kept."""
        for offer in sorted(reached.offers):
            if reached.may_keep(offer.cycles, offer.pmus):
                self._extend(offer.partial, offer.step, start, end, reached)
        return reached.kept() if reached.best else []

    @staticmethod
    def _excess(partial: Partial, pcus: int, pmus: int) -> int:
        """Units that it needs beyond so many."""
        return max(0, partial.pmus - pmus) + max(0, partial.pcus - pcus)

    def _steps_at(self, position: int) -> tuple[list[NextPhase], int]:
        """Phases that begin at a position, and how many stages had to be looked at."""
        if position not in self._steps:
            found, reach = self._choices_at(position)
            legal = [choice for choice in found if self._updates_in_step(choice.phase)]
            self._steps[position] = [self._step(choice, position) for choice in legal], reach
        return self._steps[position]

    def _updates_in_step(self, phase: Phase) -> bool:
        """Whether every symbol that the phase loads and updates is loaded at one time, or once in slices that hold what
        is stored: else some of it might be stored before it is loaded."""
        stored = {
            self.updates[value.name]: stage.slicing(value)
            for stage in phase.stages
            for value in stage.stage.writes
            if value.name in self.updates
        }
        if not stored:
            return True
        loaded: dict[str, list[Slicing]] = {}
        for load in loads_of(phase, resident_bytes(self.machine)):
            loaded.setdefault(load.value.name, []).append(load.slicing)
        return all(
            level_of(slicing) == 0 or (len(loaded[symbol]) == 1 and holds_stored(slicing, stored[symbol]))
            for symbol in stored.keys() & loaded.keys()
            for slicing in loaded[symbol]
        )

    def _step(self, choice: Choice, position: int) -> NextPhase:
        """A choice at a position, with what is known of its loads."""
        cost, filled = choice.cost, 1 + choice.cost.fill
        loads: list[FirstLoad] = []
        for resident, kind in ((True, cost.resident), (False, cost.streamed)):
            for name, nbytes in kind.items():
                uses, maker = self.readers.get(name, ()), self.maker.get(name, -1)
                before = bisect.bisect_left(uses, position)
                last = uses[before - 1] if before else -1
                loads.append(FirstLoad(name, maker, max(last, maker), resident, nbytes, self.value_pmus[name]))
        return NextPhase(choice, math.sqrt(cost.work * filled), cost.floor * filled, tuple(loads))

    def _choices_at(self, position: int) -> tuple[list[Choice], int]:
        """As `_steps_at`, without what only this search needs."""
        if position not in self._choices:
            found = self._alike.find(position)
            if found is None:
                stages = self.stages[position : position + self.window]
                breaks = [*self.breaks[position : position + self.window], Break.ALWAYS]
                self._choices[position] = choices(stages, breaks, self.machine, self.microbatches)
                self._alike.keep(position, self._choices[position][1], self._choices[position])
            else:
                (known, reach), origin = found
                moved = [Choice(self._moved([choice.phase], origin, position)[0], choice.cost) for choice in known]
                self._choices[position] = [self._named(choice, origin, position) for choice in moved], reach
        return self._choices[position]

    def _named(self, choice: Choice, origin: int, position: int) -> Choice:
        """A choice found at one position, with the costs of its loads by the names at another."""
        name_of = {
            like: own
            for here, there in zip(self.stages[position:], self.stages[origin : origin + choice.length])
            for like, own in zip(_all_names(there), _all_names(here))
        }
        cost = choice.cost
        resident = {name_of[name]: nbytes for name, nbytes in cost.resident.items()}
        streamed = {name_of[name]: nbytes for name, nbytes in cost.streamed.items()}
        return Choice(choice.phase, replace(cost, resident=resident, streamed=streamed))

    def _choices_anywhere(self, position: int) -> None:
        """Consider phases of every length at a position."""
        stages = self.stages[position : position + self.window]
        self._choices[position] = choices(stages, [Break.ALWAYS] * (len(stages) + 1), self.machine, self.microbatches)
        self._steps.pop(position, None)

    def _extend(self, partial: Partial, step: NextPhase, start: int, end: int, reached: Reached) -> None:
        """Add the section so far and one more phase to the ways to `end`, where it fits and is worth keeping."""
        choice, cost = step.choice, step.choice.cost
        number, pcus = len(partial.phases), partial.pcus + cost.pcus
        alone = number == 0 and choice.length == 1
        held, loaded, live = dict(partial.held), partial.loaded, [*partial.live, 0]
        staying = streamed = 0
        for resident, kind in ((True, cost.resident), (False, cost.streamed)):
            for name, nbytes in kind.items():
                maker = self.maker.get(name, -1)
                since = number
                if name in held:
                    since = held[name] + 1
                elif name in loaded:
                    since = loaded[name]
                elif maker >= start:
                    since = bisect.bisect_right(partial.ends, maker)
                elif resident:
                    staying += nbytes
                else:
                    streamed += nbytes
                    if nbytes <= self.keep_bytes:
                        loaded = {**loaded, name: number}
                    continue
                for phase in range(since, number + 1):
                    live[phase] += self.value_pmus[name]
                held[name] = number
        rings = cost.ring_pmus
        if alone:
            rings = min(rings, max(cost.least_pmus, self.pmus - live[0]))
        live[number] += rings
        pmus = max(live)
        if not alone and pmus > self.pmus:
            return
        following = Partial(
            (*partial.phases, choice.phase),
            (*partial.works, cost.work * (1 + cost.fill)),
            (*partial.floors, cost.floor * (1 + cost.fill)),
            (*partial.staying, staying / self.rate),
            (*partial.streamed, streamed / self.rate),
            pcus,
            (*partial.ends, end),
            pmus,
            tuple(live),
            held,
            loaded,
            partial.roots + step.root,
            partial.floor + step.floor,
            partial.memory + (staying + streamed) / self.rate,
        )
        self._run(following)
        stored = self._leaving_bytes(start, end) / self.rate
        overhead = PHASE_CYCLES * len(following.works) + self.load
        cycles = max(following.ended, following.arrived + stored) + overhead
        reached.add((self._excess(following, self.pcus, self.pmus), cycles, following.pmus), following)

    def _pmus_of(self, nbytes: int) -> int:
        return max(1, math.ceil(nbytes / self.machine.pmu_bytes))

    def _run(self, partial: Partial) -> None:
        """Work out when the last phase begins and ends, and when all that it loads has arrived.

        Memory works one phase ahead: what stays in a phase is loaded while the one before runs, what streams arrives
        with it.
        """
        spans = shared_spans(partial.works, partial.floors, self.pcus)
        now = memory = begun = 0.0
        for span, staying, streamed in zip(spans, partial.staying, partial.streamed):
            memory = max(memory, begun) + staying
            begun = max(now, memory)
            memory += streamed
            now = max(begun + span, memory)
        partial.begun, partial.ended, partial.arrived = begun, now, memory

    def _leaving_bytes(self, start: int, stop: int) -> int:
        """Bytes that a section leaves in memory: what it makes and others, or outputs, need."""
        if (start, stop) not in self._leaving:
            self._leaving[start, stop] = self._count_leaving(start, stop)
        return self._leaving[start, stop]

    def _count_leaving(self, start: int, stop: int) -> int:
        return sum(
            value.type.nbytes
            for stage in self.stages[start:stop]
            for value in stage.stage.writes
            if self.last_use.get(value.name, -1) >= stop and value.name not in self.in_place
        )

    def _may_break(self, index: int) -> Break:
        """Whether a phase may begin here although the one before could go on."""
        stage = self.stages[index]
        if index == 0 or stage.work.gemm is not None:
            return Break.ALWAYS
        return Break.SOMETIMES

    def _structure(self, start: int, reach: int) -> tuple[object, ...]:
        """What phases of the next `reach` stages depend on: forms, and what comes from where."""
        numbers: dict[str, int] = {}
        key: list[object] = []
        for stage in self.stages[start : start + reach]:
            key.append(stage.form)
            key.append(tuple((gather.axis, gather.table.type) for gather in stage.stage.gathers))
            key += [numbers.setdefault(name, len(numbers)) for name in _all_names(stage)]
        return tuple(key)

    def _surroundings(self, start: int, reach: int) -> tuple[object, ...]:
        """What sections of the next `reach` stages depend on: their structure, and what is needed behind them."""
        key: list[object] = [self._structure(start, reach)]
        for stage in self.stages[start : start + reach]:
            for value in stage.stage.writes:
                key.append(min(self.last_use.get(value.name, -1) - start, reach))
                key.append(value.name in self.in_place)
                key.append(stage.numbers.get(self.updates.get(value.name, "")))
        return tuple(key)


def _all_names(stage: NestedStage) -> tuple[str, ...]:
    """The values of a stage and the indices it goes by."""
    return (*stage.names, *(gather.index.name for gather in stage.stage.gathers))


def _updates(graph: Graph) -> dict[str, str]:
    """The symbol that each result replaces as it is, of those that the graph also reads."""
    inputs = {value.name for value in graph.inputs}
    return {output.value.name: output.symbol for output in graph.outputs if output.symbol in inputs}


def _last_uses(graph: Graph, stages: Sequence[StageNodes]) -> dict[str, int]:
    """The last stage that reads each value; the number of stages for what an output stores."""
    base = base_values(graph)
    uses: dict[str, int] = {}
    for index, stage in enumerate(stages):
        for value in stage.needs:
            uses[value.name] = index
    for output in graph.outputs:
        origin: Value | None = base[output.value.name]
        if origin is not None:
            uses[origin.name] = len(stages)
    return uses
