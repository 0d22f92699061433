"""Rules about what symbols are for: who may write and read a symbol of each kind, who has to, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ir.errors import Problem
from ir.graph import SectionKind, SymbolKind
from pef import pef_pb2 as pb
from pef.checks.uses import Use, section_uses
from pef.decoded import Configuration, named

FWD, BCKWD, REDUCE, GRADNORM, OPT, BCKWD_OPT = SectionKind
ALL = frozenset(SectionKind)
NONE: frozenset[SectionKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Role:
    """What a kind of symbol is for.

    is_given: the host gives its value before a step; else a section has to store it before another loads it.
    stored_by, loaded_by: the section types that may.
    is_made: some section has to store it.
    """

    is_given: bool
    stored_by: frozenset[SectionKind]
    loaded_by: frozenset[SectionKind] = ALL
    is_made: bool = False


ROLES = {
    SymbolKind.INPUT: Role(True, NONE, frozenset({FWD, BCKWD, BCKWD_OPT})),
    SymbolKind.PARAMETER: Role(True, ALL - {REDUCE, GRADNORM}),  # by a model that changes it in forward, too
    SymbolKind.BUFFER: Role(True, frozenset({FWD, BCKWD, BCKWD_OPT})),
    SymbolKind.CONSTANT: Role(True, NONE),
    SymbolKind.HYPER: Role(True, NONE),
    SymbolKind.OUTPUT: Role(False, frozenset({FWD, GRADNORM}), is_made=True),
    SymbolKind.OUTPUT_GRADIENT: Role(True, NONE, frozenset({BCKWD, BCKWD_OPT})),
    SymbolKind.GRADIENT: Role(False, ALL - {FWD, GRADNORM}, is_made=True),
    SymbolKind.STATE: Role(True, ALL - {BCKWD, REDUCE}, frozenset({FWD, OPT, BCKWD_OPT}), is_made=True),
    SymbolKind.ACTIVATION: Role(False, ALL, is_made=True),
}

_ORDER = {FWD: 0, BCKWD: 0, REDUCE: 1, GRADNORM: 2, OPT: 3, BCKWD_OPT: 3}
"""Forward and backward sections of several graphs may alternate; the update comes after all of them."""

_UPDATERS = {FWD: frozenset({FWD}), OPT: frozenset({OPT, GRADNORM}), BCKWD_OPT: frozenset({BCKWD_OPT})}
"""Who keeps the state that a section type reads: what is only read never changes, and is no state."""


def role(symbol: pb.Symbol) -> Role:
    """What the symbol is for."""
    return ROLES[SymbolKind(symbol.kind)]


def in_order_of_a_step(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """Gradients are averaged after all back-propagation, their norm is taken next, and the update comes last."""
    for number in range(1, len(pef.sections)):
        before, section = pef.sections[number - 1], pef.sections[number]
        if _ORDER[SectionKind(section.kind)] < _ORDER[SectionKind(before.kind)]:
            where = named("section", number, section.name)
            yield Problem(f"section type {section.kind} comes after {before.kind}", where)


def kinds_fit_their_use(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """Symbols are stored and loaded by the section types that their kind is for, and by some where they must be."""
    stored_by: dict[int, set[SectionKind]] = defaultdict(set)
    loaded_by: dict[int, set[SectionKind]] = defaultdict(set)
    for number, section in enumerate(pef.sections):
        loads, stores = section_uses(pef, configurations, number)
        for users, uses in ((loaded_by, loads), (stored_by, stores)):
            for use in uses:
                users[use.symbol].add(SectionKind(section.kind))
    complete = _is_complete(pef, configurations)
    for number, symbol in enumerate(pef.symbols):
        where, its = named("symbol", number, symbol.name), role(symbol)
        for verb, kinds, allowed in (
            ("stores", stored_by[number], its.stored_by),
            ("loads", loaded_by[number], its.loaded_by),
        ):
            wrong = ", ".join(sorted(kind.value for kind in kinds - allowed))
            if wrong:
                yield Problem(f"a section of type {wrong} {verb} it, but it is of kind {symbol.kind}", where)
        if complete:
            yield from _missing_uses(symbol, where, stored_by[number], loaded_by[number])


def _missing_uses(
    symbol: pb.Symbol, where: str, stored_by: set[SectionKind], loaded_by: set[SectionKind]
) -> Iterator[Problem]:
    its = role(symbol)
    if its.is_made and not stored_by:
        yield Problem(f"no section stores it, but it is of kind {symbol.kind}", where)
    if symbol.kind == SymbolKind.STATE.value:
        for kind in sorted(loaded_by & _UPDATERS.keys(), key=lambda kind: kind.value):
            if not stored_by & _UPDATERS[kind]:
                yield Problem(f"sections of type {kind.value} load the state, and none of them stores it", where)


def scalars_and_lifetimes(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A hyper-parameter is one number; all symbols but activations hold their values across runs."""
    for number, symbol in enumerate(pef.symbols):
        where = named("symbol", number, symbol.name)
        if symbol.kind == SymbolKind.HYPER.value and symbol.type.shape:
            yield Problem(f"a hyper-parameter is one number, not {list(symbol.type.shape)} of them", where)
        if symbol.persistent == (symbol.kind == SymbolKind.ACTIVATION.value):
            lasts = "persistent" if symbol.persistent else "not persistent"
            yield Problem(f"it is {lasts}, but of kind {symbol.kind}", where)


def stores_are_counted(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """As many sections store a symbol as the PEF says: none is missing, none is there twice.

    PEFs of earlier toolchains do not say it of any symbol.
    """
    if not any(symbol.HasField("stores") for symbol in pef.symbols) or not _is_complete(pef, configurations):
        return
    found = [0] * len(pef.symbols)
    for number in range(len(pef.sections)):
        for index in {use.symbol for use in section_uses(pef, configurations, number)[1]}:
            found[index] += 1
    for number, (symbol, count) in enumerate(zip(pef.symbols, found)):
        where = named("symbol", number, symbol.name)
        if not symbol.HasField("stores"):
            yield Problem("it does not say how many sections store it", where)
        elif symbol.stores != count:
            yield Problem(f"{count} sections store it, but it says that {symbol.stores} do", where)


def read_before_updated(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> Iterator[Problem]:
    """A graph that updates what the host gave reads it as it was before: no section of it loads it after the store.

    After a store by index it may: the new slices are nowhere else, so who loads it then means the updated value.
    """
    updated: dict[tuple[str, str, int], Use] = {}
    for number, section in enumerate(pef.sections):
        loads, stores = section_uses(pef, configurations, number)
        graph = section.kind, section.name.rpartition("_")[0]
        for use in loads:
            store = updated.get((*graph, use.symbol))
            if store is not None and role(pef.symbols[use.symbol]).is_given:
                name = named("symbol", use.symbol, pef.symbols[use.symbol].name)
                yield Problem(f"{name} is loaded after {store.where} has updated it", use.where)
        for use in (store for store in stores if not store.indexed):
            updated.setdefault((*graph, use.symbol), use)


def _is_complete(pef: pb.Pef, configurations: Mapping[int, Configuration]) -> bool:
    """Whether the uses of all sections are known: no configuration is broken, and all slots are bound."""
    return all(
        section.configuration in configurations
        and len(section.bindings) == len(configurations[section.configuration].slots)
        for section in pef.sections
    )


KIND_RULES = (
    in_order_of_a_step,
    kinds_fit_their_use,
    scalars_and_lifetimes,
    stores_are_counted,
    read_before_updated,
)
