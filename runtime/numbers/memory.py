"""Device memory: one arena of bytes per memory tier, every symbol a NumPy view at its offset."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ir.errors import BindError, IllegalPefError, OutOfMemoryError, Problem
from ir.op import Array
from ir.rounding import narrow, round_to_bf16, widen
from ir.types import DType, TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_type

ALIGNMENT_BYTES = 64


def aligned_zeros(size_bytes: int) -> Array:
    """Zeroed bytes that begin on a cache line; pages are touched only when used."""
    raw = np.zeros(size_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size_bytes]


class Memory:
    """The symbols of a PEF in device memory, zero at first.

    `views[i]` is symbol i in its storage type: bf16 as uint16, everything else as itself.
    """

    def __init__(self, pef: pb.Pef) -> None:
        self.types = [decode_type(symbol.type) for symbol in pef.symbols]
        self.names = [symbol.name for symbol in pef.symbols]
        ends: dict[int, int] = {}
        for symbol, tensor in zip(pef.symbols, self.types):
            if symbol.tier >= len(pef.machine.tiers):
                where = f"memory tier {symbol.tier}, which the machine does not have"
                raise IllegalPefError(Problem(f"symbol {symbol.name!r} lies in {where}"))
            ends[symbol.tier] = max(ends.get(symbol.tier, 0), symbol.offset + tensor.nbytes)
        for number, end in ends.items():
            tier = pef.machine.tiers[number]
            if end > tier.capacity_bytes:
                raise IllegalPefError(
                    Problem(f"symbols reach byte {end:,} of {tier.name}, which has {tier.capacity_bytes:,}")
                )
        try:
            self.arenas = {tier: aligned_zeros(end) for tier, end in ends.items()}
        except (MemoryError, ValueError) as error:  # NumPy's ValueError: beyond what an array can be at all
            gib = sum(ends.values()) / 2**30
            hint = "run it on a larger computer; snrun --timing-only simulates the time without the tensors"
            raise OutOfMemoryError(
                Problem(f"the tensors of this PEF take {gib:,.1f} GiB, more than this computer can give", hint=hint)
            ) from error
        self.views = [
            self.arenas[symbol.tier][symbol.offset : symbol.offset + tensor.nbytes]
            .view(tensor.dtype.storage)
            .reshape(tensor.shape)
            for symbol, tensor in zip(pef.symbols, self.types)
        ]

    def write(self, symbol: int, array: Array) -> None:
        """Write `array`, already of the symbol's shape and compute type, as `to_device` returns it."""
        tensor = self.types[symbol]
        if tensor.dtype is DType.BF16:
            narrow(array, self.views[symbol])
        else:
            np.copyto(self.views[symbol], array)

    def read(self, symbol: int) -> Array:
        """A copy of the symbol in its compute type: bf16 as float32."""
        tensor = self.types[symbol]
        if tensor.dtype is not DType.BF16:
            copy: Array = self.views[symbol].copy()
            return copy
        wide = np.empty(tensor.shape, np.float32)
        widen(self.views[symbol], wide)
        return wide


def to_device(name: str, tensor: TensorType, value: Any) -> Array:
    """`value` in the compute type of `tensor`, exact except that floats round to a bf16 symbol.

    Python numbers take the symbol's type; arrays must have it, or an integer type whose values fit.
    Raises BindError naming the symbol, both sides and the remedy.
    """
    array = np.asarray(value)
    if array.shape == tensor.shape and array.dtype == tensor.dtype.compute and tensor.dtype is not DType.BF16:
        return array
    is_number = isinstance(value, (bool, int, float)) and not isinstance(value, np.ndarray)
    if array.shape != tensor.shape:
        raise BindError(
            Problem(
                f"{name!r} has shape {list(array.shape)}, but the PEF expects {list(tensor.shape)}",
                hint=_shape_remedy(array.shape, tensor.shape),
            )
        )
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if tensor.dtype.is_float:
        return _to_float(name, tensor, array, is_number)
    if tensor.dtype is DType.BOOL:
        if array.dtype != np.bool_:
            raise _wrong_dtype(name, tensor, array, ".astype(bool)")
        return array
    return _to_integer(name, tensor, array, is_number)


def _to_float(name: str, tensor: TensorType, array: Array, is_number: bool) -> Array:
    if not is_number and array.dtype not in (np.float32, np.float16):
        raise _wrong_dtype(name, tensor, array, ".astype(numpy.float32)")
    if tensor.dtype is not DType.BF16:
        return array.astype(np.float32, copy=False)
    rounded = array.astype(np.float32, order="C")
    round_to_bf16(rounded)
    return rounded


def _to_integer(name: str, tensor: TensorType, array: Array, is_number: bool) -> Array:
    if not np.issubdtype(array.dtype, np.integer):
        raise _wrong_dtype(name, tensor, array, f".astype(numpy.{tensor.dtype.compute})")
    limits = np.iinfo(tensor.dtype.compute)
    if not np.can_cast(array.dtype, tensor.dtype.compute) and array.size:
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise BindError(
                Problem(
                    f"{name!r} has values from {low} to {high}, beyond {tensor.dtype} ({limits.min} to {limits.max})",
                    hint="64-bit integers are narrowed on the device; keep the values within its range",
                )
            )
    return array.astype(tensor.dtype.compute, copy=False)


def _wrong_dtype(name: str, tensor: TensorType, array: Array, remedy: str) -> BindError:
    return BindError(Problem(f"{name!r} is {array.dtype}, but the PEF expects {tensor.dtype}", hint=remedy))


def _shape_remedy(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if len(given) == len(expected) and given[1:] == expected[1:] and given:
        return f"give batches of {expected[0]}, or compile for a batch of {given[0]}"
    if len(given) == len(expected) > 1 and sorted(given) == sorted(expected):
        order = _order(given, expected)
        return ".T" if len(given) == 2 else f".transpose({', '.join(map(str, order))})"
    if math.prod(given) == math.prod(expected):
        return f".reshape({', '.join(map(str, expected))})"
    return "compile the model for inputs of this shape"


def _order(given: tuple[int, ...], expected: tuple[int, ...]) -> list[int]:
    """The axes of `given` in an order that gives `expected`."""
    left = list(range(len(given)))
    order = []
    for extent in expected:
        axis = next(axis for axis in left if given[axis] == extent)
        left.remove(axis)
        order.append(axis)
    return order
