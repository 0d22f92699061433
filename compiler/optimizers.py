"""Optimizers as graphs: the update of every parameter in elementwise operators, and gradient clipping.

The arithmetic is PyTorch's, in its order, so that a run matches PyTorch to rounding. Learning rate, momentum and weight
decay are HYPER symbols, read when the graph runs: changing them needs no new compile. Whether an optimizer keeps
momentum at all is fixed when compiling: a momentum of None makes no momentum buffers, and no `momentum` symbol.
With several parameter groups the names of hyper-parameters carry the group's number: `lr`, `lr.1`, `lr.2`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Array, Attribute
from ir.types import DType, TensorType

SCALAR = TensorType(DType.F32, ())
CLIP = "grad_clip"
NORM = "grad_norm"
MAX_NORM = "max_grad_norm"
COUNTING = ("adam", "adamw", "adagrad")
"""Kinds whose update depends on the number of the step."""
NORM_EPS = 1e-6
"""What PyTorch's clip_grad_norm_ adds to the norm before dividing by it."""


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share hyper-parameters. Fields an optimizer does not know are ignored.

    `momentum` of None keeps no momentum buffers; of 0 it keeps them, and the momentum can be raised at run time.
    With `maximize` the update climbs. `amsgrad` is Adam's; `alpha` and `centered` are RMSprop's, `lr_decay` Adagrad's.
    """

    parameters: tuple[str, ...]
    lr: float
    weight_decay: float = 0.0
    momentum: float | None = None
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    maximize: bool = False
    amsgrad: bool = False
    alpha: float = 0.99
    centered: bool = False
    lr_decay: float = 0.0


Kind = Literal["sgd", "adam", "adamw", "rmsprop", "adagrad"]


@dataclass(frozen=True)
class OptimizerSpec:
    """What to update and how. Adam adds weight decay to the gradient; AdamW shrinks the parameter."""

    kind: Kind
    groups: tuple[ParameterGroup, ...]

    def over(self, trained: Collection[str]) -> OptimizerSpec:
        """The same for the parameters among `trained` alone: the others have no gradients."""
        kept = (tuple(name for name in group.parameters if name in trained) for group in self.groups)
        groups = (replace(group, parameters=names) for group, names in zip(self.groups, kept) if names)
        return replace(self, groups=tuple(groups))


@dataclass(frozen=True)
class Update:
    """Graphs with the symbols they need beyond parameters and gradients, and the initial content of those."""

    graphs: tuple[Graph, ...]
    symbols: tuple[Symbol, ...]
    values: dict[str, Array]


def gradient_of(parameter: str) -> str:
    """The symbol that holds a parameter's gradient."""
    return f"{parameter}.grad"


def build_update(optimizer: OptimizerSpec, parameters: Mapping[str, TensorType], max_grad_norm: float | None) -> Update:
    """The OPT graph over the `parameters` that have gradients; with `max_grad_norm` a GRADNORM graph before it."""
    symbols = _Symbols()
    graphs = []
    if max_grad_norm is not None:
        trained = {name: parameters[name] for group in optimizer.groups for name in group.parameters}
        graphs.append(_gradient_norm(symbols, trained, max_grad_norm))
    builder = _UpdateBuilder(optimizer, parameters, symbols, clip=max_grad_norm is not None)
    return Update((*graphs, builder.graph()), tuple(symbols.declared.values()), symbols.values)


class _Symbols:
    """Symbols declared along the way, with their initial content."""

    def __init__(self) -> None:
        self.declared: dict[str, Symbol] = {}
        self.values: dict[str, Array] = {}

    def declare(self, name: str, type: TensorType, kind: SymbolKind, initial: float | None = None) -> None:
        """Declare a symbol once."""
        if name in self.declared:
            return
        self.declared[name] = Symbol(name, type, kind)
        if initial is not None:
            self.values[name] = np.broadcast_to(np.asarray(initial, type.dtype.compute), type.shape)


class _Arithmetic:
    """Operators by name over a builder."""

    def __init__(self, kind: SectionKind, origin: str) -> None:
        self.builder = GraphBuilder(kind)
        self.origin = origin
        self.at("")

    def at(self, parameter: str) -> None:
        """Nodes from now on belong to `parameter`."""
        self.parameter = parameter
        self.builder.location = Location(self.origin, 0, parameter)

    def __call__(self, op: str, *operands: Value | float, **attributes: Attribute) -> Value:
        """Apply an operator; numbers become constants of the other operands' element type."""
        dtype = next((operand.type.dtype for operand in operands if isinstance(operand, Value)), DType.F32)
        values = [operand if isinstance(operand, Value) else self.full(operand, dtype) for operand in operands]
        return self.builder.add(OPS[op](**attributes), *values, hint=f"{self.parameter}.{op}" if self.parameter else op)

    def full(self, value: float, dtype: DType) -> Value:
        return self("full", shape=(), value=float(value), dtype=dtype)

    def cast(self, x: Value, dtype: DType) -> Value:
        return x if x.type.dtype is dtype else self("cast", x, dtype=dtype)


