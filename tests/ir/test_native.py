"""Compiled loops compute what NumPy's kernels do, and NumPy's are what runs without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import sys
import numpy as np
import ir.ops
from ir.op import OPS
from ir.types import DType, TensorType

def run(op, *operands):
    types = [TensorType(DType.I32 if operand.dtype == np.int32 else DType.F32, operand.shape) for operand in operands]
    results = [np.empty(result.shape, result.dtype.compute) for result in op.results(*types)]
    scratch = [np.full(tensor.shape, np.nan, tensor.dtype.compute) for tensor in op.scratch(*types)]
    op.kernel(*operands, *results, *scratch)
    return results

def run_with(kinds, op, *operands):
    types = [TensorType({np.float32: DType.F32, np.int8: DType.I8}[kind], x.shape) for kind, x in zip(kinds, operands)]
    (result,), scratch = op.results(*types), [np.empty(t.shape, t.dtype.compute) for t in op.scratch(*types)]
    made = np.full((*result.shape[:-1], result.shape[-1] + 3), np.nan, np.float32)
    op.kernel(*operands, made[..., :-3], *scratch)
    return [made]

draw = np.random.default_rng(0).standard_normal
x, dy = (4 * draw((37, 130), np.float32) for _ in range(2))
gamma, beta = draw(130, np.float32), draw(130, np.float32)
made = []
for form in ("none", "tanh"):
    for operand in (x, x.T, x[:, ::2]):
        made += run(OPS["gelu"](form), operand)
        made += run(OPS["gelu_backward"](form), dy[: operand.shape[0], : operand.shape[1]].copy(), operand) \\
            if operand.shape[0] <= 37 else []
wide = np.concatenate([10 * x, 40 * x, 1e-3 * x, 1e-20 * x])
odd = np.array([[np.nan, 1, 2], [np.inf, 0, 1], [-np.inf, 0, 1], [200, 190, -200], [-200, -190, -210], [-0.0, 0, 1]],
               np.float32)
for operand in (wide, wide.T, odd):
    for name in ("tanh", "sigmoid", "silu"):
        made += run(OPS[name](), operand)
    made += run(OPS["silu_backward"](), np.ones_like(operand), np.where(np.isinf(operand), 0, operand))
    for form in ((1.0, 1.0, 1.0), (1.67, 1.05, 1.0), (0.5, 2.0, 0.3)):
        (y,) = run(OPS["elu"](*form), operand)
        made += [y, 1e4 * y * (np.abs(y) < 1e-4)]
        made += run(OPS["elu_backward"](*form, False), np.ones_like(operand), operand)
        made += run(OPS["elu_backward"](*form, True), np.ones_like(operand), y)
    for dim in (0, 1):
        (y,), (log_y,) = (run(OPS[name](dim), operand) for name in ("softmax", "log_softmax"))
        dy_of = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        made += [y, log_y, *run(OPS["softmax_backward"](dim), dy_of, y)]
        made += run(OPS["log_softmax_backward"](dim), dy_of, np.where(np.isinf(log_y), 0, log_y))
cubes = 3 * draw((2, 2, 64, 2, 5, 40), np.float32)
cubes[0, 0, 3, 0, 1, 2:4], cubes[1, 1, 5, 1, 2, 7], cubes[0, 1, 4, 1, 3, 9] = np.nan, np.inf, 90
for dim in range(4):
    for operand in (cubes[0, 0], cubes[0, 0, :, :, :, ::2], cubes[1, :, :32, 1], cubes[..., 1, :][1]):
        (y,), (log_y,) = (run(OPS[name](dim), operand) for name in ("softmax", "log_softmax"))
        made += [y, log_y]
        y, log_y = np.nan_to_num(y), np.nan_to_num(log_y)
        made += run(OPS["softmax_backward"](dim), operand, y) + run(OPS["log_softmax_backward"](dim), operand, log_y)
pixels = np.random.default_rng(1).integers(-3, 3, (2, 3, 20, 33)).astype(np.float32)
pixels[0, 0, :6, :6], pixels[1, 2, 5, 5], pixels[1, 1, 3, 3] = -np.inf, np.nan, np.inf
for window in [((3, 3), (2, 2), (1, 1), (1, 1)), ((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (1, 1), (1, 1), (2, 3)),
               ((1, 5), (1, 4), (0, 2), (1, 1)), ((4, 1), (3, 3), (2, 0), (1, 1)), ((2, 3), (2, 1), (1, 1), (3, 1))]:
    for images in (pixels, pixels[:, 1:, ::2], pixels[0], np.concatenate([pixels, pixels], -1)[..., 3:]):
        y, index = run(OPS["max_pool2d"](*window), images)
        share = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        made += [y, index]
        made += run_with([np.float32, np.int8], OPS["max_pool2d_backward"](images.shape, *window), share, index)
scalar = np.array(5, np.int32)
offsets = [np.arange(0, 7 * 900, 900, dtype=np.int32) + (1 << 30), np.array([0, 300, 600], np.int32),
           np.arange(300, dtype=np.int32) + (1 << 30)]
for axes in ([], offsets[:1], offsets):
    for dtype in (DType.F32, DType.BF16):
        made += run(OPS["uniform"](dtype), scalar, scalar, scalar, *axes)
    kept = [np.empty([len(axis) for axis in axes], np.bool_)]
    kinds = [TensorType(DType.F32, ()), *[TensorType(DType.I32, x.shape) for x in (scalar, scalar, scalar, *axes)]]
    words = [np.empty(t.shape, np.int32) for t in OPS["keep_mask"]().scratch(*kinds)]
    OPS["keep_mask"]().kernel(np.array(0.3, np.float32), scalar, scalar, scalar, *axes, *kept, *words)
    made += kept
table, rows = draw((2, 9, 3, 5), np.float32), np.random.default_rng(2)
for dim in (0, 1, 2, 3):
    extent = table.shape[dim]
    for layout in (table, np.concatenate([table, table], -1)[..., :5], table.T.copy().T):
        index = rows.integers(0, extent, 40).astype(np.int32)
        (taken,) = run(OPS["index_select"](dim), layout, index)
        made += [taken, *run(OPS["index_add"](dim, extent), taken, index), *run(OPS["cumsum"](dim), layout)]
        where = rows.integers(0, extent, [40 if axis == dim else n for axis, n in enumerate(table.shape)])
        made += run(OPS["gather"](dim), layout, where.astype(np.int32))
        for name in ("scatter", "scatter_add"):
            made += run(OPS[name](dim), layout, where.astype(np.int32), taken)
            made += run(OPS[name](dim), layout, where.astype(np.int32)[:1, :2], taken[:1, :2])
made += run(OPS["cumsum"](1), x) + run(OPS["cumsum"](1), x[:, ::-1]) + run(OPS["cumsum"](1), x.T)
signed = rows.integers(-90, 90, (6, 40, 70)).astype(np.int32)
for index in (signed, signed[0, 0], signed[:, :, 3:67], signed[:, ::2], signed[..., 0]):
    made += run(OPS["wrap_index"](extent=90), index)
    many = np.concatenate([index] * 40, 0)
    made += run(OPS["wrap_index"](extent=90), many)
    assert np.array_equal(made[-1], np.where(many < 0, many + 90, many))
heavy = draw((90, 40, 70), np.float32)
for layout in (heavy, heavy[:, :, 3:67], heavy.T.copy().T):
    where = signed[:, :, : layout.shape[2]] % 90
    made += run(OPS["gather"](0), layout, where) + run(OPS["scatter"](0), layout, where, layout[:6].copy())
    made += run(OPS["scatter_add"](0), layout, where, layout[:6].copy())
heavy[0, 0, 0], heavy[5, 7], heavy[8, :, 9] = np.nan, -np.inf, np.inf
for name in ("amax", "amin"):
    for dims in ((0,), (1,), (0, 1), (2,), (0, 2)):
        for layout in (heavy, heavy[:, :, 3:67], heavy.T.copy().T):
            made += run(OPS[name](dims, True), layout) + run(OPS[name](dims, False), layout)
logp, target = draw((5000, 7), np.float32), rows.integers(0, 7, 5000).astype(np.int32)
for ignored in (-100, 3, -1):
    target[::9] = ignored
    for layout in (logp, logp.T.copy().T):
        made += run(OPS["nll"](ignore_index=ignored), layout, target)
    target[::9] = 2
table = np.concatenate([draw((3, 4, 9, 20), np.float32)] * 2, 1)[:, :4]
many = rows.integers(0, 9, (5, 8)).astype(np.int32)
for dim in (1, 2):
    (taken,) = run(OPS["index_select"](dim), table, many % table.shape[dim])
    made += [taken, *run(OPS["index_add"](dim, table.shape[dim]), taken, many % table.shape[dim])]
halves = np.full((3, 4, 5, 16, 20), np.nan, np.float32)[:, :, :, :8]
OPS["index_select"](2).kernel(table, many, halves)
made += [halves]
line, index = draw(50, np.float32), rows.integers(0, 50, 40).astype(np.int32)
for name in ("scatter", "scatter_add"):
    made += run(OPS[name](0), line, index, line[:40].copy()) + run(OPS["gather"](0), line, index)
y, mean, rstd = run(OPS["layer_norm"](1, 1e-5), x + 3, gamma, beta)
made += [y, mean, rstd, *run(OPS["layer_norm_backward"](1), dy, x + 3, mean, rstd, gamma)]
np.savez(sys.argv[1], *made)
print("numba" in sys.modules)
"""


