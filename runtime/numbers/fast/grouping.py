"""How a phase's tiles are grouped into kernel calls and the groups into lanes.

Adjacent tiles go into one call where that cannot change a result, except in the order float sums associate. A group is
large enough that its arithmetic outweighs walking through weights and sums over tiles, and otherwise small enough to
stay in cache.

How large that is depends on the host, but results must not. Where tiles are summed, or a kernel sums within them,
groups are therefore those of the `NOMINAL` host: which sums associate follows from the PEF alone. The rates of the
`HOST` itself count where every element is computed by itself, so that no group changes a bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ir.op import CostClass
from runtime.numbers.fast.program import Phase, Program, Stage
from runtime.numbers.fast.scratch import compute_bytes

MAXIMUM_LANES = 8


@dataclass(frozen=True, slots=True)
class Rates:
    """What calls and arithmetic cost on a host with one thread."""

    flops_per_ns: float
    bytes_per_ns: float
    call_ns: float
    """A kernel call before it computes anything."""
    overhead_share: float
    """The part of a group's time that calls, walking through weights and adding to sums over tiles should take."""
    cached_bytes: int
    """What the arrays of one group of one stage may take: about the second-level cache of a core."""
    run_bytes: int
    """Tiles that are columns of their tensors are joined until they are runs of memory as long as this: shorter ones
    cost more to reach than to compute."""
    serial_ns: float
    """Below this much work a phase is not worth waking another thread."""
    lane_ns: float
    """A phase gets more than two lanes where each has this much work."""


NOMINAL = Rates(
    flops_per_ns=90.0,
    bytes_per_ns=8.0,
    call_ns=1_000.0,
    overhead_share=0.05,
    cached_bytes=1 << 20,
    run_bytes=1024,
    serial_ns=100_000.0,
    lane_ns=1_000_000.0,
)
"""What float sums associate by, on every host: other numbers here change the bits of a training run."""
HOST = replace(NOMINAL, run_bytes=8192)
"""What decides where no bit depends on it. The host that was measured is close enough to the nominal one; elementwise
loops go through long runs twice as fast as through short ones."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tiles `start` to `start + count`, executed in one call per operator."""

    start: int
    count: int


def lanes_of(phase: Phase, program: Program, threads: int) -> list[list[Group]]:
    """The lanes of a phase, each a list of groups in order; together all tiles in order. How many `threads` there are
    counts only where every element is computed by itself.

    Replicas exchange in one order and in as few calls as can be: in one lane, all tiles at once.
    """
    if phase.tiles == 1:
        return [[Group(0, 1)]]
    if any(operation.op.exchanges for stage in phase.stages for operation in stage.operations):
        whole = all(_grows(stage, phase.tiles) for stage in phase.stages)
        return [_split(0, phase.tiles, 1 if whole else phase.tiles)]
    is_elementwise = _is_elementwise(phase)
    rates = HOST if is_elementwise else NOMINAL
    tile_ns = max(1.0, sum(_tile_ns(stage, rates) for stage in phase.stages))
    overhead_ns = _overhead_ns(phase, program, rates)
    worthwhile = max(overhead_ns / (rates.overhead_share * tile_ns), rates.run_bytes / _run_bytes(phase))
    lanes = _lane_count(phase, tile_ns, worthwhile, rates)
    if is_elementwise:
        lanes = min(lanes, threads)
    size = _group_size(phase, lanes, worthwhile, rates)
    while size > 1 and not all(_grows(stage, size) for stage in phase.stages):
        size = 1
    return [_split(lane.start, lane.count, max(1, round(lane.count / size))) for lane in _split(0, phase.tiles, lanes)]


def _is_elementwise(phase: Phase) -> bool:
    """Whether every element is computed by itself: then nothing depends on which tiles are computed together."""
    return all(
        all(operation.op.is_elementwise or operation.op.is_free for operation in stage.operations)
        and all(port.combine is None for port in stage.outputs)
        for stage in phase.stages
    )


def _split(start: int, length: int, parts: int) -> list[Group]:
    """`parts` nearly equal stretches, the longer ones first."""
    size, rest = divmod(length, parts)
    stretches = []
    for part in range(parts):
        count = size + (part < rest)
        stretches.append(Group(start, count))
        start += count
    return stretches


