"""Waits: the closed form is the definition, and the definition is what slices overlap."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ir.types import DType, TensorType
from pef.nest import NEVER, WHOLE, Load, Nest, Reader, Writer, axis_of, freed_by, least_depth, level_of, needed
from pef.waits import frees, needs
from runtime.timing.sources import resident_sources, sources


@dataclass(frozen=True)
class Pair:
    """A writer and a reader of one phase, where loop i cuts axis i or leaves the tensor whole."""

    writer: Writer
    reader: Reader


@st.composite
def pairs(draw: st.DrawFn, kinds: tuple[str, ...] = ("stage", "load", "resident")) -> Pair:
    """Any that the rules about buffers allow, in nests of up to three loops."""
    nest = Nest(tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))))
    loops = range(len(nest.counts))
    written, read = (
        tuple(loop if draw(st.booleans()) else WHOLE for loop in loops),
        tuple(loop if draw(st.booleans()) else WHOLE for loop in loops),
    )
    level = draw(st.integers(level_of(read), len(loops)))
    kind = draw(st.sampled_from(kinds))
    if kind == "load":
        writer: Writer = Load(nest, written, level_of(written))
    elif kind == "resident":
        writer = Writer(nest, written, level_of(written), resident_load=True)
    else:
        writer = Writer(nest, written, draw(st.integers(level_of(written), len(loops))))
    return Pair(writer, Reader(nest, read, level))


@given(pairs(("stage", "load")), st.integers(0, 8))
@settings(max_examples=400, deadline=None)
def test_closed_form_is_the_definition(pair: Pair, extra: int) -> None:
    writer, reader = pair.writer, pair.reader
    depth = least_depth(writer, reader) + extra * writer.unit_slices
    wait = needs(writer, reader)
    wanted = [needed(writer, reader, event) for event in range(reader.events)]
    assert sources(wait, reader.events) == [wait.event(event) for event in range(reader.events)] == wanted
    for done in range(writer.events + 1):
        assert min(wait.allowed(done), reader.events) == sum(event < done for event in wanted)
    freed = frees(writer, reader, depth)
    blocking = [freed_by(writer, reader, depth, event) for event in range(writer.events)]
    if freed is None:
        assert set(blocking) == {NEVER}
        return
    assert sources(freed, writer.events) == [freed.event(event) for event in range(writer.events)] == blocking
    for done in range(reader.events + 1):
        assert min(freed.allowed(done), writer.events) == sum(event < done for event in blocking)


@given(pairs(("resident",)))
@settings(max_examples=200, deadline=None)
def test_readers_of_resident_loads_wait_for_the_last_slice_so_far(pair: Pair) -> None:
    wanted = [needed(pair.writer, pair.reader, event) for event in range(pair.reader.events)]
    assert resident_sources(pair.writer, pair.reader) == list(itertools.accumulate(wanted, max))


@given(pairs(("stage", "resident")))
@settings(max_examples=200, deadline=None)
def test_a_reader_waits_for_the_last_event_that_touches_its_slice(pair: Pair) -> None:
    """Seen from the elements: mark in the tensor when each is last written, and look where the reader looks."""
    writer, reader = pair.writer, pair.reader
    nest = writer.nest
    assume(all(axis_of(reader.slicing, loop) != WHOLE for loop in range(reader.level)))
    tensor = TensorType(DType.F32, nest.counts)
    written = np.full(tensor.shape, -1)
    if writer.resident_load:
        cutting = [loop for loop, axis in enumerate(writer.slicing) if axis != WHOLE]
        for number, index in enumerate(itertools.product(*(range(nest.counts[loop]) for loop in cutting))):
            full = [0] * len(nest.counts)
            for loop, at in zip(cutting, index):
                full[loop] = at
            written[nest.window(tensor, writer.slicing, full)] = number
    else:
        for event in range(writer.events):
            written[nest.window(tensor, writer.slicing, nest.index(event, writer.level))] = event
    for event in range(reader.events):
        seen = written[nest.window(tensor, reader.slicing, nest.index(event, reader.level))]
        assert needed(writer, reader, event) >= seen.max()
        if writer.resident_load or not writer.reduced:
            assert needed(writer, reader, event) == seen.max()
