"""Rules about streams between symbols and buffers."""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from pef.decoded import Configuration, Stream
from pef.checks.operations import body_problems


def stream_operations(configuration: Configuration) -> Iterator[Problem]:
    """A load has no operations; a store passes only through free operators."""
    for stream in _streams(configuration):
        if not stream.record.store and stream.body.applications:
            yield Problem("a load passes through operators", stream.where)
            continue
        yield from body_problems(stream.body, [0] if stream.body.values else [])
        if stream.record.store and stream.body.values and not _makes_last(stream):
            yield Problem("the store's last value is never made", stream.where)
        for application in stream.body.applications:
            if not application.op.is_free:
                yield Problem(f"a store cannot compute {application.op.name}", application.where)


def stream_values(configuration: Configuration) -> Iterator[Problem]:
    """A stream's first value is its tile of the buffer, and a store has one."""
    for stream in _streams(configuration):
        buffer = configuration.buffers[stream.record.buffer]
        if not stream.body.values:
            if stream.record.store:
                yield Problem("the store has no value", stream.where)
            continue
        tile, expected = stream.body.values[0], buffer.type.sliced(stream.record.axis, stream.body.tiles)
        if tile.type != expected:
            yield Problem(f"the tile is {tile.type}, its slice of {buffer.where} is {expected}", stream.where)
        if tile.axis != stream.record.axis:
            yield Problem(
                f"the tile is cut along axis {tile.axis}, the stream along {stream.record.axis}", stream.where
            )


def slots_fit(configuration: Configuration) -> Iterator[Problem]:
    """What a stream moves is its symbol, whole: the buffer for a load, the last value's tiles for a store."""
    for stream in _streams(configuration):
        slot = configuration.slots[stream.record.slot]
        if stream.record.store and stream.body.values:
            last = stream.body.values[-1]
            if (last.axis < 0) != (stream.record.axis < 0):
                yield Problem("the store turns tiles into a whole or a whole into tiles", stream.where)
            moved = last.whole(1 if stream.record.axis < 0 else stream.body.tiles)
        else:
            moved = configuration.buffers[stream.record.buffer].type
        if moved != slot:
            yield Problem(f"the stream moves {moved}, slot {stream.record.slot} holds {slot}", stream.where)


def agcus_are_distinct(configuration: Configuration) -> Iterator[Problem]:
    """A stream has at least one AGCU, and each once."""
    for stream in _streams(configuration):
        agcus = list(stream.record.agcus)
        if not agcus:
            yield Problem("the stream has no AGCU", stream.where)
        if len(set(agcus)) != len(agcus):
            yield Problem("the stream names an AGCU twice", stream.where)


def slots_are_used(configuration: Configuration) -> Iterator[Problem]:
    """Every slot is loaded or stored."""
    used = {stream.record.slot for stream in _streams(configuration)}
    for slot in range(len(configuration.slots)):
        if slot not in used:
            yield Problem(f"slot {slot} is neither loaded nor stored", configuration.where)


def _makes_last(stream: Stream) -> bool:
    """Whether the last value is the tile itself or the result of an operation."""
    last = len(stream.body.values) - 1
    return last == 0 or any(last in application.results for application in stream.body.applications)


def _streams(configuration: Configuration) -> Iterator[Stream]:
    for phase in configuration.phases:
        yield from phase.streams


STREAM_RULES = (stream_operations, stream_values, slots_fit, agcus_are_distinct, slots_are_used)
