"""Sections, stages and tiles beside the reference interpreter.

The plan of the mapping knows which value of the program every stage makes. So what a section stores, what a stage
writes into a buffer, and every slice of it can be compared with the value that the interpreter has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backends.rdu.cut.cut_section import CutSection
from backends.rdu.plan import Plan
from ir.graph import Program
from ir.interpreter import evaluate
from ir.op import Array
from ir.rounding import round_to_bf16
from ir.types import DType
from pef.decoded import Configuration, Stage, Stream
from pef.decoded_pef import DecodedPef
from runtime.collective import ALONE
from runtime.numbers.strict import StrictSimulator
from runtime.session import Session
from workbench.bisect.findings import Finding
from workbench.numbers.errors import Difference, difference, differences, largest, tolerance


@dataclass(frozen=True, slots=True)
class Expected:
    """What the interpreter has for one graph: symbols before it runs, and every value in it."""

    symbols: Mapping[str, Array]
    values: Mapping[str, Array]
    stores: Mapping[str, str]
    """The value that each output symbol gets."""


def expected_values(plan: Plan, values: Mapping[str, Array]) -> list[Expected]:
    """Run the graphs of a plan one after another in the interpreter, on `values` of the symbols."""
    symbols = dict(values)
    found = []
    for planned in plan.graphs:
        prepared = planned.cut.sections[0].graph if planned.cut and planned.cut.sections else planned.graph
        made = {**evaluate(prepared, symbols), **evaluate(planned.graph, symbols)}
        stores = {output.symbol: output.value.name for output in planned.graph.outputs}
        found.append(Expected(dict(symbols), made, stores))
        symbols |= {symbol: made[value] for symbol, value in stores.items()}
    return found


def compare_sections(pef: DecodedPef, plan: Plan, program: Program, values: Mapping[str, Array]) -> Iterator[Finding]:
    """Every section of the PEF of a plan, in both executors; inside one that is wrong, its loads, stages, and tiles.

    Accumulated: all sections one after another, as they run in a step.
    """
    allowed = tolerance(program)
    expected = expected_values(plan, values)
    running, apart = Session(pef), Session(pef, strict=True)
    for name, array in values.items():
        if name in running.symbols:
            running.write(name, array)
    number = 0
    for graph, own in zip(plan.graphs, expected):
        assert graph.cut is not None
        for section, key in zip(graph.cut.sections, graph.keys):
            yield from _section(pef, number, section, key.symbols, own, running, apart, allowed)
            number += 1
    running.close()


def _section(
    pef: DecodedPef,
    number: int,
    section: CutSection,
    slots: Sequence[str],
    own: Expected,
    running: Session,
    apart: Session,
    allowed: float,
) -> Iterator[Finding]:
    name = pef.record.sections[number].name
    running.run(section_ids=[number])
    accumulated = _stored(running, section, own)
    _bind(apart, section, own)
    simulator = StrictSimulator(pef, apart.memory)
    simulator.lay_out([number])(ALONE)
    isolated = _stored(apart, section, own)
    where = str(section.stages[0].nodes[-1].location) if section.stages else ""
    finding = Finding("section", name, largest(isolated), largest(accumulated), allowed, where)
    yield finding
    if finding.is_wrong:
        yield from _inside(pef, number, section, slots, own, apart, allowed, isolated)
    elif finding.is_off:
        yield from _fast(pef, number, section, own, name, allowed)


def _fast(
    pef: DecodedPef, number: int, section: CutSection, own: Expected, name: str, allowed: float
) -> Iterator[Finding]:
    """The section by itself in the fast executor, which has to give the strict one's numbers."""
    session = Session(pef)
    _bind(session, section, own)
    session.run(section_ids=[number])
    found = _stored(session, section, own)
    session.close()
    finding = Finding("fast executor", f"in section {name}", largest(found), None, allowed)
    if finding.is_wrong:
        yield finding


def _bind(session: Session, section: CutSection, own: Expected) -> None:
    """Write what the section loads, as it should be; and what it updates in part."""
    for value, symbol in section.loads.items():
        gathered = value in section.gathers
        session.write(symbol, own.symbols[symbol] if value == symbol or gathered else own.values[value])
    for store in section.stores:
        if store.update is not None:
            session.write(store.symbol, own.symbols[store.symbol])


def _stored(session: Session, section: CutSection, own: Expected) -> list[Difference]:
    """How far the symbols are off that the section stores."""
    expected = {}
    for store in section.stores:
        name = own.stores.get(store.symbol, store.value.name)
        expected[store.symbol] = _rounded(own.values[name], session.symbols[store.symbol].type.dtype)
    return differences({name: session.read(name) for name in expected}, expected)


