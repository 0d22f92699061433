"""Operators on constants are constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from compiler.passes.rewrite import Rewriter, rewrite
from ir.errors import IntegerError
from ir.graph import Node, Program
from ir.op import Array, Op
from ir.ops.elementwise import Elementwise
from ir.ops.view import Full
from ir.rounding import round_to_bf16
from ir.types import DType, TensorType

LARGEST = 1 << 16
"""Operands of more elements are not evaluated: compiling stays fast."""


@dataclass(frozen=True)
class FoldConstants:
    """Evaluate, by their own kernels, nodes whose operands are all constant and whose result has equal elements."""

    name: ClassVar[str] = "fold-constants"

    def __call__(self, program: Program) -> Program:
        return rewrite(program, folded)


def folded(node: Node, rewriter: Rewriter) -> Node | None:
    """The constant that a node computes."""
    if not node.operands or len(node.results) != 1:
        return None
    constants = [rewriter.constant(operand) for operand in node.operands]
    found = [constant for constant in constants if constant is not None]
    if len(found) != len(constants):
        return None
    if isinstance(node.op, Elementwise):  # each element is computed alone, so one stands for all
        found = [replace(constant, shape=()) for constant in found]
    if any(constant.infer().numel > LARGEST for constant in found):
        return None
    try:
        value = _uniform(_evaluate(node.op, found, node.results[0].type))
    except IntegerError as error:
        raise error.at(node.location) from None
    if value is None:
        return None
    result = node.results[0].type
    return replace(node, op=Full(result.shape, value, result.dtype), operands=())


def _evaluate(op: Op, constants: Sequence[Full], declared: TensorType) -> Array:
    """What the kernel computes, rounded as the device rounds."""
    types = [constant.infer() for constant in constants]
    arrays = [np.array(constant.view()) for constant in constants]
    result = op.results(*types)[0]
    out = np.empty(result.shape, result.dtype.compute)
    with np.errstate(all="ignore"):
        op.kernel(*arrays, out, *(np.empty(t.shape, t.dtype.compute) for t in op.scratch(*types)))
    if declared.dtype is DType.BF16:
        round_to_bf16(out)
    return out


def _uniform(array: Array) -> float | None:
    """The one value of all elements, None where they differ or are not numbers."""
    if array.size == 0:
        return None
    flat = array.reshape(-1)
    value = float(flat[0])
    return value if (flat == flat[0]).all() and not math.isnan(value) else None
