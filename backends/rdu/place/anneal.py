"""Simulated annealing of a placement: units exchange sites, worse exchanges being taken the more seldom the colder.

A move takes a unit to a site of its kind, within a window or beside another end of one of its nets, and whoever sits
there to the unit's. How many ends every net has in each row and column is kept, so that a move is priced without
looking at the other ends (the boxes of VPR: Betz and Rose, FPL 1997, with counts). The window follows the share of
moves taken.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backends.rdu.native import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

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
    units, nets = len(net_starts) - 1, len(weight)
    rows, columns = occupant.shape
    count = np.zeros((nets, 2, max(rows, columns)), np.int32)
    box = np.empty((nets, 2, 2), np.int32)
    for net in range(nets):
        box[net, :, 0], box[net, :, 1] = max(rows, columns), -1
        for i in range(end_starts[net], end_starts[net + 1]):
            for axis in range(2):
                place = at[end_of[i], axis]
                count[net, axis, place] += 1
                box[net, axis, 0] = min(box[net, axis, 0], place)
                box[net, axis, 1] = max(box[net, axis, 1], place)
    state = np.uint64(seed * 2 + 1)
    for _ in range(8):
        state = _next(state)
    shared = np.full(nets, -1, np.int64)
    largest = float(max(rows, columns))
    for temperature in temperatures:
        taken = 0
        half = max(1, int(window))
        for _ in range(moves):
            state = _next(state)
            unit = _draw(state, units)
            state = _next(state)
            row, column, reach = at[unit, 0], at[unit, 1], half
            if net_starts[unit] < net_starts[unit + 1] and _draw(state, 1024) < near * 1024:
                state = _next(state)
                net = net_of[net_starts[unit] + _draw(state, net_starts[unit + 1] - net_starts[unit])]
                state = _next(state)
                end = end_of[end_starts[net] + _draw(state, end_starts[net + 1] - end_starts[net])]
                row, column, reach = at[end, 0], at[end, 1], 1 if half < 3 else half // 2
            state = _next(state)
            row += _draw(state, 2 * reach + 1) - reach
            state = _next(state)
            column += _draw(state, 2 * reach + 1) - reach
            if (row + column + at[unit, 0] + at[unit, 1]) % 2:
                column += 1
            if row < 0 or row >= rows or column < 0 or column >= columns:
                continue
            other = occupant[row, column]
            if other == -2 or other == unit:
                continue
            state = _next(state)
            bound = temperature * EXPONENTIAL[_draw(state, QUANTILES)]
            growth = 0.0
            for i in range(net_starts[unit], net_starts[unit + 1]):
                shared[net_of[i]] = unit
            if other >= 0:
                for i in range(net_starts[other], net_starts[other + 1]):
                    net = net_of[i]
                    if shared[net] == unit:
                        shared[net] = -1
                    else:
                        growth += weight[net] * _growth(count, box, steps, net, row, column, at[unit, 0], at[unit, 1])
            for i in range(net_starts[unit], net_starts[unit + 1]):
                net = net_of[i]
                if shared[net] == unit:
                    growth += weight[net] * _growth(count, box, steps, net, at[unit, 0], at[unit, 1], row, column)
            if growth > bound:
                continue
            taken += 1
            for i in range(net_starts[unit], net_starts[unit + 1]):
                _shift(count, box, net_of[i], at[unit, 0], at[unit, 1], row, column)
            if other >= 0:
                for i in range(net_starts[other], net_starts[other + 1]):
                    _shift(count, box, net_of[i], row, column, at[unit, 0], at[unit, 1])
                at[other] = at[unit]
            occupant[at[unit, 0], at[unit, 1]] = other
            occupant[row, column] = unit
            at[unit, 0], at[unit, 1] = row, column
        window = min(largest, max(1.0, window * (1 - AIM + taken / moves)))


@compiled
def _next(state: np.uint64) -> np.uint64:
    """The next state of a xorshift generator (Marsaglia, 2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@compiled
def _draw(state: np.uint64, below: int) -> int:
    """A number from 0 to `below` - 1, from the upper half of a state."""
    return int(np.int64(((state >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)))


@compiled
def _low(count: Counts, net: int, axis: int, low: int, leaving: int, joining: int) -> int:
    """The lowest end of a net along an axis once one of its ends has moved."""
    if joining <= low:
        return joining
    if leaving > low or count[net, axis, leaving] > 1:
        return low
    low += 1
    while low < joining and count[net, axis, low] == 0:
        low += 1
    return low


@compiled
def _high(count: Counts, net: int, axis: int, high: int, leaving: int, joining: int) -> int:
    """The highest end of a net along an axis once one of its ends has moved."""
    if joining >= high:
        return joining
    if leaving < high or count[net, axis, leaving] > 1:
        return high
    high -= 1
    while high > joining and count[net, axis, high] == 0:
        high -= 1
    return high


@compiled
def _growth(
    count: Counts, box: Counts, steps: Ints, net: int, row: int, column: int, new_row: int, new_column: int
) -> int:
    """By how much the half perimeter of a net grows when one of its ends moves."""
    growth = 0
    if row != new_row:
        low, high = box[net, 0, 0], box[net, 0, 1]
        lower, higher = _low(count, net, 0, low, row, new_row), _high(count, net, 0, high, row, new_row)
        growth += steps[0] * (higher - lower - high + low)
    if column != new_column:
        low, high = box[net, 1, 0], box[net, 1, 1]
        lower, higher = _low(count, net, 1, low, column, new_column), _high(count, net, 1, high, column, new_column)
        growth += steps[1] * (higher - lower - high + low)
    return growth


@compiled
def _shift(count: Counts, box: Counts, net: int, row: int, column: int, new_row: int, new_column: int) -> None:
    """Move an end of a net."""
    if row != new_row:
        box[net, 0, 0], box[net, 0, 1] = (
            _low(count, net, 0, box[net, 0, 0], row, new_row),
            _high(count, net, 0, box[net, 0, 1], row, new_row),
        )
        count[net, 0, row] -= 1
        count[net, 0, new_row] += 1
    if column != new_column:
        box[net, 1, 0], box[net, 1, 1] = (
            _low(count, net, 1, box[net, 1, 0], column, new_column),
            _high(count, net, 1, box[net, 1, 1], column, new_column),
        )
        count[net, 1, column] -= 1
        count[net, 1, new_column] += 1
