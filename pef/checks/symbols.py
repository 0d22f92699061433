"""Rules about symbols: where they lie in memory, how long they live, and what sections do with them."""

from __future__ import annotations

import bisect
import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping

from ir.errors import Problem
from pef import pef_pb2 as pb
from pef.checks.kinds import KIND_RULES, role
from pef.checks.uses import Use, section_uses
from pef.codec import decode_type
from pef.decoded import Access, Configuration, named
from pef.file import SYMBOL_ALIGNMENT_BYTES
from pef.nest import holds_stored, level_of


def unique_names(pef: pb.Pef) -> Iterator[Problem]:
    """Symbols have names, each its own."""
    first: dict[str, int] = {}
    for number, symbol in enumerate(pef.symbols):
        if not symbol.name:
            yield Problem("the symbol has no name", named("symbol", number))
        elif symbol.name in first:
            yield Problem(f"symbol {first[symbol.name]} has this name too", named("symbol", number, symbol.name))
        first.setdefault(symbol.name, number)


def within_tier(pef: pb.Pef) -> Iterator[Problem]:
    """A symbol lies within its memory tier and starts at a multiple of the alignment."""
    for number, symbol in enumerate(pef.symbols):
        where, tier = named("symbol", number, symbol.name), pef.machine.tiers[symbol.tier]
        end = symbol.offset + _size(symbol)
        if end > tier.capacity_bytes:
            yield Problem(f"the symbol ends at byte {end} of {tier.capacity_bytes} in tier {tier.name}", where)
        if symbol.offset % SYMBOL_ALIGNMENT_BYTES:
            yield Problem(f"offset {symbol.offset} is not a multiple of {SYMBOL_ALIGNMENT_BYTES}", where)


def lifetimes_in_order(pef: pb.Pef) -> Iterator[Problem]:
    """A lifetime does not end before it begins."""
    for number, symbol in enumerate(pef.symbols):
        if not symbol.persistent and symbol.first > symbol.last:
            where = named("symbol", number, symbol.name)
            yield Problem(f"the symbol lives from section {symbol.first} to section {symbol.last}", where)


def no_overlap(pef: pb.Pef) -> Iterator[Problem]:
    """Symbols that live at the same time do not share memory.

    A sweep through the sections: `living` are the symbols alive now, by tier, in the order of their offsets. As they do
    not overlap, one that is born can only overlap its neighbours.
    """
    living: dict[int, list[tuple[int, int]]] = defaultdict(list)
    deaths: list[tuple[int, int, int]] = []
    births = sorted(range(len(pef.symbols)), key=lambda number: (*_lifetime(pef.symbols[number]), number))
    for number in births:
        symbol = pef.symbols[number]
        first, last = _lifetime(symbol)[::2]
        while deaths and deaths[0][0] < first:
            _, offset, gone = heapq.heappop(deaths)
            tier = living[pef.symbols[gone].tier]
            tier.pop(bisect.bisect_left(tier, (offset, gone)))
        neighbours = living[symbol.tier]
        place = bisect.bisect_left(neighbours, (symbol.offset, number))
        clash = next(
            (other for _, other in neighbours[max(0, place - 1) : place + 1] if _shares(symbol, pef.symbols[other])),
            None,
        )
        if clash is not None:
            other = named("symbol", clash, pef.symbols[clash].name)
            yield Problem(
                f"the symbol shares memory with {other} while both live", named("symbol", number, symbol.name)
            )
            continue
        neighbours.insert(place, (symbol.offset, number))
        heapq.heappush(deaths, (last, symbol.offset, number))


def _lifetime(symbol: pb.Symbol) -> tuple[int, int, int]:
    """From which section to which it lives (between them the offset, for a readable order); a persistent one always."""
    if symbol.persistent:
        return -1, symbol.offset, 1 << 32
    return symbol.first, symbol.offset, symbol.last


def _shares(symbol: pb.Symbol, other: pb.Symbol) -> bool:
    return symbol.offset < other.offset + _size(other) and other.offset < symbol.offset + _size(symbol)


