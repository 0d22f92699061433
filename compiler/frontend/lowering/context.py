"""What a lowering function works with, and the table of all lowering functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import fx

from compiler.frontend.dtypes import dtype_of
from ir.builder import GraphBuilder
from ir.graph import Symbol, SymbolKind, Value
from ir.op import OPS, Array, Attribute
from ir.ops.checked import CheckedDivision
from ir.types import DType, TensorType

Scalar = int | float | bool
Operand = Value | Scalar
Lowered = Value | tuple[Value | None, ...] | list[Value]
"""What one ATen operator becomes: a value, or one per result (None for a result that was not asked for)."""

NUMPY_DTYPES = {"float32": DType.F32, "int32": DType.I32, "int8": DType.I8, "bool": DType.BOOL}
"""What constants may be made of."""

LOWERINGS: dict[Any, Callable[..., Lowered]] = {}
"""From an ATen overload to the function that builds nodes for it, called with a `Context` and the ATen arguments."""


LIBRARIES: dict[str, Callable[..., Lowered]] = {}
"""The same for operators that a library brings, by qualified name: they exist only once the library is imported."""


def lowering_of(target: Any) -> Callable[..., Lowered] | None:
    """The function for an operator of a traced graph, None where there is none."""
    return LOWERINGS.get(target) or LIBRARIES.get(getattr(getattr(target, "_schema", None), "name", ""))


def lowers_named(name: str) -> Callable[[Callable[..., Lowered]], Callable[..., Lowered]]:
    """Register the decorated function as the lowering of a library's operator."""

    def register(function: Callable[..., Lowered]) -> Callable[..., Lowered]:
        LIBRARIES[name] = function
        return function

    return register


def lowers(*overloads: Any) -> Callable[[Callable[..., Lowered]], Callable[..., Lowered]]:
    """Register the decorated function as the lowering of `overloads`."""

    def register(function: Callable[..., Lowered]) -> Callable[..., Lowered]:
        LOWERINGS.update(dict.fromkeys(overloads, function))
        return function

    return register


IN_BYTES = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "shift_left", "shift_right")
"""What the device does on 8 bits; other arithmetic it does on 32, of which 8 are kept."""


