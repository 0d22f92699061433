"""Random small graphs: products, elementwise work, norms, reductions and views, in one precision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from ir.builder import GraphBuilder
from ir.graph import Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Array
from ir.rounding import round_to_bf16
from ir.types import DType, TensorType

UNARY = ("tanh", "exp", "relu", "abs")
BINARY = ("add", "sub", "mul", "maximum")


@dataclass
class RandomGraph:
    """A program of one graph, with values for all that it reads."""

    program: Program
    given: dict[str, Array]


@dataclass
class _Drawing:
    draw: st.DrawFn
    dtype: DType
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder(SectionKind.FWD))
    symbols: list[Symbol] = field(default_factory=list)
    given: dict[str, Array] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)

    def graph(self) -> RandomGraph:
        self.builder.location = Location("model.py", 1, "net")
        for _ in range(self.draw(st.integers(1, 2))):
            shape = (self.draw(st.sampled_from((2, 4))), self.draw(st.sampled_from((6, 16))), 8)
            self.values.append(self.symbol(SymbolKind.INPUT, shape))
        inputs = len(self.values)
        for _ in range(self.draw(st.integers(1, 7))):
            self.values.append(self.applied(self.draw(st.sampled_from(self.values))))
        used = {value.name for node in self.builder.build().nodes for value in node.operands}
        for number, value in enumerate(self.values[inputs:]):
            if value.name not in used:
                self.symbols.append(Symbol(f"y{number}", value.type, SymbolKind.OUTPUT))
                self.builder.output(f"y{number}", value)
        return RandomGraph(Program("random", tuple(self.symbols), (self.builder.build(),)), self.given)

    def symbol(self, kind: SymbolKind, shape: tuple[int, ...]) -> Value:
        name, tensor = f"{kind.value}{len(self.symbols)}", TensorType(self.dtype, shape)
        self.symbols.append(Symbol(name, tensor, kind))
        array = np.random.default_rng(len(self.symbols)).standard_normal(shape, np.float32) / 4
        if self.dtype is DType.BF16:
            round_to_bf16(array)
        self.given[name] = array
        return self.builder.input(name, tensor)

    def add(self, name: str, *operands: Value, **attributes: object) -> Value:
        return self.builder.add(OPS[name](**attributes), *operands)

    def applied(self, x: Value) -> Value:
        """A random operator on a value."""
        kind = self.draw(st.sampled_from(("unary", "binary", "product", "attention", "softmax", "reduce", "permute")))
        rank = x.type.rank
        if kind == "unary":
            return self.add("tanh", self.add(self.draw(st.sampled_from(UNARY)), x))
        if kind == "binary":
            fitting = [v for v in self.values if v.type.shape == x.type.shape]
            return self.add(self.draw(st.sampled_from(BINARY)), x, self.draw(st.sampled_from(fitting)))
        if kind == "product":
            weight = self.symbol(SymbolKind.PARAMETER, (x.type.shape[-1], self.draw(st.sampled_from((4, 8)))))
            flat = self.add("reshape", x, shape=(x.type.numel // x.type.shape[-1], x.type.shape[-1]))
            product = self.add("matmul", flat, weight, dtype=self.dtype)
            return self.add("reshape", product, shape=(*x.type.shape[:-1], weight.type.shape[1]))
        if kind == "attention":
            turned = self.add("permute", x, dims=(*range(rank - 2), rank - 1, rank - 2))
            return self.add(
                "matmul",
                self.add("softmax", self.add("matmul", x, turned, dtype=self.dtype), dim=-1 % rank),
                x,
                dtype=self.dtype,
            )
        if kind == "softmax":
            return self.add("softmax", x, dim=self.draw(st.integers(0, rank - 1)))
        if kind == "reduce":
            name = self.draw(st.sampled_from(("sum", "amax", "sum_square")))
            total = self.add(name, x, dims=(self.draw(st.integers(0, rank - 1)),), keepdim=True)
            return self.add("sub", x, self.add("tanh", total))
        return self.add("permute", x, dims=tuple(self.draw(st.permutations(range(rank)))))


@st.composite
def random_graphs(draw: st.DrawFn, dtype: DType = DType.F32) -> RandomGraph:
    """Programs with their inputs and weights."""
    return _Drawing(draw, dtype).graph()
