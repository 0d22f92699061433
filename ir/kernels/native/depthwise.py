"""Convolution of every channel by itself, a channel of an image at a time (`ir/kernels/depthwise.py`).

A channel is laid out by residues of the stride (`ir/kernels/residues.py`), where a position of the window is a shift of
a whole line. A sum over positions keeps `VECTORS` vectors of results in registers, and so goes once over the results,
whatever the window. A channel stays in the first-level cache for all positions.

Vectors go to the end of the last one: lines have `LOOP_SLACK` elements behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir as llvm

from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.lines import copy_row, place_row
from ir.kernels.native.vectors import (
    FLOAT,
    INT,
    LANES,
    VECTOR,
    WORD,
    ZERO,
    emitted,
    fma,
    instruction,
    load,
    splat,
    store,
)
from ir.op import Array

VECTORS = 8
"""Vectors of results that are summed at once."""
STRETCH = VECTORS * LANES
IMAGES, WEIGHT, NUMBERS = "float32[:,:,:,:]", "float32[:,::1]", "int64[::1]"
SIZES = f"{NUMBERS}, {NUMBERS}"
SCRATCH = "float32[::1], float32[::1]"


def _word_at(b: llvm.IRBuilder, address: Any) -> Any:
    return b.load(b.inttoptr(address, WORD.as_pointer()))


def _looped(b: llvm.IRBuilder, count: Any, emit_body: Any, totals: list[Any]) -> list[Any]:
    """`emit_body(number, totals)`, which gives new totals, for every number below `count`, which is not 0."""
    before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
    b.branch(loop)
    b.position_at_end(loop)
    number, sums = b.phi(WORD), [b.phi(total.type) for total in totals]
    made: list[Any] = emit_body(number, sums)
    following = b.add(number, WORD(1))
    for phi, first, new in [(number, WORD(0), following), *zip(sums, totals, made)]:
        phi.add_incoming(first, before)
        phi.add_incoming(new, b.block)
    b.cbranch(b.icmp_signed("<", following, count), loop, after)
    b.position_at_end(after)
    return made


def _by_vectors(b: llvm.IRBuilder, elements: Any, emit_for: Callable[[int], None]) -> None:
    """`emit_for(vectors)` for as many vectors as hold so many elements, at most `VECTORS`."""
    vectors = b.sdiv(b.add(elements, WORD(LANES - 1)), WORD(LANES))
    end, most = b.append_basic_block("end"), b.append_basic_block("most")
    choice = b.switch(b.trunc(vectors, INT), most)
    for count in range(1, VECTORS + 1):
        block = most
        if count < VECTORS:
            block = b.append_basic_block(f"vectors{count}")
            choice.add_case(INT(count), block)
        b.position_at_end(block)
        emit_for(count)
        b.branch(end)
    b.position_at_end(end)


def _emit_sum(b: llvm.IRBuilder, values: list[Any]) -> None:
    """`elements` results, or `STRETCH` where they are more: the sum over positions of weight times what lies `table`
    bytes behind the source. `order` has the position's place in the weight."""
    elements, *others = values
    _by_vectors(b, elements, lambda vectors: _emit_sums(b, others, vectors))


def _emit_sums(b: llvm.IRBuilder, values: list[Any], vectors: int) -> None:
    source, table, order, count, weight, target = values

    def add_position(number: Any, totals: list[Any]) -> list[Any]:
        line = b.add(source, _word_at(b, b.add(table, b.mul(number, WORD(8)))))
        place = b.mul(_word_at(b, b.add(order, b.mul(number, WORD(8)))), WORD(4))
        factor = splat(b, b.load(b.inttoptr(b.add(weight, place), FLOAT.as_pointer()), align=4), VECTOR)
        return [
            fma(b, factor, load(b, b.add(line, WORD(4 * LANES * part))), total) for part, total in enumerate(totals)
        ]

    for part, total in enumerate(_looped(b, count, add_position, [ZERO] * vectors)):
        store(b, total, b.add(target, WORD(4 * LANES * part)))


def _emit_products(b: llvm.IRBuilder, values: list[Any]) -> None:
    """For every position, a vector of sums grows by `elements` that are given, or `STRETCH` where they are more, times
    what lies `table` bytes behind the source."""
    elements, *others = values
    _by_vectors(b, elements, lambda vectors: _emit_shares(b, others, vectors))


def _emit_shares(b: llvm.IRBuilder, values: list[Any], vectors: int) -> None:
    given, source, table, count, sums = values
    factors = [load(b, b.add(given, WORD(4 * LANES * part))) for part in range(vectors)]

    def add_position(number: Any, _: list[Any]) -> list[Any]:
        line = b.add(source, _word_at(b, b.add(table, b.mul(number, WORD(8)))))
        place = b.add(sums, b.mul(number, WORD(4 * LANES)))
        shares = [load(b, place), ZERO, ZERO, ZERO]
        for part, factor in enumerate(factors):
            shares[part % 4] = fma(b, factor, load(b, b.add(line, WORD(4 * LANES * part))), shares[part % 4])
        store(b, b.fadd(b.fadd(shares[0], shares[1]), b.fadd(shares[2], shares[3])), place)
        return []

    _looped(b, count, add_position, [])


@instruction
def _sum(typing, elements, source, table, order, count, weight, target):  # type: ignore[no-untyped-def]
    return emitted(7, _emit_sum)


@instruction
def _products(typing, elements, given, source, table, count, sums):  # type: ignore[no-untyped-def]
    return emitted(6, _emit_products)


