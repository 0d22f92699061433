"""Device memory: a tier and an offset for every symbol, from when it is written to when it is last read.

Symbols that outlive a step (parameters, inputs, outputs and their like) keep their place; what sections hand to one
another shares memory with whatever is not alive at the same time. The fastest tier is filled first; symbols that
would overflow it go to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backends.rdu.infeasibility import Contributor, DoesNotFitError, Infeasibility, Resource
from ir.graph import Symbol, SymbolKind
from pef.machine import Machine

ALIGNMENT_BYTES = 256
"""A burst of memory: transfers of two symbols never share one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a symbol lives, and between which section positions (inclusive); a persistent one lives always."""

    tier: int
    offset: int
    persistent: bool
    first: int
    last: int


def place_symbols(
    symbols: Sequence[Symbol], lifetimes: Mapping[str, tuple[int, int]], machine: Machine
) -> dict[str, Place]:
    """A place for each symbol: persistent ones first, then the others, largest first, each at the lowest offset free
    during its life. Raises DoesNotFitError where no tier has room."""
    end = max((last for _, last in lifetimes.values()), default=0)
    order = sorted(symbols, key=lambda s: (not is_persistent(s), -s.type.nbytes if not is_persistent(s) else 0))
    taken: list[list[tuple[Place, int]]] = [[] for _ in machine.tiers]
    places = {}
    for symbol in order:
        persistent = is_persistent(symbol)
        first, last = (0, end) if persistent else lifetimes[symbol.name]
        place = _fit(symbol, persistent, first, last, taken, machine)
        taken[place.tier].append((place, _aligned(symbol.type.nbytes)))
        places[symbol.name] = place
    return places


def with_shared_bandwidth(machine: Machine, symbols: Iterable[Symbol]) -> Machine:
    """The machine as the cut reckons with it, before any symbol has a place: where persistent symbols overflow the
    fastest tier, its bandwidth is that of one pass over all of them, with each tier serving what it holds."""
    held = sum(symbol.type.nbytes for symbol in symbols if is_persistent(symbol))
    if held <= machine.tiers[0].capacity_bytes:
        return machine
    seconds, left = 0.0, held
    for tier in machine.tiers:
        part = left if tier is machine.tiers[-1] else min(left, tier.capacity_bytes)
        seconds += part / tier.bandwidth_bytes_per_s
        left -= part
    return replace(machine, tiers=(replace(machine.tiers[0], bandwidth_bytes_per_s=held / seconds), *machine.tiers[1:]))


def is_persistent(symbol: Symbol) -> bool:
    """Whether a symbol keeps its value between runs: everything but what sections hand to one another."""
    return symbol.kind is not SymbolKind.ACTIVATION


def _fit(
    symbol: Symbol,
    persistent: bool,
    first: int,
    last: int,
    taken: Sequence[Sequence[tuple[Place, int]]],
    machine: Machine,
) -> Place:
    size = _aligned(symbol.type.nbytes)
    for tier, others in enumerate(taken):
        offset = 0
        alive = [
            (p.offset, n) for p, n in others if persistent or p.persistent or (p.first <= last and first <= p.last)
        ]
        for start, length in sorted(alive):
            if offset + size <= start:
                break
            offset = max(offset, start + length)
        if offset + size <= machine.tiers[tier].capacity_bytes:
            return Place(tier, offset, persistent, first, last)
    bound = max(tier.capacity_bytes for tier in machine.tiers)
    everyone = [Contributor(symbol.name, size), *(Contributor("symbols placed before", n) for _, n in taken[-1])]
    raise DoesNotFitError(Infeasibility(Resource.MEMORY, sum(c.amount for c in everyone), bound, tuple(everyone)))


def _aligned(nbytes: int) -> int:
    return max(1, -(-nbytes // ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
