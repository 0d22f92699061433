"""Planning a section: phases, tile counts, PCUs and buffers, before anything has a site."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rdu.allocate import AllocatedPhase, Microbatches, allocate
from backends.rdu.buffers import Layout, lay_out, streamed_bytes
from backends.rdu.infeasibility import Contributor, Resource, require
from backends.rdu.phases import Phase, form_phases
from backends.rdu.sections import CutSection
from backends.rdu.tiling import tile_stage
from pef.cycles import chain_length
from pef.machine import Machine, SiteKind


def plan_section(section: CutSection, machine: Machine, microbatches: Microbatches | None = None) -> Layout:
    """The section with the fastest tiles, or with the finest where those do not fit; one without stages moves data.

    With `microbatches`, phases that stream the batch have a tile for each, where that fits.
    Raises DoesNotFitError with the biggest contributors.
    """
    if not section.stages:
        return lay_out(section, [AllocatedPhase(Phase(divisor=1), 1, (), (), 1)], machine)
    phases = form_phases(section.stages)
    pcus = len(machine.working_sites(SiteKind.PCU))
    pmus = len(machine.working_sites(SiteKind.PMU))
    require(Resource.PCU, pcus, _least_pcus(phases, machine))
    moved = [streamed_bytes(section, phase) for phase in phases]
    for finest in (False, True):
        allocated = allocate(phases, moved, machine, pcus * 9 // 10, finest=finest, microbatches=microbatches)
        layout = lay_out(section, allocated, machine)
        if sum(buffer.pmus for buffer in layout.buffers) <= pmus:
            return layout
    require(Resource.PMU, pmus, [Contributor(f"{b.name} {b.type}", b.pmus) for b in layout.buffers])
    return layout


def _least_pcus(phases: Sequence[Phase], machine: Machine) -> list[Contributor]:
    """What every stage needs at the very least, whatever its tiles."""
    return [
        Contributor(streamed.stage.name, chain_length(tile_stage(streamed, 1).work, machine))
        for phase in phases
        for streamed in phase.stages
    ]
