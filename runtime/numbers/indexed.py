"""Rows of device memory by index: what streams with an index move."""

from __future__ import annotations

import numpy as np

from ir.kernels.places import check_index, run_loop
from ir.op import Array
from ir.rounding import narrow, widen


def gather(symbol: Array, rows: Array, axis: int, target: Array) -> None:
    """Fill `target` with the slices of the symbol along `axis` that `rows` names, widened where its type is another."""
    check_index(rows, symbol.shape[axis])
    if run_loop("take", axis, symbol, rows.reshape(-1), target, (1, rows.ndim)):
        return
    picked = np.take(symbol, rows, axis=axis, mode="clip")
    if symbol.dtype == np.uint16:
        widen(picked, target)
    else:
        np.copyto(target, picked)


def scatter(symbol: Array, rows: Array, axis: int, source: Array) -> None:
    """Write the slices of `source` over those of the symbol along `axis` that `rows` names: of several, the last."""
    check_index(rows, symbol.shape[axis])
    moved = source
    if symbol.dtype == np.uint16:
        moved = np.empty(source.shape, np.uint16)
        narrow(source, moved)
    np.moveaxis(symbol, axis, 0)[rows] = np.moveaxis(moved, axis, 0)
