"""Mapping around hardware that does not work: a machine without some of its units, RDU tiles and AGCUs.

What is avoided is said in words: `tile:3`, `tile:4-7`, `unit:130` (a site of the grid), `agcu:5`. Faulty sites and the
AGCUs that are left are in the machine, and with it in the PEF, so placement, routing, checker and reports need to know
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import networkx as nx

from ir.errors import MachineError, Problem, UsageError
from pef.machine import Machine

SYNTAX = "tile:3, tile:4-7, unit:130 (a site of the grid), agcu:5; several with commas between them"


def without(machine: Machine, avoided: Sequence[str]) -> Machine:
    """The machine without what `avoided` names. AGCUs that are left are numbered anew, from 0.

    Raises UsageError for words that name nothing of the machine, MachineError where what is left cannot run anything.
    """
    problems: list[Problem] = []
    chosen: dict[str, set[int]] = {kind: set() for kind in _counts(machine)}
    for word in (part.strip() for text in avoided for part in text.split(",")):
        try:
            kind, numbers = _parsed(word, machine)
        except ValueError as error:
            problems.append(Problem(f"--avoid {word!r}: {error}", hint=SYNTAX))
        else:
            chosen[kind].update(numbers)
    UsageError.raise_if(problems)
    if not any(chosen.values()):
        return machine
    whole_tiles = {site for site in range(machine.sites) if machine.rdu_tile(site) in chosen["tile"]}
    faulty = {*machine.faulty_sites, *chosen["unit"], *whole_tiles}
    agcus = (site for number, site in enumerate(machine.agcu_sites) if number not in chosen["agcu"])
    return usable(replace(machine, faulty_sites=tuple(sorted(faulty)), agcu_sites=tuple(agcus)))


def usable(machine: Machine) -> Machine:
    """The machine without the AGCUs of excluded RDU tiles.

    Raises MachineError where no working unit or no AGCU is left, or excluded RDU tiles split the machine.
    """
    closed = machine.closed_switches()
    machine = replace(machine, agcu_sites=tuple(site for site in machine.agcu_sites if site not in closed))
    _require_usable(machine)
    return machine


def _require_usable(machine: Machine) -> None:
    if machine.excluded_rdu_tiles() == set(range(machine.rdu_tiles)):
        raise MachineError(Problem(f"no unit of {machine.name} is left", hint="avoid fewer places"))
    if not machine.agcu_sites:
        raise MachineError(
            Problem(f"no AGCU of {machine.name} is left through which to reach memory", hint="avoid fewer places")
        )
    parts = sorted(_connected(machine), key=len)
    if len(parts) > 1:
        lesser = sorted(tile for part in parts[:-1] for tile in part)
        what = f"the excluded RDU tiles split {machine.name} into parts that no net can join"
        hint = "avoid the lesser ones too: --avoid " + ",".join(f"tile:{tile}" for tile in lesser)
        raise MachineError(Problem(what, hint=hint))


def _connected(machine: Machine) -> Iterator[set[int]]:
    """The RDU tiles that are left, by parts between which there are links."""
    across = machine.columns // machine.rdu_tile_columns
    down = machine.rows // machine.rdu_tile_rows
    tiles = nx.convert_node_labels_to_integers(nx.grid_2d_graph(down, across), ordering="sorted")
    tiles.remove_nodes_from(machine.excluded_rdu_tiles())
    return iter(nx.connected_components(tiles))


def _counts(machine: Machine) -> dict[str, int]:
    return {"tile": machine.rdu_tiles, "unit": machine.sites, "agcu": len(machine.agcu_sites)}


def _parsed(word: str, machine: Machine) -> tuple[str, Iterable[int]]:
    """The kind and the numbers of one word. Raises ValueError that says what is wrong with it."""
    kind, _, numbers = word.partition(":")
    counts = _counts(machine)
    if kind not in counts or not numbers:
        raise ValueError("not the name of a piece of hardware")
    first, dash, last = numbers.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ValueError("not a number, nor a range such as 4-7")
    chosen = range(int(first), int(last or first) + 1)
    if not chosen or chosen[-1] >= counts[kind]:
        raise ValueError(f"{machine.name} has {kind}s 0 to {counts[kind] - 1}")
    return kind, chosen