def results(folder: Path, native: str) -> tuple[bool, list[np.ndarray]]:
    """Whether numba was loaded, and what the operators made, in a process of their own."""
    path = folder / f"{native}.npz"
    environment = {**os.environ, "SNC_NATIVE": native}
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    with np.load(path) as made:
        return ran.stdout.strip() == "True", list(made.values())


def test_loops_equal_numpys_kernels(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    with_loops, fast = results(tmp_path, "1")
    with_numpy, plain = results(tmp_path, "0")
    assert with_loops and not with_numpy
    assert len(fast) == len(plain) > 10
    for one, other in zip(fast, plain):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_code_that_is_kept_is_named_after_all_sources(tmp_path: Path) -> None:
    """Numba looks at the file of a loop alone, but a loop takes functions from other files with it."""
    pytest.importorskip("numba")
    from ir.kernels.native.compiler import digest
    from ir.kernels.native.lines import spread

    assert spread.__qualname__.endswith(digest(ROOT / "ir/kernels"))
    kernels = tmp_path / "kernels"
    shutil.copytree(ROOT / "ir/kernels", kernels, ignore=shutil.ignore_patterns("__pycache__"))
    assert digest(kernels) == digest(ROOT / "ir/kernels")
    (kernels / "native/vectors.py").write_text("LANES = 4\n")
    assert digest(kernels) != digest(ROOT / "ir/kernels")
