"""Phases: stretches of stages that stream along one common dimension, tile by tile.

A stage joins a phase if the iteration spaces of its operators map the streamed axis of what it reads to one dim of
each operator. Where that dim is parallel, the result streams on; where it is reduced, the result is an accumulator,
whole when the phase ends. What the phase does not make is sliced along the stream or used whole by every tile.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.rdu.stages import StageNodes
from ir.graph import Node
from ir.op import Op
from ir.space import Space
from ir.types import TensorType

WHOLE = -1
"""The axis of a value that every tile uses whole, or that all tiles reduce into."""

UNCUTTABLE = ""
"""The dim that a known axis asks to cut where the operator cannot be cut along that axis."""

MOST_TILES = 64
"""Tiles a phase is cut into at most: beyond, fill and drain are already a small part of it."""

ENOUGH_TILES = 16
"""An axis that makes as many tiles is as good as one that makes more."""

SCALAR_ELEMENTS = 32
"""Stages with no larger result than one vector are not worth a stream of their own."""


@dataclass(frozen=True, slots=True)
class StreamedStage:
    """A stage in a phase: the axis along which each of its values is cut into tiles, and by what the tile count is
    limited: every dim that is cut must be divisible by it."""

    stage: StageNodes
    axes: dict[str, int]
    divisor: int
    accumulators: frozenset[str]


@dataclass(slots=True)
class Phase:
    """Stages that stream together, in dataflow order; the number of tiles divides `divisor` (0: streams nothing)."""

    stages: list[StreamedStage] = field(default_factory=list)
    divisor: int = 0
    axes: dict[str, int] = field(default_factory=dict)
    accumulators: set[str] = field(default_factory=set)

    def add(self, streamed: StreamedStage) -> None:
        """Append a stage that `stream` has accepted."""
        self.stages.append(streamed)
        self.divisor = math.gcd(self.divisor, streamed.divisor)
        self.axes.update((value.name, streamed.axes[value.name]) for value in streamed.stage.writes)
        self.accumulators |= streamed.accumulators


def form_phases(stages: Sequence[StageNodes]) -> list[Phase]:
    """Cut the stages, in order, into phases, each seeded with the dimension that carries the most stages along, of
    those the one that makes enough tiles, and of those the outermost: its tiles are the longest runs of memory."""
    phases: list[Phase] = []
    start = 0
    while start < len(stages):
        phase = max(_candidates(stages, start), key=_merit)
        phases.append(phase)
        start += len(phase.stages)
    return phases


def _merit(phase: Phase) -> tuple[int, int]:
    """What makes one of several dimensions to stream along better than another."""
    return len(phase.stages), min(tile_counts(phase.divisor)[-1], ENOUGH_TILES)


def tile_counts(divisor: int, most: int = MOST_TILES) -> list[int]:
    """The numbers of tiles a phase may have: divisors of `divisor` up to `most`, ascending."""
    return [count for count in range(1, min(divisor, most) + 1) if divisor % count == 0] or [1]


def _candidates(stages: Sequence[StageNodes], start: int) -> list[Phase]:
    """One phase for every dimension the first stage can stream along; else one that streams nothing."""
    found = []
    for seed in _seeds(stages[start]):
        phase = Phase()
        first = stream(stages[start], phase, seed)
        if first is None or first.divisor == 1:
            continue
        phase.add(first)
        for stage in stages[start + 1 :]:
            streamed = _join(stage, phase)
            if streamed is None:
                break
            phase.add(streamed)
        found.append(phase)
    return found or [_still(stages, start)]


def _still(stages: Sequence[StageNodes], start: int) -> Phase:
    """A phase of one tile: the first stage, and those behind it that are too small to stream."""
    phase = Phase(divisor=1)
    for index, stage in enumerate(stages[start:]):
        if index and max(value.type.numel for node in stage.busy for value in node.results) > SCALAR_ELEMENTS:
            break
        axes = {v.name: WHOLE for node in stage.nodes for v in (*node.operands, *node.results)}
        phase.add(StreamedStage(stage, axes, 1, frozenset()))
    return phase


@functools.cache
def _space(op: Op, operands: tuple[TensorType, ...]) -> Space:
    return op.space(*operands)


def space_of(node: Node) -> Space:
    """The iteration space of a node; equal nodes share it."""
    return _space(node.op, tuple(operand.type for operand in node.operands))


Seed = tuple[Node, str]
"""A node and the dim of its iteration space to cut."""


def _seeds(stage: StageNodes) -> list[Seed]:
    """The dims along which the stage's first busy operator can be cut with a result that streams on, outermost first;
    dims that it reduces only where no other can be cut."""
    node = stage.busy[0]
    cuts = space_of(node).cuts()
    streaming = [cut for cut in cuts if any(axis >= 0 for axis in cut.results)]
    streaming.sort(key=lambda cut: min(axis for axis in cut.results if axis >= 0))
    return [(node, cut.dim) for cut in streaming or cuts]


def _join(stage: StageNodes, phase: Phase) -> StreamedStage | None:
    """The stage as it streams in `phase`, or None. A stage that reads nothing the phase makes may stream beside it if
    that does not coarsen the phase's tiles."""
    if any(value.name in phase.axes for value in stage.reads):
        streamed = stream(stage, phase, None)
        return streamed if streamed is not None and math.gcd(streamed.divisor, phase.divisor) > 1 else None
    for seed in _seeds(stage):
        streamed = stream(stage, phase, seed)
        if streamed is not None and math.gcd(streamed.divisor, phase.divisor) == phase.divisor:
            return streamed
    return None


