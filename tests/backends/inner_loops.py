"""Nests put together by hand, beside those that the compiler looks for."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rdu.stream.forms import Cutting
from backends.rdu.stream.nests import Phase
from pef.nest import Nest


def with_inner_loop(phase: Phase, cuttings: Sequence[Cutting | None], count: int) -> Phase:
    """The phase with one more loop inside."""
    stages = tuple(stage.within(cutting, count) for stage, cutting in zip(phase.stages, cuttings))
    return Phase(Nest((*phase.nest.counts, count)), stages, phase.divisor)