@inlined
def _spread(image: Array, sizes: Array, lines: Array, front: int) -> None:
    """An image [h, w] in residues, `front` elements into `lines`; sizes are stride, padding and grid, each down and
    across. What is about the images must be zero already."""
    down, across, top, left, rows, pitch = sizes
    height, width = image.shape
    step, start = image.strides[1] // 4, lines.ctypes.data + 4 * front
    for row in range(height):
        below, residue = divmod(row + top, down)
        source = image.ctypes.data + row * image.strides[0]
        for column_residue in range(across):
            first = (column_residue - left) % across
            if first < width:
                place = (residue * across + column_residue) * rows * pitch + below * pitch + (first + left) // across
                count = (width - first + across - 1) // across
                copy_row(source + 4 * step * first, step * across, count, start + 4 * place)


@inlined
def _collect(lines: Array, sizes: Array, image: Array) -> None:
    """The image that residues hold."""
    down, across, top, left, rows, pitch = sizes
    height, width = image.shape
    step = image.strides[1] // 4
    for row in range(height):
        below, residue = divmod(row + top, down)
        target = image.ctypes.data + row * image.strides[0]
        for column_residue in range(across):
            first = (column_residue - left) % across
            if first < width:
                place = (residue * across + column_residue) * rows * pitch + below * pitch + (first + left) // across
                count = (width - first + across - 1) // across
                place_row(lines.ctypes.data + 4 * place, count, target + 4 * step * first, step * across)


@inlined
def _lay_out(windows: Array, pitch: int, line: Array, front: int) -> None:
    """One number per window [oh, ow] on the grid, `front` elements into the line, whose other elements are zero."""
    step = windows.strides[1] // 4
    for row in range(windows.shape[0]):
        source = windows.ctypes.data + row * windows.strides[0]
        copy_row(source, step, windows.shape[1], line.ctypes.data + 4 * (front + row * pitch))


@compiled(f"void({IMAGES}, {WEIGHT}, {IMAGES}, {SIZES}, {SCRATCH})")
def convolve(x: Array, w: Array, y: Array, table: Array, sizes: Array, lines: Array, total: Array) -> None:
    """Images x [n, c, h, w] convolved with w [c, positions] into y [n, c, oh, ow]."""
    images, channels, height, width = y.shape
    pitch = sizes[5]
    count = (height - 1) * pitch + width
    order = np.arange(len(table))
    lines[:] = 0
    for channel in range(channels):
        weight = w[channel].ctypes.data
        for image in range(images):
            _spread(x[image, channel], sizes, lines, 0)
            for start in range(0, count, STRETCH):
                _sum(
                    count - start, lines.ctypes.data + 4 * start, table.ctypes.data, order.ctypes.data, len(table),
                    weight, total.ctypes.data + 4 * start,
                )  # fmt: skip
            for row in range(height):
                target = y[image, channel, row].ctypes.data
                place_row(total.ctypes.data + 4 * row * pitch, width, target, y.strides[3] // 4)


@compiled(f"void({IMAGES}, {WEIGHT}, {IMAGES}, {NUMBERS}, {SIZES}, int64, {SCRATCH})")
def input_gradient(
    dy: Array, w: Array, dx: Array, order: Array, table: Array, sizes: Array, front: int, lines: Array, given: Array
) -> None:
    """The gradient dx of the images, from dy of the result.

    A pixel of a residue sums over the positions that read it: `order` and `table` have the positions, residue by
    residue, and behind them where each residue's begin. `given` has `front` zeros before the windows, which positions
    look back to.
    """
    images, channels, _, _ = dy.shape
    down, across, _, _, rows, pitch = sizes
    pixels = rows * pitch
    given[:] = 0
    positions = len(table)
    for channel in range(channels):
        weight = w[channel].ctypes.data
        for image in range(images):
            _lay_out(dy[image, channel], pitch, given, front)
            for residue in range(down * across):
                first, last = order[positions + residue], order[positions + residue + 1]
                target = lines.ctypes.data + 4 * residue * pixels
                if first == last:
                    lines[residue * pixels : (residue + 1) * pixels] = 0
                    continue
                for start in range(0, pixels, STRETCH):
                    _sum(
                        pixels - start, given.ctypes.data + 4 * (front + start), table.ctypes.data + 8 * first,
                        order.ctypes.data + 8 * first, last - first, weight, target + 4 * start,
                    )  # fmt: skip
            _collect(lines, sizes, dx[image, channel])


@compiled(f"void({IMAGES}, {IMAGES}, {WEIGHT}, {SIZES}, {SCRATCH})")
def weight_gradient(dy: Array, x: Array, dw: Array, table: Array, sizes: Array, lines: Array, given: Array) -> None:
    """The gradient dw [c, positions] of the weight, from dy of the result: each a sum of `LANES` sums."""
    images, channels, height, width = dy.shape
    pitch = sizes[5]
    count = (height - 1) * pitch + width
    sums = np.empty((len(table), LANES), np.float32)
    lines[:] = 0
    given[:] = 0
    for channel in range(channels):
        sums[:] = 0
        for image in range(images):
            _spread(x[image, channel], sizes, lines, 0)
            _lay_out(dy[image, channel], pitch, given, 0)
            for start in range(0, count, STRETCH):
                _products(
                    count - start, given.ctypes.data + 4 * start, lines.ctypes.data + 4 * start, table.ctypes.data,
                    len(table), sums.ctypes.data,
                )  # fmt: skip
        for position in range(len(table)):
            share = np.float32(0)
            for lane in range(LANES):
                share += sums[position, lane]
            dw[channel, position] = share
