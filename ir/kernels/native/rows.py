"""Layer normalisation, softmax and their gradients, and running sums, row by row, while a row is in the first-level
cache; and columns turned into rows."""

from __future__ import annotations

import numba
import numpy as np

from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.elementwise import as_float, exp
from ir.kernels.native.products import pack
from ir.kernels.native.vectors import LANES, floats_at
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


@compiled(f"float32({VECTOR})", reassociates=True)
def _sum(x: Array) -> np.float32:
    total = F32(0)
    for i in range(len(x)):
        total += x[i]
    return total  # type: ignore[no-any-return]


@compiled(f"float32({VECTOR}, {VECTOR})", reassociates=True)
def _dot(x: Array, y: Array) -> np.float32:
    total = F32(0)
    for i in range(len(x)):
        total += x[i] * y[i]
    return total  # type: ignore[no-any-return]


@compiled(f"float32({VECTOR})")
def _maximum(x: Array) -> np.float32:
    """The largest element, or some NaN where there are any: found as the largest of integers in the same order, which
    is a loop over vectors. A comparison of floats, which NaN takes part in, is not."""
    bits = x.view(np.int32)
    top = np.int32(-(2**31))
    for i in range(len(bits)):
        top = max(top, np.int32(bits[i] ^ ((bits[i] >> 31) & 0x7FFFFFFF)))
    return as_float(np.int32(top ^ ((top >> 31) & 0x7FFFFFFF)))  # type: ignore[call-arg]


@compiled(f"void({VECTOR}, float32, {VECTOR})")
def _exponentials(x: Array, shift: np.float32, out: Array) -> None:
    for i in range(len(x)):
        centred = x[i] - shift
        made = exp(centred)
        out[i] = made if centred == centred else centred


@compiled(f"Tuple((float32, float32))({VECTOR}, float32, float32, {VECTOR})")
def _exponentials_and_sum(x: Array, least: float, most: float, out: Array) -> tuple[np.float32, np.float32]:
    """exp(x - shift), the shift and the sum: the shift is 0 where the sum then lies between `least` and `most`, else
    the maximum."""
    shift = F32(0)
    _exponentials(x, shift, out)
    total = _sum(out)
    if not (total > least and total < most):
        shift = _maximum(x)
        _exponentials(x, shift, out)
        total = _sum(out)
    return shift, total


@compiled(f"void({MATRIX}, float32, float32, {MATRIX})")
def softmax(x: Array, least: float, most: float, out: Array) -> None:
    """exp(x) / sum(exp(x)) for every row of x; see `_exponentials_and_sum`."""
    for row in range(len(x)):
        made = out[row]
        _, total = _exponentials_and_sum(x[row], least, most, made)
        share = F32(1) / total
        for i in range(len(made)):
            made[i] *= share


@compiled(f"void({MATRIX}, float32, float32, {VECTOR}, {MATRIX})")
def log_softmax(x: Array, least: float, most: float, exponential: Array, out: Array) -> None:
    """x - log(sum(exp(x))) for every row of x; `exponential` is temporary memory for a row."""
    for row in range(len(x)):
        line, made = x[row], out[row]
        shift, total = _exponentials_and_sum(line, least, most, exponential)
        logarithm = np.log(total)
        for i in range(len(made)):
            made[i] = (line[i] - shift) - logarithm


@compiled(f"void({MATRIX}, {MATRIX}, {MATRIX})")
def softmax_gradient(dy: Array, y: Array, out: Array) -> None:
    """y * (dy - sum(dy * y)) for every row."""
    for row in range(len(y)):
        given, line, made = dy[row], y[row], out[row]
        total = _dot(given, line)
        for i in range(len(made)):
            made[i] = line[i] * (given[i] - total)


@compiled(f"void({MATRIX}, {MATRIX}, {MATRIX})")
def log_softmax_gradient(dy: Array, y: Array, out: Array) -> None:
    """dy - exp(y) * sum(dy) for every row."""
    for row in range(len(y)):
        given, line, made = dy[row], y[row], out[row]
        total = _sum(given)
        for i in range(len(made)):
            share = exp(line[i]) if line[i] == line[i] else line[i]
            made[i] = given[i] - share * total


NOTHING = F32(-0.0)
"""Any number can be added to it and stays what it is, even a negative zero."""


@inlined
def _matrix(address: int, rows: int, length: int) -> Array:
    matrix: Array = numba.carray(floats_at(address), (rows, length))  # type: ignore[attr-defined]
    return matrix


PARTS = "int64[:,::1], int64, int64"
"""The addresses of parts, a row for every array, then the extents that all parts have."""


@compiled(f"void({PARTS}, float32, float32)")
def softmax_parts(places: Array, rows: int, length: int, least: float, most: float) -> None:
    """`softmax` of every part."""
    for part in range(places.shape[1]):
        x, out = _matrix(places[0, part], rows, length), _matrix(places[1, part], rows, length)
        softmax(x, least, most, out)


@compiled(f"void({PARTS}, float32, float32)")
def log_softmax_parts(places: Array, rows: int, length: int, least: float, most: float) -> None:
    """`log_softmax` of every part."""
    exponential = np.empty(length, np.float32)
    for part in range(places.shape[1]):
        x, out = _matrix(places[0, part], rows, length), _matrix(places[1, part], rows, length)
        log_softmax(x, least, most, exponential, out)


@compiled(f"void({PARTS})")
def softmax_gradient_parts(places: Array, rows: int, length: int) -> None:
    """`softmax_gradient` of every part."""
    for part in range(places.shape[1]):
        dy, y = _matrix(places[0, part], rows, length), _matrix(places[1, part], rows, length)
        softmax_gradient(dy, y, _matrix(places[2, part], rows, length))


@compiled(f"void({PARTS})")
def log_softmax_gradient_parts(places: Array, rows: int, length: int) -> None:
    """`log_softmax_gradient` of every part."""
    for part in range(places.shape[1]):
        dy, y = _matrix(places[0, part], rows, length), _matrix(places[1, part], rows, length)
        log_softmax_gradient(dy, y, _matrix(places[2, part], rows, length))


AT_ONCE = 8
"""Rows whose running sums are made side by side: a single row would wait for each addition before the next."""


@compiled("void(float32[:,:], float32[:,:])", fuses=False)
def running_sums(x: Array, out: Array) -> None:
    """The sum of all elements of a row up to each, for every row."""
    rows, length = x.shape
    totals = np.empty(AT_ONCE, np.float32)
    for first in range(0, rows, AT_ONCE):
        if first + AT_ONCE <= rows:
            for row in range(AT_ONCE):
                totals[row] = NOTHING
            for i in range(length):
                for row in range(AT_ONCE):
                    totals[row] += x[first + row, i]
                    out[first + row, i] = totals[row]
        else:
            for row in range(first, rows):
                total = NOTHING
                for i in range(length):
                    total += x[row, i]
                    out[row, i] = total


@compiled("void(float32[:,:], int64)")
def turn(x: Array, out: int) -> None:
    """Copy x [rows, length], whose columns are contiguous, as contiguous rows to the address `out`. There must be
    memory for `LANES` elements behind them: the last columns are copied first, and what they write beyond their row is
    written over by those before."""
    rows, length = x.shape
    step = x.strides[1] // 4
    for start in range((length - 1) // LANES * LANES, -1, -LANES):
        pack(x.ctypes.data + 4 * step * start, 1, step, min(LANES, length - start), rows, out + 4 * start, length)
