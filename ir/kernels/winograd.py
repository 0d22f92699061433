"""Convolution with windows of 3 x 3 pixels, and its two gradients, with 16 multiplications where 36 are written.

Winograd's minimal filtering F(2 x 2, 3 x 3): four neighbouring results, a tile, are

    Y = A^T [ (G w G^T) * (B^T x B) ] A          with x the 4 x 4 pixels that the tile reads

(A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, 2015). Over channels, the elementwise products
are 16 matrix products, a place of the transformed tile each. Transforms are additions, and their coefficients are 0, 1,
-1 and 1/2, so that the error stays that of a direct sum in float32.

The transforms are compiled loops (`native/winograd.py`): where those are not to be had, others multiply
(`ir/ops/conv.py`). A transform subtracts neighbours, so that an infinite pixel would make NaN of its tile: results
that are not all finite are computed again by lines (`shifted.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np

from ir.kernels.gemm import LINE_SLACK, matmul, multiply_stack, native
from ir.kernels.geometry import Geometry
from ir.kernels.layout import cut, in_order
from ir.kernels.native import load, owned
from ir.kernels.shifted import Shifted
from ir.kernels.window import Pair
from ir.op import Array
from ir.types import DType, TensorType

PLACES = 16
"""Elements of a transformed tile."""

FACTOR_ELEMENTS = 1 << 17
"""Elements of one factor that is multiplied at once: half a MiB, as much again for the product."""

LEAST_TILES = 400
"""Tiles to multiply at once, at least, where there are as many: fewer do not outweigh the walk through the weight."""

LEAST_CHANNELS = 24
"""Channels on both sides from which the multiplications spared outweigh the transforms."""

LEAST_GAIN = 1.5
"""How many times fewer multiplications there have to be: tiles reach beyond images of few pixels."""

WEIGHT_PER_TILE = 2048
"""Elements of a weight, without positions, per tile: where they are more, walking through them takes the time."""

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
WEIGHT_TRANSFORM = np.kron(G, G)
"""[16, 9]: the transform of a weight's positions."""

IN_ORDER = np.arange(PLACES)
REVERSED = np.arange(PLACES).reshape(4, 4)[[3, 1, 2, 0]][:, [3, 1, 2, 0]].ravel()
"""Where a weight with its positions in reverse has the elements of its transform: G's outer rows change places."""


