"""The transforms of Winograd's F(2 x 2, 3 x 3), a vector of tiles at a time (`ir/kernels/winograd.py`).

A plane holds one of the 16 elements of every transformed tile: channel by channel, image by image, row by row of tiles.
Vectors are written whole, in this order, so that what one writes beyond its row of tiles the next one overwrites; a
plane has `LANES` elements behind its last channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir as llvm

from ir.kernels.native.compiler import compiled
from ir.kernels.native.products import copy_part
from ir.kernels.native.vectors import (
    BIT,
    LANE_NUMBERS,
    LANES,
    MASK,
    WORD,
    below,
    emitted,
    instruction,
    load,
    masked_load,
    splat,
    store,
    store_part,
)
from ir.op import Array

IMAGES = "float32[:,:,:,:]"
PLACES = 16


def _offset(b: llvm.IRBuilder, start: Any, step: Any, number: int) -> Any:
    return b.add(start, b.mul(step, WORD(number)))


def _halves(b: llvm.IRBuilder, first: Any, second: Any) -> list[Any]:
    """The elements of even and of odd number of two vectors that follow one another."""
    return [
        b.shuffle_vector(first, second, llvm.Constant(LANE_NUMBERS, [2 * lane + odd for lane in range(LANES)]))
        for odd in (0, 1)
    ]


def _emit_pixels(b: llvm.IRBuilder, values: list[Any]) -> None:
    """B^T x B of `LANES` tiles side by side, from the rows of pixels that begin at `source`."""
    source, row_step, target, plane_step = values
    across = []
    for row in range(4):
        start = _offset(b, source, row_step, row)
        vectors = [load(b, b.add(start, WORD(4 * at))) for at in (0, LANES, 2, LANES + 2)]
        p0, p1 = _halves(b, *vectors[:2])
        p2, p3 = _halves(b, *vectors[2:])
        across.append([b.fsub(p0, p2), b.fadd(p1, p2), b.fsub(p2, p1), b.fsub(p1, p3)])
    for column in range(4):
        p0, p1, p2, p3 = (across[row][column] for row in range(4))
        for row, made in enumerate((b.fsub(p0, p2), b.fadd(p1, p2), b.fsub(p2, p1), b.fsub(p1, p3))):
            store(b, made, _offset(b, target, plane_step, 4 * row + column))


def _emit_gradient(b: llvm.IRBuilder, values: list[Any]) -> None:
    """A dY A^T of `LANES` tiles side by side: `columns` results in each of their rows, the second only if `has_two`."""
    source, row_step, columns, has_two, target, plane_step = values
    rows = []
    for row in range(2):
        start = _offset(b, source, row_step, row)
        masks = [below(b, columns), below(b, b.sub(columns, WORD(LANES)))]
        if row:
            masks = [b.and_(mask, splat(b, b.trunc(has_two, BIT), MASK)) for mask in masks]
        vectors = [masked_load(b, b.add(start, WORD(4 * LANES * part)), mask) for part, mask in enumerate(masks)]
        rows.append(_halves(b, *vectors))
    upper, lower = rows
    down = [
        upper,
        [b.fadd(one, other) for one, other in zip(upper, lower)],
        [b.fsub(one, other) for one, other in zip(upper, lower)],
        [b.fneg(one) for one in lower],
    ]
    for row, (even, odd) in enumerate(down):
        for column, made in enumerate((even, b.fadd(even, odd), b.fsub(even, odd), b.fneg(odd))):
            store(b, made, _offset(b, target, plane_step, 4 * row + column))


def _emit_results(b: llvm.IRBuilder, values: list[Any]) -> None:
    """A^T M A of `LANES` tiles side by side: `columns` results in each of their rows, the second only if `has_two`."""
    source, plane_step, target, row_step, columns, has_two = values
    down: list[list[Any]] = [[], []]
    for column in range(4):
        m0, m1, m2, m3 = (load(b, _offset(b, source, plane_step, 4 * row + column)) for row in range(4))
        down[0].append(b.fadd(b.fadd(m0, m1), m2))
        down[1].append(b.fsub(b.fsub(m1, m2), m3))
    for row, (m0, m1, m2, m3) in enumerate(down):
        even, odd = b.fadd(b.fadd(m0, m1), m2), b.fsub(b.fsub(m1, m2), m3)
        start = _offset(b, target, row_step, row)
        present = b.mul(columns, has_two) if row else columns
        for part in range(2):
            lanes = [lane + half for lane in range(part * LANES // 2, (part + 1) * LANES // 2) for half in (0, LANES)]
            made = b.shuffle_vector(even, odd, llvm.Constant(LANE_NUMBERS, lanes))
            store_part(b, made, b.add(start, WORD(4 * LANES * part)), b.sub(present, WORD(LANES * part)))


@instruction
def _pixels(typing, source, row_step, target, plane_step):  # type: ignore[no-untyped-def]
    return emitted(4, _emit_pixels)


@instruction
def _gradient(typing, source, row_step, columns, has_two, target, plane_step):  # type: ignore[no-untyped-def]
    return emitted(6, _emit_gradient)


@instruction
def _results(typing, source, plane_step, target, row_step, columns, has_two):  # type: ignore[no-untyped-def]
    return emitted(6, _emit_results)


@compiled(f"void({IMAGES}, int64, int64, int64, int64, int64, float32[:,::1], float32[:,::1])")
def transform_pixels(
    x: Array, top: int, left: int, first: int, rows: int, columns: int, planes: Array, lines: Array
) -> None:
    """B^T x B of the tile rows `first` to `first + rows`, of `columns` tiles, of images x [n, c, h, w] that are padded
    by `top` and `left`, into planes. `lines` is temporary memory for the padded pixels that they read of one channel:
    2 * rows + 2 rows of any pitch from 2 * (`columns` + `LANES`) on. Rows of x are contiguous."""
    images, channels, height, width = x.shape
    pitch, plane_step = 4 * lines.shape[1], 4 * planes.shape[1]
    lines[:] = 0
    start = lines.ctypes.data
    target = planes.ctypes.data
    for channel in range(channels):
        for image in range(images):
            source = x[image, channel].ctypes.data
            for row in range(2 * rows + 2):
                at = 2 * first + row - top
                if at < 0 or at >= height:
                    lines[row, left : left + width] = 0
                    continue
                line, read = start + row * pitch + 4 * left, source + at * x.strides[2]
                for i in range(0, width, LANES):
                    copy_part(read + 4 * i, min(LANES, width - i), line + 4 * i)
            for row in range(rows):
                for tile in range(0, columns, LANES):
                    _pixels(start + 2 * row * pitch + 8 * tile, pitch, target + 4 * tile, plane_step)
                target += 4 * columns


@compiled(f"void(float32[:,::1], {IMAGES}, int64, int64, int64)")
def transform_results(planes: Array, y: Array, first: int, rows: int, columns: int) -> None:
    """A^T M A: the results y [n, c, h, w] of tile rows from planes. Rows of y are contiguous."""
    images, channels, height, width = y.shape
    plane_step, step = 4 * planes.shape[1], y.strides[2]
    source = planes.ctypes.data
    for channel in range(channels):
        for image in range(images):
            target = y[image, channel].ctypes.data + 2 * first * step
            for row in range(rows):
                has_two = 1 if 2 * (first + row) + 1 < height else 0
                for tile in range(0, columns, LANES):
                    _results(source + 4 * tile, plane_step, target + 8 * tile, step, width - 2 * tile, has_two)
                source += 4 * columns
                target += 2 * step


@compiled(f"void({IMAGES}, int64, int64, int64, float32[:,::1])")
def transform_gradient(dy: Array, first: int, rows: int, columns: int, planes: Array) -> None:
    """A dY A^T of tile rows of the result's gradient dy [n, c, h, w] into planes. Rows of dy are contiguous."""
    images, channels, height, width = dy.shape
    plane_step, step = 4 * planes.shape[1], dy.strides[2]
    target = planes.ctypes.data
    for channel in range(channels):
        for image in range(images):
            source = dy[image, channel].ctypes.data + 2 * first * step
            for row in range(rows):
                has_two = 1 if 2 * (first + row) + 1 < height else 0
                for tile in range(0, columns, LANES):
                    _gradient(source + 8 * tile, step, width - 2 * tile, has_two, target + 4 * tile, plane_step)
                target += 4 * columns
                source += 2 * step


