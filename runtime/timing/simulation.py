"""The event loop: stages by their recurrence, transfers through device memory in time order.

A stage's times follow from its constraints alone, so they are worked out as soon as those are known, event after event,
possibly ahead of the transfers. A transfer's start is known only when everything it waits for is; whatever is still
unknown waits for a transfer in flight and so lies in the future: device memory always sees requests in time order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from runtime.timing.actors import FREE_RUNNING, Actor, StageActor, StreamActor
from runtime.timing.memory_model import DeviceMemory


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
            changed += stream.told()
        _settle(changed, memory)


def _settle(changed: Iterable[Actor], memory: DeviceMemory) -> None:
    """Advance the actors in `changed` and all that wait for what they do. Nobody waits for two things at a time."""
    queue = deque(changed)
    while queue:
        actor = queue.popleft()
        if actor.base is None and not actor.settle_base():
            continue
        if isinstance(actor, StageActor):
            advanced = _fire(actor)
        elif isinstance(actor, StreamActor):
            advanced = _request(actor, memory)
        else:
            advanced = _pass(actor)
        if advanced and actor.waiting:
            queue.extend(actor.told())


def _pass(mark: Actor) -> bool:
    """A mark is passed as soon as its gates are open."""
    if mark.done:
        return False
    mark.times[0], mark.count = mark.base or 0, 1
    return True


def _fire(stage: StageActor) -> bool:
    """Fire as often as the constraints allow by now, and wait for what holds up the next firing; whether it fired."""
    times, bindings, release, waits = stage.times, stage.bindings, stage.release, stage.waits
    first = event = stage.count
    own = times[event - 1] + release if event else stage.base or 0
    while event < stage.events:
        time, binding = own, FREE_RUNNING
        for events, source, others, offset, index in waits:
            other = events[event]
            if other >= 0:
                if other >= source.count:
                    source.waiting.append((other + 1, stage))
                    stage.count = event
                    return event > first
                if (bound := others[other] + offset) > time:
                    time, binding = bound, index
        times[event] = time
        bindings[event] = binding
        own = time + release
        event += 1
    stage.count = event
    return event > first


def _request(stream: StreamActor, memory: DeviceMemory) -> bool:
    """Ask for the next transfer, if the previous one has ended and it may start. It has no new event by that."""
    event = stream.count
    if stream.requested > event or stream.done:
        return False
    time = stream.times[event - 1] if event else stream.base or 0
    binding = FREE_RUNNING
    for events, source, others, offset, index in stream.waits:
        other = events[event]
        if other >= 0:
            if other >= source.count:
                source.waiting.append((other + 1, stream))
                return False
            if (bound := others[other] + offset) > time:
                time, binding = bound, index
    stream.bindings[event] = binding
    stream.requested += 1
    memory.request(stream.client, time, stream.size_bytes)
    return False
