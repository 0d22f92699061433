"""Convolution by products of lines, and its gradients, equal those by columns at about the error of a direct sum."""

from __future__ import annotations

import numpy as np
import pytest

from ir.kernels.columns import Columns
from ir.kernels.gemm import native
from ir.kernels.shifted import Shifted
from ir.kernels.window import Windows
from ir.op import Array
from ir.types import TensorType

SIZES = [
    (1, 1, 16, 16, (12, 12), (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 1, 20, 13, (9, 34), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 1, 13, 20, (7, 11), (3, 3), (1, 1), (0, 2), (1, 1)),
    (9, 1, 40, 24, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 1, 8, 9, (90, 71), (5, 4), (1, 1), (2, 1), (1, 1)),
    (3, 1, 3, 17, (30, 29), (7, 7), (2, 2), (3, 3), (1, 1)),
    (2, 1, 33, 50, (28, 28), (3, 3), (2, 1), (1, 1), (1, 1)),
    (2, 1, 12, 12, (20, 21), (3, 3), (1, 1), (2, 2), (2, 2)),
    (2, 1, 12, 12, (20, 22), (2, 3), (3, 3), (1, 0), (1, 2)),
    (2, 2, 34, 48, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 1, 24, 40, (9, 9), (1, 1), (1, 1), (0, 0), (1, 1)),
    (1, 1, 400, 260, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
]
"""Images, groups, channels in, channels out, extents, window, stride, padding, dilation."""


def arrays(types: tuple[TensorType, ...]) -> list[Array]:
    """Temporary arrays with whatever was there before."""
    return [np.full(tensor.shape, np.nan, np.float32) for tensor in types]


def worst(made: Array, exact: Array) -> float:
    return float(np.abs(made - exact).max() / np.abs(exact).max())


@pytest.mark.skipif(native() is None, reason="needs the compiled loops")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_results_and_gradients_equal_those_by_columns(sizes: tuple[object, ...]) -> None:
    images, groups, inputs, outputs, image, kernel, *rest = sizes
    generator = np.random.default_rng(inputs)
    windows = Windows(image, kernel, *rest)
    lines, columns = (kind(images, groups, inputs, outputs, windows) for kind in (Shifted, Columns))
    x, w, dy = (
        generator.standard_normal(shape).astype(np.float32)
        for shape in (
            (images, inputs + 3, *image),
            (outputs, inputs // groups, *kernel),
            (images, outputs, *windows.count),
        )
    )
    x = x[:, 2 : 2 + inputs]  # a tile of a larger tensor
    for name, operands, shape, scratch in (
        ("convolve", (x, w), dy.shape, "scratch"),
        ("input_gradient", (dy, w), x.shape, "input_gradient_scratch"),
        ("weight_gradient", (dy, x), w.shape, "weight_gradient_scratch"),
    ):
        made, exact = np.empty(shape, np.float32), np.empty(shape)
        getattr(lines, name)(*operands, made, *arrays(getattr(lines, scratch)()))
        by_columns = columns.input_gradient_scratch() if name == "input_gradient" else columns.scratch()
        wide = [np.full(tensor.shape, np.nan) for tensor in by_columns]
        getattr(columns, name)(*(operand.astype(np.float64) for operand in operands), exact, *wide)
        assert worst(made, exact) < 3e-6, name


@pytest.mark.skipif(native() is None, reason="needs the compiled loops")
def test_an_image_is_the_same_whatever_others_there_are() -> None:
    generator = np.random.default_rng(0)
    x, w = (generator.standard_normal(shape).astype(np.float32) for shape in ((6, 16, 9, 9), (24, 16, 3, 3)))
    made = []
    for images in (6, 1):
        lines = Shifted(images, 1, 16, 24, Windows((9, 9), (3, 3), (1, 1), (1, 1)))
        y = np.empty((images, 24, 9, 9), np.float32)
        lines.convolve(x[-images:], w, y, *arrays(lines.scratch()))
        made.append(y[-1])
    assert (made[0] == made[1]).all()
