"""Convolution with windows of 3 x 3 pixels, and its two gradients, with 16 multiplications where 36 are written.

Winograd's minimal filtering F(2 x 2, 3 x 3): four neighbouring results, a tile, are

    Y = A^T [ (G w G^T) * (B^T x B) ] A          with x the 4 x 4 pixels that the tile reads

(A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, 2015). Over channels, the elementwise products
are 16 matrix products, a place of the transformed tile each. Transforms are additions, and their coefficients are 0, 1,
-1 and 1/2, so that the error stays that of a direct sum in float32.

The transforms are compiled loops (`native/winograd.py`): where those are not to be had, columns (`columns.py`) do it. A
transform subtracts neighbours, so that an infinite pixel makes NaN of its whole tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np

from ir.kernels.gemm import add_matmul, matmul
from ir.kernels.geometry import Geometry
from ir.kernels.layout import cut
from ir.kernels.native import load, owned
from ir.kernels.window import Pair, Windows
from ir.op import Array
from ir.types import DType, TensorType

PLACES = 16
"""Elements of a transformed tile."""

FACTOR_ELEMENTS = 1 << 18
"""Elements of one factor that is multiplied at once: 1 MiB."""

LEAST_TILES = 256
"""Tiles to multiply at once, at least, where there are as many: fewer do not outweigh the walk through the weight."""

LEAST_CHANNELS = 8
"""Channels on both sides from which the multiplications spared outweigh the transforms."""

LEAST_GAIN = 1.5
"""How many times fewer multiplications there have to be: tiles reach beyond images of few pixels."""

WEIGHT_PER_TILE = 512
"""Elements of a weight, without positions, per tile: where they are more, walking through them takes the time."""

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
WEIGHT_TRANSFORM = np.kron(G, G)
"""[16, 9]: the transform of a weight's positions."""