def _lane_count(phase: Phase, tile_ns: float, worthwhile: float, rates: Rates) -> int:
    """As many lanes as are worthwhile: a power of two, which divides evenly over threads."""
    if tile_ns * phase.tiles < rates.serial_ns:
        return 1
    lanes = min(2, phase.tiles)
    while lanes < MAXIMUM_LANES and phase.tiles >= 2 * lanes * max(worthwhile, rates.lane_ns / tile_ns):
        lanes *= 2
    return min(lanes, phase.tiles)


def _group_size(phase: Phase, lanes: int, worthwhile: float, rates: Rates) -> int:
    """Tiles per call: worthwhile, in long runs, and as many more as fit the cache; all of a single elementwise
    operator, which finds nothing in the cache."""
    if _is_elementwise(phase) and sum(not step.op.is_free for stage in phase.stages for step in stage.operations) == 1:
        return -(-phase.tiles // lanes)
    tile_bytes = max(map(_tile_bytes, phase.stages), default=1)
    wanted = max(worthwhile, rates.cached_bytes / max(1, tile_bytes))
    return max(1, min(math.ceil(wanted), -(-phase.tiles // lanes)))


def _overhead_ns(phase: Phase, program: Program, rates: Rates) -> float:
    """Roughly what one group costs beyond its tiles: calls, packing of weights, columns, additions to sums."""
    calls = sum(len(stage.operations) for stage in phase.stages)
    walked = sum(_resident_bytes(stage) + _laid_out_bytes(stage) for stage in phase.stages)
    return calls * rates.call_ns + (walked + 3 * _summed_bytes(phase, program)) / rates.bytes_per_ns


def _tile_ns(stage: Stage, rates: Rates) -> float:
    """Roughly what one tile of a stage costs."""
    total = 0.0
    for operation in stage.operations:
        if operation.op.is_free:
            continue
        operands = [stage.values[i].type for i in operation.operands]
        values = [stage.values[i] for i in (*operation.operands, *operation.results)]
        moved = sum(compute_bytes(value.type) for value in values if value.grown(2) != value.type)
        total += moved / rates.bytes_per_ns * operation.op.cost.passes
        if operation.op.cost.kind is CostClass.SYSTOLIC:
            total += operation.op.flops(*operands) / rates.flops_per_ns
    return total


def _tile_bytes(stage: Stage) -> int:
    """Bytes of a stage that grow with the number of tiles at once: its ports, as results in between are reused."""
    values = {port.value for port in (*stage.inputs, *stage.outputs) if port.axis >= 0}
    return sum(compute_bytes(stage.values[value].type) for value in values)


def _run_bytes(phase: Phase) -> float:
    """Bytes of the shortest run of memory in a tile of a tensor: infinite where tiles follow one another."""
    runs = [math.inf]
    for stage in phase.stages:
        for port in (*stage.inputs, *stage.outputs):
            tensor = stage.values[port.value].type
            if port.axis > 0 and math.prod(tensor.shape[: port.axis]) > 1:
                runs.append(compute_bytes(tensor.with_shape(tensor.shape[port.axis :])))
    return min(runs)


def _resident_bytes(stage: Stage) -> int:
    """Bytes of operands that every tile uses whole."""
    return sum(compute_bytes(stage.values[port.value].type) for port in stage.inputs if port.axis < 0)


def _laid_out_bytes(stage: Stage) -> int:
    """Bytes that every group lays out anew, of operands that all tiles use whole."""
    total = 0
    for operation in stage.operations:
        if operation.op.laid_out is not None:
            values = [stage.values[i] for i in operation.operands]
            laid_out = values[operation.op.laid_out]
            if laid_out.grown(2) == laid_out.type:
                total += operation.op.laid_out_bytes(*(value.type for value in values))
    return total


def _summed_bytes(phase: Phase, program: Program) -> int:
    """Bytes of the sums over tiles."""
    summed = {port.buffer for stage in phase.stages for port in stage.outputs if port.combine is not None}
    return sum(compute_bytes(program.buffers[buffer].type) for buffer in summed)


def _grows(stage: Stage, tiles: int) -> bool:
    """Whether the stage's operators accept `tiles` adjacent tiles as one."""
    for operation in stage.operations:
        results = tuple(stage.values[i].grown(tiles) for i in operation.results)
        operands = [stage.values[i].grown(tiles) for i in operation.operands]
        if operation.op.for_tile(operands, results) is None:
            return False
    return True
