"""The event loop: stages by their recurrence, transfers through device memory in time order.

A stage's times follow from its constraints alone, so they are worked out as soon as those are known, tile after tile,
possibly ahead of the transfers. A transfer's start is known only when everything it waits for is; whatever is still
unknown waits for a transfer in flight and so lies in the future: device memory always sees requests in time order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from runtime.timing.actors import Actor, Mark, StageActor, StreamActor
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
            stream.times.append(time)
            stream.spent.append(transfer.spent)
            changed += [stream, *stream.affected()]
        _settle(changed, memory)


def _settle(changed: Iterable[Actor], memory: DeviceMemory) -> None:
    """Advance the actors in `changed` and all that depend on what they do."""
    queue = deque(dict.fromkeys(changed))
    queued = set(queue)
    while queue:
        actor = queue.popleft()
        queued.discard(actor)
        if not actor.settle_base() or not _advance(actor, memory):
            continue
        for dependent in actor.affected():
            if dependent not in queued:
                queued.add(dependent)
                queue.append(dependent)


def _advance(actor: Actor, memory: DeviceMemory) -> bool:
    """Whether the actor has new events."""
    if isinstance(actor, StageActor):
        return _fire(actor)
    if isinstance(actor, StreamActor):
        _request(actor, memory)
        return False
    return isinstance(actor, Mark) and _pass(actor)


def _pass(mark: Mark) -> bool:
    if mark.times or mark.base is None:
        return False
    mark.times.append(mark.base)
    return True


def _fire(stage: StageActor) -> bool:
    """Fire for as many tiles as the constraints allow by now."""
    times, bindings = stage.times, stage.bindings
    before = len(times)
    own = times[-1] + stage.release if times else stage.base or 0
    for event in range(before, stage.events):
        found = stage.earliest(event, own)
        if found is None:
            break
        times.append(found[0])
        bindings.append(found[1])
        own = found[0] + stage.release
    return len(times) > before


def _request(stream: StreamActor, memory: DeviceMemory) -> None:
    """Ask for the next transfer, if the previous one has ended and it may start."""
    event = len(stream.times)
    if stream.requested > event or event == stream.events:
        return
    found = stream.earliest(event, stream.times[-1] if stream.times else stream.base or 0)
    if found is None:
        return
    stream.bindings.append(found[1])
    stream.requested += 1
    memory.request(stream.client, found[0], stream.size_bytes)