def bindings_fit(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A section binds every slot of its configuration to a symbol of the slot's type."""
    for number, section in enumerate(pef.sections):
        if section.configuration not in configurations:
            continue
        where, slots = named("section", number, section.name), configurations[section.configuration].slots
        if len(slots) != len(section.bindings):
            yield Problem(f"the section binds {len(section.bindings)} of {len(slots)} slots", where)
        for slot, (expected, index) in enumerate(zip(slots, section.bindings)):
            symbol = pef.symbols[index]
            if (found := decode_type(symbol.type)) != expected:
                yield Problem(f"slot {slot} takes {expected}, {named('symbol', index, symbol.name)} is {found}", where)


def locations_complete(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A section says of every operation where in the source it comes from."""
    for number, section in enumerate(pef.sections):
        if section.configuration not in configurations:
            continue
        phases = configurations[section.configuration].phases
        operations = sum(len(stage.body.applications) for phase in phases for stage in phase.stages)
        if operations != len(section.locations):
            where = named("section", number, section.name)
            yield Problem(f"the section has {len(section.locations)} locations for {operations} operations", where)


def stored_before_loaded(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A symbol is used within its lifetime, and loaded, or stored by index, only if the host gives it or an earlier
    section has stored it whole."""
    stored: dict[int, int] = {}
    for number in range(len(pef.sections)):
        loads, stores = section_uses(pef, configurations, number)
        for use in stores:
            if not use.indexed:
                stored.setdefault(use.symbol, use.section)
        for use in (*loads, *stores):
            symbol = pef.symbols[use.symbol]
            if not symbol.persistent and not symbol.first <= use.section <= symbol.last:
                yield Problem(
                    f"{named('symbol', use.symbol, symbol.name)} is used outside its lifetime, "
                    f"sections {symbol.first} to {symbol.last}",
                    use.where,
                )
        for use in (*loads, *(store for store in stores if store.indexed)):
            symbol = pef.symbols[use.symbol]
            if not role(symbol).is_given and stored.get(use.symbol, use.section) >= use.section:
                verb = "stored by index" if use in stores else "loaded"
                yield Problem(f"{named('symbol', use.symbol, symbol.name)} is {verb} before it is stored", use.where)


def stored_once(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A section stores a symbol at most once."""
    for number in range(len(pef.sections)):
        first: dict[int, Use] = {}
        for use in section_uses(pef, configurations, number)[1]:
            if use.symbol in first:
                name = named("symbol", use.symbol, pef.symbols[use.symbol].name)
                yield Problem(f"{name} is stored by {first[use.symbol].where} too", use.where)
            first.setdefault(use.symbol, use)


def not_loaded_after_its_store(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A section does not load a symbol in a later phase than the one that stores it.

    Loads see symbols as they were when the section began: a value that a later phase needs stays in a buffer, and an
    old one is loaded before it is replaced.
    """
    for number in range(len(pef.sections)):
        loads, stores = section_uses(pef, configurations, number)
        stored = {store.symbol: store for store in stores}
        for load in loads:
            store = stored.get(load.symbol)
            if store is not None and store.phase < load.phase:
                name = named("symbol", load.symbol, pef.symbols[load.symbol].name)
                yield Problem(f"{name} is loaded after {store.where} has replaced it", load.where)


def updated_in_step(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A phase that stores a symbol it also loads does so whole, or slice by slice after having loaded the slice, or a
    larger one that holds it.

    What goes by an index may touch any slice.
    """
    for number in range(len(pef.sections)):
        loads, stores = section_uses(pef, configurations, number)
        readers = defaultdict(list)
        for load in loads:
            readers[load.symbol, load.phase].append(load)
        for store in stores:
            for load in readers[store.symbol, store.phase]:
                name = named("symbol", store.symbol, pef.symbols[store.symbol].name)
                configuration = configurations[pef.sections[number].configuration]
                if level_of(load.slicing) == 0 or level_of(store.slicing) == 0:
                    continue
                if load.indexed or store.indexed:
                    yield Problem(
                        f"{name} may be stored before {load.where} has loaded it: one goes by index", store.where
                    )
                elif not holds_stored(load.slicing, store.slicing):
                    cuts = f"{name} is stored cut {list(store.slicing)} while it is loaded cut {list(load.slicing)}"
                    yield Problem(cuts, store.where)
                elif ("stream", load.stream) not in _upstream(configuration, store):
                    yield Problem(f"{name} may be stored before {load.where} has loaded it", store.where)


def _size(symbol: pb.Symbol) -> int:
    return decode_type(symbol.type).nbytes


def _upstream(configuration: Configuration, store: Use) -> set[tuple[str, int]]:
    """The stages and streams of the store's phase that must have moved a slice before it does."""
    reads: dict[tuple[str, int], list[Access]] = defaultdict(list)
    for read in configuration.reads:
        if read.phase == store.phase:
            reads[read.actor].append(read)
    found: set[tuple[str, int]] = set()
    waiting = [("stream", store.stream)]
    while waiting:
        for read in reads[waiting.pop()]:
            for write in configuration.writers[read.buffer]:
                if write.phase == store.phase and write.actor not in found:
                    found.add(write.actor)
                    waiting.append(write.actor)
    return found


LAYOUT_RULES = (unique_names, within_tier, lifetimes_in_order, no_overlap)
SECTION_RULES = (
    bindings_fit,
    locations_complete,
    stored_before_loaded,
    stored_once,
    not_loaded_after_its_store,
    updated_in_step,
    *KIND_RULES,
)
