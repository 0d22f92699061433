"""Convolution and its two gradients: the systolic array's work.

How the simulator multiplies depends on the sizes (`method`): channels by themselves as small products (`depthwise.py`),
windows of 3 x 3 pixels by tiles (`winograd.py`), lines of pixels where they lie (`shifted.py`), windows of one pixel
that leave pixels out by those that they read (`subsampled.py`), anything else by columns of pixels (`columns.py`).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from ir.kernels.columns import Columns
from ir.kernels.depthwise import Depthwise
from ir.kernels.geometry import Geometry
from ir.kernels.layout import in_order
from ir.kernels.shifted import Shifted
from ir.kernels.subsampled import Subsampled
from ir.kernels.window import Pair, Windows
from ir.kernels.winograd import Winograd
from ir.op import Array, Cost, CostClass, Gemm, Op, limit, op
from ir.space import Space
from ir.types import DType, TensorType


class Role(Enum):
    """Which of the three a kernel computes."""

    FORWARD = "forward"
    INPUT_GRADIENT = "input gradient"
    WEIGHT_GRADIENT = "weight gradient"


class Convolution(Op):
    """What the three have in common: attributes, checks and sizes."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    dtype: DType
    laid_out = 0
    whole = "windows that overlap share elements between tiles; those that do not are cut"

    def geometry(self, x_shape: Pair, w_shape: Pair) -> Geometry:
        """The sizes for an image batch and a weight. Raises ValueError where they do not fit."""
        return _geometry(x_shape, w_shape, self.stride, self.padding, self.dilation, self.groups)

    def check_gradient(self, dy: TensorType, geometry: Geometry) -> None:
        """Raise ValueError where dy is not what the convolution of these sizes makes."""
        expected = (geometry.images, geometry.outputs, *geometry.windows.count)
        if dy.shape != expected:
            raise ValueError(f"the gradient {dy} does not have the convolution's shape {list(expected)}")

    @limit
    def floats_only(self, *operands: TensorType) -> bool:
        "convolution takes floating-point tensors"
        return all(operand.dtype.is_float for operand in operands)