def _gradient_norm(symbols: _Symbols, parameters: Mapping[str, TensorType], max_norm: float) -> Graph:
    """The norm over all gradients, and min(1, max_norm / (norm + 1e-6))."""
    symbols.declare(MAX_NORM, SCALAR, SymbolKind.HYPER, max_norm)
    symbols.declare(CLIP, SCALAR, SymbolKind.STATE, 1.0)
    symbols.declare(NORM, SCALAR, SymbolKind.OUTPUT)
    op = _Arithmetic(SectionKind.GRADNORM, "<clip_grad_norm>")
    squares = []
    for name, type in parameters.items():
        op.at(name)
        gradient = op.cast(op.builder.input(gradient_of(name), type), DType.F32)
        axes = tuple(range(type.rank))
        squares.append(op("sum_square", gradient, dims=axes, keepdim=False) if axes else op("mul", gradient, gradient))
    op.at("")
    total = _sum(op, squares)
    norm = op("sqrt", total)
    ratio = op("div", op.builder.input(MAX_NORM, SCALAR), op("add", norm, NORM_EPS))
    op.builder.output(NORM, norm)
    op.builder.output(CLIP, op("minimum", ratio, 1.0))
    return op.builder.build()


def _sum(op: _Arithmetic, values: Sequence[Value]) -> Value:
    """The sum of scalars as a balanced tree: rounding stays small."""
    while len(values) > 1:
        pairs = [op("add", a, b) for a, b in zip(values[::2], values[1::2])]
        values = [*pairs, *values[2 * len(pairs) :]]
    return values[0]


