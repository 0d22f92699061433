"""Layer normalisation and its gradient, row by row while a row is in the first-level cache; rows out of columns."""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled
from ir.kernels.native.products import pack
from ir.kernels.native.vectors import LANES
from ir.op import Array

F32 = np.float32
MATRIX, VECTOR = "float32[:,::1]", "float32[::1]"


@compiled(f"void({MATRIX}, {VECTOR}, {VECTOR}, float32, {MATRIX}, {VECTOR}, {VECTOR})", reassociates=True)
def normalise(x: Array, gamma: Array, beta: Array, eps: float, y: Array, mean: Array, rstd: Array) -> None:
    """y = (x - mean) * rstd * gamma + beta for every row of x."""
    rows, length = x.shape
    for row in range(rows):
        line, made = x[row], y[row]
        total = F32(0)
        for i in range(length):
            total += line[i]
        centre = total / F32(length)
        squares = F32(0)
        for i in range(length):
            squares += (line[i] - centre) * (line[i] - centre)
        scale = F32(1) / np.sqrt(squares / F32(length) + eps)
        mean[row], rstd[row] = centre, scale
        for i in range(length):
            made[i] = (line[i] - centre) * scale * gamma[i] + beta[i]


@compiled(
    f"void({MATRIX}, {MATRIX}, {VECTOR}, {VECTOR}, {VECTOR}, {MATRIX}, {VECTOR}, {VECTOR})",
    reassociates=True,
)
def normalise_gradient(
    dy: Array, x: Array, mean: Array, rstd: Array, gamma: Array, dx: Array, dgamma: Array, dbeta: Array
) -> None:
    """The gradients of x, gamma and beta; those of gamma and beta are added to what is there."""
    rows, length = x.shape
    for row in range(rows):
        given, line, made = dy[row], x[row], dx[row]
        centre, scale = mean[row], rstd[row]
        along, slope = F32(0), F32(0)
        for i in range(length):
            along += given[i] * gamma[i]
            slope += given[i] * gamma[i] * ((line[i] - centre) * scale)
        along, slope = along / F32(length), slope / F32(length)
        for i in range(length):
            normal = (line[i] - centre) * scale
            made[i] = scale * (given[i] * gamma[i] - along - normal * slope)
        for i in range(length):
            dgamma[i] += given[i] * ((line[i] - centre) * scale)
        for i in range(length):
            dbeta[i] += given[i]


@compiled("void(float32[:,:], int64)")
def turn(x: Array, out: int) -> None:
    """x [rows, length], whose columns are contiguous, as contiguous rows at the address `out`, which must have `LANES`
    elements behind them: the last columns come first, and what they write beyond their row is written over."""
    rows, length = x.shape
    step = x.strides[1] // 4
    for start in range((length - 1) // LANES * LANES, -1, -LANES):
        pack(x.ctypes.data + 4 * step * start, 1, step, min(LANES, length - start), rows, out + 4 * start, length)