@op("conv2d")
class Conv2d(Convolution):
    """Images x [n, ci, h, w] convolved with w [co, ci / groups, kh, kw] -> [n, co, oh, ow], delivered as `dtype`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        sizes = self.geometry(x.shape, w.shape)
        return TensorType(self.dtype, (sizes.images, sizes.outputs, *sizes.windows.count))

    def space(self, x: TensorType, w: TensorType) -> Space:
        sizes = self.geometry(x.shape, w.shape)
        rows, columns = sizes.windows.sliding(0, "oh", "kh"), sizes.windows.sliding(1, "ow", "kw")
        operands = f"n (g! ci) {rows} {columns}, (g! co) ci kh! kw!"
        return sizes.space(operands, "n (g! co) oh ow", (x, w), self.infer(x, w))

    def laid_out_bytes(self, x: TensorType, w: TensorType) -> int:
        return method(self.geometry(x.shape, w.shape), Role.FORWARD).column_bytes

    def gemm(self, x: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.outputs // sizes.groups, sizes.depth)

    def scratch(self, x: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        return method(self.geometry(x.shape, w.shape), Role.FORWARD).scratch()

    def kernel(self, x: Array, w: Array, y: Array, *scratch: Array) -> None:
        method(self.geometry(x.shape, w.shape), Role.FORWARD).convolve(x, w, y, *scratch)


@op("conv2d_input_gradient")
class Conv2dInputGradient(Convolution):
    """The gradient of a convolution's images, from that of its result and its weight."""

    input_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    result_shape = "input_shape"

    def infer(self, dy: TensorType, w: TensorType) -> TensorType:
        self.check_gradient(dy, self.geometry(self.input_shape, w.shape))
        return TensorType(self.dtype, self.input_shape)

    def space(self, dy: TensorType, w: TensorType) -> Space:
        sizes = self.geometry(self.input_shape, w.shape)
        oh, h = sizes.windows.gradient(0, "oh", "kh")
        ow, w_axis = sizes.windows.gradient(1, "ow", "kw")
        operands = f"n (g! co) {oh} {ow}, (g! co) ci kh! kw!"
        return sizes.space(operands, f"n (g! ci) {h} {w_axis}", (dy, w), self.infer(dy, w))

    def laid_out_bytes(self, dy: TensorType, w: TensorType) -> int:
        by = method(self.geometry(self.input_shape, w.shape), Role.INPUT_GRADIENT)
        return (by.transposed or by).column_bytes if isinstance(by, Columns) else by.column_bytes

    def gemm(self, dy: TensorType, w: TensorType) -> Gemm:
        sizes = self.geometry(self.input_shape, w.shape)
        return Gemm(sizes.groups, sizes.images * sizes.pixels, sizes.depth, sizes.outputs // sizes.groups)

    def scratch(self, dy: TensorType, w: TensorType) -> tuple[TensorType, ...]:
        return method(self.geometry(self.input_shape, w.shape), Role.INPUT_GRADIENT).input_gradient_scratch()

    def kernel(self, dy: Array, w: Array, dx: Array, *scratch: Array) -> None:
        method(self.geometry(dx.shape, w.shape), Role.INPUT_GRADIENT).input_gradient(dy, w, dx, *scratch)


@op("conv2d_weight_gradient")
class Conv2dWeightGradient(Convolution):
    """The gradient of a convolution's weight, from that of its result and its images."""

    weight_shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    cost = Cost(CostClass.SYSTOLIC)
    result_shape = "weight_shape"
    laid_out = 1

    def infer(self, dy: TensorType, x: TensorType) -> TensorType:
        self.check_gradient(dy, self.geometry(x.shape, self.weight_shape))
        return TensorType(self.dtype, self.weight_shape)

    def space(self, dy: TensorType, x: TensorType) -> Space:
        sizes = self.geometry(x.shape, self.weight_shape)
        rows, columns = sizes.windows.sliding(0, "oh", "kh"), sizes.windows.sliding(1, "ow", "kw")
        operands = f"n (g! co) oh ow, n (g! ci) {rows} {columns}"
        return sizes.space(operands, "(g! co) ci kh! kw!", (dy, x), self.infer(dy, x))

    def laid_out_bytes(self, dy: TensorType, x: TensorType) -> int:
        return method(self.geometry(x.shape, self.weight_shape), Role.WEIGHT_GRADIENT).column_bytes

    def gemm(self, dy: TensorType, x: TensorType) -> Gemm:
        sizes = self.geometry(x.shape, self.weight_shape)
        outputs, rows = sizes.outputs // sizes.groups, sizes.images * dy.shape[2]
        return Gemm(sizes.groups, outputs, sizes.depth, sizes.images * sizes.pixels, parts=rows)

    def scratch(self, dy: TensorType, x: TensorType) -> tuple[TensorType, ...]:
        by = method(self.geometry(x.shape, self.weight_shape), Role.WEIGHT_GRADIENT)
        return by.weight_gradient_scratch() if isinstance(by, Shifted | Subsampled) else by.scratch()

    def kernel(self, dy: Array, x: Array, dw: Array, *scratch: Array) -> None:
        by = method(self.geometry(x.shape, dw.shape), Role.WEIGHT_GRADIENT)
        with in_order(dw) as (made,):
            by.weight_gradient(dy, x, made, *scratch)


@lru_cache(maxsize=1024)
def _geometry(x_shape: Pair, w_shape: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    shapes = f"images {list(x_shape)} and weight {list(w_shape)}"
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(f"{shapes} are not [n, ci, h, w] and [co, ci, kh, kw]")
    if groups < 1 or x_shape[1] != w_shape[1] * groups or w_shape[0] % groups:
        raise ValueError(f"{shapes} do not fit each other in {groups} group(s) of channels")
    return Geometry(
        x_shape[0], groups, x_shape[1], w_shape[0], Windows(x_shape[2:], w_shape[2:], stride, padding, dilation)
    )


@lru_cache(maxsize=1024)
def method(sizes: Geometry, role: Role) -> Columns | Depthwise | Shifted | Subsampled | Winograd:
    """What multiplies fastest for these sizes."""
    windows = sizes.windows
    if sizes.groups == sizes.inputs == sizes.outputs:
        return Depthwise(sizes.images, sizes.groups, windows)
    fields = (sizes.images, sizes.groups, sizes.inputs, sizes.outputs, windows)
    if windows.kernel == (1, 1) and max(windows.stride) > 1 and not any(windows.padding):
        pixels = Geometry(*fields[:4], Windows(windows.count, (1, 1), (1, 1), (0, 0)))
        by = method(pixels, role)
        if isinstance(by, Columns | Shifted):
            return Subsampled(*fields, by)
    depth = {
        Role.FORWARD: sizes.inputs,
        Role.INPUT_GRADIENT: sizes.outputs,
        Role.WEIGHT_GRADIENT: min(sizes.inputs, sizes.outputs),
    }
    winograd = Winograd(*fields)
    if winograd.pays and (role is not Role.INPUT_GRADIENT or winograd.transposed is not None):
        return winograd
    shifted = Shifted(*fields)
    is_wide = not sizes.windows.is_pointwise
    by_lines = {
        Role.FORWARD: is_wide and shifted.pays_by_lines,
        Role.INPUT_GRADIENT: is_wide and shifted.transposed is not None and shifted.transposed.pays_by_lines,
        Role.WEIGHT_GRADIENT: shifted.weight_pays_by_lines,
    }
    if by_lines[role]:
        return shifted
    return shifted if shifted.pays(depth[role] // sizes.groups) else Columns(*fields)
