"""Rules about buffers: how they are cut, who writes and reads them, and that what is read has been written.

Why a phase that keeps these rules runs to its end: within it, all that can wait for one another are actors that share
rings. Let s be the fewest loops that any two of them keep step in. Once all have done k iterations of the outer s
loops, every unit that they wrote has been read, so every ring is as free as at the start, and what anyone waits for
next lies in iteration k: iteration k runs as iteration 0 did. So it is enough that iteration 0 runs, and as nobody
ever takes back what another waits for, the order in which its actors are let go does not matter. `runs_to_its_end`
lets each go as far as it can until nothing moves. It is exact: a ring that is too short beside a longer path, such as
the scores that wait for their maximum, is found, and no phase that can run is refused. Waits on whole and resident
loads, on stages that fire once, and of whole stores go one way and can close no circle.
"""

from __future__ import annotations

from collections.abc import Iterator

from ir.errors import Problem
from pef.checks.liveness import circle
from pef.decoded import Access, Configuration
from pef.nest import WHOLE, Nest, Slicing, axis_of, least_depth, sync_level


def equal_slices(configuration: Configuration) -> Iterator[Problem]:
    """The loops cut a buffer, and what ports and streams see of it, into equal slices."""
    for buffer in configuration.buffers:
        if not buffer.home.fits(buffer.type, buffer.slicing):
            yield Problem(f"{buffer.type} is not cut {_cut(buffer.slicing, buffer.home)}", buffer.where)
    for access in _accesses(configuration):
        tensor, nest = configuration.buffers[access.buffer].type, configuration.phases[access.phase].nest
        if not nest.fits(tensor, access.slicing):
            yield Problem(f"{tensor} is not cut {_cut(access.slicing, nest)}", access.where)


def depth_in_range(configuration: Configuration) -> Iterator[Problem]:
    """A buffer holds at least one slice and at most all."""
    for buffer in configuration.buffers:
        if not 1 <= buffer.depth <= buffer.slices:
            yield Problem(f"the buffer holds {buffer.depth} of its {buffer.slices} slices", buffer.where)


def one_writer(configuration: Configuration) -> Iterator[Problem]:
    """A buffer has exactly one writer, and a reader."""
    for number, buffer in enumerate(configuration.buffers):
        writers = configuration.writers[number]
        if len(writers) != 1:
            names = ": " + "; ".join(writer.where for writer in writers) if writers else ""
            yield Problem(f"the buffer has {len(writers)} writers{names}", buffer.where)
        if not configuration.readers[number]:
            yield Problem("nothing reads the buffer", buffer.where)


def cut_as_it_is_written(configuration: Configuration) -> Iterator[Problem]:
    """A buffer is cut by the loops of the phase that fills it, as its writer is; a whole load fills a resident one."""
    for access in configuration.writes:
        buffer, nest = configuration.buffers[access.buffer], configuration.phases[access.phase].nest
        for loop, axis in enumerate(buffer.slicing):
            count = nest.counts[loop] if loop < len(nest.counts) else 1
            if axis != WHOLE and buffer.home.counts[loop] != count:
                yield Problem(
                    f"the buffer counts {buffer.home.counts[loop]} iterations of loop {loop}, "
                    f"{configuration.phases[access.phase].where} has {count}",
                    buffer.where,
                )
        if access.slicing != buffer.slicing and not (access.is_whole_transfer and not buffer.is_ring):
            cuts = f"is cut {list(buffer.slicing)}, but written cut {list(access.slicing)}"
            yield Problem(f"{buffer.where} {cuts}", access.where)


def rings_stay_in_their_phase(configuration: Configuration) -> Iterator[Problem]:
    """A ring is written and read in one phase."""
    for number, buffer in enumerate(configuration.buffers):
        accesses = [*configuration.writers[number], *configuration.readers[number]]
        if not buffer.is_ring or not accesses:
            continue
        home = accesses[0].phase
        for access in accesses:
            if access.phase != home:
                yield Problem(f"a ring of phase {home} is used in phase {access.phase} by {access.where}", buffer.where)


def reads_match_writes(configuration: Configuration) -> Iterator[Problem]:
    """In the phase that writes it, a buffer is read in slices that are made of whole slices as written, or lie in one.

    For each loop a reader cuts as the writer does, or reads all the slices of the loop, or, being a stage, cuts what
    the writer leaves whole, along an axis that no inner loop of the writer cuts. Two that cut an axis by the same loop
    have cut it by the same loops before. Whole loads leave all free, resident ones all but the last.
    """
    for read, write in _pairs(configuration):
        writer = configuration.writer(write)
        for loop in range(max(len(write.slicing), len(read.slicing))):
            written, seen = axis_of(write.slicing, loop), axis_of(read.slicing, loop)
            inner = write.slicing[loop + 1 :]
            allowed = seen in (WHOLE, written) or (written == WHOLE and seen not in inner and not read.by_stream)
            if not allowed and not writer.resident_load:
                yield Problem(
                    f"loop {loop} cuts {configuration.buffers[read.buffer].where} along axis {seen}, "
                    f"while {write.where} writes it cut {list(write.slicing)}",
                    read.where,
                )
            elif seen == written != WHOLE and _cutting(write.slicing, seen, loop) != _cutting(read.slicing, seen, loop):
                yield Problem(
                    f"axis {seen} of {configuration.buffers[read.buffer].where} is cut {list(read.slicing)}, "
                    f"while {write.where} writes it cut {list(write.slicing)}",
                    read.where,
                )


