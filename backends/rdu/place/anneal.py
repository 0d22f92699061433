"""Simulated annealing of a placement: units exchange sites, worse exchanges being taken the more seldom the colder.

A move takes a unit to a site of its kind, within a window or beside another end of one of its nets, and whoever sits
there to the unit's. What it costs nets of two ends follows from where their other ends are. Of a net with more ends it
is kept how many it has in each row and column, so that a move is priced without looking at the other ends (the boxes
of VPR: Betz and Rose, FPL 1997, with counts). The window follows the share of moves taken.

Indices are unsigned throughout: of a signed one numba asks each time whether it counts from the end, which takes half
as long again in all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backends.rdu.native import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.uint64]
Counts = NDArray[np.int16]

ONE, TWO, FOUR = np.uint64(1), np.uint64(2), np.uint64(4)
"""Beside a plain number, an index would become a float."""
QUANTILES = 4096
EXPONENTIAL = np.array([round(-math.log((i + 0.5) / QUANTILES), 6) for i in range(QUANTILES)])
"""Equally likely values of an exponential distribution: what a move may cost over the temperature."""
AIM = 0.44
"""The share of moves taken that the window is kept at (Lam and Delosme, DAC 1988)."""


@compiled
def anneal(
    at: Ints,
    occupant: Ints,
    net_of: Ints,
    net_starts: Ints,
    end_of: Ints,
    end_starts: Ints,
    weight: Floats,
    steps: Ints,
    temperatures: Floats,
    moves: int,
    near: float,
    window: float,
    seed: int,
) -> None:
    """Improve a placement in place: `moves` moves at each of the `temperatures`.

    at: row and column of every unit, then of every AGCU. occupant: by row and column, the unit that sits there, -1 at
    a free site, -2 where nothing may sit. net_of[net_starts[u]:net_starts[u + 1]]: the nets of unit u.
    end_of[end_starts[n]:end_starts[n + 1]]: the ends of net n. weight: of every net. steps: hops from a row to the
    next, and from a column. near: the share of moves to beside another end. window: the first one's half side.
    """
    units, (rows, columns), (down, across) = len(net_starts) - 1, occupant.shape, steps
    size = max(rows, columns)
    mates, mate_weights, mate_starts, wides, wide_starts = _by_ends(net_of, net_starts, end_of, end_starts, weight)
    count, box = _counted(at, end_of, end_starts, size)
    rows_at, columns_at = at[:, 0].astype(np.int32), at[:, 1].astype(np.int32)
    sitting = occupant.astype(np.int32).reshape(-1)
    shared = np.full(len(weight), -1, np.int32)
    state = np.uint64(seed * 2 + 1)
    for _ in range(8):
        state = _next(state)
    for temperature in temperatures:
        taken = 0
        half = max(1, int(window))
        for _ in range(moves):
            state = _next(state)
            unit = _draw(state, units)
            behind = unit + ONE
            mate, last_mate = np.uint64(mate_starts[unit]), np.uint64(mate_starts[behind])
            wide, last_wide = np.uint64(wide_starts[unit]), np.uint64(wide_starts[behind])
            row, column = np.int64(rows_at[unit]), np.int64(columns_at[unit])
            new_row, new_column, reach = row, column, half
            joined = last_mate - mate + last_wide - wide
            state = _next(state)
            if joined > 0 and _draw(state, 1024) < near * 1024:
                state = _next(state)
                chosen = mate + _draw(state, joined)
                state = _next(state)
                end = unit
                if chosen >= last_mate:
                    net = wides[wide + (chosen - last_mate)]
                    first, last = end_starts[net], end_starts[net + ONE]
                    end = np.uint64(end_of[np.uint64(first) + _draw(state, last - first)])
                elif _draw(state, 2) > 0:
                    end = mates[chosen]
                new_row, new_column = np.int64(rows_at[end]), np.int64(columns_at[end])
                reach = 1 if half < 3 else half // 2
            state = _next(state)
            new_row += np.int64(_draw(state, 2 * reach + 1)) - reach
            state = _next(state)
            new_column += np.int64(_draw(state, 2 * reach + 1)) - reach
            new_column += (row + column + new_row + new_column) & 1
            if new_row < 0 or new_row >= rows or new_column < 0 or new_column >= columns:
                continue
            sits = np.int64(sitting[np.uint64(new_row * columns + new_column)])
            if sits == -2 or sits == np.int64(unit):
                continue
            state = _next(state)
            bound = temperature * EXPONENTIAL[_draw(state, QUANTILES)]
            growth = 0.0
            for i in range(mate, last_mate):
                there = mates[i]
                if np.int64(there) != sits:
                    hops = _nearer(rows_at[there], new_row, row) * down
                    growth += mate_weights[i] * (hops + _nearer(columns_at[there], new_column, column) * across)
            if sits >= 0:
                other = np.uint64(sits)
                for i in range(mate_starts[other], mate_starts[other + ONE]):
                    there = mates[i]
                    if there != unit:
                        hops = _nearer(rows_at[there], row, new_row) * down
                        growth += mate_weights[i] * (hops + _nearer(columns_at[there], column, new_column) * across)
                for i in range(wide, last_wide):
                    shared[wides[i]] = unit
                for i in range(wide_starts[other], wide_starts[other + ONE]):
                    net = wides[i]
                    if shared[net] == unit:
                        shared[net] = -1
                    else:
                        growth += weight[net] * _growth(
                            count, box, size, net, down, across, new_row, new_column, row, column
                        )
            for i in range(wide, last_wide):
                net = wides[i]
                if sits < 0 or shared[net] == unit:
                    growth += weight[net] * _growth(
                        count, box, size, net, down, across, row, column, new_row, new_column
                    )
            if growth > bound:
                continue
            taken += 1
            for i in range(wide, last_wide):
                _shift(count, box, size, wides[i], row, column, new_row, new_column)
            if sits >= 0:
                other = np.uint64(sits)
                for i in range(wide_starts[other], wide_starts[other + ONE]):
                    _shift(count, box, size, wides[i], new_row, new_column, row, column)
                rows_at[other], columns_at[other] = row, column
            sitting[np.uint64(row * columns + column)] = sits
            sitting[np.uint64(new_row * columns + new_column)] = unit
            rows_at[unit], columns_at[unit] = new_row, new_column
        window = min(float(size), max(1.0, window * (1 - AIM + taken / moves)))
    at[:, 0], at[:, 1] = rows_at, columns_at
    occupant[:] = sitting.reshape(occupant.shape)


@compiled
def _by_ends(
    net_of: Ints, net_starts: Ints, end_of: Ints, end_starts: Ints, weight: Floats
) -> tuple[Indices, Floats, Indices, Indices, Indices]:
    """The nets of every unit apart by their ends. Of those with two: the other end, and the weight; of those with more:
    which they are. Both with the starts of every unit."""
    units = len(net_starts) - 1
    mates, wides, weights = np.empty(len(net_of), np.uint64), np.empty(len(net_of), np.uint64), np.empty(len(net_of))
    mate_starts, wide_starts = np.zeros(units + 1, np.uint64), np.zeros(units + 1, np.uint64)
    mate = wide = 0
    for unit in range(units):
        for i in range(net_starts[unit], net_starts[unit + 1]):
            net = net_of[i]
            first = end_starts[net]
            if end_starts[net + 1] - first == 2:
                mates[mate], weights[mate] = end_of[first] + end_of[first + 1] - unit, weight[net]
                mate += 1
            else:
                wides[wide] = net
                wide += 1
        mate_starts[unit + 1], wide_starts[unit + 1] = mate, wide
    return mates, weights, mate_starts, wides, wide_starts


@compiled
def _counted(at: Ints, end_of: Ints, end_starts: Ints, size: int) -> tuple[Counts, Counts]:
    """How many ends each net has in every row, then in every column, `size` numbers each; and the first and the last
    of them with any, two numbers each."""
    nets = len(end_starts) - 1
    count, box = np.zeros(2 * nets * size, np.int16), np.empty(4 * nets, np.int16)
    for net in range(nets):
        for axis in range(2):
            line = 2 * net + axis
            box[2 * line], box[2 * line + 1] = size, -1
            for i in range(end_starts[net], end_starts[net + 1]):
                place = at[end_of[i], axis]
                count[line * size + place] += 1
                box[2 * line] = min(box[2 * line], place)
                box[2 * line + 1] = max(box[2 * line + 1], place)
    return count, box


@compiled
def _next(state: np.uint64) -> np.uint64:
    """The next state of a xorshift generator (Marsaglia, 2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@compiled
def _draw(state: np.uint64, below: int) -> np.uint64:
    """A number from 0 to `below` - 1, from the upper half of a state."""
    return ((state >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)  # type: ignore[no-any-return]


@compiled
def _nearer(there: int, joining: int, leaving: int) -> int:
    """By how much the way to a place grows along an axis."""
    return abs(np.int64(there) - joining) - abs(np.int64(there) - leaving)  # type: ignore[no-any-return]


@compiled
def _bounds(count: Counts, first: np.uint64, low: int, high: int, leaving: int, joining: int) -> tuple[int, int]:
    """The first and the last place with an end of a net along an axis once one of its ends has moved. Its counts begin
    at `first`."""
    lower, higher = low, high
    if joining <= low:
        lower = joining
    elif leaving == low and count[first + np.uint64(leaving)] == 1:
        lower += 1
        while lower < joining and count[first + np.uint64(lower)] == 0:
            lower += 1
    if joining >= high:
        higher = joining
    elif leaving == high and count[first + np.uint64(leaving)] == 1:
        higher -= 1
        while higher > joining and count[first + np.uint64(higher)] == 0:
            higher -= 1
    return lower, higher


@compiled
def _growth(
    count: Counts,
    box: Counts,
    size: int,
    net: np.uint64,
    down: int,
    across: int,
    row: int,
    column: int,
    new_row: int,
    new_column: int,
) -> int:
    """By how many hops the half perimeter of a net grows when one of its ends moves."""
    first, side, growth = net * TWO * np.uint64(size), net * FOUR, 0
    if row != new_row:
        low, high = np.int64(box[side]), np.int64(box[side + ONE])
        lower, higher = _bounds(count, first, low, high, row, new_row)
        growth += down * (higher - lower - high + low)
    if column != new_column:
        low, high = np.int64(box[side + TWO]), np.int64(box[side + TWO + ONE])
        lower, higher = _bounds(count, first + np.uint64(size), low, high, column, new_column)
        growth += across * (higher - lower - high + low)
    return growth


@compiled
def _shift(
    count: Counts, box: Counts, size: int, net: np.uint64, row: int, column: int, new_row: int, new_column: int
) -> None:
    """Move an end of a net."""
    first, side = net * TWO * np.uint64(size), net * FOUR
    if row != new_row:
        low, high = np.int64(box[side]), np.int64(box[side + ONE])
        box[side], box[side + ONE] = _bounds(count, first, low, high, row, new_row)
        count[first + np.uint64(row)] -= 1
        count[first + np.uint64(new_row)] += 1
    if column != new_column:
        first, side = first + np.uint64(size), side + TWO
        low, high = np.int64(box[side]), np.int64(box[side + ONE])
        box[side], box[side + ONE] = _bounds(count, first, low, high, column, new_column)
        count[first + np.uint64(column)] -= 1
        count[first + np.uint64(new_column)] += 1
