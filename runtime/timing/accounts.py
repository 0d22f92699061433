"""Where the time went: the waits of each stage, and the path that decides when the section ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.timing.actors import FREE_RUNNING, Actor, Cause, StageActor, StreamActor
from runtime.timing.memory_model import Limit
from runtime.timing.report import Bound, PathStep, StageTime

_BOUND_OF = {
    Limit.DRAM: Bound.DRAM,
    Limit.AGCU: Bound.AGCU,
    Limit.NETWORK: Bound.NETWORK,
    Limit.PORT: Bound.PORT,
}


def stage_time(stage: StageActor, start: float, end: float) -> StageTime:
    """How the stage spends the phase from `start` to `end`.

    A wait is put down to whatever arrived last; the wait for the first firing is fill, unless device memory caused it.
    """
    waits: dict[Cause, float] = dict.fromkeys(Cause, 0)
    fill: float = 0
    times, bindings = np.frombuffer(stage.times), np.frombuffer(stage.bindings, np.intc)
    waited = times - np.concatenate(([start], times[:-1] + stage.release))
    for binding in np.unique(bindings[waited > 0]).tolist():
        waits[_cause(stage, binding)] += float(waited[(bindings == binding) & (waited > 0)].sum())
    cause = _cause(stage, stage.bindings[0])
    if waited[0] > 0 and cause is not Cause.DRAM:
        fill = float(waited[0])
        waits[cause] = max(0.0, waits[cause] - fill)
    return StageTime(
        compute=stage.compute_cycles * stage.events,
        port=stage.port_slowdown * stage.events,
        network=stage.network_slowdown * stage.events,
        exchange=stage.exchange_slowdown * stage.events,
        input=waits[Cause.INPUT],
        output=waits[Cause.OUTPUT],
        dram=waits[Cause.DRAM],
        fill=fill,
        drain=end - (stage.end + stage.release),
    )


def _cause(stage: StageActor, binding: int) -> Cause:
    if binding != FREE_RUNNING:
        return stage.constraints[binding].cause
    gate = stage.base_gate
    return Cause.DRAM if gate is not None and isinstance(gate.source, StreamActor) else Cause.INPUT


def critical_path(actors: Sequence[Actor]) -> tuple[float, tuple[PathStep, ...]]:
    """When the last event happens, and the chain of deciding events that leads to it, in order of time.

    Successive events of one actor are one step. The cycles between an event and the one that decided it are put down
    to the latter; those of a transfer to its stream.
    """
    last = max(actors, key=lambda candidate: candidate.end)
    steps: list[PathStep] = []
    at: tuple[Actor, int] | None = (last, last.events - 1)
    while at is not None:
        actor, event = at
        began = actor.times[event]
        if isinstance(actor, StreamActor):
            spent = {_BOUND_OF[limit]: cycles for limit, cycles in actor.spent[event].items()}
            _append(steps, actor, began, spent)
            began = actor.begins[event]
        at, offset = _decider(actor, event)
        if at is not None:
            _append(steps, at[0], began, _split(at[0], offset))
    return last.end, tuple(reversed(steps))


def spent_on(steps: Sequence[PathStep]) -> dict[Bound, float]:
    """The cycles of a path by what they were spent on."""
    total: dict[Bound, float] = dict.fromkeys((bound for bound in Bound if bound is not Bound.LOAD), 0)
    for step in steps:
        for bound, cycles in step.spent.items():
            total[bound] += cycles
    return total


def _append(steps: list[PathStep], actor: Actor, end: float, spent: dict[Bound, float]) -> None:
    """Add cycles to the path, which grows backwards: to its last step where that is of the same actor."""
    spent = {bound: cycles for bound, cycles in spent.items() if cycles}
    if not spent:
        return
    kind = "stage" if isinstance(actor, StageActor) else "stream" if isinstance(actor, StreamActor) else ""
    if steps and (steps[-1].phase, steps[-1].kind, steps[-1].index) == (actor.phase, kind, actor.index):
        before = steps.pop()
        end = before.end
        spent = {bound: before.spent.get(bound, 0) + spent.get(bound, 0) for bound in {**before.spent, **spent}}
    steps.append(PathStep(actor.phase, kind, actor.index, end, spent))


def _decider(actor: Actor, event: int) -> tuple[tuple[Actor, int] | None, int]:
    """The event that decided an event, and the least distance between the two; None at the very start."""
    binding = actor.bindings[event]
    if binding != FREE_RUNNING:
        constraint = actor.constraints[binding]
        return (constraint.source, constraint.events[event]), constraint.offset
    if event > 0:
        return (actor, event - 1), actor.release
    if actor.base_gate is None:
        return None, 0
    source = actor.base_gate.source
    return (source, source.events - 1), actor.base_gate.offset


def _split(source: Actor, offset: int) -> dict[Bound, float]:
    """The cycles from a deciding event to what it decided: a stage's interval, the rest fill and hops."""
    if not isinstance(source, StageActor) or offset < source.release:
        return {Bound.FILL: offset}
    return {
        Bound.COMPUTE: source.compute_cycles,
        Bound.PORT: source.port_slowdown,
        Bound.NETWORK: source.network_slowdown,
        Bound.EXCHANGE: source.exchange_slowdown,
        Bound.FILL: offset - source.release,
    }
