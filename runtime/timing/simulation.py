"""The event loop: stages by their recurrence, transfers through device memory in time order.

A stage's times follow from its constraints alone, so they are worked out as soon as those are known, event after event,
possibly ahead of the transfers. A transfer's start is known only when everything it waits for is; whatever is still
unknown waits for a transfer in flight and so lies in the future: device memory always sees requests in time order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from runtime.timing.actors import FREE_RUNNING, Actor, Mark, StageActor, StreamActor
from runtime.timing.memory_model import DeviceMemory

WORTH_A_SCAN = 64
"""Events from which on arrays are faster than a loop."""


def run(actors: Sequence[Actor], memory: DeviceMemory) -> None:
    """Let every actor advance as far as it can; where some `done` stays False, the configuration is deadlocked."""
    streams = {actor.client: actor for actor in actors if isinstance(actor, StreamActor)}
    _settle(actors, memory)
    while finished := memory.step():
        changed: list[Actor] = []
        for transfer, time in finished:
            stream = streams[transfer.client]
            stream.begins.append(transfer.begin)
            stream.times[stream.count] = time
            stream.count += 1
            stream.spent.append(transfer.spent)
            changed.append(stream)
            changed += _told(stream)
        _settle(changed, memory)


def _settle(changed: Iterable[Actor], memory: DeviceMemory) -> None:
    """Advance the actors in `changed` and all that wait for what they do. Nobody waits for two things at a time."""
    queue = deque(changed)
    while queue:
        actor = queue.popleft()
        if actor.settle_base() and _advance(actor, memory):
            queue.extend(_told(actor))


def _told(actor: Actor) -> list[Actor]:
    """Those that waited for what has happened."""
    count, waiting = actor.count, actor.waiting
    if not waiting:
        return []
    told = [waiter for wanted, waiter in waiting if wanted <= count]
    if told:
        actor.waiting = [entry for entry in waiting if entry[0] > count]
    return told


def _advance(actor: Actor, memory: DeviceMemory) -> bool:
    """Whether the actor has new events."""
    if isinstance(actor, StageActor):
        return _fire(actor)
    if isinstance(actor, StreamActor):
        _request(actor, memory)
        return False
    return isinstance(actor, Mark) and _pass(actor)


def _pass(mark: Mark) -> bool:
    if mark.done or mark.base is None:
        return False
    mark.times[0], mark.count = mark.base, 1
    return True


def _fire(stage: StageActor) -> bool:
    """Fire as often as the constraints allow by now; wait for what holds up the next firing."""
    fired = False
    while not stage.done:
        allowed = stage.allowed()
        if allowed <= stage.count:
            break
        if allowed - stage.count < WORTH_A_SCAN:
            _fire_in_turn(stage, allowed)
        else:
            _fire_at_once(stage, allowed)
        stage.count, fired = allowed, True
    return fired


def _fire_in_turn(stage: StageActor, allowed: int) -> None:
    times, bindings, release = stage.times, stage.bindings, stage.release
    rows = [(c.events, c.source.times, c.offset, index) for index, c in enumerate(stage.constraints)]
    own = times[stage.count - 1] + release if stage.count else stage.base or 0
    for event in range(stage.count, allowed):
        time, binding = own, FREE_RUNNING
        for wanted, source, offset, index in rows:
            other = wanted[event]
            if other >= 0 and (bound := source[other] + offset) > time:
                time, binding = bound, index
        times[event] = time
        bindings[event] = binding
        own = time + release


def _fire_at_once(stage: StageActor, allowed: int) -> None:
    """The same with arrays: an event that something else decides begins a run of firings without a pause."""
    first, release = stage.count, stage.release
    own = stage.times[first - 1] + release if first else stage.base or 0
    bound = np.full(allowed - first, -np.inf)
    binding = np.full(allowed - first, FREE_RUNNING, np.intc)
    for index, constraint in enumerate(stage.constraints):
        wanted = np.array(constraint.events[first:allowed])
        times = np.frombuffer(constraint.source.times)[wanted] + constraint.offset
        later = (wanted >= 0) & (times > bound)
        bound[later], binding[later] = times[later], index
    if own >= bound[0]:
        bound[0], binding[0] = own, FREE_RUNNING
    events = np.arange(allowed - first)
    ahead = bound - events * release
    latest = np.maximum.accumulate(ahead)
    decided = np.ones(len(events), bool)
    decided[1:] = latest[1:] > latest[:-1]
    begun = np.maximum.accumulate(np.where(decided, events, 0))
    np.frombuffer(stage.times)[first:allowed] = bound[begun] + (events - begun) * release
    np.frombuffer(stage.bindings, np.intc)[first:allowed] = np.where(decided, binding, FREE_RUNNING)


def _request(stream: StreamActor, memory: DeviceMemory) -> None:
    """Ask for the next transfer, if the previous one has ended and it may start."""
    event = stream.count
    if stream.requested > event or stream.done or stream.allowed() <= event:
        return
    time = stream.times[event - 1] if event else stream.base or 0
    binding = FREE_RUNNING
    for index, constraint in enumerate(stream.constraints):
        other = constraint.events[event]
        if other >= 0 and (bound := constraint.source.times[other] + constraint.offset) > time:
            time, binding = bound, index
    stream.bindings[event] = binding
    stream.requested += 1
    memory.request(stream.client, time, stream.size_bytes)
