"""Rules about buffers: how they are cut, who writes and reads them, and that what is read has been written.

A phase is a marked graph: stages and streams fire once per tile, a ring of depth d lets its writer be d tiles ahead.
Such a graph can only block where a cycle carries no token. Every cycle that uses a ring backwards carries its depth,
which is at least one; cycles of reads alone are excluded by `dataflow_order`. So these rules together imply that a
phase runs to its end; depths beyond one buy speed, which is the timing simulator's concern.
"""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from pef.decoded import Access, Configuration


def equal_tiles(configuration: Configuration) -> Iterator[Problem]:
    """A buffer's tiles are equal slices along its axis; a buffer of one tile has axis -1."""
    for buffer in configuration.buffers:
        if (buffer.tiles == 1) != (buffer.axis < 0):
            yield Problem(f"the buffer has axis {buffer.axis}, but {buffer.tiles} tiles", buffer.where)
        elif buffer.axis >= 0 and buffer.type.shape[buffer.axis] % buffer.tiles:
            yield Problem(f"axis {buffer.axis} of {buffer.type} is not cut by {buffer.tiles} tiles", buffer.where)


def depth_in_range(configuration: Configuration) -> Iterator[Problem]:
    """A buffer holds at least one tile and at most all."""
    for buffer in configuration.buffers:
        if not 1 <= buffer.depth <= buffer.tiles:
            yield Problem(f"the buffer holds {buffer.depth} of its {buffer.tiles} tiles", buffer.where)


def one_writer(configuration: Configuration) -> Iterator[Problem]:
    """A buffer has exactly one writer, and a reader."""
    for number, buffer in enumerate(configuration.buffers):
        writers = configuration.writers[number]
        if len(writers) != 1:
            names = ": " + "; ".join(writer.where for writer in writers) if writers else ""
            yield Problem(f"the buffer has {len(writers)} writers{names}", buffer.where)
        if not configuration.readers[number]:
            yield Problem("the buffer is read by nobody", buffer.where)


def equal_slices(configuration: Configuration) -> Iterator[Problem]:
    """A port or stream that goes tile by tile cuts its buffer into equal slices, one per tile of the phase."""
    for access in (*configuration.writes, *configuration.reads):
        tensor, tiles = configuration.buffers[access.buffer].type, configuration.phases[access.phase].tiles
        if access.axis >= 0 and tensor.shape[access.axis] % tiles:
            yield Problem(f"axis {access.axis} of {tensor} is not cut by the phase's {tiles} tiles", access.where)


def rings_stay_in_step(configuration: Configuration) -> Iterator[Problem]:
    """A ring is written and read in one phase, of as many tiles, along the ring's own axis."""
    for number, buffer in enumerate(configuration.buffers):
        accesses = [*configuration.writers[number], *configuration.readers[number]]
        if not buffer.is_ring or not accesses:
            continue
        home = accesses[0].phase
        for access in accesses:
            if access.phase != home:
                yield Problem(f"a ring of phase {home} is used in phase {access.phase} by {access.where}", buffer.where)
            if access.axis != buffer.axis:
                yield Problem(
                    f"a ring along axis {buffer.axis} is used along {access.axis} by {access.where}", buffer.where
                )
        tiles = configuration.phases[home].tiles
        if buffer.tiles != tiles:
            yield Problem(f"a ring of {buffer.tiles} tiles is used in a phase of {tiles}", buffer.where)


def whole_writes_combine(configuration: Configuration) -> Iterator[Problem]:
    """A stage's whole write in a phase of several tiles combines their partial results; nothing else combines."""
    for access in configuration.writes:
        if access.by_stream:
            continue
        tiled = configuration.phases[access.phase].tiles > 1
        if tiled and access.axis < 0 and not access.combine:
            yield Problem("every tile writes the whole buffer, and nothing says how they combine", access.where)
        if access.combine and access.axis >= 0:
            yield Problem(f"slices are combined by {access.combine!r}, although each is written once", access.where)
    for access in configuration.reads:
        if access.combine:
            yield Problem(f"a read combines by {access.combine!r}", access.where)


def dataflow_order(configuration: Configuration) -> Iterator[Problem]:
    """What is read has been written: in an earlier phase, by a whole load, or slice by slice by an earlier stage."""
    for read in configuration.reads:
        for write in configuration.writers[read.buffer][:1]:
            reason = _undefined(read, write, configuration.phases[read.phase].tiles)
            if reason:
                yield Problem(f"{configuration.buffers[read.buffer].where} is read {reason}", read.where)


def _undefined(read: Access, write: Access, tiles: int) -> str | None:
    """Why `read` may see what `write` has not written yet."""
    if write.phase != read.phase:
        return None if write.phase < read.phase else f"before phase {write.phase} writes it"
    if read.is_whole_transfer or write.is_whole_transfer:
        return None
    if write.position >= read.position:
        return f"before {write.where} writes it"
    if tiles == 1 or write.axis == read.axis >= 0:
        return None
    if write.axis < 0:
        return "before its tiles are combined"
    return f"along axis {read.axis}, while {write.where} writes it along axis {write.axis}"


BUFFER_RULES = (
    equal_tiles,
    depth_in_range,
    one_writer,
    equal_slices,
    rings_stay_in_step,
    whole_writes_combine,
    dataflow_order,
)
