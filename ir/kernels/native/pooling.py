"""The largest elements of windows and where they are, straight from the images; and shares put where those are.

`LANES` windows side by side are compared at once: what is found stays in registers for all positions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir as llvm
from numba.core import cgutils

from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.vectors import (
    FLOAT,
    INT,
    LANE_NUMBERS,
    LANES,
    VECTOR,
    WORD,
    called,
    clear_bytes,
    emitted,
    instruction,
    load,
    splat,
    store,
    vector_at,
)
from ir.op import Array

IMAGES, PLACES, PAIR = "float32[:,:,:,:]", "int8[:,:,:,:]", "UniTuple(int64, 2)"
OUTSIDE = 1 << 40
"""A column of no image."""
LOWEST = llvm.Constant(VECTOR, [-math.inf] * LANES)
NUMBERS = llvm.Constant(LANE_NUMBERS, list(range(LANES)))
EVEN = llvm.Constant(LANE_NUMBERS, [2 * lane for lane in range(LANES)])
WORDS = llvm.VectorType(WORD, LANES)
POINTERS = llvm.VectorType(FLOAT.as_pointer(), LANES)


def _side_by_side(b: llvm.IRBuilder, row: Any, column: Any, width: Any) -> Any:
    """Elements of a row from this column on, minus infinity where it has none; `width` is None where it has all."""
    address = b.add(row, b.mul(column, WORD(4)))
    if width is None:
        return load(b, address)
    inside = _below(b, b.add(splat(b, b.trunc(column, INT), LANE_NUMBERS), NUMBERS), width)
    return called(b, f"llvm.masked.load.v{LANES}f32.p0", VECTOR, [vector_at(b, address), INT(4), inside, LOWEST])


def _apart(b: llvm.IRBuilder, row: Any, column: Any, step: Any, width: Any) -> Any:
    """The same of every so many columns."""
    distances = b.mul(splat(b, b.trunc(step, INT), LANE_NUMBERS), NUMBERS)
    numbers = b.add(splat(b, b.trunc(column, INT), LANE_NUMBERS), distances)
    bytes_ahead = b.mul(b.sext(numbers, WORDS), llvm.Constant(WORDS, [4] * LANES))
    pointers = b.inttoptr(b.add(splat(b, row, WORDS), bytes_ahead), POINTERS)
    arguments = [pointers, INT(4), _below(b, numbers, width), LOWEST]
    return called(b, f"llvm.masked.gather.v{LANES}f32.v{LANES}p0", VECTOR, arguments)


def _below(b: llvm.IRBuilder, numbers: Any, width: Any) -> Any:
    """Which numbers are at least zero and below `width`: as unsigned ones, negative numbers are not."""
    return b.icmp_unsigned("<", numbers, splat(b, b.trunc(width, INT), LANE_NUMBERS))


def _emit_largest(b: llvm.IRBuilder, values: list[Any]) -> None:
    """The largest element of each of `LANES` windows, minus infinity where there is none, and the first position that
    has it; the last NaN where there is one. Only positions `first` to `last` of the windows are on the image; the table
    says how many bytes and columns each lies behind the first one, which is the element `start` of a row at `source`.
    What is found begins as it stands at the address `places`."""
    source, table, first, last, reach, start, step, width, best, places = values
    place_at = b.inttoptr(places, LANE_NUMBERS.as_pointer())
    most, found = cgutils.alloca_once(b, VECTOR), cgutils.alloca_once(b, LANE_NUMBERS)  # type: ignore[no-untyped-call]
    b.store(LOWEST, most)
    b.store(b.load(place_at, align=4), found)
    inside = b.and_(b.icmp_signed(">=", start, WORD(0)), b.icmp_signed("<=", b.add(start, reach), width))
    end, apart = b.append_basic_block("end"), b.append_basic_block("apart")
    choice = b.switch(b.trunc(step, INT), apart)

    def compare(kind: int, width: Any) -> None:
        with cgutils.for_range_slice(b, first, last, WORD(1), WORD) as (position, _):
            entry = b.inttoptr(b.add(table, b.mul(position, WORD(16))), WORD.as_pointer())
            row = b.add(source, b.load(entry))
            column = b.add(start, b.load(b.gep(entry, [WORD(1)])))
            if kind == 1:
                read = _side_by_side(b, row, column, width)
            elif kind == 2:
                halves = (_side_by_side(b, row, b.add(column, WORD(LANES * half)), width) for half in (0, 1))
                read = b.shuffle_vector(*halves, EVEN)
            else:
                read = _apart(b, row, column, step, width)
            larger = b.or_(b.fcmp_ordered(">", read, b.load(most)), b.fcmp_unordered("uno", read, read))
            here = splat(b, b.trunc(position, INT), LANE_NUMBERS)
            b.store(b.select(larger, read, b.load(most)), most)
            b.store(b.select(larger, here, b.load(found)), found)

    b.position_at_end(apart)
    compare(0, width)
    b.branch(end)
    for kind in (1, 2):
        block = b.append_basic_block(f"step{kind}")
        choice.add_case(INT(kind), block)
        b.position_at_end(block)
        with b.if_else(inside) as (whole, part):
            with whole:
                compare(kind, None)
            with part:
                compare(kind, width)
        b.branch(end)
    b.position_at_end(end)
    store(b, b.load(most), best)
    b.store(b.load(found), place_at, align=4)


def _emit_add(b: llvm.IRBuilder, values: list[Any]) -> None:
    """Add the element at one address to that at another."""
    source, target = (b.inttoptr(value, FLOAT.as_pointer()) for value in values)
    b.store(b.fadd(b.load(target, align=4), b.load(source, align=4)), target, align=4)


@instruction
def _add(typing, source, target):  # type: ignore[no-untyped-def]
    return emitted(2, _emit_add)


@instruction
def _largest(typing, source, table, first, last, reach, start, step, width, best, places):  # type: ignore[no-untyped-def]
    return emitted(10, _emit_largest)


@compiled(f"void({IMAGES}, {PAIR}, {PAIR}, {PAIR}, {PAIR}, {IMAGES}, {PLACES})")
def largest(
    x: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    y: Array,
    index: Array,
) -> None:
    """The largest element of each window of images [n, c, h, w] whose rows are contiguous, and the number of the first
    position on the image that has it; of the last NaN where there is one."""
    images, channels, height, width = x.shape
    rows, count = y.shape[2], y.shape[3]
    vectors = (count + LANES - 1) // LANES * LANES
    whole = count // LANES * LANES if y.strides[3] == 4 else 0
    best = np.empty(vectors, np.float32)
    places, first_columns = np.empty(vectors, np.int32), np.empty(vectors, np.int32)
    table = np.empty((kernel[0] * kernel[1], 2), np.int64)
    for position in range(len(table)):
        table[position, 0] = position // kernel[1] * dilation[0] * x.strides[2]
        table[position, 1] = position % kernel[1] * dilation[1]
    reach = (kernel[1] - 1) * dilation[1] + 2 * LANES
    for column in range(vectors):
        first_columns[column] = max(0, (padding[1] - column * stride[1] + dilation[1] - 1) // dilation[1])
    for image in range(images):
        for channel in range(channels):
            plane = x[image, channel].ctypes.data
            for row in range(rows):
                top = row * stride[0] - padding[0]
                first = max(0, (dilation[0] - 1 - top) // dilation[0])
                last = min(kernel[0], (height - 1 - top) // dilation[0] + 1)
                for column in range(vectors):
                    places[column] = first_columns[column] + first * kernel[1]
                made, found = y[image, channel, row], index[image, channel, row]
                for column in range(0, count, LANES):
                    target = (made.ctypes.data if column < whole else best.ctypes.data) + 4 * column
                    _largest(
                        plane + top * x.strides[2], table.ctypes.data, first * kernel[1], last * kernel[1], reach,
                        column * stride[1] - padding[1], stride[1], width, target, places.ctypes.data + 4 * column,
                    )  # fmt: skip
                for column in range(whole, count):
                    made[column] = best[column]
                for column in range(count):
                    found[column] = np.int8(places[column])


@inlined
def _scatter_checked(
    given: int, places: Array, begin: int, end: int, step: int, ahead: Array, beside: Array, width: int, at: int
) -> None:
    """Add shares of windows `begin` to `end` of a row to the pixels that are on the image."""
    for column in range(begin, end):
        place = np.uint64(places[column])
        if place < np.uint64(len(ahead)) and np.uint64(column * step + beside[place]) < np.uint64(width):
            _add(given + 4 * column, at + 4 * (column * step + ahead[place]))


@compiled(f"void({IMAGES}, {PLACES}, {PAIR}, {PAIR}, {PAIR}, {PAIR}, {IMAGES})")
def scatter(
    share: Array,
    position: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    x: Array,
) -> None:
    """Images [n, c, h, w] whose pixels are the sums of the shares, in order, of all windows with the pixel at their
    `position`; rows of images and shares are contiguous."""
    images, channels, height, width = x.shape
    rows, count = share.shape[2], share.shape[3]
    pitch = x.strides[2] // 4
    positions = kernel[0] * kernel[1]
    below, across, ahead = np.empty(positions, np.int64), np.empty(positions, np.int64), np.empty(positions, np.int64)
    beside = np.empty(positions, np.int64)
    inner_begin = (padding[1] + stride[1] - 1) // stride[1]
    inner_end = (width - 1 + padding[1] - (kernel[1] - 1) * dilation[1]) // stride[1] + 1
    for number in range(positions):
        below[number] = number // kernel[1] * dilation[0] - padding[0]
        across[number] = number % kernel[1] * dilation[1] - padding[1]
        ahead[number] = below[number] * pitch + across[number]
    for image in range(images):
        for channel in range(channels):
            pixels = x[image, channel].ctypes.data
            if pitch == width:
                clear_bytes(pixels, 4 * height * width)
            else:
                for row in range(height):
                    clear_bytes(pixels + 4 * row * pitch, 4 * width)
            for row in range(rows):
                given, places = share[image, channel, row].ctypes.data, position[image, channel, row]
                for number in range(positions):
                    is_inside = 0 <= row * stride[0] + below[number] < height
                    beside[number] = across[number] if is_inside else OUTSIDE
                begin = inner_begin if below[0] + row * stride[0] >= 0 else count
                end = inner_end if below[positions - 1] + row * stride[0] < height else 0
                end = max(begin, end)
                at = pixels + 4 * row * stride[0] * pitch
                _scatter_checked(given, places, 0, begin, stride[1], ahead, beside, width, at)
                for column in range(begin, end):
                    place = np.uint64(places[column])
                    if place < np.uint64(positions):
                        _add(given + 4 * column, at + 4 * (column * stride[1] + ahead[place]))
                _scatter_checked(given, places, end, count, stride[1], ahead, beside, width, at)
