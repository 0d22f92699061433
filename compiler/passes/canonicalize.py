"""One way to write each thing: views that change nothing go, views of views merge, broadcasting is implicit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.passes.rewrite import Rewriter, rewrite
from ir.graph import Node, Program, Value
from ir.op import broadcast_shape
from ir.ops.elementwise import Cast, Elementwise
from ir.ops.view import Expand, Full, Permute, Reshape, Slice

SAME_SHAPE = (Reshape, Expand, Cast, Slice)


@dataclass(frozen=True)
class Canonicalize:
    """Remove and merge views, and read constants and broadcast values as the scalars and vectors they are."""

    name: ClassVar[str] = "canonicalize"

    def __call__(self, program: Program) -> Program:
        return rewrite(program, without_effect, merged, view_of_constant, broadcast_implicitly)


def without_effect(node: Node, rewriter: Rewriter) -> Value | None:
    """A view or a cast to what its operand is already."""
    if isinstance(node.op, SAME_SHAPE) and node.operands[0].type == node.results[0].type:
        return node.operands[0]
    if isinstance(node.op, Permute) and node.op.dims == tuple(range(len(node.op.dims))):
        return node.operands[0]
    return None


def merged(node: Node, rewriter: Rewriter) -> Node | None:
    """A reshape of a reshape, a permute of a permute, an expand of an expand."""
    above = rewriter.producers.get(node.operands[0].name) if node.operands else None
    if above is None or type(above.op) is not type(node.op):
        return None
    if isinstance(node.op, (Reshape, Expand)):
        return replace(node, operands=above.operands)
    if isinstance(node.op, Permute) and isinstance(above.op, Permute):
        dims = tuple(above.op.dims[dim] for dim in node.op.dims)
        return replace(node, op=Permute(dims), operands=above.operands)
    return None


def view_of_constant(node: Node, rewriter: Rewriter) -> Node | None:
    """A view of equal elements is equal elements."""
    if not isinstance(node.op, (Reshape, Expand, Permute, Slice)):
        return None
    constant = rewriter.constant(node.operands[0])
    if constant is None:
        return None
    return replace(node, op=replace(constant, shape=node.results[0].type.shape), operands=())


def broadcast_implicitly(node: Node, rewriter: Rewriter) -> Node | None:
    """Elementwise operators broadcast: they read what an operand was expanded from, as long as the shape stays."""
    if not isinstance(node.op, Elementwise):
        return None
    for position, operand in enumerate(node.operands):
        producer = rewriter.producers.get(operand.name)
        if producer is None or not isinstance(producer.op, (Expand, Full)) or not operand.type.rank:
            continue
        smaller = producer.operands[0].type if producer.operands else operand.type.with_shape(())
        types = [smaller if i == position else value.type for i, value in enumerate(node.operands)]
        if broadcast_shape(types) == node.results[0].type.shape:
            source = _source(producer, rewriter)
            return replace(node, operands=(*node.operands[:position], source, *node.operands[position + 1 :]))
    return None


def _source(producer: Node, rewriter: Rewriter) -> Value:
    """What an expanded value was expanded from; a constant's single element."""
    if isinstance(producer.op, Full):
        scalar = replace(producer.op, shape=())
        return rewriter.emit(scalar, location=producer.location, hint=producer.results[0].name)
    return producer.operands[0]