class _UpdateBuilder:
    """Builds the OPT graph."""

    def __init__(
        self, optimizer: OptimizerSpec, parameters: Mapping[str, TensorType], symbols: _Symbols, clip: bool
    ) -> None:
        self.optimizer = optimizer
        self.parameters = parameters
        self.symbols = symbols
        self.clip = clip
        self.op = _Arithmetic(SectionKind.OPT, f"<{optimizer.kind}>")

    def graph(self) -> Graph:
        kind = self.optimizer.kind
        rules = {"sgd": self.sgd, "adam": self.adam, "adamw": self.adam, "rmsprop": self.rmsprop}
        rule = {**rules, "adagrad": self.adagrad}[kind]
        self.step = self.next_step() if kind in COUNTING else None
        for number, group in enumerate(self.optimizer.groups):
            rule(group, f".{number}" if number else "")
        return self.op.builder.build()

    def sgd(self, group: ParameterGroup, suffix: str) -> None:
        """torch.optim.SGD, whose first step starts from the gradient: what a momentum buffer of zeros gives too."""
        lr = self.hyper(f"lr{suffix}", group.lr)
        weight_decay = self.hyper(f"weight_decay{suffix}", group.weight_decay)
        momentum = self.hyper(f"momentum{suffix}", group.momentum) if group.momentum is not None else None
        for name in group.parameters:
            parameter, gradient = self.start(name, group)
            direction = self.decayed(gradient, parameter, weight_decay)
            if momentum is not None:
                direction = self.with_momentum(name, direction, momentum, group.nesterov)
            step = self.op("mul", direction, self.op.cast(lr, parameter.type.dtype))
            self.op.builder.output(name, self.op("sub", parameter, step))

    def with_momentum(self, name: str, gradient: Value, momentum: Value, nesterov: bool) -> Value:
        momentum = self.op.cast(momentum, gradient.type.dtype)
        buffer = self.state(f"{name}.momentum_buffer", gradient.type)
        buffer = self.op("add", self.op("mul", buffer, momentum), gradient)
        self.op.builder.output(f"{name}.momentum_buffer", buffer)
        return self.op("add", gradient, self.op("mul", buffer, momentum)) if nesterov else buffer

    def adam(self, group: ParameterGroup, suffix: str) -> None:
        """torch.optim.Adam and AdamW."""
        op = self.op
        lr = self.hyper(f"lr{suffix}", group.lr)
        weight_decay = self.hyper(f"weight_decay{suffix}", group.weight_decay)
        op.at("")
        step_size = op("div", lr, self.bias_correction(group.betas[0]))
        root = op("sqrt", self.bias_correction(group.betas[1]))
        kept = op("sub", 1.0, op("mul", lr, weight_decay))
        for name in group.parameters:
            parameter, gradient = self.start(name, group)
            dtype = parameter.type.dtype
            if self.optimizer.kind == "adamw":
                parameter = op("mul", parameter, op.cast(kept, dtype))
            else:
                gradient = self.decayed(gradient, parameter, weight_decay)
            average, square = self.moments(name, gradient, group.betas)
            if group.amsgrad:
                square = op("maximum", self.state(f"{name}.max_exp_avg_sq", square.type), square)
                op.builder.output(f"{name}.max_exp_avg_sq", square)
            denominator = op("add", op("div", op("sqrt", square), op.cast(root, dtype)), group.eps)
            change = op("mul", op("div", average, denominator), op.cast(step_size, dtype))
            op.builder.output(name, op("sub", parameter, change))

    def rmsprop(self, group: ParameterGroup, suffix: str) -> None:
        """torch.optim.RMSprop."""
        op = self.op
        lr = self.hyper(f"lr{suffix}", group.lr)
        weight_decay = self.hyper(f"weight_decay{suffix}", group.weight_decay)
        momentum = self.hyper(f"momentum{suffix}", group.momentum) if group.momentum is not None else None
        for name in group.parameters:
            parameter, gradient = self.start(name, group)
            gradient = self.decayed(gradient, parameter, weight_decay)
            spread = self.averaged(f"{name}.square_avg", gradient, group.alpha, squared=True)
            if group.centered:
                mean = self.averaged(f"{name}.grad_avg", gradient, group.alpha)
                spread = op("sub", spread, op("mul", mean, mean))
            direction = op("div", gradient, op("add", op("sqrt", spread), group.eps))
            if momentum is not None:
                direction = self.with_momentum(name, direction, momentum, nesterov=False)
            op.builder.output(name, op("sub", parameter, op("mul", direction, op.cast(lr, parameter.type.dtype))))

    def adagrad(self, group: ParameterGroup, suffix: str) -> None:
        """torch.optim.Adagrad."""
        op = self.op
        lr = self.hyper(f"lr{suffix}", group.lr)
        weight_decay = self.hyper(f"weight_decay{suffix}", group.weight_decay)
        op.at("")
        assert self.step is not None
        slower = op("add", op("mul", op("sub", self.step, 1.0), group.lr_decay), 1.0)
        lr = op("div", lr, slower)
        for name in group.parameters:
            parameter, gradient = self.start(name, group)
            gradient = self.decayed(gradient, parameter, weight_decay)
            total = op("add", self.state(f"{name}.sum", gradient.type), op("mul", gradient, gradient))
            op.builder.output(f"{name}.sum", total)
            direction = op("div", gradient, op("add", op("sqrt", total), group.eps))
            op.builder.output(name, op("sub", parameter, op("mul", direction, op.cast(lr, parameter.type.dtype))))

    def averaged(self, name: str, gradient: Value, kept: float, *, squared: bool = False) -> Value:
        """The running average of a gradient, or of its square, of which a step keeps the part `kept`."""
        average = self.op("mul", self.state(name, gradient.type), kept)
        value = self.op("mul", gradient, gradient) if squared else gradient
        average = self.op("add", average, self.op("mul", value, 1 - kept))
        self.op.builder.output(name, average)
        return average

    def moments(self, name: str, gradient: Value, betas: tuple[float, float]) -> tuple[Value, Value]:
        """The running averages of the gradient and of its square."""
        op = self.op
        average = self.state(f"{name}.exp_avg", gradient.type)
        average = op("add", average, op("mul", op("sub", gradient, average), 1 - betas[0]))
        op.builder.output(f"{name}.exp_avg", average)
        return average, self.averaged(f"{name}.exp_avg_sq", gradient, betas[1], squared=True)

    def bias_correction(self, beta: float) -> Value:
        """1 - beta ** step.

        With z = -step * log(beta) / 2 this is tanh(z) * (1 + exp(-2 z)), which keeps all digits in float32, where
        subtracting a power near one would lose half of them.
        """
        op = self.op
        if self.step is None or beta == 0:
            return op.full(1.0, DType.F32)
        half = op("mul", self.step, -math.log(beta) / 2)
        return op("mul", op("tanh", half), op("add", op("exp", op("mul", half, -2.0)), 1.0))

    def decayed(self, gradient: Value, parameter: Value, weight_decay: Value) -> Value:
        """The gradient with weight decay as a penalty on the parameter."""
        decay = self.op.cast(weight_decay, parameter.type.dtype)
        return self.op("add", gradient, self.op("mul", parameter, decay))

    def start(self, name: str, group: ParameterGroup) -> tuple[Value, Value]:
        """A parameter and its gradient, clipped and turned round where asked for."""
        self.op.at(name)
        type = self.parameters[name]
        parameter = self.op.builder.input(name, type)
        gradient = self.op.builder.input(gradient_of(name), type)
        if self.clip:
            clip = self.op.cast(self.op.builder.input(CLIP, SCALAR), type.dtype)
            gradient = self.op("mul", gradient, clip)
        return parameter, self.op("neg", gradient) if group.maximize else gradient

    def next_step(self) -> Value:
        """The number of this step, counted from one."""
        self.op.at("")
        step = self.op("add", self.state("step", SCALAR), 1.0)
        self.op.builder.output("step", step)
        return step

    def hyper(self, name: str, value: float) -> Value:
        self.symbols.declare(name, SCALAR, SymbolKind.HYPER, value)
        return self.op.builder.input(name, SCALAR)

    def state(self, name: str, type: TensorType) -> Value:
        self.symbols.declare(name, type, SymbolKind.STATE, 0.0)
        return self.op.builder.input(name, type)
