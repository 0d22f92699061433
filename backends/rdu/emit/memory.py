"""Device memory: a tier and an offset for every symbol, from when it is written to when it is last read.

Symbols that outlive a step (parameters, inputs, outputs and their like) keep their place; what sections hand to one
another shares memory with whatever is not alive at the same time. The fastest tier is filled first; symbols that
would overflow it go to the next, and leave room in it for what sections hand over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    passing = sorted((s for s in symbols if not is_persistent(s)), key=lambda symbol: -symbol.type.nbytes)
    tiers = [_Tier(tier.capacity_bytes) for tier in machine.tiers]
    reserved = _reserved(symbols, passing, lifetimes, tiers[0].capacity_bytes)
    places = {}
    tiers[0].capacity_bytes -= reserved
    for symbol in filter(is_persistent, symbols):
        number, offset = _fit(symbol, 0, end, tiers)
        tiers[number].lasting_bytes += _aligned(symbol.type.nbytes)
        places[symbol.name] = Place(number, offset, True, 0, end)
    tiers[0].capacity_bytes += reserved
    for symbol in passing:
        first, last = lifetimes[symbol.name]
        number, offset = _fit(symbol, first, last, tiers)
        places[symbol.name] = Place(number, offset, False, first, last)
        tiers[number].passing.append((first, last, offset, _aligned(symbol.type.nbytes)))
    return places


def _reserved(
    symbols: Iterable[Symbol], passing: Sequence[Symbol], lifetimes: Mapping[str, tuple[int, int]], capacity_bytes: int
) -> int:
    """Bytes of the fastest tier that symbols that overflow it leave to what sections hand to one another, which moves
    more often than it is large: as much as that needs at a time, and half of the tier at most."""
    if sum(_aligned(symbol.type.nbytes) for symbol in symbols if is_persistent(symbol)) <= capacity_bytes:
        return 0
    alone, most = _Tier(capacity_bytes), 0
    for symbol in passing:
        size, (first, last) = _aligned(symbol.type.nbytes), lifetimes[symbol.name]
        offset = alone.lowest(size, first, last)
        alone.passing.append((first, last, offset, size))
        most = max(most, offset + size)
    return min(most, capacity_bytes // 2 // ALIGNMENT_BYTES * ALIGNMENT_BYTES)


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


@dataclass
class _Tier:
    """What of a tier is taken: its first `lasting_bytes` for good, and above them pieces, each between two positions:
    first, last, offset, and bytes."""

    capacity_bytes: int
    lasting_bytes: int = 0
    passing: list[tuple[int, int, int, int]] = field(default_factory=list)

    def lowest(self, size: int, first: int, last: int) -> int:
        """The lowest offset that is free from one position to another."""
        offset = self.lasting_bytes
        alive = ((start, length) for begin, end, start, length in self.passing if begin <= last and first <= end)
        for start, length in sorted(alive):
            if offset + size <= start:
                break
            offset = max(offset, start + length)
        return offset

    @property
    def pieces(self) -> list[int]:
        """Bytes of everything that was placed."""
        return [self.lasting_bytes, *(length for *_, length in self.passing)]


def is_persistent(symbol: Symbol) -> bool:
    """Whether a symbol keeps its value between runs: everything but what sections hand to one another."""
    return symbol.kind is not SymbolKind.ACTIVATION


def _fit(symbol: Symbol, first: int, last: int, tiers: Sequence[_Tier]) -> tuple[int, int]:
    """The first tier that has room, and the offset there."""
    size = _aligned(symbol.type.nbytes)
    for number, tier in enumerate(tiers):
        offset = tier.lowest(size, first, last)
        if offset + size <= tier.capacity_bytes:
            return number, offset
    bound = max(tier.capacity_bytes for tier in tiers)
    placed = (Contributor("symbols placed before", length) for length in tiers[-1].pieces if length)
    everyone = [Contributor(symbol.name, size), *placed]
    raise DoesNotFitError(Infeasibility(Resource.MEMORY, sum(c.amount for c in everyone), bound, tuple(everyone)))


def _aligned(nbytes: int) -> int:
    return max(1, -(-nbytes // ALIGNMENT_BYTES)) * ALIGNMENT_BYTES
