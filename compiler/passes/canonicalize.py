"""One way to write each thing: views that change nothing go, views of views merge, broadcasting is implicit."""

from __future__ import annotations

from collections.abc import Iterator
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
        for smaller in _smaller(operand, rewriter):
            operands = (*node.operands[:position], smaller, *node.operands[position + 1 :])
            if broadcast_shape([value.type for value in operands]) == node.results[0].type.shape:
                return replace(node, operands=operands)
    return None


def _smaller(value: Value, rewriter: Rewriter) -> Iterator[Value]:
    """Values that broadcast to `value`."""
    producer = rewriter.producers.get(value.name)
    if producer is None:
        return
    if isinstance(producer.op, Expand):
        yield producer.operands[0]
    if isinstance(producer.op, Full) and value.type.rank:
        scalar = replace(producer.op, shape=())
        yield rewriter.emit(scalar, location=producer.location, hint=value.name)
