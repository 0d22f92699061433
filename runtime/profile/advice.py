"""Sentences computed from a report: what holds each section back, and by how much.

They name causes. What to do about them is for `snc report --model`, which compiles a remedy before it names one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pef.wording import counted, duration, loop_counts
from runtime.timing.report import Bound, Report, SectionReport, StageReport

NOTICEABLE_SHARE = 0.05
"""Shares below this are not worth a sentence: the profiler whose words we use draws the line at 5 % too."""


def advice(report: Report) -> list[str]:
    """One sentence for what binds each section that takes a noticeable share of the time, one for each stall.

    Sections that share a configuration are spoken of together.
    """
    sentences: list[str] = []
    for sections in grouped(report):
        if sum(section.cycles for section in sections) < NOTICEABLE_SHARE * report.cycles:
            continue
        sentences.append(_binding(report, sections))
        sentences += _stalls(sections)
    return sentences


def grouped(report: Report) -> list[list[SectionReport]]:
    """Sections with the same execution, in order of first appearance."""
    groups: dict[int, list[SectionReport]] = {}
    for section in report.sections:
        groups.setdefault(id(section.execution), []).append(section)
    return list(groups.values())


def names(sections: list[SectionReport]) -> str:
    """`section fwd_0`, or `sections fwd_0 and 11 like it`."""
    first = sections[0].name
    return f"section {first}" if len(sections) == 1 else f"section {first} and {len(sections) - 1} like it"


def slowest(section: SectionReport) -> StageReport | None:
    """The stage with the most firing time."""
    return max(_stages(section), key=lambda stage: stage.interval_cycles * stage.events, default=None)


def _stages(section: SectionReport) -> list[StageReport]:
    return [stage for phase in section.execution.phases for stage in phase.stages]


def _binding(report: Report, sections: list[SectionReport]) -> str:
    section = next((s for s in sections if s.program_load_cycles == 0), sections[0])
    spent = {**section.execution.path, Bound.LOAD: section.load_cycles}[section.bound]
    share = spent / section.cycles if section.cycles else 0.0
    return f"{names(sections)}: bound by {section.bound.value} ({share:.0%} of its time): " + _EXPLAIN[section.bound](
        report, section
    )


def _compute(report: Report, section: SectionReport) -> str:
    stage = slowest(section)
    if stage is None:
        return "it has no stages"
    busy = stage.time.busy / section.execution.cycles
    return (
        f"stage {stage.name} takes {stage.interval_cycles:,} cycles per firing on "
        f"{counted(stage.parallelism.units, 'PCU')} and fires {busy:.0%} of the time; the section uses "
        f"{section.execution.pcu.allocated} of {section.execution.pcu.machine} PCUs"
    )


def _port(report: Report, section: SectionReport) -> str:
    stage = max(_stages(section), key=lambda s: s.time.port)
    return (
        f"stage {stage.name} computes a firing in {stage.compute_cycles:,} cycles, but its buffers' PMU ports need "
        f"{stage.port_cycles:,}"
    )


def _network(report: Report, section: SectionReport) -> str:
    stage = max(_stages(section), key=lambda s: s.time.network)
    return (
        f"links need {stage.network_cycles:,} cycles per firing of stage {stage.name}, which would otherwise take "
        f"{max(stage.compute_cycles, stage.port_cycles):,}"
    )


def _exchange(report: Report, section: SectionReport) -> str:
    stage = max(_stages(section), key=lambda s: s.time.exchange)
    way = "around the ring of RDUs" if report.replicas.on_rdu else "to the host and back, without --reduce-on-rdu"
    return (
        f"averaging over {report.replicas.count} replicas moves the gradients {way} and takes "
        f"{stage.exchange_cycles:,} cycles per firing"
    )


def _dram(report: Report, section: SectionReport) -> str:
    """What goes through the memory that takes longest for its share; another one beside it may be all but idle."""
    execution = section.execution
    moved = zip(report.machine.tiers, execution.read_bytes, execution.write_bytes)
    tier, read, write = max(moved, key=lambda own: (own[1] + own[2]) / own[0].bandwidth_bytes_per_s)
    achieved = (read + write) / (report.us(execution.cycles) * 1e-6)
    return (
        f"it reads {read / 2**20:,.2f} MiB from and writes {write / 2**20:,.2f} MiB to {tier.name} at "
        f"{achieved / 1e9:,.1f} of {tier.bandwidth_bytes_per_s / 1e9:,.1f} GB/s"
    )


def _agcu(report: Report, section: SectionReport) -> str:
    streams = [stream for phase in section.execution.phases for stream in phase.streams]
    stream = max(streams, key=lambda s: s.ends[-1] - s.begins[0])
    way = "store" if stream.store else "load"
    return (
        f"the {way} of {section.symbols[stream.slot]} goes through {counted(len(stream.agcus), 'AGCU')} of "
        f"{report.machine.agcu_bytes_per_cycle} bytes per cycle, and its memory is faster than that"
    )


def _fill(report: Report, section: SectionReport) -> str:
    phases = section.execution.phases
    longest = max((phase.loops for phase in phases), key=math.prod, default=())
    return (
        f"in {counted(len(phases), 'phase')} of at most {loop_counts(longest)} iterations it goes into filling and "
        "draining pipelines and crossing the network"
    )


def _load(report: Report, section: SectionReport) -> str:
    executing, loading = (duration(report.us(cycles)) for cycles in (section.execution.cycles, section.load_cycles))
    return f"it executes {executing} after {loading} of launch, program and argument load"


_EXPLAIN: dict[Bound, Callable[[Report, SectionReport], str]] = {
    Bound.COMPUTE: _compute,
    Bound.PORT: _port,
    Bound.NETWORK: _network,
    Bound.EXCHANGE: _exchange,
    Bound.DRAM: _dram,
    Bound.AGCU: _agcu,
    Bound.FILL: _fill,
    Bound.LOAD: _load,
}


def _stalls(sections: list[SectionReport]) -> list[str]:
    """Stages that a full buffer downstream holds up although they set the pace."""
    section = sections[0]
    stage = slowest(section)
    if stage is None or stage.time.output < NOTICEABLE_SHARE * stage.time.total:
        return []
    share = stage.time.output / stage.time.total
    return [
        f"{names(sections)}: stage {stage.name} is the slowest and yet waits {share:.0%} of its phase for space "
        "downstream"
    ]
