"""What a stage does per tile, once the number of tiles is chosen."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from backends.rdu.phases import StreamedStage
from ir.errors import InfeasibleError, Problem
from ir.graph import Node, Value
from ir.op import Op
from ir.types import TensorType
from pef.cycles import StageWork, TileOperation


@dataclass(frozen=True, slots=True)
class TiledStage:
    """A stage for one tile: its nodes, each operator as it applies to tiles, and the work that makes."""

    streamed: StreamedStage
    tiles: int
    operations: tuple[TileOperation, ...]
    work: StageWork

    def tile_type(self, value: Value) -> TensorType:
        """The type that one tile of `value` has in this stage."""
        return value.type.sliced(self.streamed.axes[value.name], self.tiles)


def tile_stage(streamed: StreamedStage, tiles: int) -> TiledStage:
    """The stage as it works on each of `tiles` tiles."""
    operations = tuple(_tile_node(node, streamed, tiles) for node in streamed.stage.nodes)
    return TiledStage(streamed, tiles, operations, _work(operations))


@functools.cache
def _work(operations: tuple[TileOperation, ...]) -> StageWork:
    return StageWork.of(operations)


def _tile_node(node: Node, streamed: StreamedStage, tiles: int) -> TileOperation:
    operands = tuple(value.type.sliced(streamed.axes[value.name], tiles) for value in node.operands)
    results = tuple(value.type.sliced(streamed.axes[value.name], tiles) for value in node.results)
    op, inferred = _retyped(node.op, operands, results[0])
    if inferred != results:
        shown = ", ".join(map(str, operands))
        raise InfeasibleError(Problem(f"{node.op.name} cannot be cut into tiles of {shown}", node.location))
    return TileOperation(op, operands, results)


@functools.cache
def _retyped(op: Op, operands: tuple[TensorType, ...], result: TensorType) -> tuple[Op, tuple[TensorType, ...]]:
    retyped = op.retyped(result)
    return retyped, retyped.results(*operands)
