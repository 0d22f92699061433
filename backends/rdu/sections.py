"""Section cutting: which stages are on the fabric at one time.

Sections run one after another and hand tensors over in memory; each costs a program load. Cutting minimises modelled
time by dynamic programming over the stages in their order:

    time(section) = max(compute, memory traffic / bandwidth) + phases x fill + loads

where compute is the least that a balanced allocation can reach: phases run one after another on units of their own,
and sum(W_p / n_p) with sum(n_p) = N is least at n_p ~ sqrt(W_p), which gives (sum sqrt(W_p))^2 / N. A section that
needs more PCUs or PMUs than the budget is not considered.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backends.rdu.allocate import options
from backends.rdu.fusion import fuse_by_rules
from backends.rdu.fusion_rules import Rule
from backends.rdu.phases import Phase, form_phases, tile_counts
from backends.rdu.stages import StageNodes, base_values, form_stages
from backends.rdu.tiling import tile_stage
from ir.errors import InfeasibleError, Problem
from ir.graph import Graph, Node, Output, Symbol, SymbolKind, Value
from ir.ops.elementwise import Cast
from pef.cycles import chain_length
from pef.machine import Machine, SiteKind

FILL_CYCLES = 500
"""What a phase costs besides its tiles: fill, drain and the barrier, as an order of magnitude for the cut."""

ESTIMATE_TILES = 16
"""Tiles assumed for a phase before its allocation chooses: enough to keep buffers small."""


@dataclass(frozen=True, slots=True)
class Store:
    """A value that a section leaves in memory: the busy result `base`, through free operators, into `symbol`."""

    base: Value
    views: tuple[Node, ...]
    value: Value
    symbol: str


@dataclass(frozen=True, slots=True)
class CutSection:
    """Stages on the fabric at one time, the symbol each value from outside is loaded from, and what is stored.

    `rule` says what fused them at o1: a rule, or a region of the program.
    """

    graph: Graph
    stages: tuple[StageNodes, ...]
    loads: dict[str, str]
    stores: tuple[Store, ...]
    rule: str = ""


@dataclass(frozen=True, slots=True)
class CutGraph:
    """The sections of one graph in running order, and the symbols that carry values between them."""

    sections: tuple[CutSection, ...]
    symbols: tuple[Symbol, ...]


def cut_graph(
    graph: Graph, machine: Machine, *, fuse: bool, budget: float, rules: Sequence[Rule] | None = None
) -> CutGraph:
    """Cut a graph into sections of at most `budget` (0 to 1) of the machine's units; one stage each without `fuse`,
    but for what `rules` fuse."""
    graph = _with_constants_made(graph)
    if rules is not None:
        return _cut_by_rules(graph, machine, budget, rules)
    stages = form_stages(graph, fuse=fuse)
    if not stages:
        return _materialise(graph, stages, [0, 0])
    cuts = _best_cuts(_Costs(graph, stages, machine, budget)) if fuse else list(range(len(stages) + 1))
    return _materialise(graph, stages, cuts)


def _cut_by_rules(graph: Graph, machine: Machine, budget: float, rules: Sequence[Rule]) -> CutGraph:
    """A section for every group that the rules fuse; of a group that does not fit, those that are fastest."""
    stages: list[StageNodes] = []
    labels: list[str] = []
    cuts = [0]
    for group in fuse_by_rules(graph, rules):
        own = form_stages(graph, fuse=True, nodes=group.nodes)
        parts = _best_parts(_Costs(graph, own, machine, budget)) if len(own) > 1 else [0, len(own)]
        count = len(parts) - 1
        labels += [f"{group.label}, cut {i} of {count}" if count > 1 else group.label for i in range(1, count + 1)]
        cuts += [len(stages) + part for part in parts[1:]]
        stages += own
    if not stages:
        return _materialise(graph, stages, [0, 0])
    return _materialise(graph, stages, cuts, labels)


def _best_parts(costs: _Costs) -> list[int]:
    """The boundaries of a group: none within if it fits as a whole."""
    count = len(costs.stages)
    return [0, count] if len(costs.from_stage(0)) == count else _best_cuts(costs)


@dataclass(frozen=True, slots=True)
class _Demand:
    """What one stage asks of a section: PCU-cycles over all tiles, least PCUs, PMUs, and the values it reads whole."""

    phase: int
    pcu_cycles: int
    pcus: int
    ring_pmus: int
    whole: tuple[Value, ...]


class _Costs:
    """Modelled time of any run of stages as one section, extended stage by stage."""

    def __init__(self, graph: Graph, stages: Sequence[StageNodes], machine: Machine, budget: float) -> None:
        self.graph = graph
        self.stages = stages
        self.machine = machine
        self.pcus = int(budget * len(machine.working_sites(SiteKind.PCU)))
        self.pmus = int(budget * len(machine.working_sites(SiteKind.PMU)))
        self.load = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
        self.demands = self._demands(form_phases(stages))
        self.last_use = self._last_uses()
        self.maker = {value.name: index for index, stage in enumerate(stages) for value in stage.writes}

    def _demands(self, phases: Sequence[Phase]) -> list[_Demand]:
        found = []
        for index, phase in enumerate(phases):
            tiles = tile_counts(phase.divisor, ESTIMATE_TILES)[-1]
            for streamed in phase.stages:
                tiled = tile_stage(streamed, tiles)
                narrow = options(tiled.work, self.machine)[0]
                axes = streamed.axes
                moved = [value for value in (*streamed.stage.reads, *streamed.stage.writes) if axes[value.name] >= 0]
                whole = [value for value in (*streamed.stage.reads, *streamed.stage.writes) if axes[value.name] < 0]
                rings = sum(self._pmus(3 * value.type.nbytes // tiles) for value in moved)
                found.append(
                    _Demand(
                        index,
                        tiles * narrow.cycles * narrow.units,
                        chain_length(tiled.work, self.machine),
                        rings,
                        tuple(whole),
                    )
                )
        return found

    def _pmus(self, nbytes: int) -> int:
        return max(1, math.ceil(nbytes / self.machine.pmu_bytes))

    def _last_uses(self) -> dict[str, int]:
        """The last stage that reads each value; the number of stages for what an output stores."""
        base = base_values(self.graph)
        uses = {value.name: index for index, stage in enumerate(self.stages) for value in stage.reads}
        for output in self.graph.outputs:
            origin = base[output.value.name]
            if origin is not None:
                uses[origin.name] = len(self.stages)
        return uses

    def from_stage(self, start: int) -> list[float]:
        """The modelled cycles of sections start..start, start..start+1, and so on, as far as they fit."""
        work: dict[int, int] = {}
        loaded: set[str] = set()
        held: dict[str, int] = {}
        leaving: dict[str, int] = {}
        pcus = rings = read_bytes = left_bytes = 0
        costs = []
        for stop in range(start, len(self.stages)):
            stage, demand = self.stages[stop], self.demands[stop]
            pcus += demand.pcus
            rings += demand.ring_pmus
            held.update((value.name, self._pmus(value.type.nbytes)) for value in demand.whole)
            if stop > start and (pcus > self.pcus or rings + sum(held.values()) > self.pmus):
                break
            work[demand.phase] = work.get(demand.phase, 0) + demand.pcu_cycles
            for value in stage.reads:
                if self.last_use[value.name] == stop:
                    left_bytes -= leaving.pop(value.name, 0)
                if self.maker.get(value.name, -1) < start and value.name not in loaded:
                    loaded.add(value.name)
                    read_bytes += value.type.nbytes
            used_later = {v.name: v.type.nbytes for v in stage.writes if self.last_use.get(v.name, -1) > stop}
            leaving.update(used_later)
            left_bytes += sum(used_later.values())
            compute = sum(map(math.sqrt, work.values())) ** 2 / self.pcus
            memory = (read_bytes + left_bytes) / self.machine.tier_bytes_per_cycle(0)
            costs.append(max(compute, memory) + FILL_CYCLES * len(work) + self.load)
        return costs


def _best_cuts(costs: _Costs) -> list[int]:
    """The boundaries of the sections with the least total time: 0, ..., number of stages."""
    count = len(costs.stages)
    best = [0.0] * (count + 1)
    following = [count] * (count + 1)
    for start in range(count - 1, -1, -1):
        totals = [cost + best[start + length + 1] for length, cost in enumerate(costs.from_stage(start))]
        length = min(range(len(totals)), key=totals.__getitem__)
        best[start], following[start] = totals[length], start + length + 1
    cuts = [0]
    while cuts[-1] < count:
        cuts.append(following[cuts[-1]])
    return cuts


def _materialise(
    graph: Graph, stages: Sequence[StageNodes], cuts: Sequence[int], rules: Sequence[str] = ()
) -> CutGraph:
    """The sections between `cuts`, with the values that cross them stored in symbols and loaded again.

    `rules` say what made each. A value that an output stores as it is, is loaded from that symbol; any other gets a
    symbol of its own.
    """
    ranges = list(itertools.pairwise(cuts))
    home = {
        value.name: index
        for index, (first, last) in enumerate(ranges)
        for stage in stages[first:last]
        for value in stage.writes
    }
    stores: list[list[Store]] = [[] for _ in ranges]
    stored_as: dict[str, str] = {value.name: value.name for value in graph.inputs}
    for output in graph.outputs:
        store = _output_store(graph, output)
        section = home.get(store.base.name, 0)
        stores[section].append(store)
        updated = any(value.name == output.symbol for value in graph.inputs)
        if not store.views and not updated:
            stored_as.setdefault(store.base.name, output.symbol)
    symbols = []
    for index, (first, last) in enumerate(ranges):
        for value in _arriving(stages[first:last], home, index):
            if value.name not in stored_as:
                name = f"{graph.kind.value.lower()}.{value.name}"
                symbols.append(Symbol(name, value.type, SymbolKind.ACTIVATION))
                stored_as[value.name] = name
                stores[home[value.name]].append(Store(value, (), value, name))
    sections = []
    for index, (first, last) in enumerate(ranges):
        own = tuple(stages[first:last])
        outside = {v.name for stage in own for v in stage.reads if home.get(v.name) != index}
        outside |= {store.base.name for store in stores[index] if store.base.name not in home}
        loads = {name: stored_as[name] for name in sorted(outside)}
        rule = rules[index] if rules else ""
        sections.append(CutSection(graph, own, loads, tuple(stores[index]), rule))
    _refuse_stale_reads(graph, sections)
    return CutGraph(tuple(sections), tuple(symbols))


def _arriving(stages: Sequence[StageNodes], home: dict[str, int], index: int) -> list[Value]:
    """The values that these stages read from earlier sections of the same graph, each once."""
    found = {value.name: value for stage in stages for value in stage.reads if home.get(value.name, index) != index}
    return list(found.values())


def _with_constants_made(graph: Graph) -> Graph:
    """The graph with a stage of its own for every output that is a view of an immediate: no memory holds it yet."""
    nodes, outputs = list(graph.nodes), []
    for output in graph.outputs:
        store = _output_store(graph, output)
        producer = graph.producers.get(store.base.name)
        if producer is not None and producer.op.is_free:
            made = Value(f"{graph.kind.value.lower()}.{output.symbol}.made", output.value.type)
            nodes.append(Node(Cast(made.type.dtype), (output.value,), (made,), producer.location))
            output = Output(output.symbol, made)
        outputs.append(output)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))


def _output_store(graph: Graph, output: Output) -> Store:
    """The store of one output: back through free operators to what it is a view of, an immediate at the furthest."""
    views: list[Node] = []
    value = output.value
    while (producer := graph.producers.get(value.name)) is not None and producer.op.is_free and producer.operands:
        views.append(producer)
        value = producer.operands[0]
    return Store(value, tuple(reversed(views)), output.value, output.symbol)


def _refuse_stale_reads(graph: Graph, sections: Sequence[CutSection]) -> None:
    """A symbol updated in place must not be read again by a later section, which would see the new value."""
    updated: set[str] = set()
    for section in sections:
        stale = updated.intersection(section.loads.values()).intersection(value.name for value in graph.inputs)
        if stale:
            hint = "give the machine more units, so that the update and its readers fit one section"
            raise InfeasibleError(Problem(f"{', '.join(sorted(stale))} would be read after its update", hint=hint))
        updated |= {store.symbol for store in section.stores}