@dataclass(frozen=True)
class Winograd(Geometry):
    """How tiles are blocked."""

    @cached_property
    def lines(self) -> Shifted:
        """The same convolution by lines."""
        return Shifted(self.images, self.groups, self.inputs, self.outputs, self.windows)

    @cached_property
    def tiles(self) -> Pair:
        """Rows of tiles of an image's results, and tiles in a row."""
        return tuple(-(-count // 2) for count in self.windows.count)

    @cached_property
    def transposed(self) -> Winograd | None:
        """The convolution of the result's gradient that makes the images'; None where windows reach less far."""
        other = self.lines.transposed
        return None if other is None else Winograd(other.images, 1, other.inputs, other.outputs, other.windows)

    @cached_property
    def pays(self) -> bool:
        """Whether this is possible and worthwhile."""
        windows = self.windows
        if self.groups > 1 or windows.kernel != (3, 3) or windows.stride != (1, 1) or windows.dilation != (1, 1):
            return False
        if min(self.inputs, self.outputs) < LEAST_CHANNELS or native() is None:
            return False
        count = self.tiles[0] * self.tiles[1]
        spared = 9 * self.pixels / (PLACES * count)
        return spared >= LEAST_GAIN and self.images * count * WEIGHT_PER_TILE >= self.outputs * self.inputs

    @cached_property
    def block(self) -> Pair:
        """Images, and rows of tiles of each, multiplied at once."""
        rows, columns = self.tiles
        most = max(LEAST_TILES, FACTOR_ELEMENTS // (PLACES * max(self.inputs, self.outputs)))
        wanted = _even(rows, max(1, most // columns))
        images = _even(self.images, max(1, most // (wanted * columns)) if wanted == rows else 1)
        return images, wanted

    @cached_property
    def column_bytes(self) -> int:
        """Bytes of the transformed images."""
        rows, columns = self.tiles
        return 4 * PLACES * self.inputs * self.images * rows * columns

    def scratch(self) -> tuple[TensorType, ...]:
        """Both factors of a block and its product by plane, padded pixels of one channel, and a weight by place."""
        images, rows = self.block
        columns = self.tiles[1]
        count = images * rows * columns
        pixels = (2 * rows + 2) * 2 * (columns + LINE_SLACK)
        shapes = (
            (PLACES * (self.inputs * count + LINE_SLACK),),
            (PLACES * (self.outputs * count + LINE_SLACK),),
            (pixels,),
            (PLACES, self.outputs, self.inputs),
        )
        return tuple(TensorType(DType.F32, shape) for shape in shapes)

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images."""
        *others, _ = self._backwards.scratch()
        return (*others, TensorType(DType.F32, (PLACES, self.outputs, self.inputs)))

    def convolve(self, x: Array, w: Array, y: Array, *scratch: Array) -> None:
        """Images x convolved with w into y."""
        *others, weights = scratch
        _loaded("winograd").transform_weight(owned(np.ascontiguousarray(w)), IN_ORDER, weights)
        self._multiply(x, weights, y, *others)
        if not _is_finite(y):
            self.lines.convolve(x, w, y, *_arrays(self.lines.scratch()))

    def input_gradient(self, dy: Array, w: Array, dx: Array, *scratch: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        *others, weights = scratch
        _loaded("winograd").transform_weight(owned(np.ascontiguousarray(w)), REVERSED, weights)
        self._backwards._multiply(dy, weights.swapaxes(1, 2), dx, *others)
        if not _is_finite(dx):
            self.lines.input_gradient(dy, w, dx, *_arrays(self.lines.input_gradient_scratch()))

    def _multiply(self, x: Array, weights: Array, y: Array, pixels: Array, products: Array, lines: Array) -> None:
        """The results y of images x and a transformed weight [16, co, ci]."""
        with in_order(y) if y.strides[-1] != y.itemsize else nullcontext([y]) as (made,):
            for images, first, rows in self._blocks():
                factor = self._transformed(x[images], first, rows, pixels, lines)
                planes, product = _planes(products, self.outputs, factor.shape[2])
                multiply_stack(weights, factor, product)
                _loaded("winograd").transform_results(planes, made[images], first, rows, self.tiles[1])

    def weight_gradient(
        self, dy: Array, x: Array, dw: Array, pixels: Array, gradients: Array, lines: Array, weights: Array
    ) -> None:
        """The gradient dw of the weight, from dy of the result."""
        weights.fill(0)
        for images, first, rows in self._blocks():
            factor = self._transformed(x[images], first, rows, pixels, lines)
            planes, given = _planes(gradients, self.outputs, factor.shape[2])
            _loaded("winograd").transform_gradient(_rows(dy[images]), first, rows, self.tiles[1], planes)
            multiply_stack(given, factor.swapaxes(1, 2), weights, adds=True)
        matmul(weights.reshape(PLACES, -1).T, WEIGHT_TRANSFORM, dw.reshape(-1, 9))
        if not _is_finite(dw):
            self.lines.weight_gradient(dy, x, dw, *_arrays(self.lines.weight_gradient_scratch()))

    @property
    def _backwards(self) -> Winograd:
        if self.transposed is None:
            raise ValueError(f"windows padded by {self.windows.padding} have no convolution backwards")
        return self.transposed

    def _transformed(self, x: Array, first: int, rows: int, pixels: Array, lines: Array) -> Array:
        """The pixels that some rows of tiles read, transformed: [16, ci, tiles]."""
        columns = self.tiles[1]
        planes, factor = _planes(pixels, self.inputs, len(x) * rows * columns)
        padded = cut(lines, 2 * rows + 2, 2 * (columns + LINE_SLACK))
        _loaded("winograd").transform_pixels(_rows(x), *self.windows.padding, first, rows, columns, planes, padded)
        return factor

    def _blocks(self) -> Iterator[tuple[slice, int, int]]:
        """The images, the first row of tiles and the number of rows of each block."""
        images, rows = self.block
        for start in range(0, self.images, images):
            for first in range(0, self.tiles[0], rows):
                yield slice(start, start + images), first, min(rows, self.tiles[0] - first)


def _planes(scratch: Array, channels: int, tiles: int) -> tuple[Array, Array]:
    """Planes of so many channels and tiles as the transforms know them, and as matrices [16, channels, tiles]."""
    planes = cut(scratch, PLACES, channels * tiles + LINE_SLACK)
    return planes, planes[:, : channels * tiles].reshape(PLACES, channels, tiles)


def _rows(array: Array) -> Array:
    """The array, or a copy, whose rows are contiguous."""
    return owned(array if array.strides[-1] == array.itemsize else np.ascontiguousarray(array))


def _is_finite(array: Array) -> bool:
    """Whether every element is finite; large ones may count as not."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(array)))


def _arrays(types: tuple[TensorType, ...]) -> list[Array]:
    return [np.empty(tensor.shape, np.float32) for tensor in types]


def _even(length: int, most: int) -> int:
    """The size of the pieces when `length` is cut evenly into pieces of at most `most`."""
    return -(-length // -(-length // min(length, most)))


def _loaded(name: str) -> ModuleType:
    loops = load(name)
    if loops is None:
        raise ValueError("the compiled loops are switched off since this was planned")
    return loops
