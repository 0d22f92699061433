"""Winograd's convolution and gradients equal those by columns, in float64, at about the error of a direct sum."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir.kernels.columns import Columns
from ir.kernels.gemm import native
from ir.kernels.window import Windows
from ir.kernels.winograd import Winograd
from ir.op import Array
from ir.types import TensorType

ROOT = Path(__file__).parents[2]
SIZES = [
    (1, 16, 16, (12, 12), (1, 1)),
    (3, 20, 13, (9, 34), (1, 1)),
    (2, 13, 20, (7, 11), (0, 2)),
    (5, 16, 24, (14, 14), (1, 1)),
    (2, 8, 9, (21, 40), (1, 1)),
    (1, 12, 12, (90, 71), (1, 1)),
]
"""Images, channels in, channels out, extents, padding."""
INPUT_SCRATCH = "input_gradient_scratch"
needs_loops = pytest.mark.skipif(native() is None, reason="numba is missing, or the compiled loops are switched off")


def arrays(types: tuple[TensorType, ...]) -> list[Array]:
    """Temporary arrays with whatever was there before."""
    return [np.full(tensor.shape, np.nan, np.float32) for tensor in types]


def worst(made: Array, exact: Array) -> float:
    return float(np.abs(made - exact).max() / np.abs(exact).max())


@needs_loops
@pytest.mark.parametrize(("images", "inputs", "outputs", "image", "padding"), SIZES)
def test_results_and_gradients_equal_those_by_columns(
    images: int, inputs: int, outputs: int, image: tuple[int, int], padding: tuple[int, int]
) -> None:
    generator = np.random.default_rng(inputs)
    windows = Windows(image, (3, 3), (1, 1), padding)
    tiles, columns = (kind(images, 1, inputs, outputs, windows) for kind in (Winograd, Columns))
    x, w, dy = (
        generator.standard_normal(shape).astype(np.float32)
        for shape in ((images, inputs + 3, *image), (outputs, inputs, 3, 3), (images, outputs, *windows.count))
    )
    x = x[:, 2 : 2 + inputs]  # a tile of a larger tensor
    for name, operands, shape, scratch in (
        ("convolve", (x, w), dy.shape, "scratch"),
        ("input_gradient", (dy, w), x.shape, "input_gradient_scratch"),
        ("weight_gradient", (dy, x), w.shape, "scratch"),
    ):
        made, direct, exact = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape)
        getattr(tiles, name)(*operands, made, *arrays(getattr(tiles, scratch)()))
        getattr(columns, name)(*operands, direct, *arrays(getattr(columns, scratch)()))
        wide = [np.full(t.shape, np.nan) for t in getattr(columns, scratch)()]
        getattr(columns, name)(*(operand.astype(np.float64) for operand in operands), exact, *wide)
        assert worst(made, exact) < max(3 * worst(direct, exact), 1e-6), name


@needs_loops
def test_an_image_is_the_same_whatever_others_there_are() -> None:
    generator = np.random.default_rng(0)
    x, w = (generator.standard_normal(shape).astype(np.float32) for shape in ((9, 24, 9, 9), (32, 24, 3, 3)))
    made = []
    for images in (9, 1):
        tiles = Winograd(images, 1, 24, 32, Windows((9, 9), (3, 3), (1, 1), (1, 1)))
        y = np.empty((images, 32, 9, 9), np.float32)
        tiles.convolve(x[-images:], w, y, *arrays(tiles.scratch()))
        made.append(y[-1])
    assert (made[0] == made[1]).all()


@needs_loops
def test_an_infinite_pixel_reaches_the_windows_that_cover_it_and_no_others() -> None:
    generator = np.random.default_rng(0)
    x, w, dy = (
        np.abs(generator.standard_normal(shape)).astype(np.float32)
        for shape in ((2, 24, 12, 12), (24, 24, 3, 3), (2, 24, 12, 12))
    )
    x[0, 3, 5, 6] = dy[0, 3, 5, 6] = np.inf
    tiles = Winograd(2, 1, 24, 24, Windows((12, 12), (3, 3), (1, 1), (1, 1)))
    for name, operands, scratch in (("convolve", (x, w), "scratch"), ("input_gradient", (dy, w), INPUT_SCRATCH)):
        made = np.empty_like(x)
        getattr(tiles, name)(*operands, made, *arrays(getattr(tiles, scratch)()))
        assert np.isinf(made[0, :, 4:7, 5:8]).all(), name
        made[0, :, 4:7, 5:8] = 0
        assert np.isfinite(made).all(), name
    weight = np.empty_like(w)
    tiles.weight_gradient(
        np.abs(generator.standard_normal(dy.shape)).astype(np.float32), x, weight, *arrays(tiles.scratch())
    )
    assert np.isinf(weight[:, 3]).all()
    assert np.isfinite(np.delete(weight, 3, axis=1)).all()


def test_without_the_loops_columns_do_it() -> None:
    code = "from ir.kernels.winograd import Winograd\nfrom ir.kernels.window import Windows\n"
    code += "print(Winograd(8, 1, 64, 64, Windows((56, 56), (3, 3), (1, 1), (1, 1))).pays)"
    environment = {**os.environ, "SNC_NATIVE": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    assert result.stdout.strip() == "False"


@needs_loops
def test_what_pays_is_what_multiplies_less() -> None:
    assert Winograd(8, 1, 64, 64, Windows((56, 56), (3, 3), (1, 1), (1, 1))).pays
    assert not Winograd(1, 1, 512, 512, Windows((7, 7), (3, 3), (1, 1), (1, 1))).pays
    assert not Winograd(8, 1, 64, 64, Windows((56, 56), (3, 3), (2, 2), (1, 1))).pays
    assert not Winograd(8, 64, 64, 64, Windows((56, 56), (3, 3), (1, 1), (1, 1))).pays
