"""When two sections are the same but for names: the layers of a transformer are mapped once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.rdu.cut.cut_section import CutSection
from ir.graph import Symbol


@dataclass(frozen=True, slots=True)
class Signature:
    """The structure of a section without names: equal for sections that can share a configuration.

    `symbols` are those it binds, in slot order; they differ between such sections and take no part in comparing.
    """

    structure: tuple[object, ...]
    symbols: tuple[str, ...] = field(compare=False)


def signature(section: CutSection, symbols: Mapping[str, Symbol]) -> Signature:
    """Number values and symbols in order of appearance, and spell out the section in numbers, types and operators."""
    values: dict[str, int] = {}
    slots: dict[str, int] = {}

    def number(table: dict[str, int], name: str) -> int:
        return table.setdefault(name, len(table))

    structure: list[object] = []
    for stage in section.stages:
        for node in stage.nodes:
            operands = tuple(number(values, value.name) for value in node.operands)
            results = tuple((number(values, value.name), value.type) for value in node.results)
            structure.append((node.op, operands, results))
        structure.append(tuple(number(values, value.name) for value in stage.writes))
    for name in sorted(section.loads, key=lambda name: number(values, name)):
        symbol = section.loads[name]
        structure.append((number(values, name), number(slots, symbol), symbols[symbol].type))
        if name in section.gathers:
            gather = section.gathers[name]
            structure.append((gather.axis, number(values, gather.index.name), gather.value.type))
    for store in section.stores:
        views = tuple(node.op for node in store.views)
        structure.append((number(values, store.base.name), views, store.value.type, number(slots, store.symbol)))
        if store.update is not None:
            index, axis = number(values, store.update.index.name), store.update.axis
            structure.append((index, axis, symbols[store.symbol].type))
    return Signature(tuple(structure), tuple(slots))
