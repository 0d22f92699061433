"""Where the time went: the waits of each stage, and the path that decides when the section ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.timing.actors import FREE_RUNNING, Actor, Cause, StageActor, StreamActor
from runtime.timing.memory_model import Limit
from runtime.timing.report import Bound, StageTime

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


def critical_path(actors: Sequence[Actor]) -> tuple[float, dict[Bound, float]]:
    """When the last event happens, and that time split by what it was spent on, following deciding events back."""
    path: dict[Bound, float] = dict.fromkeys((bound for bound in Bound if bound is not Bound.LOAD), 0)
    actor = max(actors, key=lambda candidate: candidate.end)
    step: tuple[Actor, int] | None = (actor, actor.events - 1)
    while step is not None:
        step = _step_back(*step, path)
    return actor.end, path


def _step_back(actor: Actor, event: int, path: dict[Bound, float]) -> tuple[Actor, int] | None:
    """Charge the time between an event and the one that decided it; return that one, None at the very start."""
    if isinstance(actor, StreamActor):
        for limit, cycles in actor.spent[event].items():
            path[_BOUND_OF[limit]] += cycles
    binding = actor.bindings[event]
    if binding != FREE_RUNNING:
        constraint = actor.constraints[binding]
        _charge(constraint.source, constraint.offset, path)
        return constraint.source, constraint.events[event]
    if event > 0:
        _charge(actor, actor.release, path)
        return actor, event - 1
    if actor.base_gate is None:
        return None
    _charge(actor.base_gate.source, actor.base_gate.offset, path)
    return actor.base_gate.source, actor.base_gate.source.events - 1


def _charge(source: Actor, offset: int, path: dict[Bound, float]) -> None:
    """Split the cycles from a deciding event to what it decided: a stage's interval, the rest fill and hops."""
    firing = 0
    if isinstance(source, StageActor) and offset >= source.release:
        firing = source.release
        path[Bound.COMPUTE] += source.compute_cycles
        path[Bound.PORT] += source.port_slowdown
        path[Bound.NETWORK] += source.network_slowdown
        path[Bound.EXCHANGE] += source.exchange_slowdown
    path[Bound.FILL] += offset - firing
