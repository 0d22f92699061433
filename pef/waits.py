"""Who waits for whom, in closed form: the same as `pef.nest.needed` and `freed_by`, without a look at their indices."""

from __future__ import annotations

from dataclasses import dataclass

from pef.nest import NEVER, Reader, Writer, sync_level


@dataclass(frozen=True, slots=True)
class Wait:
    """Event e waits for the source's event ((e // span - lag) // group + 1) * block - 1; the first lag spans do not."""

    span: int
    lag: int
    group: int
    block: int

    def event(self, event: int) -> int:
        """The event of the source that `event` waits for, or NEVER."""
        spans = event // self.span - self.lag
        return NEVER if spans < 0 else (spans // self.group + 1) * self.block - 1

    def allowed(self, done: int) -> int:
        """How many events may happen once `done` of the source's have."""
        return self.span * (self.lag + self.group * (done // self.block))


def needs(writer: Writer, reader: Reader) -> Wait:
    """What the reader's events wait for. The writer is not a resident load."""
    blocks = writer.nest.events(sync_level(writer, reader))
    return Wait(reader.events // blocks, 0, 1, writer.events // blocks)


def frees(writer: Writer, reader: Reader, depth: int) -> Wait | None:
    """What the writer's events wait for in a ring of `depth` slices; None where nothing is ever replaced."""
    if writer.resident_load or depth >= writer.nest.slices(writer.slicing):
        return None
    units, blocks = writer.nest.events(writer.completion), writer.nest.events(sync_level(writer, reader))
    return Wait(writer.events // units, depth // writer.unit_slices, units // blocks, reader.events // blocks)
