"""Softmax, its logarithm, their gradients, and the largest or smallest elements, along the middle one of three axes.

Columns are taken by blocks: as many at a time as stay in the first-level cache with the numbers kept for each.
"""

from __future__ import annotations

import numpy as np

from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.elementwise import exp
from ir.kernels.native.vectors import line_at
from ir.op import Array

F32 = np.float32
ARRAYS, LINE = "float32[:,:,:]", "float32[::1]"
BLOCK = 256
"""Columns of a block."""
LONG_BLOCK = 2048
"""The same where one number is kept for each, and nothing else is read again."""


@inlined
def _row(x: Array, outer: int, number: int, first: int, count: int) -> Array:
    """The elements of one row that are in a block: neighbours in memory."""
    line: Array = line_at(x.ctypes.data + outer * x.strides[0] + number * x.strides[1] + 4 * first, count)
    return line


@inlined
def _extrema(x: Array, outer: int, first: int, top: Array, is_largest: bool) -> None:
    """The largest, or the smallest, element of each column; NaN where one is."""
    line = _row(x, outer, 0, first, len(top))
    for i in range(len(top)):
        top[i] = line[i]
    for number in range(1, x.shape[1]):
        line = _row(x, outer, number, first, len(top))
        if is_largest:
            for i in range(len(top)):
                value, most = line[i], top[i]
                larger = value if value > most else most
                top[i] = larger if value == value else value
        else:
            for i in range(len(top)):
                value, least = line[i], top[i]
                smaller = value if value < least else least
                top[i] = smaller if value == value else value


@compiled(f"void({ARRAYS}, boolean, float32[:,:])")
def extrema(x: Array, is_largest: bool, out: Array) -> None:
    """The largest, or the smallest, element of each column; NaN where one is. Rows of out are contiguous."""
    for outer in range(x.shape[0]):
        for first in range(0, x.shape[2], LONG_BLOCK):
            count = min(LONG_BLOCK, x.shape[2] - first)
            top = line_at(out.ctypes.data + outer * out.strides[0] + 4 * first, count)
            _extrema(x, outer, first, top, is_largest)


@compiled(f"void({LINE}, {LINE}, {LINE}, {LINE})")
def _add_exponentials(x: Array, top: Array, made: Array, total: Array) -> None:
    """exp(x - top) of a row; also added to the sum of each column."""
    for i in range(len(x)):
        centred = x[i] - top[i]
        share = exp(centred)
        share = share if centred == centred else centred
        made[i] = share
        total[i] += share


@compiled(f"void({ARRAYS}, {ARRAYS})")
def softmax(x: Array, out: Array) -> None:
    """exp(x - max) / sum(exp(x - max)) for every column of x."""
    tops, totals = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for outer in range(x.shape[0]):
        for first in range(0, x.shape[2], BLOCK):
            count = min(BLOCK, x.shape[2] - first)
            top, total = tops[:count], totals[:count]
            _extrema(x, outer, first, top, True)
            total[:] = 0
            for number in range(x.shape[1]):
                line, made = _row(x, outer, number, first, count), _row(out, outer, number, first, count)
                _add_exponentials(line, top, made, total)
            for i in range(count):
                total[i] = F32(1) / total[i]
            for number in range(x.shape[1]):
                made = _row(out, outer, number, first, count)
                for i in range(count):
                    made[i] *= total[i]


@compiled(f"void({ARRAYS}, {ARRAYS})")
def log_softmax(x: Array, out: Array) -> None:
    """x - max - log(sum(exp(x - max))) for every column of x."""
    tops, totals, shares = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for outer in range(x.shape[0]):
        for first in range(0, x.shape[2], BLOCK):
            count = min(BLOCK, x.shape[2] - first)
            top, total = tops[:count], totals[:count]
            _extrema(x, outer, first, top, True)
            total[:] = 0
            for number in range(x.shape[1]):
                _add_exponentials(_row(x, outer, number, first, count), top, shares[:count], total)
            for i in range(count):
                total[i] = np.log(total[i])
            for number in range(x.shape[1]):
                line, made = _row(x, outer, number, first, count), _row(out, outer, number, first, count)
                for i in range(count):
                    made[i] = (line[i] - top[i]) - total[i]


@compiled(f"void({ARRAYS}, {ARRAYS}, {ARRAYS})")
def softmax_gradient(dy: Array, y: Array, out: Array) -> None:
    """y * (dy - sum(dy * y)) for every column."""
    totals = np.empty(BLOCK, np.float32)
    for outer in range(y.shape[0]):
        for first in range(0, y.shape[2], BLOCK):
            count = min(BLOCK, y.shape[2] - first)
            total = totals[:count]
            total[:] = 0
            for number in range(y.shape[1]):
                given, line = _row(dy, outer, number, first, count), _row(y, outer, number, first, count)
                for i in range(count):
                    total[i] += given[i] * line[i]
            for number in range(y.shape[1]):
                given, line = _row(dy, outer, number, first, count), _row(y, outer, number, first, count)
                made = _row(out, outer, number, first, count)
                for i in range(count):
                    made[i] = line[i] * (given[i] - total[i])


@compiled(f"void({ARRAYS}, {ARRAYS}, {ARRAYS})")
def log_softmax_gradient(dy: Array, y: Array, out: Array) -> None:
    """dy - exp(y) * sum(dy) for every column."""
    totals = np.empty(BLOCK, np.float32)
    for outer in range(y.shape[0]):
        for first in range(0, y.shape[2], BLOCK):
            count = min(BLOCK, y.shape[2] - first)
            total = totals[:count]
            total[:] = 0
            for number in range(y.shape[1]):
                given = _row(dy, outer, number, first, count)
                for i in range(count):
                    total[i] += given[i]
            for number in range(y.shape[1]):
                given, line = _row(dy, outer, number, first, count), _row(y, outer, number, first, count)
                made = _row(out, outer, number, first, count)
                for i in range(count):
                    share = exp(line[i])
                    made[i] = given[i] - (share if line[i] == line[i] else line[i]) * total[i]