def _rounded(array: Array, dtype: DType) -> Array:
    if dtype is not DType.BF16:
        return array
    copy: Array = array.copy()
    round_to_bf16(copy)
    return copy


def _inside(
    pef: DecodedPef,
    number: int,
    section: CutSection,
    slots: Sequence[str],
    own: Expected,
    session: Session,
    allowed: float,
    stored: Sequence[Difference],
) -> Iterator[Finding]:
    """The loads and stages of a wrong section in dataflow order, and the first wrong tile of the first wrong one."""
    runs = []
    for resets in (False, True):
        _bind(session, section, own)
        watch = _Watch(section, slots, own, allowed, resets)
        StrictSimulator(pef, session.memory, watch).lay_out([number])(ALONE)
        runs.append(watch)
    as_run, isolated = runs
    wrong = False
    for key, made in sorted(isolated.made.items(), key=lambda item: item[0].order):
        finding = Finding(key.level, key.name, made.error, as_run.made[key].error, allowed, key.where)
        yield finding
        if finding.is_wrong and not wrong:
            wrong = True
            yield Finding("tile", f"{made.first} of {key.name}", made.first_error, None, allowed, key.where)
    if not wrong:
        worst = stored[0]
        yield Finding("stage", f"none: the store of {worst.name}", worst.relative, None, allowed)


@dataclass(frozen=True, slots=True)
class _Maker:
    """A load or a stage's output in a section."""

    level: str
    name: str
    where: str
    order: tuple[int, ...]


@dataclass(slots=True)
class _Made:
    """What one maker made: squares of errors and of what was expected, and its first wrong slice."""

    error_squares: float = 0.0
    squares: float = 0.0
    first: str = ""
    first_error: float = 0.0

    @property
    def error(self) -> float:
        """Relative, over all slices."""
        return float(np.sqrt(self.error_squares / self.squares)) if self.squares else float(np.sqrt(self.error_squares))


@dataclass
class _Watch:
    """Compares every slice with the part of the value that it is; with `resets`, puts that in its place."""

    section: CutSection
    slots: Sequence[str]
    own: Expected
    allowed: float
    resets: bool
    made: dict[_Maker, _Made] = field(default_factory=dict)

    def complete(
        self, configuration: Configuration, maker: Stage | Stream, port: int, window: tuple[slice, ...], array: Array
    ) -> None:
        """Compare one slice."""
        key, value = self.identify(configuration, maker, port)
        if value not in self.own.values:
            return
        whole = np.asarray(self.own.values[value])
        dtype = configuration.buffers[_buffer(maker, port)].type.dtype
        expected = _rounded(np.asarray(whole[window], array.dtype), dtype)
        made = self.made.setdefault(key, _Made())
        found = difference(value, array, expected)
        error, size = np.asarray(array, np.float64) - expected, np.asarray(expected, np.float64)
        made.error_squares += float(np.nansum(error * error))
        made.squares += float(np.nansum(size * size))
        if not made.first and not found.relative <= self.allowed:
            shown = ", ".join(f"{part.start}:{part.stop}" for part in window)
            made.first, made.first_error = f"{value}[{shown}]", found.relative
        if self.resets:
            np.copyto(array, expected)

    def identify(self, configuration: Configuration, maker: Stage | Stream, port: int) -> tuple[_Maker, str]:
        """Who made a slice, and the value that it is a part of."""
        for number, phase in enumerate(configuration.phases):
            for position, stage in enumerate(phase.stages):
                if stage is maker:
                    nodes = self.section.phases[number].stages[position].stage
                    where = str(nodes.busy[0].location)
                    return _Maker("stage", stage.name, where, (number, 1, position, port)), nodes.writes[port].name
            for position, stream in enumerate(phase.streams):
                if stream is maker:
                    value = self.loaded(configuration, stream)
                    return _Maker("load", value or self.slots[stream.slot], "", (number, 0, position)), value
        raise AssertionError("a maker is part of its configuration")

    def loaded(self, configuration: Configuration, stream: Stream) -> str:
        """The value that a stream loads; empty where its symbol alone does not tell. Names of buffers do not count:
        sections that share a configuration have names of their own."""
        tensor, symbol = configuration.buffers[stream.buffer].type, self.slots[stream.slot]
        values = [value for value, name in self.section.loads.items() if name == symbol]
        values = [value for value in values if (value in self.section.gathers) == (stream.pick is not None)]
        fitting = [v for v in values if v in self.own.values and self.own.values[v].shape == tensor.shape]
        return fitting[0] if len(fitting) == 1 else ""


def _buffer(maker: Stage | Stream, port: int) -> int:
    return maker.outputs[port].buffer if isinstance(maker, Stage) else maker.buffer
