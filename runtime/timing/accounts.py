"""Where the time went: the waits of each stage, and the path that decides when the section ends."""

from __future__ import annotations

from collections.abc import Sequence

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

    A wait is put down to whatever arrived last; the wait for the first tile is fill, unless device memory caused it.
    """
    waits: dict[Cause, float] = dict.fromkeys(Cause, 0)
    fill: float = 0
    free_at = start
    for event, (time, binding) in enumerate(zip(stage.times, stage.bindings)):
        if time > free_at:
            cause = _cause(stage, binding)
            if event == 0 and cause is not Cause.DRAM:
                fill += time - free_at
            else:
                waits[cause] += time - free_at
        free_at = time + stage.release
    return StageTime(
        compute=stage.compute_cycles * stage.events,
        port=stage.port_slowdown * stage.events,
        network=stage.network_slowdown * stage.events,
        exchange=stage.exchange_slowdown * stage.events,
        input=waits[Cause.INPUT],
        output=waits[Cause.OUTPUT],
        dram=waits[Cause.DRAM],
        fill=fill,
        drain=end - free_at,
    )


def _cause(stage: StageActor, binding: int) -> Cause:
    if binding != FREE_RUNNING:
        return stage.constraints[binding].cause
    gate = stage.base_gate
    return Cause.DRAM if gate is not None and isinstance(gate.source, StreamActor) else Cause.INPUT


def critical_path(actors: Sequence[Actor]) -> tuple[float, dict[Bound, float]]:
    """When the last event happens, and that time split by what it was spent on, following deciding events back."""
    path: dict[Bound, float] = dict.fromkeys((bound for bound in Bound if bound is not Bound.LOAD), 0)
    actor = max(actors, key=lambda candidate: candidate.times[-1])
    total, event = actor.times[-1], actor.events - 1
    step: tuple[Actor, int] | None = (actor, event)
    while step is not None:
        step = _step_back(*step, path)
    return total, path


def _step_back(actor: Actor, event: int, path: dict[Bound, float]) -> tuple[Actor, int] | None:
    """Charge the time between an event and the one that decided it; return that one, None at the very start."""
    if isinstance(actor, StreamActor):
        for limit, cycles in actor.spent[event].items():
            path[_BOUND_OF[limit]] += cycles
    binding = actor.bindings[event] if actor.bindings else FREE_RUNNING
    if binding != FREE_RUNNING:
        constraint = actor.constraints[binding]
        _charge(constraint.source, constraint.offset, path)
        return constraint.source, event - constraint.lag
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
