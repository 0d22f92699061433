"""Algebraic simplification, where the result is the same number for every operand.

A zero may lose its sign (-0 + 0 is 0); nothing else differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.passes.rewrite import Rewriter, rewrite
from ir.graph import Node, Program, Value
from ir.op import OPS

NEUTRAL: dict[str, Callable[[int, float], bool]] = {
    "add": lambda position, number: number == 0,
    "mul": lambda position, number: number == 1,
    "sub": lambda position, number: position == 1 and number == 0,
    "div": lambda position, number: position == 1 and number == 1,
}
"""Whether a constant at an operand's position leaves the other operand as it is."""

INVOLUTIONS = ("neg", "logical_not")
SMALLEST_EXPONENT, LARGEST_EXPONENT = -100, 100
"""Powers of two whose reciprocals are far from overflow and from subnormal numbers."""


@dataclass(frozen=True)
class Algebra:
    """Remove neutral operands and double negations; divide by powers of two by multiplying."""

    name: ClassVar[str] = "algebra"

    def __call__(self, program: Program) -> Program:
        return rewrite(program, neutral, twice, division)


def neutral(node: Node, rewriter: Rewriter) -> Value | None:
    """x + 0, x - 0, x * 1 and x / 1 are x, where the constant does not broadcast it."""
    is_neutral = NEUTRAL.get(node.op.name)
    if is_neutral is None:
        return None
    for position, operand in enumerate(node.operands):
        constant, other = rewriter.constant(operand), node.operands[1 - position]
        if constant and is_neutral(position, constant.value) and other.type == node.results[0].type:
            return other
    return None


def twice(node: Node, rewriter: Rewriter) -> Value | None:
    """-(-x) is x."""
    above = rewriter.producers.get(node.operands[0].name) if node.operands else None
    if above is None or node.op.name not in INVOLUTIONS or above.op.name != node.op.name:
        return None
    return above.operands[0]


def division(node: Node, rewriter: Rewriter) -> Node | None:
    """x / 2**k is x * 2**-k, which needs no slow division."""
    if node.op.name != "div":
        return None
    constant = rewriter.constant(node.operands[1])
    if constant is None or not _is_power_of_two(constant.value):
        return None
    inverse = replace(constant, value=1 / constant.value)
    factor = rewriter.emit(inverse, location=node.location, hint=node.operands[1].name)
    return replace(node, op=OPS["mul"](), operands=(node.operands[0], factor))


def _is_power_of_two(number: float) -> bool:
    mantissa, exponent = math.frexp(number)
    return abs(mantissa) == 0.5 and SMALLEST_EXPONENT < exponent < LARGEST_EXPONENT
