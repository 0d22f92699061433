"""Matrix products by compiled loops equal NumPy's, whatever the layout, with and without the loops."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir.kernels import gemm
from ir.kernels.processor import multiplies_and_adds, processor_flags
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


@pytest.mark.parametrize("layout", ["rows", "transposed"])
def test_a_sum_is_the_same_whatever_else_is_multiplied(layout: str) -> None:
    if gemm.native() is None:
        pytest.skip("NumPy multiplies")
    a, b = laid_out(layout, 230, 700), laid_out(layout, 700, 600)
    whole, part = np.empty((230, 600), np.float32), np.empty((95, 77), np.float32)
    gemm.matmul(a, b, whole)
    gemm.matmul(a[31:126], b[:, 500:577], part)
    assert (part == whole[31:126, 500:577]).all()


def in_a_process(code: str, **environment: str) -> str:
    """What a program prints with these variables."""
    variables = {**os.environ, **environment}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=variables, check=True
    )
    return ran.stdout.strip()


@pytest.mark.parametrize("blas", ["numpy", ""])
def test_the_environment_chooses_who_multiplies(blas: str) -> None:
    made = in_a_process("from ir.kernels import gemm; print(gemm.native() is None)", SNC_BLAS=blas)
    is_there = in_a_process("from ir.kernels.native import load; print(load('products') is not None)") == "True"
    assert made == str(blas == "numpy" or not (multiplies_and_adds() and is_there))


def test_narrower_vectors_multiply_too(tmp_path: Path) -> None:
    """What a processor without AVX-512 runs; its code must not be found where this one looks for its own."""
    if gemm.native() is None or "avx2" not in processor_flags():
        pytest.skip("needs vectors of 8 elements")
    code = """
import numpy as np
from ir.kernels import processor
flags = processor.processor_flags() - {"avx512f"}
processor.processor_flags = lambda: flags
from ir.kernels import gemm
from ir.kernels.processor import multiplies_and_adds, processor_flags
a, b = (np.random.default_rng(0).standard_normal(shape, np.float32) for shape in ((95, 333), (90, 333)))
out = np.empty((95, 90), np.float32)
gemm.matmul(a, b.T, out)
print(gemm.native().LANES, np.allclose(out, a @ b.T, atol=1e-4))
"""
    assert in_a_process(code, NUMBA_CACHE_DIR=str(tmp_path)) == "8 True"


@pytest.mark.skipif(gemm.native() is None, reason="NumPy alone multiplies")
@pytest.mark.parametrize("extents", [(16, 64, 64), (16, 64, 1), (5, 3, 2), (7, 100, 10)])
def test_small_products_round_rows_alike_where_that_is_wanted(extents: tuple[int, int, int]) -> None:
    m, k, n = extents
    a, b, out = laid_out("rows", m, k), laid_out("transposed", k, n), np.empty((m, n), np.float32)
    order, reordered = np.roll(np.arange(m), 1), np.empty_like(out)
    with gemm.SameSums():
        gemm.matmul(a, b, out)
        gemm.matmul(np.ascontiguousarray(a[order]), b, reordered)
    assert reordered.tobytes() == out[order].tobytes()
    np.testing.assert_allclose(out, a.astype(np.float64) @ b, rtol=1e-5, atol=1e-4)
    assert not gemm.SameSums.wanted()
