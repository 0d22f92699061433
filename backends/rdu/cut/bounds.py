"""What is known of every run of stages before any section is looked at: what crosses its ends, and what it needs at
least."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from backends.rdu.stream.nests import NestedStage
from backends.rdu.stream.spread import spread_of
from pef.machine import Machine


@dataclass(frozen=True)
class Bounds:
    """By position among the stages: the bytes made before that stages behind it read; the cycles that all stages before
    need at least for their work, and for what they are the first to load and what outputs store of them."""

    crossing: Sequence[int]
    work: Sequence[float]
    memory: Sequence[float]
    valleys: frozenset[int]
    """Positions over which fewer bytes cross than before and behind: the last of each valley."""

    @staticmethod
    def of(
        stages: Sequence[NestedStage],
        readers: Mapping[str, Sequence[int]],
        stored: Collection[str],
        in_place: Collection[str],
        machine: Machine,
        pcus: int,
    ) -> Bounds:
        """The bounds of stages that share out so many PCUs: `readers` of each value by their numbers, ascending; the
        values that outputs store; those that are updated in place."""
        crossing = _crossing(stages, readers, in_place)
        rate = machine.tier_bytes_per_cycle(0)
        work, memory = [0.0], [0.0]
        seen = {value.name for stage in stages for value in stage.stage.writes}
        for stage in stages:
            narrow = spread_of(stage.form, machine).options[0]
            work.append(work[-1] + narrow.cycles * narrow.units / pcus)
            moved = {value.name: value.type.nbytes for value in stage.stage.reads if value.name not in seen}
            seen |= moved.keys()
            kept = (value for value in stage.stage.writes if value.name in stored and value.name not in in_place)
            moved |= {value.name: value.type.nbytes for value in kept}
            memory.append(memory[-1] + sum(moved.values()) / rate)
        return Bounds(crossing, work, memory, _valleys(crossing))


def _crossing(
    stages: Sequence[NestedStage], readers: Mapping[str, Sequence[int]], in_place: Collection[str]
) -> list[int]:
    change = [0] * (len(stages) + 2)
    for index, stage in enumerate(stages):
        for value in stage.stage.writes:
            uses = readers.get(value.name, ())
            if uses and value.name not in in_place:
                change[index + 1] += value.type.nbytes
                change[uses[-1] + 1] -= value.type.nbytes
    return list(itertools.accumulate(change))


def _valleys(crossing: Sequence[int]) -> frozenset[int]:
    found, falling = set(), False
    for position, (here, behind) in enumerate(itertools.pairwise(crossing)):
        if behind > here and falling:
            found.add(position)
        falling = behind < here or (falling and behind == here)
    return frozenset(found)
