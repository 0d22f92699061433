"""Winograd's convolution and gradients equal those by columns, in float64, at about the error of a direct sum."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir.kernels.columns import Columns
from ir.kernels.window import Windows
from ir.kernels.winograd import Winograd, native
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
    assert not Winograd(8, 1, 512, 512, Windows((7, 7), (3, 3), (1, 1), (1, 1))).pays
    assert not Winograd(8, 1, 64, 64, Windows((56, 56), (3, 3), (2, 2), (1, 1))).pays
    assert not Winograd(8, 64, 64, 64, Windows((56, 56), (3, 3), (1, 1), (1, 1))).pays
