"""Which sections the cut takes where predictions differ from its model: the best path of those it has predicted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from backends.rdu.cut import paths
from backends.rdu.cut.paths import Look, Paths
from backends.rdu.cut.search import Cutter
from backends.rdu.cut.ways import Section, Way
from backends.rdu.fuse.stages import form_stages
from backends.rdu.stream.nests import Phase
from pef.nest import Nest
from tests.backends.machines import small_machine
from tests.backends.test_mapping import Net

MACHINE = replace(small_machine(8, pmu_bytes=1 << 14), program_load_us=0.1, argument_load_us=0.1, launch_us=0.1)
"""Small enough for several sections, and quick to load, so that they do not all cost the same."""

WIDTHS = (32, 48, 64, 80, 96, 112, 128, 144, 160)


def cutter(seed: int, known: dict[tuple[int, int], float]) -> Cutter:
    """A chain of products that all differ, each way of a section predicted to take one to three times as long as
    modelled; `known` collects what is predicted of the fastest way by where a section begins and ends. Of other nests
    nothing is modelled, and none is faster."""
    net = Net()
    value = net.input("x", 64, WIDTHS[0])
    for number, width in enumerate(WIDTHS[1:]):
        value = net("tanh", net("matmul", value, net.weight(f"w{number}", value.type.shape[1], width)))
    net.builder.output("y", value)
    graph = net.builder.build()

    class Predicted:
        def fastest(self, start: int, ways: Sequence[Way], least: float) -> tuple[float, int | None]:
            best, number = least, None
            for index, way in enumerate(ways):
                if way.cycles == 0:
                    continue
                end = start + sum(len(phase.stages) for phase in way.phases)
                cycles = way.cycles * (1 + 2 * random.Random(repr((seed, start, end, way.cycles))).random())
                known[start, end] = min(cycles, known.get((start, end), math.inf))
                if cycles < best:
                    best, number = cycles, index
            return best, number

        def is_least(self, start: int, phases: Sequence[Phase], cycles: float, gain: float) -> bool:
            return False

    return Cutter(graph, form_stages(graph, fuse=True), MACHINE, 0.9, weigh=Predicted())


@pytest.mark.parametrize("seed", range(8))
def test_no_path_of_predicted_sections_is_faster(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # So few that the last path is often not the best.
    monkeypatch.setattr(paths, "MOST_WEIGHED", 0)
    known: dict[tuple[int, int], float] = {}
    found = cutter(seed, known)
    cut = found.best()
    least = {len(found.stages): 0.0}
    for start in reversed(range(len(found.stages))):
        ends = [end for first, end in known if first == start and end in least]
        if ends:
            least[start] = min(known[start, end] + least[end] for end in ends)
    assert len(known) > len(cut)
    assert sum(section.cycles for section in cut) == pytest.approx(least[0], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_taken_was_looked_at_closely(seed: int) -> None:
    found = cutter(seed, {})
    position = 0
    for section in found.best():
        known = next(s for s in found.sections(position) if s.length == section.length)
        assert found.paths.looked_at(known, Look.NONE).look >= Look.REFINED
        position += section.length


@pytest.mark.parametrize("reload, lengths", [(0.0, [3, 3]), (30.0, [2, 2, 2])])
def test_a_program_that_is_there_is_not_loaded_again(reload: float, lengths: Sequence[int]) -> None:
    stages = cutter(0, {}).stages
    ways: dict[int, list[Section]] = {start: [] for start in (0, 2, 3, 4)}
    for length, cycles in ((2, 100.0), (3, 140.0)):
        for start in range(0, 6, length):
            phases = (Phase(Nest((1,)), tuple(stages[start : start + length])),)
            kind = (0, 0) if length == 2 else (start, 1)  # pairs look alike, those of three do not
            ways[start].append(Section(phases, cycles, kind=kind))
    found = Paths(6, reload, None, lambda start, phase, many: ()).best(ways)
    assert [section.length for section, _ in found] == lengths


def test_a_path_may_have_thousands_of_sections() -> None:
    stage = cutter(0, {}).stages[0]
    count = 5000
    ways = {start: [Section((Phase(Nest((1,)), (stage,)),), 1.0, kind=(start, 0))] for start in range(count)}
    found = Paths(count, 0.5, None, lambda start, phase, many: ()).best(ways)
    assert len(found) == count
