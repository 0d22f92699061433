"""Planning a section: PCUs, buffers and streams of the nests that the cut chose, before anything has a site."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rdu.allocate.buffers import Layout, lay_out, moved_bytes
from backends.rdu.allocate.units import AllocatedPhase, allocate
from backends.rdu.cut.cut_section import CutSection
from backends.rdu.infeasibility import Contributor, Resource, require
from backends.rdu.stream.choices import resident_bytes
from backends.rdu.stream.estimate import PCU_SHARE, kept_loads
from backends.rdu.stream.nests import Phase
from pef.cycles import chain_length
from pef.machine import Machine, SiteKind
from pef.nest import Nest


def plan_section(section: CutSection, machine: Machine, deepening: float = 0.0) -> Layout:
    """The section with its fastest allocation; one without stages moves data. `deepening` as of `lay_out`.

    Raises DoesNotFitError with the biggest contributors.
    """
    return laid_out(section, allocated_phases(section, machine), machine, deepening)


def allocated_phases(section: CutSection, machine: Machine) -> list[AllocatedPhase]:
    """The section's phases with their PCUs.

    Raises DoesNotFitError with the biggest contributors.
    """
    if not section.stages:
        return [AllocatedPhase(Phase(Nest((1,)), ()), (), 1.0, ())]
    pcus = len(machine.working_sites(SiteKind.PCU))
    require(Resource.PCU, pcus, _least_pcus(section.phases, machine))
    traffic = _traffic(section, machine, resident_bytes(machine))
    return allocate(section.phases, traffic, machine, int(pcus * PCU_SHARE))


def laid_out(section: CutSection, phases: Sequence[AllocatedPhase], machine: Machine, deepening: float) -> Layout:
    """The section with buffers and streams for its allocated phases; `deepening` as of `lay_out`.

    Raises DoesNotFitError with the biggest contributors.
    """
    layout = lay_out(section, phases, machine, resident_bytes(machine), deepening)
    if section.stages:
        used = layout.pmus()
        fullest = used.index(max(used))
        living = [buffer for buffer, phases in zip(layout.buffers, layout.lifetimes()) if fullest in phases]
        pmus = len(machine.working_sites(SiteKind.PMU))
        require(Resource.PMU, pmus, [Contributor(f"{b.name} {b.type}", b.pmus) for b in living])
    return layout


def _traffic(section: CutSection, machine: Machine, most: int) -> list[float]:
    """Cycles that memory needs for what each phase moves while it streams."""
    made: set[str] = set()
    found = []
    for index, phase in enumerate(section.phases):
        found.append(moved_bytes(section, phase, made, most) / machine.tier_bytes_per_cycle(0))
        made |= kept_loads(section.phases, index, made, machine, most)
        made |= {value.name for stage in phase.stages for value in stage.stage.writes}
    return found


def _least_pcus(phases: Sequence[Phase], machine: Machine) -> list[Contributor]:
    """What every stage needs at the very least."""
    return [
        Contributor(stage.stage.name, chain_length(stage.work, machine)) for phase in phases for stage in phase.stages
    ]