@dataclass(frozen=True)
class Winograd(Geometry):
    """How tiles are blocked."""

    @cached_property
    def tiles(self) -> Pair:
        """Rows of tiles of an image's results, and tiles in a row."""
        return tuple(-(-count // 2) for count in self.windows.count)

    @property
    def pitch(self) -> int:
        """Places of a row of tiles: one more than there are, as the loops need it."""
        return self.tiles[1] + 1

    @cached_property
    def transposed(self) -> Winograd | None:
        """The convolution of the result's gradient that makes the images'; None where windows reach less far."""
        padding = tuple(2 - padding for padding in self.windows.padding)
        if min(padding) < 0:
            return None
        windows = Windows(self.windows.count, self.windows.kernel, (1, 1), padding)
        return Winograd(self.images, 1, self.outputs, self.inputs, windows)

    @cached_property
    def pays(self) -> bool:
        """Whether this is possible and worthwhile."""
        windows = self.windows
        if self.groups > 1 or windows.kernel != (3, 3) or windows.stride != (1, 1) or windows.dilation != (1, 1):
            return False
        if min(self.inputs, self.outputs) < LEAST_CHANNELS:
            return False
        spared = 9 * self.pixels / (PLACES * self.tiles[0] * self.pitch)
        enough = self.images * self.tiles[0] * self.pitch >= self.outputs * self.inputs // WEIGHT_PER_TILE
        return spared >= LEAST_GAIN and enough and native() is not None

    @cached_property
    def block(self) -> Pair:
        """Images, and rows of tiles of each, multiplied at once."""
        most = max(LEAST_TILES, FACTOR_ELEMENTS // (PLACES * max(self.inputs, self.outputs)))
        rows = _even(self.tiles[0], max(1, most // self.pitch))
        images = _even(self.images, max(1, most // (rows * self.pitch)) if rows == self.tiles[0] else 1)
        return images, rows

    @cached_property
    def column_bytes(self) -> int:
        """Bytes of the transformed images."""
        return 4 * PLACES * self.inputs * self.images * self.tiles[0] * self.pitch

    @property
    def fixed_bytes(self) -> int:
        """Bytes of the transformed weight, written and read."""
        return 8 * PLACES * self.inputs * self.outputs

    def scratch(self) -> tuple[TensorType, ...]:
        """Both factors of a block and its product by place, lines of one channel, and a weight by place."""
        images, rows = self.block
        count, line = images * rows * self.pitch, (rows + 1) * self.pitch + 1
        shapes = (
            (PLACES, self.inputs, count),
            (PLACES, self.outputs, count),
            (12, line),
            (PLACES, self.outputs, self.inputs),
        )
        return tuple(TensorType(DType.F32, shape) for shape in shapes)

    def input_gradient_scratch(self) -> tuple[TensorType, ...]:
        """The same for the gradient of the images, and a weight with its channels exchanged."""
        weight = TensorType(DType.F32, (self.inputs, self.outputs, 3, 3))
        return (*self._backwards.scratch(), weight)

    def convolve(
        self, x: Array, w: Array, y: Array, pixels: Array, products: Array, lines: Array, weights: Array
    ) -> None:
        """Images x convolved with w into y."""
        loops = _loops()
        loops.transform_weight(owned(np.ascontiguousarray(w)), weights)
        for images, first, rows in self._blocks():
            factor = self._transformed(x[images], first, rows, pixels, lines)
            product = cut(products, PLACES, self.outputs, factor.shape[2])
            matmul(weights, factor, product)
            loops.transform_results(product, y[images], first, rows, self.tiles[1], lines)

    def input_gradient(self, dy: Array, w: Array, dx: Array, *scratch: Array) -> None:
        """The gradient dx of the images, from dy of the result."""
        *others, weight = scratch
        np.copyto(weight, w[:, :, ::-1, ::-1].swapaxes(0, 1))
        self._backwards.convolve(dy, weight, dx, *others)

    def weight_gradient(
        self, dy: Array, x: Array, dw: Array, pixels: Array, gradients: Array, lines: Array, weights: Array
    ) -> None:
        """The gradient dw of the weight, from dy of the result."""
        weights.fill(0)
        for images, first, rows in self._blocks():
            factor = self._transformed(x[images], first, rows, pixels, lines)
            given = cut(gradients, PLACES, self.outputs, factor.shape[2])
            _loops().transform_gradient(owned(dy[images]), first, rows, self.tiles[1], given, lines)
            add_matmul(given, factor.swapaxes(1, 2), weights)
        matmul(weights.reshape(PLACES, -1).T, WEIGHT_TRANSFORM, dw.reshape(-1, 9))

    @property
    def _backwards(self) -> Winograd:
        if self.transposed is None:
            raise ValueError(f"windows padded by {self.windows.padding} have no convolution backwards")
        return self.transposed

    def _transformed(self, x: Array, first: int, rows: int, pixels: Array, lines: Array) -> Array:
        """The pixels that some rows of tiles read, transformed: [16, ci, tiles]."""
        factor = cut(pixels, PLACES, self.inputs, len(x) * rows * self.pitch)
        _loops().transform_pixels(owned(x), *self.windows.padding, first, rows, self.tiles[1], factor, lines)
        return factor

    def _blocks(self) -> Iterator[tuple[slice, int, int]]:
        """The images, the first row of tiles and the number of rows of each block."""
        images, rows = self.block
        for start in range(0, self.images, images):
            for first in range(0, self.tiles[0], rows):
                yield slice(start, start + images), first, min(rows, self.tiles[0] - first)


def _loops() -> ModuleType:
    loops = native()
    if loops is None:
        raise ValueError("the compiled loops are switched off since this was planned")
    return loops


def _even(length: int, most: int) -> int:
    """The size of the pieces when `length` is cut evenly into pieces of at most `most`."""
    return -(-length // -(-length // min(length, most)))


def native() -> ModuleType | None:
    """The compiled transforms; None where they are not to be had."""
    return load("winograd")
