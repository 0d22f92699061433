"""Matrix products in blocks that stay in cache, by a tile of sums that stays in registers (`ir/kernels/gemm.py`).

The scheme is that of K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, 2008: a block of b
is copied into panels as wide as a tile, a block of a into slices as high as one, and a tile of c is the sum of products
of a column of the slice and a row of the panel. A tile is 2 vectors wide, so that its sums leave registers for a row of
the panel and for one element of a.

An element of c is the same sum whatever else is multiplied with it: of the products in order, in equal stretches of at
most `DEPTH`. Rows and columns may therefore be multiplied together or apart without changing a bit.

Matrices come as the address of their first element with the distances, in elements, between their rows, their columns
and the matrices of a stack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir as llvm

from ir.kernels.native.compiler import compiled, inlined
from ir.kernels.native.vectors import (
    BIT,
    FLOAT,
    INT,
    LANE_NUMBERS,
    LANES,
    MASK,
    VECTOR,
    WORD,
    ZERO,
    below,
    emitted,
    fma,
    instruction,
    load,
    masked_load,
    masked_store,
    prefetch,
    splat,
    store,
    store_part,
)
from ir.op import Array

ROWS = 14 if LANES == 16 else 6
"""Rows of a tile at most: with 2 vectors each, as many as leave 3 registers free."""
WIDTH = 2 * LANES
"""Columns of a panel."""
DEPTH = 320
"""Products that are summed at once, at most: a panel of so many rows fits the first-level cache."""
PANELS = 16
"""Panels of b that are copied at once: half a MiB."""
SLICES = 16
"""Slices of a that are copied at once: a quarter of a MiB."""
BUFFER_ELEMENTS = DEPTH * WIDTH * PANELS + DEPTH * ROWS * SLICES + LANES
"""Elements of temporary memory: panels, slices, and what the last store of a slice writes beyond it."""


def _emit_tile(b: llvm.IRBuilder, values: list[Any]) -> None:
    """A tile of c of so many rows and columns is, or with `adds` grows by, the slice times the panel. Steps in bytes
    lead from an element of the slice to the next column's, and from a row of c to the next.

    With the address of a table behind these numbers, row i of the panel lies as many bytes behind its address as the
    number i of the table says; else rows follow one another.
    """
    rows, columns, *_ = values
    wide = b.icmp_signed(">", columns, WORD(LANES))
    end = b.append_basic_block("end")
    choice = b.switch(b.trunc(rows, INT), end)
    for count in range(1, ROWS + 1):
        case, both, one = (b.append_basic_block(f"{name}{count}") for name in ("rows", "both", "one"))
        choice.add_case(INT(count), case)
        b.position_at_end(case)
        b.cbranch(wide, both, one)
        for vectors, block in ((2, both), (1, one)):
            b.position_at_end(block)
            _emit_sums(b, values, count, vectors)
            b.branch(end)
    b.position_at_end(end)


def _emit_sums(b: llvm.IRBuilder, values: list[Any], rows: int, vectors: int) -> None:
    _, columns, depth, a, a_step, panel, c, c_step, adds, *tables = values
    starts = [b.add(c, b.mul(c_step, WORD(row))) for row in range(rows)]
    places = [[b.add(start, WORD(4 * LANES * vector)) for vector in range(vectors)] for start in starts]
    for row in places:
        for place in row:
            prefetch(b, place)
    before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
    b.branch(loop)
    b.position_at_end(loop)
    left, at_a, at_row = b.phi(WORD), b.phi(WORD), b.phi(WORD)
    sums = [[b.phi(VECTOR) for _ in range(vectors)] for _ in range(rows)]
    row = b.add(panel, b.load(b.inttoptr(at_row, WORD.as_pointer()))) if tables else at_row
    factors = [load(b, b.add(row, WORD(4 * LANES * vector))) for vector in range(vectors)]
    made = []
    for number, totals in enumerate(sums):
        element = b.load(b.inttoptr(b.add(at_a, WORD(4 * number)), FLOAT.as_pointer()), align=4)
        share = splat(b, element, VECTOR)
        made.append([fma(b, share, factor, total) for factor, total in zip(factors, totals)])
    fewer = b.sub(left, WORD(1))
    first_row, row_step = (tables[0], 8) if tables else (panel, 4 * WIDTH)
    steps = [(left, depth, fewer), (at_a, a, b.add(at_a, a_step)), (at_row, first_row, b.add(at_row, WORD(row_step)))]
    steps += [(total, ZERO, new) for row, news in zip(sums, made) for total, new in zip(row, news)]
    for phi, first, new in steps:
        phi.add_incoming(first, before)
        phi.add_incoming(new, loop)
    b.cbranch(b.icmp_signed(">", fewer, WORD(0)), loop, after)
    b.position_at_end(after)
    present = splat(b, b.trunc(adds, BIT), MASK)
    with b.if_else(b.icmp_signed(">=", columns, WORD(LANES * vectors)), likely=True) as (whole, part):
        with whole:  # plain stores: see `store_part`
            for row, totals in zip(places, made):
                for place, total in zip(row, totals):
                    store(b, b.fadd(masked_load(b, place, present), total), place)
        with part:
            masks = [below(b, b.sub(columns, WORD(LANES * vector))) for vector in range(vectors)]
            for row, totals in zip(places, made):
                for place, mask, total in zip(row, masks, totals):
                    old = masked_load(b, place, b.and_(mask, present))
                    masked_store(b, b.fadd(old, total), place, mask)


def _emit_transpose(b: llvm.IRBuilder, values: list[Any]) -> None:
    """`LANES` elements of each of as many lines, or of the first `count` of them, side by side by their number in the
    line. Steps in bytes lead from a line to the next, and from a row that is written to the next."""
    source, step, count, target, target_step = values
    last = b.sub(count, WORD(1))
    vectors = []
    for line in range(LANES):
        number = WORD(line)
        vectors.append(load(b, b.add(source, b.mul(step, b.select(b.icmp_signed("<", number, last), number, last)))))
    low, high = ([lane + half for i in range(LANES // 2) for lane in (i, i + LANES)] for half in (0, LANES // 2))
    for _ in range(LANES.bit_length() - 1):
        pairs = [(vectors[i], vectors[i + LANES // 2]) for i in range(LANES // 2)]
        vectors = [
            b.shuffle_vector(one, other, llvm.Constant(LANE_NUMBERS, mask))
            for one, other in pairs
            for mask in (low, high)
        ]
    for number, vector in enumerate(vectors):
        store(b, vector, b.add(target, b.mul(target_step, WORD(number))))


def _emit_copy(b: llvm.IRBuilder, values: list[Any]) -> None:
    """The first `count` elements at an address, at most `LANES`, and zeros behind them."""
    source, count, target = values
    store(b, masked_load(b, source, below(b, count)), target)


def _emit_copy_part(b: llvm.IRBuilder, values: list[Any]) -> None:
    """The first `count` elements at an address, at most `LANES`."""
    source, count, target = values
    store_part(b, masked_load(b, source, below(b, count)), target, count)


def _emit_copy_every_other(b: llvm.IRBuilder, values: list[Any]) -> None:
    """Every other of the first `2 * count - 1` elements at an address, `count` at most `LANES`."""
    source, count, target = values
    reach = b.sub(b.add(count, count), WORD(1))
    first = masked_load(b, source, below(b, reach))
    second = masked_load(b, b.add(source, WORD(4 * LANES)), below(b, b.sub(reach, WORD(LANES))))
    chosen = llvm.Constant(LANE_NUMBERS, [2 * lane for lane in range(LANES)])
    store_part(b, b.shuffle_vector(first, second, chosen), target, count)


def _emit_copy_exactly(b: llvm.IRBuilder, values: list[Any]) -> None:
    """`count` elements, at most `ROWS`, in pieces of powers of two."""
    source, count, target = values
    end = b.append_basic_block("end")
    choice = b.switch(b.trunc(count, INT), end)
    for elements in range(1, ROWS + 1):
        block = b.append_basic_block(f"elements{elements}")
        choice.add_case(INT(elements), block)
        b.position_at_end(block)
        at = 0
        for piece in (8, 4, 2, 1):
            if elements & piece:
                kind = llvm.VectorType(FLOAT, piece).as_pointer()
                read, place = (b.inttoptr(b.add(address, WORD(4 * at)), kind) for address in (source, target))
                b.store(b.load(read, align=4), place, align=4)
                at += piece
        b.branch(end)
    b.position_at_end(end)


def _emit_move(b: llvm.IRBuilder, values: list[Any]) -> None:
    """One element."""
    source, target = (b.inttoptr(value, FLOAT.as_pointer()) for value in values)
    b.store(b.load(source, align=4), target, align=4)


@instruction
def _tile(typing, rows, columns, depth, a, a_step, panel, c, c_step, adds):  # type: ignore[no-untyped-def]
    return emitted(9, _emit_tile)


@instruction
def _tile_of_lines(typing, rows, columns, depth, a, a_step, line, c, c_step, adds, table):  # type: ignore[no-untyped-def]
    return emitted(10, _emit_tile)


@instruction
def _transpose(typing, source, step, count, target, target_step):  # type: ignore[no-untyped-def]
    return emitted(5, _emit_transpose)


@instruction
def _copy(typing, source, count, target):  # type: ignore[no-untyped-def]
    return emitted(3, _emit_copy)


@instruction
def _copy_exactly(typing, source, count, target):  # type: ignore[no-untyped-def]
    return emitted(3, _emit_copy_exactly)


@instruction
def copy_part(typing, source, count, target):  # type: ignore[no-untyped-def]
    """See `_emit_copy_part`."""
    return emitted(3, _emit_copy_part)


@instruction
def copy_every_other(typing, source, count, target):  # type: ignore[no-untyped-def]
    """See `_emit_copy_every_other`."""
    return emitted(3, _emit_copy_every_other)


@instruction
def move(typing, source, target):  # type: ignore[no-untyped-def]
    """See `_emit_move`."""
    return emitted(2, _emit_move)


@compiled("void(" + ", ".join(["int64"] * 7) + ")")
def pack(source: int, along: int, across: int, count: int, depth: int, target: int, pitch: int) -> None:
    """`count` lines of `depth` elements, at most `LANES` of them, side by side: row i of the target, `pitch` elements
    from the last, holds element i of every line. `along` a line and `across` to the next are distances; one of them is
    1. Rows are written `LANES` wide."""
    if across == 1:
        for i in range(depth):
            _copy(source + 4 * i * along, count, target + 4 * i * pitch)
        return
    whole = depth - depth % LANES
    for i in range(0, whole, LANES):
        _transpose(source + 4 * i, 4 * across, count, target + 4 * i * pitch, 4 * pitch)
    for i in range(whole, depth):
        for line in range(count):
            move(source + 4 * (i + line * across), target + 4 * (i * pitch + line))


@compiled("void(" + ", ".join(["int64"] * 5) + ")")
def _pack_rows(source: int, along: int, columns: int, depth: int, target: int) -> None:
    """Contiguous rows into panels: row by row, as they lie in memory."""
    whole = columns - columns % WIDTH
    for i in range(depth):
        row, place = source + 4 * i * along, target + 4 * i * WIDTH
        for start in range(0, whole, WIDTH):
            _copy(row + 4 * start, LANES, place + 4 * start * depth)
            _copy(row + 4 * (start + LANES), LANES, place + 4 * (start * depth + LANES))
        for start in range(whole, columns, LANES):
            _copy(row + 4 * start, columns - start, place + 4 * (whole * depth + start - whole))


@compiled("void(" + ", ".join(["int64"] * 6) + ")")
def _pack_slices(source: int, along: int, rows: int, depth: int, height: int, target: int) -> None:
    """Contiguous columns of so many rows into slices of `height` rows: column by column, as they lie in memory. Slice
    by slice, columns a power of two apart would drive each other out of the cache."""
    for i in range(depth):
        for start in range(0, rows, height):
            place = target + 4 * (start * depth + i * height)
            _copy_exactly(source + 4 * (i * along + start), min(height, rows - start), place)


@compiled("void(" + ", ".join(["int64"] * 17) + ")")
def multiply(
    stack: int, m: int, n: int, k: int,
    a: int, a_row: int, a_column: int, a_next: int,
    b: int, b_row: int, b_column: int, b_next: int,
    c: int, c_row: int, c_next: int,
    adds: int, buffer: int,
) -> None:  # fmt: skip
    """Each matrix c [m, n] of a stack is, or with `adds` grows by, a [m, k] times b [k, n]; rows of c are contiguous,
    and rows or columns of a and of b. `buffer` is the address of `BUFFER_ELEMENTS` of temporary memory."""
    slices = buffer + 4 * DEPTH * WIDTH * PANELS
    deep = -(-k // -(-k // DEPTH))
    for number in range(stack):
        at_a, at_b, at_c = a + 4 * number * a_next, b + 4 * number * b_next, c + 4 * number * c_next
        for left in range(0, n, WIDTH * PANELS):
            columns = min(WIDTH * PANELS, n - left)
            for first in range(0, k, deep):
                depth = min(deep, k - first)
                has_sums = 1 if adds or first else 0
                source = at_b + 4 * (first * b_row + left * b_column)
                if b_column == 1:
                    _pack_rows(source, b_row, columns, depth, buffer)
                else:
                    for start in range(0, columns, LANES):
                        panel = buffer + 4 * (start // WIDTH * WIDTH * depth + start % WIDTH)
                        count = min(LANES, columns - start)
                        pack(source + 4 * start * b_column, b_row, b_column, count, depth, panel, WIDTH)
                for top in range(0, m, ROWS * SLICES):
                    rows = min(ROWS * SLICES, m - top)
                    height = -(-rows // -(-rows // ROWS))
                    source = at_a + 4 * (top * a_row + first * a_column)
                    if a_row == 1:
                        _pack_slices(source, a_column, rows, depth, height, slices)
                    else:
                        for start in range(0, rows, height):
                            count, target = min(height, rows - start), slices + 4 * start * depth
                            pack(source + 4 * start * a_row, a_column, a_row, count, depth, target, height)
                    for start in range(0, columns, WIDTH):
                        panel = buffer + 4 * start * depth
                        for line in range(0, rows, height):
                            place = at_c + 4 * ((top + line) * c_row + left + start)
                            _tile(
                                min(height, rows - line), min(WIDTH, columns - start), depth,
                                slices + 4 * line * depth, 4 * height, panel, place, 4 * c_row, has_sums,
                            )  # fmt: skip


@compiled("void(float32[:,::1], int64, int64[::1], int64, int64[::1], int64, int64, int64[::1], int64)")
def multiply_lines(
    a: Array, lines: int, table: Array, n: int, counts: Array, c: int, c_row: int, steps: Array, buffer: int
) -> None:
    """For every one of `counts[1]` lines of `counts[0]` images, c [m, n] is a [m, k] times the k rows of n elements
    that lie `table[i]` bytes behind `lines`.

    Rows are read to the end of their last panel, up to `WIDTH` - 1 elements beyond n. `steps` lead from an image to the
    next and from a line to the next, in elements, first among the lines and then in c.
    """
    m, k = a.shape
    deep = -(-k // -(-k // DEPTH))
    next_image, next_line, next_result, next_row = steps
    for first in range(0, k, deep):
        depth = min(deep, k - first)
        for top in range(0, m, ROWS * SLICES):
            rows = min(ROWS * SLICES, m - top)
            height = -(-rows // -(-rows // ROWS))
            for start in range(0, rows, height):
                source = a.ctypes.data + 4 * ((top + start) * k + first)
                pack(source, 1, k, min(height, rows - start), depth, buffer + 4 * start * depth, height)
            for number in range(counts[0] * counts[1]):
                image, row = number // counts[1], number % counts[1]
                source = lines + 4 * (image * next_image + row * next_line)
                target = c + 4 * (image * next_result + row * next_row)
                for start in range(0, n, WIDTH):
                    for line in range(0, rows, height):
                        _tile_of_lines(
                            min(height, rows - line), min(WIDTH, n - start), depth,
                            buffer + 4 * line * depth, 4 * height, source + 4 * start,
                            target + 4 * ((top + line) * c_row + start), 4 * c_row, 1 if first else 0,
                            table.ctypes.data + 8 * first,
                        )  # fmt: skip


@compiled("int64(int64[::1], int64[:,::1])")
def _runs(places: Array, runs: Array) -> int:
    """Bytes that follow one another, as runs of at most `LANES` elements: rows of where a run begins, how many elements
    it has and the number of its first. Returns how many runs there are."""
    count, at = 0, 0
    while at < len(places):
        end = at + 1
        while end < len(places) and end - at < LANES and places[end] == places[end - 1] + 4:
            end += 1
        runs[count, 0], runs[count, 1], runs[count, 2] = places[at], end - at, at
        count += 1
        at = end
    return count


@compiled("void(float32[:,::1], int64, int64[::1], int64[::1], int64, int64, int64)")
def multiply_windows(a: Array, lines: int, table: Array, places: Array, c: int, c_row: int, buffer: int) -> None:
    """c [m, n] is a [m, k] times k rows of n elements: that of row i and column j lies `table[i] + places[j]` bytes
    behind `lines`."""
    m, k, n = a.shape[0], a.shape[1], len(places)
    slices = buffer + 4 * DEPTH * WIDTH * PANELS
    deep = -(-k // -(-k // DEPTH))
    runs = np.empty((WIDTH, 3), np.int64)
    for left in range(0, n, WIDTH * PANELS):
        columns = min(WIDTH * PANELS, n - left)
        for first in range(0, k, deep):
            depth = min(deep, k - first)
            for start in range(0, columns, WIDTH):
                count = _runs(places[left + start : min(n, left + start + WIDTH)], runs)
                panel = buffer + 4 * start * depth
                for i in range(depth):
                    line = lines + table[first + i]
                    for run in range(count):
                        copy_part(line + runs[run, 0], runs[run, 1], panel + 4 * (i * WIDTH + runs[run, 2]))
            for top in range(0, m, ROWS * SLICES):
                rows = min(ROWS * SLICES, m - top)
                height = -(-rows // -(-rows // ROWS))
                for start in range(0, rows, height):
                    source = a.ctypes.data + 4 * ((top + start) * k + first)
                    pack(source, 1, k, min(height, rows - start), depth, slices + 4 * start * depth, height)
                for start in range(0, columns, WIDTH):
                    for line in range(0, rows, height):
                        _tile(
                            min(height, rows - line), min(WIDTH, columns - start), depth,
                            slices + 4 * line * depth, 4 * height, buffer + 4 * start * depth,
                            c + 4 * ((top + line) * c_row + left + start), 4 * c_row, 1 if first else 0,
                        )  # fmt: skip


@compiled("void(float32[:,:,:], int64)")
def lay_out_panels(lines: Array, panels: int) -> None:
    """Lines [residues, channels, pixels], whose pixels follow one another, as panels [channels / WIDTH, residues,
    pixels, WIDTH]: pixel by pixel, the channels of a panel side by side."""
    residues, channels, pixels = lines.shape
    for start in range(0, channels, LANES):
        for residue in range(residues):
            source = lines[residue, start:].ctypes.data
            target = panels + 4 * ((start // WIDTH * residues + residue) * pixels * WIDTH + start % WIDTH)
            pack(source, 1, lines.strides[1] // 4, min(LANES, channels - start), pixels, target, WIDTH)


@compiled("void(float32[:,:,:], int64, int64, int64[::1], int64[::1], float32[:,:,::1], int64)")
def add_line_products(
    dy: Array, panels: int, panel_step: int, table: Array, shifts: Array, total: Array, buffer: int
) -> None:
    """total[position] [m, n] grows by the sum over windows of dy [images, m, windows] times the channels that the
    window's position reads: row (`table[window]` + `shifts[position]`) / 4 / WIDTH of the panels, both in bytes.

    The windows of an image follow one another in dy. `panel_step` bytes lead from a panel to the next.
    """
    images, m, windows = dy.shape
    positions, _, n = total.shape
    for first in range(0, images * windows, DEPTH):
        depth = min(DEPTH, images * windows - first)
        for top in range(0, m, ROWS * SLICES):
            rows = min(ROWS * SLICES, m - top)
            height = -(-rows // -(-rows // ROWS))
            for start in range(0, rows, height):
                at = first
                while at < first + depth:
                    image, inside = at // windows, at % windows
                    length = min(windows - inside, first + depth - at)
                    source = dy[image, top + start :].ctypes.data + 4 * inside
                    target = buffer + 4 * (start * depth + (at - first) * height)
                    pack(source, 1, dy.strides[1] // 4, min(height, rows - start), length, target, height)
                    at += length
            for start in range(0, n, WIDTH):
                for position in range(positions):
                    for line in range(0, rows, height):
                        _tile_of_lines(
                            min(height, rows - line), min(WIDTH, n - start), depth,
                            buffer + 4 * line * depth, 4 * height,
                            panels + start // WIDTH * panel_step + shifts[position],
                            total[position, top + line, start:].ctypes.data, 4 * n, 1, table.ctypes.data + 8 * first,
                        )  # fmt: skip


@inlined
def _stacked(
    stack: int, a: Array, a_next: int, b: Array, b_next: int, c: Array, c_next: int, adds: bool, buffer: int
) -> bool:
    """`multiply` for a stack of which the first matrices are given, with bytes from one to the next."""
    m, n, k = c.shape[0], c.shape[1], a.shape[1]
    a_row, a_column = 4 if m == 1 else a.strides[0], 4 if k == 1 else a.strides[1]
    b_row, b_column = 4 if k == 1 else b.strides[0], 4 if n == 1 else b.strides[1]
    fits = (a_row == 4 or a_column == 4) and (b_row == 4 or b_column == 4) and (n == 1 or c.strides[1] == 4)
    if fits:
        multiply(
            stack, m, n, k,
            a.ctypes.data, a_row // 4, a_column // 4, a_next // 4,
            b.ctypes.data, b_row // 4, b_column // 4, b_next // 4,
            c.ctypes.data, c.strides[0] // 4, c_next // 4,
            adds, buffer,
        )  # fmt: skip
    return fits


@compiled("boolean(float32[:,:], float32[:,:], float32[:,:], boolean, int64)")
def product(a: Array, b: Array, c: Array, adds: bool, buffer: int) -> bool:
    """c = a b, or c += a b with `adds`; False, and nothing done, where matrices do not lie as `multiply` wants them."""
    return _stacked(1, a, 0, b, 0, c, 0, adds, buffer)


@compiled("boolean(float32[:,:,:], float32[:,:,:], float32[:,:,:], boolean, int64)")
def products(a: Array, b: Array, c: Array, adds: bool, buffer: int) -> bool:
    """The same for stacks of equally many matrices."""
    return _stacked(len(c), a[0], a.strides[0], b[0], b.strides[0], c[0], c.strides[0], adds, buffer)
