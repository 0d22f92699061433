"""Rules about streams between symbols and buffers."""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from pef.checks.operations import body_problems
from pef.decoded import Configuration, Stream
from pef.nest import WHOLE, axis_of, level_of


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
    """A stream's first value is its slice of the buffer, and a store has one."""
    for stream in _streams(configuration):
        buffer = configuration.buffers[stream.record.buffer]
        if not stream.body.values:
            if stream.record.store:
                yield Problem("the store has no value", stream.where)
            continue
        nest, first = stream.body.nest, stream.body.values[0]
        if nest.fits(buffer.type, stream.slicing) and first.type != (e := nest.sliced(buffer.type, stream.slicing)):
            yield Problem(f"the slice is {first.type}, that of {buffer.where} is {e}", stream.where)
        if first.slicing != stream.slicing:
            yield Problem(f"the slice is cut {list(first.slicing)}, the stream {list(stream.slicing)}", stream.where)


def slots_fit(configuration: Configuration) -> Iterator[Problem]:
    """What a stream moves is its symbol, whole, or what its index picks of it: the buffer for a load, the last value's
    slices for a store."""
    for stream in _streams(configuration):
        slot = configuration.slots[stream.record.slot]
        if stream.record.store and stream.body.values:
            last = len(stream.body.values) - 1
            (moved,) = stream.body.grown((last,), 0)
        else:
            moved = configuration.buffers[stream.record.buffer].type
        picked = stream.picked(slot)
        if moved != picked:
            of = f"of slot {stream.record.slot} the index picks {picked}" if stream.pick else ""
            held = of or f"slot {stream.record.slot} holds {slot}"
            yield Problem(f"the stream moves {moved}, {held}", stream.where)


def indices_are_integers(configuration: Configuration) -> Iterator[Problem]:
    """An index is a buffer of integers; a store goes by a vector of them, so that "the last counts" has a meaning."""
    for stream in _streams(configuration):
        if stream.pick is None:
            continue
        buffer = configuration.buffers[stream.record.index.buffer]
        if buffer.type != stream.pick.index_type:
            yield Problem(f"the index is {buffer.type}, not integers of type i32", stream.where)
        if stream.store and stream.pick.rank != 1:
            yield Problem(f"a store goes by a vector of integers, not by {buffer.type}", stream.where)
        if stream.record.index.buffer == stream.record.buffer:
            yield Problem("the stream is its own index", stream.where)


def gathers_once_per_iteration(configuration: Configuration) -> Iterator[Problem]:
    """A load that goes by an index into a buffer that stays moves it whole, or another slice in every iteration."""
    for stream in _streams(configuration):
        if stream.pick is None or stream.store or configuration.buffers[stream.buffer].is_ring:
            continue
        for loop in range(stream.level):
            if axis_of(stream.slicing, loop) == WHOLE and stream.body.nest.counts[loop] > 1:
                yield Problem(f"the load repeats itself in every iteration of loop {loop}", stream.where)


def each_slice_is_stored_once(configuration: Configuration) -> Iterator[Problem]:
    """Every loop down to a store's level cuts the buffer, and the symbol with it: each transfer moves another slice."""
    for stream in _streams(configuration):
        if not stream.record.store or not stream.body.values:
            continue
        level = level_of(stream.slicing)
        symbol = stream.body.values[-1].slicing
        for loop in range(max(level, level_of(symbol))):
            if stream.body.nest.counts[loop] == 1:
                continue
            if axis_of(stream.slicing, loop) == WHOLE:
                yield Problem(f"the store moves the same slice in every iteration of loop {loop}", stream.where)
            elif axis_of(symbol, loop) == WHOLE:
                yield Problem(f"the store turns the slices of loop {loop} into a whole", stream.where)


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


STREAM_RULES = (
    stream_operations,
    stream_values,
    slots_fit,
    indices_are_integers,
    gathers_once_per_iteration,
    each_slice_is_stored_once,
    agcus_are_distinct,
    slots_are_used,
)
