"""Whole numbers that must stay what they are: arithmetic that ends the run where its result does not exist here.

PyTorch's default integers have 64 bits, the device's have 32. A model's 64-bit integers live in 32 bits as long as
they fit; where one outgrows them, the run ends with an IntegerError instead of going on with what is left of it. So
does a division by zero, which PyTorch refuses for integers of any width. Each operator here is another one with such a
check; `plain` is that other one, which a pass puts in its place where nothing can go wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ir.errors import IntegerError, Problem
from ir.kernels.blocks import blocks
from ir.op import OPS, Array, Cost, CostClass, Gemm, Op, limit, op
from ir.ops.elementwise import TAIL, Binary, Cast, Elementwise, Unary
from ir.ops.indexing import IndexAdd, around
from ir.ops.matmul import Matmul
from ir.ops.reduce import Reduction, reduced_space
from ir.ops.scan import Scan
from ir.ops.scatter import ScatterAdd, ScatterMul
from ir.ranges import WHOLE_NUMBERS, Range, is_within
from ir.space import Space
from ir.types import DType, TensorType

LOW, HIGH = WHOLE_NUMBERS[DType.I32]
FAR = np.float32(2**40)
"""A number that 64 bits hold and 32 do not."""

TOO_WIDE = (
    "keep whole numbers below 2**31, for example by taking a remainder earlier; or make them float32, which rounds; "
    "or int32 (`x.int()`), whose arithmetic wraps around in PyTorch too"
)
BY_ZERO = "make the divisor different from zero where it can be zero, for example with `torch.where` or `clamp`"


def keep(wide: Array, out: Array, what: str) -> None:
    """Write 64-bit integers into 32-bit ones. Raises IntegerError where one does not fit; `what` says what they are."""
    if wide.size and (wide.min() < LOW or wide.max() > HIGH):
        raise IntegerError(Problem(f"{what} does not fit the 32 bits of the device's integers", hint=TOO_WIDE))
    np.copyto(out, wide, casting="same_kind")


class Checked(Op):
    """An operator on i32 tensors that checks what it computes."""

    refuses = True
    checked: ClassVar[str]
    """What it makes, in a user's words."""

    @property
    def plain(self) -> Op:
        """The same operator without a check."""
        return OPS[self.name.removeprefix("checked_")](**self.attributes())

    def is_safe(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> bool:
        """Whether no operands in these ranges can break the check."""
        made = self.plain.possible(operands, ranges)
        return made is not None and is_within(made, (LOW, HIGH))

    @limit
    def wide_integers_only(self, *operands: TensorType) -> bool:
        "the operator takes i32 tensors"
        return all(operand.dtype is DType.I32 for operand in operands)


class CheckedElementwise(Elementwise, Checked):
    """A NumPy function on 64-bit integers, block by block."""

    wide: ClassVar[np.ufunc]

    def kernel(self, *arrays: Array) -> None:
        for *operands, out in blocks(arrays, ()):
            keep(self.wide(*operands, dtype=np.int64, casting="same_kind"), out, self.checked)


@op("checked_add")
class CheckedAdd(CheckedElementwise, Binary):
    """a + b, which must fit i32."""

    wide = np.add
    checked = "a sum of 64-bit integers"


@op("checked_sub")
class CheckedSub(CheckedElementwise, Binary):
    """a - b, which must fit i32."""

    wide = np.subtract
    checked = "a difference of 64-bit integers"


@op("checked_mul")
class CheckedMul(CheckedElementwise, Binary):
    """a * b, which must fit i32."""

    wide = np.multiply
    checked = "a product of 64-bit integers"


@op("checked_neg")
class CheckedNeg(CheckedElementwise, Unary):
    """-x, which must fit i32."""

    wide = np.negative
    checked = "the negative of a 64-bit integer"


@op("checked_abs")
class CheckedAbs(CheckedElementwise, Unary):
    """Absolute value, which must fit i32."""

    wide = np.absolute
    checked = "the absolute value of a 64-bit integer"


@op("checked_shift_left")
class CheckedShiftLeft(CheckedElementwise, Binary):
    """a's bits moved up by b places, as far as 64 bits go; the result must fit i32."""

    wide = np.left_shift
    checked = "a 64-bit integer, its bits shifted,"


@op("checked_pow")
class CheckedPow(Binary, Checked):
    """a raised to the power b, in 64 bits; it must fit i32. Of a negative power nothing is left but for 1 and -1."""

    cost = Cost(CostClass.SIMD, operations=8)
    checked = "a power of 64-bit integers"

    def is_safe(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> bool:
        return False

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        for base, exponent, result in blocks((a, b, out), ()):
            is_unit = np.abs(base) == 1
            is_odd = (exponent & 1).astype(bool)
            powers = np.power(base, np.maximum(exponent, 0), dtype=np.int64)
            inverse = np.where(is_unit, np.where(is_odd, base, 1), 0)
            keep(np.where(exponent < 0, inverse, powers), result, self.checked)


class CheckedDivision(CheckedElementwise, Binary):
    """A division of whole numbers: the divisor must not be zero, and the result must fit i32."""

    cost = TAIL
    checked = "the quotient of 64-bit integers"

    def is_safe(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> bool:
        """Zero divides nothing, and the least number divided by -1 is one too many."""
        by = ranges[1]
        return by is not None and (by[0] > 0 or by[1] < -1)

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        if out.size and not b.all():
            raise IntegerError(Problem("a whole number is divided by zero", hint=BY_ZERO))
        super().kernel(a, b, out)


@op("checked_floor_div")
class CheckedFloorDiv(CheckedDivision):
    """The largest whole number not above a / b, where b is not zero."""

    wide = np.floor_divide


@op("checked_remainder")
class CheckedRemainder(CheckedDivision):
    """What a / b leaves, with the sign of b, where b is not zero."""

    wide = np.remainder


@op("checked_fmod")
class CheckedFmod(CheckedDivision):
    """What a / b leaves, with the sign of a, where b is not zero."""

    wide = np.fmod


@op("checked_cast")
class CheckedCast(Elementwise, Checked):
    """Floating-point numbers as i32 ones, toward zero, which must fit; of what is not a finite number, the least."""

    checked = "a number converted to a 64-bit integer"

    @property
    def plain(self) -> Op:
        return Cast(DType.I32)

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(DType.I32)

    def is_safe(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> bool:
        return False

    def kernel(self, x: Array, out: Array) -> None:
        for part, result in blocks((x, out), ()):
            is_finite = np.isfinite(part)
            wide = np.full(part.shape, LOW, np.int64)
            np.copyto(
                wide, np.clip(part, np.float32(-(2.0**40)), np.float32(2.0**40)), casting="unsafe", where=is_finite
            )
            keep(wide, result, self.checked)

    @limit
    def wide_integers_only(self, *operands: TensorType) -> bool:
        "the operator takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


class CheckedReduction(Reduction, Checked):
    """A reduction whose axes a tile holds whole."""

    whole = "only the whole result tells whether it fits"
    wide: ClassVar[np.ufunc]

    def space(self, x: TensorType) -> Space:
        return reduced_space(x, self.dims, self.keepdim, held=True)

    def kernel(self, x: Array, out: Array) -> None:
        wide = self.wide.reduce(x, axis=self.dims, dtype=np.int64, keepdims=self.keepdim)
        keep(np.asarray(wide), out, self.checked)


@op("checked_sum")
class CheckedSum(CheckedReduction):
    """Sum along axes, which must fit i32."""

    dims: tuple[int, ...]
    keepdim: bool
    wide = np.add
    checked = "a sum of 64-bit integers"


@op("checked_prod")
class CheckedProd(CheckedReduction):
    """Product along axes, in 64 bits, which must fit i32."""

    dims: tuple[int, ...]
    keepdim: bool
    wide = np.multiply
    checked = "a product of 64-bit integers"


class CheckedScan(Scan, Checked):
    """A running result, in 64 bits."""

    wide: ClassVar[np.ufunc]

    def kernel(self, x: Array, out: Array) -> None:
        keep(self.wide.accumulate(x, axis=self.dim, dtype=np.int64), out, self.checked)


@op("checked_cumsum")
class CheckedCumsum(CheckedScan):
    """The sum of all elements up to each, which must fit i32."""

    dim: int
    wide = np.add
    checked = "a running sum of 64-bit integers"


@op("checked_cumprod")
class CheckedCumprod(CheckedScan):
    """The product of all elements up to each, in 64 bits, which must fit i32."""

    dim: int
    wide = np.multiply
    checked = "a running product of 64-bit integers"


@op("checked_matmul")
class CheckedMatmul(Checked):
    """Product of matrices of whole numbers over leading batch axes, in 64 bits, which must fit i32."""

    cost = Cost(CostClass.SYSTOLIC)
    whole = "only the whole result tells whether it fits"
    checked = "a matrix product of 64-bit integers"

    @property
    def plain(self) -> Op:
        return Matmul(DType.I32)

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return self.plain.results(a, b)[0]

    def space(self, a: TensorType, b: TensorType) -> Space:
        return Space.parse("* m k!, * k! n -> * m n", (a, b), (self.infer(a, b),))

    def kernel(self, a: Array, b: Array, out: Array) -> None:
        keep(np.matmul(a, b, dtype=np.int64), out, self.checked)

    def gemm(self, a: TensorType, b: TensorType) -> Gemm:
        return self.plain.gemm(a, b)


class CheckedWriting(Checked):
    """An operator that combines by index, done on 64-bit integers."""

    def is_safe(self, operands: Sequence[TensorType], ranges: Sequence[Range | None]) -> bool:
        return False

    def combine_wide(self, operands: Sequence[Array], scratch: Sequence[Array], out: Array) -> None:
        """Run the plain operator's kernel on copies that are 64 bits wide; operands that are indices stay."""
        wide = np.empty(out.shape, np.int64)
        self.plain.kernel(*operands, wide, *scratch)
        keep(wide, out, self.checked)


@op("checked_scatter_add")
class CheckedScatterAdd(ScatterAdd, CheckedWriting):
    """Elements of src are added to those of x; the sums must fit i32."""

    dim: int
    checked = "a sum of 64-bit integers"

    def kernel(self, x: Array, index: Array, src: Array, out: Array, scratch: Array) -> None:
        self.combine_wide((x.astype(np.int64), index, src.astype(np.int64)), (scratch,), out)


@op("checked_scatter_mul")
class CheckedScatterMul(ScatterMul, CheckedWriting):
    """x times all elements of src for each place, in 64 bits; the products must fit i32."""

    dim: int
    checked = "a product of 64-bit integers"

    def kernel(self, x: Array, index: Array, src: Array, out: Array, scratch: Array) -> None:
        self.combine_wide((x.astype(np.int64), index, src.astype(np.int64)), (scratch,), out)


@op("checked_index_add")
class CheckedIndexAdd(IndexAdd, CheckedWriting):
    """Zeros to which slices of x are added where the index says; the sums must fit i32."""

    dim: int
    extent: int
    checked = "a sum of 64-bit integers"

    def space(self, x: TensorType, index: TensorType) -> Space:
        result = self.infer(x, index)
        lead, rest = around(self.dim, result)
        taken = " ".join(f"i{axis}!" for axis in range(index.rank))
        return Space.parse(f"{lead} {taken} {rest}, {taken} -> {lead} v! {rest}", (x, index), (result,))

    def kernel(self, x: Array, index: Array, out: Array) -> None:
        self.combine_wide((x.astype(np.int64), index), (), out)
