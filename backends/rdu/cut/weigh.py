"""What a section will take if it is cut so: planned as it would be, and predicted as the PEF will say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from backends.rdu.allocate.buffers import Layout
from backends.rdu.allocate.plan import allocated_phases, laid_out
from backends.rdu.cut.cut_section import CutSection, Store, output_store
from backends.rdu.cut.ways import Way
from backends.rdu.emit.predict import predict_configuration
from backends.rdu.emit.records import emit_configuration
from backends.rdu.fuse.indexed import Indexed
from backends.rdu.fuse.stages import StageNodes
from backends.rdu.infeasibility import DoesNotFitError
from backends.rdu.route.route import Routing
from backends.rdu.stream.nests import Phase
from backends.rdu.wire.netlist import Placement
from backends.rdu.wire.nets import number_units
from ir.graph import Graph
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.decoded import Configuration
from pef.exchange import Replicas
from pef.machine import Machine

DEEPENINGS = (0.0, 0.5)
"""The parts of the PMUs left over that are tried for the rings of loads."""

WORTHWHILE_GAIN = 1e-3
"""The part of its time that deeper rings must save a section: smaller designs place better."""


MEMORY_BOUND = 0.02
"""A section that takes so little longer than memory needs gains nothing by deeper rings, or by its other ways."""

HOPEFUL = 0.05
"""The part by which a way may be modelled to take longer than another is predicted to, and still be looked at."""


def fastest_plan(
    section: CutSection,
    types: Mapping[str, TensorType],
    machine: Machine,
    replicas: Replicas,
    least: float = math.inf,
) -> tuple[Layout, float]:
    """The section planned in the way that is predicted to be fastest, and its cycles, loads included; everything that
    it moves is taken to be in the fastest tier of memory. `types` are those of the symbols it binds. Deeper rings are
    not tried where `least` cycles, of another way to stream it, would hardly be reached.

    Raises DoesNotFitError.
    """
    best: tuple[Layout, float] | None = None
    phases = allocated_phases(section, machine)
    for deepening in DEEPENINGS:
        layout = laid_out(section, phases, machine, deepening)
        if best is not None and layout.buffers == best[0].buffers:
            break
        expected = _predicted(layout, types, machine, replicas)
        cycles = expected.cycles + expected.load_cycles
        if best is None or cycles < best[1] * (1 - WORTHWHILE_GAIN):
            best = layout, cycles
        moved = (expected.dram_read_bytes + expected.dram_write_bytes) / machine.tier_bytes_per_cycle(0)
        deeper = any(buffer.loaded and buffer.depth < buffer.slices for buffer in layout.buffers)
        if not deeper or expected.cycles <= moved * (1 + MEMORY_BOUND) or cycles > least * (1 + HOPEFUL):
            break
    assert best is not None
    return best


def _predicted(layout: Layout, types: Mapping[str, TensorType], machine: Machine, replicas: Replicas) -> pb.Prediction:
    wiring = number_units(layout, machine)
    slots = {name: number for number, name in enumerate(types)}
    record = emit_configuration(layout, wiring, Placement(()), Routing((), ()), slots, list(types.values()), machine)
    decoded = Configuration.of(record, machine, "section")
    return predict_configuration(decoded, [0] * len(types), machine, replicas)


class Weigher:
    """Sections of one graph's stages, with everything that they move in the fastest tier of memory."""

    def __init__(
        self,
        graph: Graph,
        stages: Sequence[StageNodes],
        indexed: Indexed,
        machine: Machine,
        replicas: Replicas,
    ) -> None:
        self.graph = graph
        self.stages = stages
        self.indexed = indexed
        self.machine = machine
        self.replicas = replicas
        self.outputs: dict[str, list[Store]] = {}
        for output in graph.outputs:
            store = output_store(graph, output)
            update = indexed.updates.get(output.symbol)
            self.outputs.setdefault(store.base.name, []).append(replace(store, update=update))
        self.last_read = {value.name: index for index, stage in enumerate(stages) for value in stage.needs}

    def fastest(self, start: int, ways: Sequence[Way], least: float = math.inf) -> tuple[float, int | None]:
        """Cycles of the section that begins at stage `start` in the fastest of these ways to stream, loads included,
        and which that is; `least`, and None, where none fits in fewer. The others are left alone once one takes hardly
        longer than memory needs for what crosses the section's border, and those that are modelled to take much longer.
        """
        best, number = least, None
        for index, way in enumerate(ways):
            if way.cycles > (1 + HOPEFUL) * best:
                continue
            section, types = self._section(start, way.phases)
            if best <= (1 + MEMORY_BOUND) * self._least_cycles(section, types):
                break
            try:
                cycles = fastest_plan(section, types, self.machine, self.replicas, best)[1]
            except DoesNotFitError:
                continue
            if cycles < best:
                best, number = cycles, index
        return best, number

    def is_least(self, start: int, phases: Sequence[Phase], cycles: float, gain: float) -> bool:
        """Whether a section of these phases that takes so many cycles takes hardly longer than memory needs for what
        crosses its border: by no more than a part `gain` of that."""
        return cycles <= (1 + gain) * self._least_cycles(*self._section(start, phases))

    def _least_cycles(self, section: CutSection, types: Mapping[str, TensorType]) -> float:
        """What a section takes at least: memory moves every symbol that it moves whole, once."""
        picked = {gather.table.name for gather in section.gathers.values()}
        picked |= {store.symbol for store in section.stores if store.update is not None}
        nbytes = sum(kind.nbytes for name, kind in types.items() if name not in picked)
        machine = self.machine
        load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
        return nbytes / machine.tier_bytes_per_cycle(0) + load

    def _section(self, start: int, phases: Sequence[Phase]) -> tuple[CutSection, dict[str, TensorType]]:
        """The section, and the types of its symbols; a value that crosses its border has one of its own name."""
        stop = start + sum(len(phase.stages) for phase in phases)
        own = list(self.stages[start:stop])
        stores: list[Store] = []
        types: dict[str, TensorType] = {}
        for stage in self.stages[start:stop]:
            for value in stage.writes:
                kept = self.outputs.get(value.name, [])
                stores += kept
                if not kept and self.last_read.get(value.name, -1) >= stop:
                    stores.append(Store(value, (), value, f"{value.name} (stored)"))
        for store in stores:
            types[store.symbol] = store.update.symbol.type if store.update is not None else store.value.type
        read = {value.name for stage in own for value in stage.reads}
        dropped = {s.update.updated.name for s in stores if s.update is not None} - read
        own = [stage for stage in own if not {value.name for value in stage.writes} <= dropped]
        streaming = [
            replace(phase, stages=tuple(stage for stage in phase.stages if stage.stage in own)) for phase in phases
        ]
        made = {value.name for stage in own for value in stage.writes}
        wanted = [*(value for stage in own for value in stage.needs), *(v for store in stores for v in store.needs)]
        needed = [value for value in wanted if value.name not in made]
        gathers = {v.name: self.indexed.gathers[v.name] for v in needed if v.name in self.indexed.gathers}
        for value in needed:
            stored = gathers[value.name].table if value.name in gathers else value
            types.setdefault(stored.name, stored.type)
        loads = {v.name: gathers[v.name].table.name if v.name in gathers else v.name for v in needed}
        filled = tuple(phase for phase in streaming if phase.stages)
        return CutSection(self.graph, tuple(own), loads, tuple(stores), filled, gathers=gathers), types