@compiled("void(float32[:,:,:,::1], int64[::1], float32[:,:,::1])")
def transform_weight(w: Array, order: Array, out: Array) -> None:
    """G w G^T of a weight [co, ci, 3, 3] into out [16, co, ci], its element i at the place `order[i]`."""
    outputs, inputs, _, _ = w.shape
    half = np.float32(0.5)
    # Places of one weight are apart in `out`, often by a power of two, and would drive each other out of the cache.
    made = np.empty((PLACES, inputs + 16), np.float32)
    for output in range(outputs):
        for place in range(inputs):
            kernel = w[output, place]
            for column in range(3):
                above, inside, under = kernel[0, column], half * kernel[1, column], kernel[2, column]
                outer = half * (above + under)
                made[column, place] = above
                made[4 + column, place] = outer + inside
                made[8 + column, place] = outer - inside
                made[12 + column, place] = under
        for row in range(4):
            first, second, third, fourth = made[4 * row], made[4 * row + 1], made[4 * row + 2], made[4 * row + 3]
            for place in range(inputs):
                outer, inside = half * (first[place] + third[place]), half * second[place]
                fourth[place] = third[place]
                second[place] = outer + inside
                third[place] = outer - inside
        for place in range(PLACES):
            out[order[place], output] = made[place, :inputs]