def reductions_combine(configuration: Configuration) -> Iterator[Problem]:
    """A stage's write combines partial results where a loop that the stage runs along does not cut it, else not."""
    for access in configuration.writes:
        if access.by_stream:
            continue
        writer = configuration.writer(access)
        reduced = [loop for loop in writer.reduced if writer.nest.counts[loop] > 1]
        if reduced and not access.combine:
            yield Problem(
                f"every iteration of loop {reduced[0]} writes the same slice, and nothing says how they combine",
                access.where,
            )
        if access.combine and not writer.reduced:
            yield Problem(f"slices are combined by {access.combine!r}, although each is written once", access.where)
    for access in configuration.reads:
        if access.combine:
            yield Problem(f"a read combines by {access.combine!r}", access.where)


def dataflow_order(configuration: Configuration) -> Iterator[Problem]:
    """What is read has been written: in an earlier phase, by a whole load, or in step by an earlier stage."""
    for read in configuration.reads:
        for write in configuration.writers[read.buffer][:1]:
            reason = _undefined(configuration, read, write)
            if reason:
                yield Problem(f"{configuration.buffers[read.buffer].where} is read {reason}", read.where)


def _undefined(configuration: Configuration, read: Access, write: Access) -> str | None:
    """Why `read` may see what `write` has not written yet."""
    if write.phase != read.phase:
        return None if write.phase < read.phase else f"before phase {write.phase} writes it"
    stream = configuration.phases[read.phase].streams[read.actor[1]] if read.is_index else None
    if stream is not None and stream.is_whole and not stream.store:
        return None if write.is_whole_transfer else "by a load that comes before the phase's first firing"
    if read.is_whole_transfer or write.is_whole_transfer or (stream is not None and stream.is_whole):
        return None
    if write.position >= read.position:
        return f"before {write.where} writes it"
    writer, reader = configuration.writer(write), configuration.reader(read)
    if writer.resident_load or writer.nest.events(writer.level) == 1 or sync_level(writer, reader):
        return None
    if writer.completion == 0:
        return "before it is combined over the phase's outermost loop"
    return f"before {write.where} has written all of it: only a later phase may read it so"


def rings_hold_a_block(configuration: Configuration) -> Iterator[Problem]:
    """A ring holds what its readers read at one time, and a whole number of what is complete at one time."""
    for read, write in _pairs(configuration):
        buffer, writer = configuration.buffers[read.buffer], configuration.writer(write)
        if not buffer.is_ring:
            continue
        least = least_depth(writer, configuration.reader(read))
        if buffer.depth < least:
            yield Problem(f"the ring holds {buffer.depth} slices, {read.where} reads {least} of them", buffer.where)
        if buffer.depth % writer.unit_slices:
            yield Problem(
                f"the ring holds {buffer.depth} slices, of which {writer.unit_slices} are complete at one time",
                buffer.where,
            )


def runs_to_its_end(configuration: Configuration) -> Iterator[Problem]:
    """No stage or stream waits for what waits for itself."""
    for number in range(len(configuration.phases)):
        found = circle(configuration, number)
        if found is not None:
            ring = configuration.buffers[found.ring]
            yield Problem(
                f"the program would stop for ever, as these wait for one another: {'; '.join(found.names)}",
                ring.where,
                hint=f"let the ring hold more than {ring.depth} slices",
            )


def _accesses(configuration: Configuration) -> tuple[Access, ...]:
    return (*configuration.writes, *configuration.reads)


def _pairs(configuration: Configuration) -> Iterator[tuple[Access, Access]]:
    """Every read with the write of the same buffer in the same phase."""
    for read in configuration.reads:
        for write in configuration.writers[read.buffer][:1]:
            if write.phase == read.phase:
                yield read, write


def _cutting(slicing: Slicing, axis: int, before: int) -> list[int]:
    """The loops before one that cut an axis."""
    return [loop for loop in range(min(before, len(slicing))) if slicing[loop] == axis]


def _cut(slicing: Slicing, nest: Nest) -> str:
    cuts = [f"along axis {axis} into {nest.counts[loop]}" for loop, axis in enumerate(slicing) if axis != WHOLE]
    return " and ".join(cuts) + " equal slices"


BUFFER_RULES = (
    equal_slices,
    depth_in_range,
    one_writer,
    cut_as_it_is_written,
    rings_stay_in_their_phase,
    reads_match_writes,
    reductions_combine,
    dataflow_order,
    rings_hold_a_block,
)
