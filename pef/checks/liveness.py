"""Whether the stages and streams of a phase can all finish: one iteration of the loops in step, run without times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pef.decoded import Access, Configuration, Phase
from pef.nest import sync_level
from pef.waits import Wait, frees, needs

ActorKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Edge:
    """The holder waits for `source`; `ring` is the buffer that must be read first, or None where it waits for data."""

    source: ActorKey
    wait: Wait
    ring: int | None


@dataclass(slots=True)
class _Actor:
    events: int
    done: int = 0
    edges: list[_Edge] = field(default_factory=list)
    followers: set[ActorKey] = field(default_factory=set)

    def allowed(self, actors: dict[ActorKey, _Actor]) -> int:
        """How many events what has happened allows."""
        return min([self.events, *(edge.wait.allowed(actors[edge.source].done) for edge in self.edges)])


@dataclass(frozen=True, slots=True)
class Circle:
    """Actors that wait for one another, and the shortest ring that some of them wait for."""

    names: tuple[str, ...]
    ring: int


def circle(configuration: Configuration, phase: int) -> Circle | None:
    """A circle of actors that wait for one another; None where the phase runs to its end.

    None as well where no ring is in it: then something is read before it is written, which another rule says.
    """
    actors = _actors(configuration, phase)
    queue = deque(actors)
    queued = set(queue)
    while queue:
        key = queue.popleft()
        queued.discard(key)
        actor = actors[key]
        allowed = actor.allowed(actors)
        if allowed <= actor.done:
            continue
        actor.done = allowed
        for follower in actor.followers:
            if follower not in queued:
                queued.add(follower)
                queue.append(follower)
    stuck = next((key for key, actor in actors.items() if actor.done < actor.events), None)
    return None if stuck is None else _circle_from(configuration, phase, actors, stuck)


def _actors(configuration: Configuration, phase: int) -> dict[ActorKey, _Actor]:
    """Those that can wait for one another, each with its events in one iteration of the loops they keep step in."""
    pairs = list(_pairs_in_step(configuration, phase))
    nest = configuration.phases[phase].nest
    levels = [sync_level(configuration.writer(write), configuration.reader(read)) for read, write in pairs]
    level = min(levels, default=0)
    iterations = nest.events(level)
    actors: dict[ActorKey, _Actor] = {}
    for read, write in pairs:
        writer, reader = configuration.writer(write), configuration.reader(read)
        source = actors.setdefault(write.actor, _Actor(writer.events // iterations))
        target = actors.setdefault(read.actor, _Actor(reader.events // iterations))
        target.edges.append(_Edge(write.actor, needs(writer, reader), None))
        source.followers.add(read.actor)
        freed = frees(writer, reader, configuration.buffers[read.buffer].depth)
        if freed is not None:
            source.edges.append(_Edge(read.actor, freed, read.buffer))
            target.followers.add(write.actor)
    return actors


def _pairs_in_step(configuration: Configuration, phase: int) -> Iterator[tuple[Access, Access]]:
    """Reads and writes of one buffer that keep step in some loop; the others wait one way only."""
    writes: dict[int, Access] = {write.buffer: write for write in configuration.writes if write.phase == phase}
    for read in configuration.reads:
        write = writes.get(read.buffer)
        if read.phase != phase or write is None:
            continue
        writer = configuration.writer(write)
        if not writer.resident_load and sync_level(writer, configuration.reader(read)):
            yield read, write


def _circle_from(
    configuration: Configuration, phase: int, actors: dict[ActorKey, _Actor], start: ActorKey
) -> Circle | None:
    """Follow what holds each stuck actor back until one comes again."""
    path: list[tuple[ActorKey, _Edge]] = []
    position: dict[ActorKey, int] = {}
    key = start
    while key not in position:
        position[key] = len(path)
        actor = actors[key]
        edge = next(e for e in actor.edges if e.wait.allowed(actors[e.source].done) <= actor.done)
        path.append((key, edge))
        key = edge.source
    within = path[position[key] :]
    rings = [edge.ring for _, edge in within if edge.ring is not None]
    if not rings:
        return None
    return Circle(
        tuple(_where(configuration.phases[phase], key) for key, _ in within),
        min(rings, key=lambda ring: configuration.buffers[ring].depth),
    )


def _where(phase: Phase, actor: ActorKey) -> str:
    kind, position = actor
    return phase.stages[position].where if kind == "stage" else phase.streams[position].where
