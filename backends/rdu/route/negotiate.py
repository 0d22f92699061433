"""Negotiated congestion on the switch mesh, compiled: trees of links for nets that compete for them.

Loads and bounds are whole numbers, `FULL` to a link's capacity, and costs are whole parts of a hop. So sums are exact:
a net taken off its links leaves them as if it had never been there, and the same nets get the same trees anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.rdu.native import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]

FULL = 1 << 30
"""The capacity of a link."""
HOP = 1 << 16
"""The cost of a free link."""
TRUNK_PULL = 7
"""What a multicast pays per hop away from the median of its ends: among equal paths, one that its branches share."""
DEAREST = HOP << 18
"""What a link costs at most."""
FAR = 1 << 62
"""More than any path costs."""

MAX_ITERATIONS = 40
PATIENCE = 4
PROGRESS = 0.9
"""`PATIENCE` iterations that do not each bring the overload below this fraction of the least so far end negotiation."""

FIRST_PRESENT_FACTOR = 1.0
PRESENT_GROWTH = 1.7
MAX_PRESENT_FACTOR = 1e3
HISTORY_FACTOR = 0.5


@compiled
def negotiate(
    rows: int,
    columns: int,
    working: NDArray[np.bool_],
    source: Ints,
    sinks: Ints,
    sink_starts: Ints,
    load: Ints,
    rank: Ints,
    bounds: Ints,
    trunk: Ints,
) -> tuple[Ints, Ints]:
    """The least overloaded trees found, as `starts` and `links`: that of net n is links[starts[n]:starts[n + 1]], each
    leaving the source or a switch that one before it enters.

    working: the switches that can be passed, all connected. Nets are given in order of choice. source: the switch where
    each starts. sinks[sink_starts[n]:sink_starts[n + 1]]: the others that it has to reach, from near to far. load: what
    it puts on every link. bounds[rank[n]]: what all nets of a link may put there together, `bounds` ascending. trunk:
    row and column of the median of its ends.
    """
    nets, links = len(source), 4 * rows * columns
    exits, entered = _mesh(rows, columns, working)
    used = np.zeros(links, np.int64)
    bound = np.full(links, FAR, np.int64)
    users = np.zeros((links, len(bounds)), np.int32)
    price = np.ones(links, np.float64)
    starts, ends = np.zeros(nets, np.int64), np.zeros(nets, np.int64)
    pool, filled = np.empty(1024, np.int64), 0
    search = np.zeros((6, rows * columns), np.int64)
    heap = np.empty(5 * rows * columns, np.int64)
    tree = np.empty(rows * columns, np.int64)
    stamp, factor = 0, FIRST_PRESENT_FACTOR
    best_starts, best_ends, best_pool = starts, ends, pool
    best, stale = np.inf, 0
    for iteration in range(MAX_ITERATIONS + 1):
        for net in range(nets):
            if iteration > 0 and not _crosses_overload(pool[starts[net] : ends[net]], used, bound):
                continue
            for i in range(starts[net], ends[net]):
                _take_off(pool[i], load[net], rank[net], used, bound, users, bounds)
            size, stamp = _grow(
                columns, source[net], sinks[sink_starts[net] : sink_starts[net + 1]], load[net], bounds[rank[net]],
                trunk[net], exits, entered, used, bound, price, factor, search, heap, tree, stamp,
            )  # fmt: skip
            if filled + size > len(pool):
                pool, filled = _compacted(pool, starts, ends, net, 2 * (len(pool) + size))
            starts[net], ends[net] = filled, filled + size
            for i in range(size):
                pool[filled + i] = tree[i]
                _put_on(tree[i], load[net], rank[net], used, bound, users, bounds)
            filled += size
        overload = 0.0
        for link in range(links):
            if used[link] > bound[link]:
                overload += (used[link] - bound[link]) / FULL
        stale = 0 if overload < PROGRESS * best else stale + 1
        if overload < best:
            best, best_starts, best_ends, best_pool = overload, starts.copy(), ends.copy(), pool.copy()
        if best == 0.0 or stale == PATIENCE:
            break
        factor = min(factor * PRESENT_GROWTH, MAX_PRESENT_FACTOR)
        for link in range(links):
            if used[link] > bound[link]:
                price[link] += HISTORY_FACTOR * (used[link] - bound[link]) / FULL
    found, starts_found = np.empty((best_ends - best_starts).sum(), np.int64), np.zeros(nets + 1, np.int64)
    for net in range(nets):
        starts_found[net + 1] = starts_found[net] + best_ends[net] - best_starts[net]
        found[starts_found[net] : starts_found[net + 1]] = best_pool[best_starts[net] : best_ends[net]]
    return starts_found, found


@compiled
def _mesh(rows: int, columns: int, working: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The links that leave each switch to the north, east, south and west, and where each leads; -1 where there is no
    working switch."""
    exits = np.full((rows * columns, 4), -1, np.int64)
    entered = np.full(4 * rows * columns, -1, np.int64)
    for row in range(rows):
        for column in range(columns):
            switch = row * columns + column
            for direction in range(4):
                down, across = (direction == 2) - (direction == 0), (direction == 1) - (direction == 3)
                if not (0 <= row + down < rows and 0 <= column + across < columns):
                    continue
                if working[switch] and working[switch + down * columns + across]:
                    exits[switch, direction] = 4 * switch + direction
                    entered[4 * switch + direction] = switch + down * columns + across
    return exits, entered


