"""Random numbers from a counter: each element's number follows from what it is, never from when it is drawn.

The counter of an element is its position in the whole tensor, so that tiles draw the same numbers as the whole, on any
number of threads. A tile learns its position from `offsets`: one vector per axis that holds, for each index along it,
how many elements lie before; they are cut along with the result, and an element's position is their sum.

The generator is Squares (B. Widynski, "Squares: a fast counter-based RNG", 2020) with four rounds. Its key comes from
the run's seed, the step, and the site: which of the program's draws this is.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ir.kernels.native import load
from ir.op import Array, Cost, CostClass, Op, limit, op
from ir.space import Axis, Space
from ir.types import DType, TensorType

HALF = np.uint64(32)
GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: consecutive multiples lie far apart."""
WORD = (1 << 64) - 1
UNIT = float(2**-24)
"""The numbers drawn are the multiples of this below one: each is exact in float32."""


class Draw(Op):
    """Operands: the seed, the step and the site, scalars that make the key, then one vector of offsets per axis."""

    cost: ClassVar[Cost] = Cost(CostClass.SIMD, operations=16)

    def drawn(self, key: tuple[TensorType, ...], offsets: tuple[TensorType, ...], dtype: DType) -> TensorType:
        """The type of one number per position."""
        if any(scalar.rank for scalar in key) or any(axis.rank != 1 for axis in offsets):
            raise ValueError("seed, step and site are scalars, and offsets are vectors, one per axis")
        return TensorType(dtype, tuple(axis.shape[0] for axis in offsets))

    def drawn_space(self, scalars: int, result: TensorType) -> Space:
        """Each axis of the result goes with its vector of offsets."""
        names = [f"d{axis}" for axis in range(result.rank)]
        axes = tuple(Axis((name,)) for name in names)
        return Space((*[()] * scalars, *((axis,) for axis in axes)), (axes,), dict(zip(names, result.shape)))

    def draw(self, key: tuple[Array, ...], offsets: tuple[Array, ...], words: Array) -> Array:
        """24 random bits for each position, as integers; `words` is scratch for three 64-bit integers each."""
        extents = tuple(axis.size for axis in offsets)
        number = np.uint64(_key(*(int(scalar) for scalar in key)))
        if offsets and (loops := load("random")):
            outer, inner = _counters(offsets)
            drawn: Array = words.view(np.uint32)[: math.prod(extents)].reshape(outer.size, inner.size)
            loops.draw(outer, inner, number, drawn)
            return drawn.reshape(extents)
        parts = words.view(np.uint64).reshape(3, *extents)
        state, first, square = (parts[part, ...] for part in range(3))
        state.fill(0)
        for place, axis in enumerate(offsets):
            shape = [1] * len(extents)
            shape[place] = -1
            state += axis.astype(np.uint32).reshape(shape)
        _squares(state, first, square, number)
        return state

    def words(self, offsets: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        """Scratch for `draw`."""
        return (TensorType(DType.I32, (6 * math.prod(axis.shape[0] for axis in offsets),)),)

    @limit
    def integer_key(self, *operands: TensorType) -> bool:
        "seed, step, site and offsets are i32 tensors"
        return all(operand.dtype is DType.I32 for operand in operands if not operand.dtype.is_float)


@op("uniform")
class Uniform(Draw):
    """Random numbers from 0 to just below 1, all equally likely, for a seed, a step, a site and offsets.

    They are multiples of 2^-24, in bf16 of 2^-8, so that none is rounded to 1.
    """

    dtype: DType

    def infer(self, seed: TensorType, step: TensorType, site: TensorType, *offsets: TensorType) -> TensorType:
        return self.drawn((seed, step, site), offsets, self.dtype)

    def space(self, seed: TensorType, step: TensorType, site: TensorType, *offsets: TensorType) -> Space:
        return self.drawn_space(3, self.infer(seed, step, site, *offsets))

    def scratch(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return self.words(operands[3:])

    def kernel(self, seed: Array, step: Array, site: Array, *arrays: Array) -> None:
        *offsets, out, words = arrays
        drawn = self.draw((seed, step, site), tuple(offsets), words)
        if self.dtype is DType.BF16:
            np.bitwise_and(drawn, drawn.dtype.type(0xFF0000), out=drawn)
        np.multiply(drawn, UNIT, out=out, casting="unsafe")

    @limit
    def delivers_floats(self, *operands: TensorType) -> bool:
        "uniform delivers f32 or bf16"
        return self.dtype.is_float


@op("keep_mask")
class KeepMask(Draw):
    """Dropout's choice: true with probability 1 - rate, for a rate, a seed, a step, a site and offsets."""

    def infer(
        self, rate: TensorType, seed: TensorType, step: TensorType, site: TensorType, *offsets: TensorType
    ) -> TensorType:
        return self.drawn((rate, seed, step, site), offsets, DType.BOOL)

    def space(
        self, rate: TensorType, seed: TensorType, step: TensorType, site: TensorType, *offsets: TensorType
    ) -> Space:
        return self.drawn_space(4, self.infer(rate, seed, step, site, *offsets))

    def scratch(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return self.words(operands[4:])

    def kernel(self, rate: Array, seed: Array, step: Array, site: Array, *arrays: Array) -> None:
        *offsets, out, words = arrays
        least = min(max(round(float(rate) / UNIT), 0), 1 << 24)
        if offsets and out.flags.c_contiguous and (loops := load("random")):
            outer, inner = _counters(tuple(offsets))
            number = np.uint64(_key(int(seed), int(step), int(site)))
            loops.keep(outer, inner, number, np.uint64(least), out.reshape(outer.size, inner.size))
            return
        drawn = self.draw((seed, step, site), tuple(offsets), words)
        np.greater_equal(drawn, drawn.dtype.type(least), out=out)


def _counters(offsets: tuple[Array, ...]) -> tuple[Array, Array]:
    """What the counters of a row have in common, and the rest of each by its column."""
    *rows, inner = (axis.astype(np.uint32).astype(np.uint64) for axis in offsets)
    outer = np.zeros(1, np.uint64)
    for axis in rows:
        outer = np.add.outer(outer, axis).reshape(-1)
    return outer, inner


def _key(seed: int, step: int, site: int) -> int:
    """An odd number whose bits look random: each part is mixed in as SplitMix64 does."""
    mixed = 0
    for part in (seed, step, site):
        mixed = (mixed + (part & 0xFFFFFFFF) + 1) * GOLDEN & WORD
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & WORD
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & WORD
        mixed ^= mixed >> 31
    return mixed | 1


def _squares(state: Array, first: Array, square: Array, key: np.uint64) -> None:
    """Replace counters by 24 random bits each; the other arrays are temporary. Arithmetic is modulo 2^64."""
    np.multiply(state, key, out=state)
    np.copyto(first, state)
    for number in range(4):
        np.multiply(state, state, out=square)
        np.add(square, first, out=square)
        if number % 2:
            np.add(square, key, out=square)
        if number == 3:
            np.right_shift(square, np.uint64(40), out=state)
            return
        np.right_shift(square, HALF, out=state)
        np.left_shift(square, HALF, out=square)
        np.bitwise_or(state, square, out=state)
