"""Matrix products through OpenBLAS equal NumPy's, whatever the layout, with and without the library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir.kernels import gemm
from ir.op import Array

ROOT = Path(__file__).parents[2]


def laid_out(layout: str, *shape: int) -> Array:
    """Random matrices whose rows, or columns, are contiguous but apart."""
    generator = np.random.default_rng(list(shape))
    *lead, rows, columns = shape
    if layout == "transposed":
        made = generator.standard_normal((*lead, columns, rows + 3), np.float32)
        return made[..., :rows].swapaxes(-1, -2)
    made = generator.standard_normal((*lead, rows, columns + 5), np.float32)
    return made[..., 2 : 2 + columns]


@pytest.mark.parametrize("second", ["rows", "transposed"])
@pytest.mark.parametrize("first", ["rows", "transposed"])
@pytest.mark.parametrize("lead", [(), (2,)], ids=["matrices", "stacks"])
@pytest.mark.parametrize("extents", [(65, 120, 70), (3, 5, 2), (1, 700, 300), (700, 1, 300)])
def test_products_equal_numpys(first: str, second: str, lead: tuple[int, ...], extents: tuple[int, int, int]) -> None:
    m, n, k = extents
    a, b, out = laid_out(first, *lead, m, k), laid_out(second, *lead, k, n), laid_out("rows", *lead, m, n)
    product, before = a.astype(np.float64) @ b.astype(np.float64), out.copy()
    gemm.add_matmul(a, b, out)
    np.testing.assert_allclose(out, before + product, rtol=1e-5, atol=1e-4)
    gemm.matmul(a, b, out)
    np.testing.assert_allclose(out, product, rtol=1e-5, atol=1e-4)


def test_what_stood_in_a_result_leaves_no_trace() -> None:
    a, b = laid_out("rows", 80, 64), laid_out("rows", 64, 90)
    out = np.full((80, 90), np.nan, np.float32)
    gemm.matmul(a, b, out)
    assert np.isfinite(out).all()


def test_scattered_operands_and_broadcast_ones_are_numpys_work() -> None:
    a, b = laid_out("rows", 80, 128)[:, ::2], laid_out("rows", 3, 64, 90)
    out = np.empty((3, 80, 90), np.float32)
    gemm.matmul(a, b, out)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("blas", ["numpy", ""])
def test_the_environment_chooses_the_library(blas: str) -> None:
    code = "from ir.kernels import gemm; print(gemm.library() is None)"
    environment = {**os.environ, "SNC_BLAS": blas}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    installed = subprocess.run([sys.executable, "-c", "import scipy_openblas64"], capture_output=True, check=False)
    assert result.stdout.strip() == str(blas == "numpy" or installed.returncode != 0)


def test_no_kernels_are_chosen_that_the_processor_lacks() -> None:
    assert gemm.kernels_for(frozenset()) is None
    assert gemm.kernels_for(frozenset(("avx2", "fma", "avx512f"))) == "Haswell"
    assert gemm.kernels_for(gemm.KERNELS["SkylakeX"]) == "SkylakeX"
    here = gemm.kernels_for(gemm.processor_flags())
    assert here is None or gemm.KERNELS[here] <= gemm.processor_flags()
