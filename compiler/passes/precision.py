"""Precision presets: which values are bf16.

mp0   as written
mp1   operands of matrix products and convolutions in bf16; results as written, accumulated in float32
mp4   all floating-point values in bf16, except scalars the host and the step count live in: hyper-parameters and
      scalar optimizer state, which are cast where they meet others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from compiler.passes.rewrite import Rewriter
from ir.errors import Problem, UsageError
from ir.graph import Graph, Node, Output, Program, Symbol, SymbolKind, Value
from ir.op import Array, CostClass, Op
from ir.ops.elementwise import Cast
from ir.ops.view import Full
from ir.rounding import round_to_bf16
from ir.types import DType, TensorType

PRESETS = ("mp0", "mp1", "mp4")


@dataclass(frozen=True)
class Precision:
    """Assign bf16 as a preset says."""

    name: ClassVar[str] = "precision"
    preset: str = "mp0"

    def __post_init__(self) -> None:
        """Raises UsageError where there is no such preset."""
        if self.preset not in PRESETS:
            known = ", ".join(PRESETS)
            raise UsageError(Problem(f"there is no precision preset {self.preset!r}", hint=f"use one of {known}"))

    def __call__(self, program: Program) -> Program:
        if self.preset == "mp1":
            return replace(program, graphs=tuple(map(_with_narrow_operands, program.graphs)))
        if self.preset == "mp4":
            symbols = tuple(map(_narrow_symbol, program.symbols))
            narrowed = replace(program, symbols=symbols)
            return replace(narrowed, graphs=tuple(_Narrower(narrowed, graph).run() for graph in program.graphs))
        return program


def round_values(program: Program, values: Mapping[str, Array]) -> dict[str, Array]:
    """The content of a program's symbols, rounded where a symbol is bf16."""
    rounded = dict(values)
    for symbol in program.symbols:
        if symbol.type.dtype is DType.BF16 and symbol.name in rounded:
            rounded[symbol.name] = _rounded(rounded[symbol.name])
    return rounded


def _rounded(array: Array) -> Array:
    """A copy that is rounded. One number in every place, such as an optimizer's state at the start, stays one number:
    whole, the states of a model take more memory than its weights."""
    if array.size and not any(array.strides):
        number = np.full(1, array.flat[0], array.dtype)
        round_to_bf16(number)
        everywhere: Array = np.broadcast_to(number.reshape(()), array.shape)
        return everywhere
    copied: Array = array.copy()
    round_to_bf16(copied)
    return copied


def _with_narrow_operands(graph: Graph) -> Graph:
    """The graph with every float32 operand of a systolic operator cast to bf16, each value once."""
    rewriter = Rewriter(graph)
    casts: dict[str, Value] = {}
    for node in graph.nodes:
        if node.op.cost.kind is not CostClass.SYSTOLIC:
            rewriter.add(node)
            continue
        for operand in node.operands:
            if operand.type.dtype is DType.F32 and operand.name not in casts:
                cast = rewriter.emit(Cast(DType.BF16), operand, location=node.location, hint=f"{operand.name}.bf16")
                casts[operand.name] = cast
        rewriter.add(replace(node, operands=tuple(casts.get(operand.name, operand) for operand in node.operands)))
    return rewriter.finish()


def _narrow(type: TensorType) -> TensorType:
    return type.with_dtype(DType.BF16) if type.dtype is DType.F32 else type


def _is_kept(symbol: Symbol) -> bool:
    """Whether a symbol stays as it is: hyper-parameters, and scalars an optimizer counts with."""
    return symbol.kind is SymbolKind.HYPER or (symbol.kind is SymbolKind.STATE and symbol.type.rank == 0)


def _narrow_symbol(symbol: Symbol) -> Symbol:
    return symbol if _is_kept(symbol) else replace(symbol, type=_narrow(symbol.type))


class _Narrower:
    """Rewrites one graph to bf16. What is computed from kept scalars and constants alone stays float32."""

    def __init__(self, program: Program, graph: Graph) -> None:
        self.program = program
        self.rewriter = Rewriter(graph)
        self.graph = graph
        self.kept = {value.name for value in graph.inputs if _is_kept(program.symbol[value.name])}
        self.narrowed: dict[str, Value] = {}

    def run(self) -> Graph:
        inputs = tuple(Value(value.name, self.program.symbol[value.name].type) for value in self.graph.inputs)
        self.rewriter.replaced.update((value.name, value) for value in inputs)
        for node in self.graph.nodes:
            self.node(node)
        stores = tuple(Output(output.symbol, self.stored(output)) for output in self.graph.outputs)
        return replace(self.graph, inputs=inputs).with_nodes(tuple(self.rewriter.nodes), stores)

    def node(self, node: Node) -> None:
        operands = tuple(map(self.rewriter.current, node.operands))
        computed = [value for value in operands if self.rewriter.constant(value) is None]
        if isinstance(node.op, Full) or (computed and all(value.name in self.kept for value in computed)):
            self.rewriter.add(replace(node, operands=operands))
            self.kept.update(result.name for result in node.results)
            return
        operands = tuple(self.narrow(value, node) for value in operands)
        op = _narrow_op(node.op)
        types = op.results(*(operand.type for operand in operands))
        results = tuple(Value(result.name, type) for result, type in zip(node.results, types))
        self.rewriter.add(Node(op, operands, results, node.location))
        self.rewriter.replaced.update((result.name, result) for result in results)

    def narrow(self, value: Value, node: Node) -> Value:
        """A float32 value as bf16: a constant of that type, or a cast."""
        if value.type.dtype is not DType.F32:
            return value
        if value.name not in self.narrowed:
            constant = self.rewriter.constant(value)
            hint = f"{value.name}.bf16"
            self.narrowed[value.name] = (
                self.rewriter.emit(Cast(DType.BF16), value, location=node.location, hint=hint)
                if constant is None
                else self.rewriter.emit(replace(constant, dtype=DType.BF16), location=node.location, hint=hint)
            )
        return self.narrowed[value.name]

    def stored(self, output: Output) -> Value:
        """The value to store, in the symbol's type."""
        value = self.rewriter.current(output.value)
        dtype = self.program.symbol[output.symbol].type.dtype
        if value.type.dtype is dtype:
            return value
        location = self.graph.producers[output.value.name].location
        return self.rewriter.emit(Cast(dtype), value, location=location, hint=f"{value.name}.{dtype}")


def _narrow_op(op: Op) -> Op:
    """The operator delivering bf16 where it delivered float32."""
    if any(field.name == "dtype" for field in fields(op)) and getattr(op, "dtype", None) is DType.F32:  # type: ignore[arg-type]
        return replace(op, dtype=DType.BF16)  # type: ignore[type-var]
    return op
