"""For every event of an actor the event that it waits for: lists, made at once and looked up in the event loop."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pef.nest import NEVER, WHOLE, Reader, Writer, axis_of
from pef.waits import Wait


@lru_cache(maxsize=512)
def sources(wait: Wait, events: int) -> list[int]:
    """The source's event that each of the first `events` waits for, or NEVER. Not to be changed: it is shared."""
    spans = np.arange(events) // wait.span - wait.lag
    found = (spans // wait.group + 1) * wait.block - 1
    found[spans < 0] = NEVER
    listed: list[int] = found.tolist()
    return listed


def resident_sources(writer: Writer, reader: Reader) -> list[int]:
    """For each of the reader's events how far a resident load must have come: for it and the events before it."""
    counts = reader.nest.counts[: reader.level]
    number = np.zeros(counts or (1,), np.int64)
    for loop, axis in enumerate(writer.slicing):
        if axis == WHOLE:
            continue
        count = writer.nest.counts[loop]
        if loop < reader.level and axis_of(reader.slicing, loop) == axis:
            index = np.arange(count).reshape([-1 if i == loop else 1 for i in range(len(counts))])
            number = number * count + index
        else:
            number = number * count + count - 1
    full = np.broadcast_to(number, counts or (1,)).ravel()
    return np.maximum.accumulate(full).tolist()  # type: ignore[no-any-return]