class Refused(Exception):
    """An operator that cannot be lowered as it is used: why, and what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Context:
    """Builds nodes for one ATen operator at a time.

    `constants` holds the content of constant symbols; `symbols` and `initial` are further symbols that lowering
    makes, with what they start from; `kept` is what the lowering of one node leaves for that of another.
    `draws` says which random nodes draw the same numbers, `sites` which of the model's draws each is, and `drawn` holds
    their masks with their rates.
    """

    def __init__(self, builder: GraphBuilder, draws: Mapping[fx.Node, Hashable] | None = None) -> None:
        self.builder = builder
        self.draws = draws or {}
        self.node: fx.Node
        self.constants: dict[str, Array] = {}
        self.symbols: dict[str, Symbol] = {}
        self.initial: dict[str, Array] = {}
        self.kept: dict[fx.Node, Value] = {}
        self.drawn: dict[Hashable, tuple[Value, Value]] = {}
        self.sites: dict[Hashable, int] = {}
        self.draw_count = 0

    def enter(self, node: fx.Node) -> None:
        """Nodes built from now on are for `node`."""
        self.node = node
        self.draw_count = 0

    @property
    def dtype(self) -> DType:
        """The element type of the operator's first result; of complex ones, that of their parts."""
        return dtype_of(self.meta())

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the operator's first result."""
        return tuple(self.meta().shape)

    def meta(self) -> torch.Tensor:
        """The operator's first result, as a tensor without content."""
        value = self.node.meta["val"]
        tensor: torch.Tensor = value[0] if isinstance(value, (tuple, list)) else value
        return tensor

    def emit(self, op: str, *operands: Value, **attributes: Attribute) -> Value:
        """Apply an operator with one result."""
        return self.emit_all(op, *operands, **attributes)[0]

    def emit_all(self, op: str, *operands: Value, **attributes: Attribute) -> tuple[Value, ...]:
        """Apply an operator. The results are named after the module and the operator."""
        location = self.builder.location
        module = location.module if location else ""
        return self.builder.add_all(OPS[op](**attributes), *operands, hint=f"{module}.{op}" if module else op)

    def scalar(self, value: Scalar, dtype: DType) -> Value:
        """A constant that broadcasts."""
        return self.full((), value, dtype)

    def full(self, shape: tuple[int, ...], value: Scalar, dtype: DType) -> Value:
        """A constant tensor of equal elements."""
        return self.emit("full", shape=shape, value=float(value), dtype=dtype)

    def constant(self, array: Array, name: str = "constant") -> Value:
        """Known numbers: an immediate where all are equal, else a symbol; equal ones share it."""
        dtype = NUMPY_DTYPES[array.dtype.name]
        flat = array.reshape(-1)
        if flat.size and (flat == flat[0]).all():
            return self.full(array.shape, flat[0].item(), dtype)
        return self.constant_symbol(array, name)

    def constant_symbol(self, array: Array, name: str) -> Value:
        """Known numbers as a symbol; equal ones share it."""
        for known, other in self.constants.items():
            if other.dtype == array.dtype and np.array_equal(other, array):
                name = known
                break
        else:
            name = self.unused(name)
        self.constants[name] = array
        return self.builder.input(name, TensorType(NUMPY_DTYPES[array.dtype.name], array.shape))

    def symbol(self, name: str, kind: SymbolKind, value: Array) -> Value:
        """A symbol that the program reads and the model does not have; the same one for the same name."""
        type = TensorType(NUMPY_DTYPES[value.dtype.name], value.shape)
        self.symbols[name] = Symbol(name, type, kind)
        self.initial[name] = value
        return self.builder.input(name, type)

    def known(self, value: Value) -> Array | None:
        """The content of a constant."""
        return self.constants.get(value.name)

    def unused(self, name: str) -> str:
        """The name, numbered where it is taken."""
        count, tried = 0, name
        while self.builder.is_taken(tried):
            count += 1
            tried = f"{name}.{count}"
        return tried

    def cast(self, operand: Operand, dtype: DType) -> Value:
        """The operand in another element type; a number becomes a constant. 64-bit integers are checked to fit."""
        if not isinstance(operand, Value):
            return self.scalar(operand, dtype)
        if operand.type.dtype is dtype:
            return operand
        if operand.type.dtype.is_float and dtype is DType.I32 and self.meta().dtype is torch.int64:
            return self.emit("checked_cast", operand)
        return self.emit("cast", operand, dtype=dtype)

    def apply(self, op: str, *operands: Operand, **attributes: Attribute) -> Value:
        """An elementwise operator on operands cast to the result's element type."""
        return self.arithmetic(op, *(self.cast(operand, self.dtype) for operand in operands), **attributes)

    def arithmetic(self, op: str, *operands: Value, **attributes: Attribute) -> Value:
        """An operator that the program applies, on whole numbers as wide as the program's.

        64-bit ones are checked to fit, divisions to have a divisor, and those of fewer bits wrap around as in PyTorch.
        """
        if operands[0].type.dtype is DType.I8 and op not in IN_BYTES:
            wide = [self.cast(operand, DType.I32) for operand in operands]
            return self.cast(self.arithmetic(op, *wide, **attributes), self.dtype)
        if operands[0].type.dtype is not DType.I32:
            return self.emit(op, *operands, **attributes)
        checked = f"checked_{op}"
        if checked in OPS and (self.meta().dtype is torch.int64 or issubclass(OPS[checked], CheckedDivision)):
            return self.emit(checked, *operands, **attributes)
        return self.wrapped(self.emit(op, *operands, **attributes))

    def wrapped(self, x: Value) -> Value:
        """Whole numbers that PyTorch holds in fewer than 32 bits: what those bits hold of them."""
        kind = self.meta().dtype
        if x.type.dtype is not DType.I32 or kind not in (torch.uint8, torch.int16):
            return x
        if kind is torch.uint8:
            return self.emit("bitwise_and", x, self.scalar(255, DType.I32))
        bits = self.scalar(16, DType.I32)
        return self.emit("shift_right", self.emit("shift_left", x, bits), bits)

    def reshape(self, x: Value, shape: tuple[int, ...]) -> Value:
        """The value in another shape."""
        return x if x.type.shape == shape else self.emit("reshape", x, shape=shape)

    def permute(self, x: Value, dims: tuple[int, ...]) -> Value:
        """The value with its axes in another order."""
        return x if dims == tuple(range(x.type.rank)) else self.emit("permute", x, dims=dims)

    def expand(self, x: Value, shape: tuple[int, ...]) -> Value:
        """The value broadcast to a shape."""
        return x if x.type.shape == shape else self.emit("expand", x, shape=shape)

    def transpose(self, x: Value) -> Value:
        """The value with its last two axes exchanged."""
        rank = x.type.rank
        return self.permute(x, (*range(rank - 2), rank - 1, rank - 2))

    def slice(self, x: Value, dim: int, start: int, stop: int, step: int = 1) -> Value:
        """Part of one axis."""
        if (start, stop, step) == (0, x.type.shape[dim], 1):
            return x
        return self.emit("slice", x, dim=dim, start=start, stop=stop, step=step)

    def cat(self, parts: list[Value], dim: int) -> Value:
        """Values one after another along one axis; empty ones are left out."""
        parts = [part for part in parts if part.type.shape[dim]] or parts[:1]
        return parts[0] if len(parts) == 1 else self.emit("cat", *parts, dim=dim)

    def sum(self, x: Value, dims: tuple[int, ...], keepdim: bool = False) -> Value:
        """The sum over axes."""
        return self.emit("sum", x, dims=dims, keepdim=keepdim) if dims else x

    def sum_square(self, x: Value, dims: tuple[int, ...], keepdim: bool = False) -> Value:
        """The sum of squares over axes."""
        return self.emit("sum_square", x, dims=dims, keepdim=keepdim) if dims else self.emit("mul", x, x)

    def scaled(self, x: Value, factor: float) -> Value:
        """The value times a number."""
        return x if factor == 1 else self.emit("mul", x, self.scalar(factor, x.type.dtype))

    def refuse(self, message: str, hint: str) -> NoReturn:
        """Report that the operator cannot be lowered as it is used."""
        raise Refused(message, hint)


def axes(dims: int | list[int] | tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    """ATen's dims as ascending non-negative axes; None or none at all means every axis."""
    if not rank:
        return ()
    if isinstance(dims, int):
        dims = (dims,)
    return tuple(sorted({dim % rank for dim in dims})) if dims else tuple(range(rank))
