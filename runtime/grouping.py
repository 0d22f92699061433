"""How a phase's tiles are grouped into kernel calls and the groups into lanes: from the PEF alone.

Adjacent tiles go into one call where that cannot change a result, except in the order float sums associate. A group is
large enough that its arithmetic outweighs walking through weights and sums over tiles, and otherwise small enough to
stay in cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from ir.op import CostClass
from runtime.configuration import Configuration, Phase, Stage
from runtime.scratch import compute_bytes

MAXIMUM_LANES = 8
CACHED_BYTES = 1 << 20
"""What the arrays of one group of one stage should take: about the second-level cache of a core."""
SERIAL_NS = 60_000
"""Below this much work a phase is not worth waking another thread."""
GROUP_NS = 30_000
"""Below this much work a kernel call is mostly overhead."""
OVERHEAD_SHARE = 0.15
"""The part of a group's time that adding to sums over tiles may take."""
FLOPS_PER_NS = 30.0
BYTES_PER_NS = 8.0


@dataclass(frozen=True, slots=True)
class Group:
    """Tiles `start` to `start + count`, executed in one call per operator."""

    start: int
    count: int


def lanes_of(phase: Phase, configuration: Configuration, coalesce: bool) -> list[list[Group]]:
    """The lanes of a phase, each a list of groups in order; together all tiles in order."""
    if phase.tiles == 1:
        return [[Group(0, 1)]]
    tile_ns = sum(map(_tile_ns, phase.stages))
    summed_bytes = _summed_bytes(phase, configuration)
    lanes = _lane_count(phase, tile_ns, summed_bytes)
    size = _group_size(phase, lanes, tile_ns, summed_bytes) if coalesce else 1
    while size > 1 and not all(_grows(stage, size) for stage in phase.stages):
        size = 1
    groups = _split(0, phase.tiles, -(-phase.tiles // size))
    chunks = _split(0, len(groups), min(lanes, len(groups)))
    return [groups[chunk.start : chunk.start + chunk.count] for chunk in chunks]


def _split(start: int, length: int, parts: int) -> list[Group]:
    """`parts` nearly equal stretches, the longer ones first."""
    size, rest = divmod(length, parts)
    stretches = []
    for part in range(parts):
        count = size + (part < rest)
        stretches.append(Group(start, count))
        start += count
    return stretches


def _lane_count(phase: Phase, tile_ns: float, summed_bytes: int) -> int:
    """As many lanes as the work feeds; every lane has its own copy of sums over tiles, merged at the end."""
    total_ns = tile_ns * phase.tiles
    if total_ns < SERIAL_NS:
        return 1
    merge_ns = 3 * summed_bytes / BYTES_PER_NS
    lanes = min(MAXIMUM_LANES, phase.tiles)
    while lanes > 2 and merge_ns * lanes > OVERHEAD_SHARE * total_ns:
        lanes //= 2
    return lanes


def _group_size(phase: Phase, lanes: int, tile_ns: float, summed_bytes: int) -> int:
    """Tiles per call."""
    tile_bytes = max(map(_tile_bytes, phase.stages), default=1)
    resident_bytes = max(map(_resident_bytes, phase.stages), default=0)
    cached = max(CACHED_BYTES, resident_bytes) / max(1, tile_bytes)
    busy = GROUP_NS / max(1.0, tile_ns)
    summing = 3 * summed_bytes / BYTES_PER_NS / OVERHEAD_SHARE / max(1.0, tile_ns)
    return max(1, min(int(max(cached, busy, summing)), -(-phase.tiles // lanes)))


def _tile_ns(stage: Stage) -> float:
    """Roughly what one tile of a stage costs this host."""
    total = 0.0
    for operation in stage.operations:
        if operation.op.is_free:
            continue
        operands = [stage.values[i].type for i in operation.operands]
        moved = sum(compute_bytes(stage.values[i].type) for i in (*operation.operands, *operation.results))
        total += moved / BYTES_PER_NS * operation.op.cost.passes
        if operation.op.cost.kind is CostClass.SYSTOLIC:
            total += operation.op.flops(*operands) / FLOPS_PER_NS
    return total


def _tile_bytes(stage: Stage) -> int:
    """Bytes of a stage that grow with the number of tiles at once: its ports, as results in between are reused."""
    values = {port.value for port in (*stage.inputs, *stage.outputs) if port.axis >= 0}
    return sum(compute_bytes(stage.values[value].type) for value in values)


def _resident_bytes(stage: Stage) -> int:
    values = {port.value for port in (*stage.inputs, *stage.outputs) if port.axis < 0}
    return sum(compute_bytes(stage.values[value].type) for value in values)


def _summed_bytes(phase: Phase, configuration: Configuration) -> int:
    """Bytes of the sums over tiles."""
    summed = {port.buffer for stage in phase.stages for port in stage.outputs if port.combine is not None}
    return sum(compute_bytes(configuration.buffers[buffer].type) for buffer in summed)


def _grows(stage: Stage, tiles: int) -> bool:
    """Whether the stage's operators accept `tiles` adjacent tiles as one."""
    for operation in stage.operations:
        results = tuple(stage.values[i].grown(tiles) for i in operation.results)
        operands = [stage.values[i].grown(tiles) for i in operation.operands]
        try:
            if operation.op.retyped(results[0]).results(*operands) != results:
                return False
        except ValueError:
            return False
    return True