def stream(stage: StageNodes, phase: Phase, seed: Seed | None) -> StreamedStage | None:
    """Find the axis of every value of the stage from those that the phase already streams and from the seed.

    Facts spread through each operator's iteration space, forwards and backwards, until nothing changes. None where
    they contradict each other, where an operator cannot be cut along the dim they ask for, or where the stage reads
    an accumulator of the phase.
    """
    made = {result.name for node in stage.nodes for result in node.results}
    axes = {value.name: phase.axes[value.name] for value in stage.reads if value.name in phase.axes}
    if any(name in phase.accumulators for name in axes):
        return None
    dims: dict[int, str] = {}
    if seed is not None:
        dims[id(seed[0])] = seed[1]
    fixed = set(axes)
    divisor = 0
    accumulators: set[str] = set()
    settled: set[int] = set()
    progress = True
    while progress:
        progress = False
        for node in stage.nodes:
            if id(node) in settled:
                continue
            dim = dims.get(id(node)) or _implied_dim(node, axes)
            if dim is None:
                continue
            cut = space_of(node).cut(dim) if dim != UNCUTTABLE else None
            if cut is None or not _agree(node, cut.operands, cut.results, axes):
                return None
            settled.add(id(node))
            progress = True
            divisor = math.gcd(divisor, cut.size)
            accumulators |= {r.name for r, axis in zip(node.results, cut.results) if axis == WHOLE}
    for node in stage.nodes:
        for value in (*node.operands, *node.results):
            axes.setdefault(value.name, WHOLE)
    if not settled or _misused(stage, axes, accumulators, fixed, settled, made):
        return None
    return StreamedStage(stage, axes, divisor, frozenset(accumulators))


def _implied_dim(node: Node, axes: dict[str, int]) -> str | None:
    """The dim of the node's space that a known axis of one of its values asks to cut: None where no axis is known."""
    space = space_of(node)
    for values, spaces in ((node.operands, space.operands), (node.results, space.results)):
        for value, own in zip(values, spaces):
            axis = axes.get(value.name, WHOLE)
            if axis != WHOLE:
                return space.leading(own[axis]) or UNCUTTABLE
    return None


def _agree(node: Node, operands: tuple[int, ...], results: tuple[int, ...], axes: dict[str, int]) -> bool:
    """Record the axes that cutting the node gives its values; False where one is known to be another."""
    for value, axis in (*zip(node.operands, operands), *zip(node.results, results)):
        if axes.setdefault(value.name, axis) != axis:
            return False
    return True


def _misused(
    stage: StageNodes,
    axes: dict[str, int],
    accumulators: set[str],
    fixed: set[str],
    settled: set[int],
    made: set[str],
) -> bool:
    """Whether a value is used against its nature: an accumulator read inside the stage, a streamed value read whole,
    or a value that is computed anew by every tile wanted outside."""
    for node in stage.nodes:
        for operand in node.operands:
            if operand.name in accumulators or (operand.name in fixed and axes[operand.name] == WHOLE):
                return True
        if id(node) not in settled and any(axes[operand.name] != WHOLE for operand in node.operands):
            return True
    return any(axes[value.name] == WHOLE and value.name not in accumulators for value in stage.writes)