@compiled
def _crosses_overload(tree: Ints, used: Ints, bound: Ints) -> bool:
    """Whether a tree uses a link that carries more than it may."""
    over = False
    for link in tree:
        over |= used[link] > bound[link]
    return over


@compiled
def _put_on(link: int, load: int, rank: int, used: Ints, bound: Ints, users: Counts, bounds: Ints) -> None:
    """Let a net use a link."""
    used[link] += load
    users[link, rank] += 1
    bound[link] = min(bound[link], bounds[rank])


@compiled
def _take_off(link: int, load: int, rank: int, used: Ints, bound: Ints, users: Counts, bounds: Ints) -> None:
    """Let a net no longer use a link; its bound is then the least of those that are left."""
    used[link] -= load
    users[link, rank] -= 1
    while rank < len(bounds) and users[link, rank] == 0 and bound[link] >= bounds[rank]:
        rank += 1
        if rank == len(bounds):
            bound[link] = FAR
        else:
            bound[link] = bounds[rank]


@compiled
def _compacted(pool: Ints, starts: Ints, ends: Ints, growing: int, size: int) -> tuple[Ints, int]:
    """A pool of `size` with all trees but that of the net `growing`, and how much of it is filled."""
    fresh, filled = np.empty(size, np.int64), 0
    for net in range(len(starts)):
        if net != growing:
            count = ends[net] - starts[net]
            fresh[filled : filled + count] = pool[starts[net] : ends[net]]
            starts[net], ends[net] = filled, filled + count
            filled += count
    return fresh, filled


@compiled
def _grow(
    columns: int,
    source: int,
    sinks: Ints,
    load: int,
    own_bound: int,
    trunk: Ints,
    exits: Ints,
    entered: Ints,
    used: Ints,
    bound: Ints,
    price: Floats,
    factor: float,
    search: Ints,
    heap: Ints,
    tree: Ints,
    stamp: int,
) -> tuple[int, int]:
    """Write the links of a tree from the source to all sinks into `tree`, grown sink by sink by A*; return how many
    they are, and the last stamp used.

    A path starts from any switch of the tree and pays a hop for every hop between that one and the source: what counts
    is when the last sink has the data. A link costs at least a hop, so the hops that remain never exceed what remains
    to be paid: the bound is consistent, and no switch is expanded twice. Among equals the switch closest to the target
    goes first.
    """
    in_tree, depth, seen, paid, done, via = search
    sites = len(in_tree)
    pull = TRUNK_PULL if len(sinks) > 1 else 0
    stamp += 1
    own = stamp
    in_tree[source], depth[source] = own, 0
    size = 0
    for target in sinks:
        if in_tree[target] == own:
            continue
        stamp += 1
        to_row, to_column = target // columns, target % columns
        waiting = 0
        for i in range(size + 1):
            switch = source if i == size else entered[tree[i]]
            left = abs(switch // columns - to_row) + abs(switch % columns - to_column)
            seen[switch], paid[switch] = stamp, HOP * depth[switch]
            heap[waiting] = ((HOP * (depth[switch] + left)) * 256 + min(left, 255)) * sites + switch
            waiting += 1
        for i in range(waiting // 2 - 1, -1, -1):
            _sink_down(heap, i, waiting)
        while True:
            switch = heap[0] % sites
            if switch == target:
                break
            waiting -= 1
            heap[0] = heap[waiting]
            _sink_down(heap, 0, waiting)
            if done[switch] == stamp:
                continue
            done[switch] = stamp
            for direction in range(4):
                link = exits[switch, direction]
                if link < 0:
                    continue
                neighbour = entered[link]
                if in_tree[neighbour] == own:
                    continue
                cost = price[link]
                excess = used[link] + load - min(own_bound, bound[link])
                if excess > 0:
                    cost += cost * (excess / FULL) * factor
                total = paid[switch] + min(DEAREST, np.int64(cost * HOP))
                row, column = neighbour // columns, neighbour % columns
                if pull:
                    total += pull * (abs(row - trunk[0]) + abs(column - trunk[1]))
                if seen[neighbour] != stamp or total < paid[neighbour]:
                    seen[neighbour], paid[neighbour], via[neighbour] = stamp, total, link
                    left = abs(row - to_row) + abs(column - to_column)
                    heap[waiting] = ((total + HOP * left) * 256 + min(left, 255)) * sites + neighbour
                    _float_up(heap, waiting)
                    waiting += 1
        count, switch = 0, target
        while in_tree[switch] != own:
            count += 1
            switch = via[switch] // 4
        hops = depth[switch]
        switch = target
        for back in range(count):
            tree[size + count - 1 - back] = via[switch]
            in_tree[switch], depth[switch] = own, hops + count - back
            switch = via[switch] // 4
        size += count
    return size, stamp


@compiled
def _sink_down(heap: Ints, i: int, size: int) -> None:
    """Restore the order of a heap below an entry that may be too large."""
    entry = heap[i]
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = entry


@compiled
def _float_up(heap: Ints, i: int) -> None:
    """Restore the order of a heap above an entry that may be too small."""
    entry = heap[i]
    while i > 0 and heap[(i - 1) // 2] > entry:
        heap[i] = heap[(i - 1) // 2]
        i = (i - 1) // 2
    heap[i] = entry
