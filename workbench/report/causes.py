"""Why a step takes as long as it does: what each cause's removal would be worth, and what it is where that is nothing.

Where a machine number can be lifted (memory bandwidth, link width, loading times), the step is simulated again without
that limit: the gain is what the simulator says, with everything else in the way as before. Elsewhere it is a bound. A
chain of events that takes some cycles without a cause still takes them where the cause is gone, so no cause is worth
more than its own cycles on the critical path; and neither a firing nor a phase is shorter than its arithmetic at the
machine's peak.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ir.graph import SectionKind
from pef import pef_pb2 as pb
from pef.wording import counted, duration, size
from runtime.profile.roofline import peak_flops_per_cycle, roofline_cycles
from runtime.timing import Report, simulate
from runtime.timing.report import Bound, Execution, SectionReport
from workbench.report.execution import path_by_actor

SHOWN = 3
NOTHING = 5e-4
"""The share of a step that is too small to be called a gain."""
UNLIMITED = 2**30
"""Bytes per cycle of a part that never limits anything."""

Facts = dict[str, Any]

WORDS = {
    Bound.COMPUTE: "computing",
    Bound.PORT: "waiting for ports of PMUs",
    Bound.NETWORK: "waiting for links between units",
    Bound.EXCHANGE: "exchanging gradients with other replicas",
    Bound.DRAM: "waiting for device memory",
    Bound.AGCU: "waiting for AGCUs, the doors to memory",
    Bound.FILL: "filling and draining pipelines",
    Bound.LOAD: "loading programs and arguments, and launching",
}
"""Completes the sentence "x % of the time is spent ..."."""


def verdict(pef: pb.Pef, report: Report) -> Facts:
    """How long a step takes, how close that is to the roofline, and the sentence that says so."""
    least = roofline_cycles(report, pef)
    share = least / report.cycles if report.cycles else 0.0
    spent = spent_by_bound(report)
    worst = max(spent, key=lambda bound: spent[bound])
    trains = any(SectionKind(section.kind).back_propagates for section in report.sections)
    what = "A training step" if trains else "A forward pass"
    where = f"one {report.machine.name}{_of_replicas(report)}"
    sentence = (
        f"{what} of {report.name} takes {duration(report.us(report.cycles))} on {where} (simulated), "
        f"at {share:.1%} of the roofline; {_share(report, spent[worst])} of the time is spent {WORDS[worst]}."
    )
    return {
        "sentence": sentence,
        "cycles": report.cycles,
        "roofline_cycles": least,
        "roofline_share": share,
        "spent": {bound.name.lower(): cycles for bound, cycles in spent.items() if cycles},
    }


def spent_by_bound(report: Report) -> dict[Bound, float]:
    """The cycles of a step by what they went into, loads included."""
    spent: dict[Bound, float] = dict.fromkeys(Bound, 0.0)
    for section in report.sections:
        spent[Bound.LOAD] += section.load_cycles
        for bound, cycles in section.execution.path.items():
            spent[bound] += cycles
    return spent


def causes(pef: pb.Pef, report: Report) -> list[Facts]:
    """The causes whose removal would gain most, each with who contributes most to it, and the one that most of the time
    goes into even where it gains nothing. What gains most comes first."""
    spent = spent_by_bound(report)
    ranked = sorted((bound for bound in Bound if spent[bound]), key=lambda bound: -spent[bound])
    found: list[Facts] = []
    for bound in ranked:
        if len(found) >= SHOWN and sorted(cause["gain_cycles"] for cause in found)[-SHOWN] >= spent[bound]:
            break
        found.append(_cause(pef, report, bound, spent))
    others = [cause for cause in found[1:] if cause["gain_cycles"]]
    best = sorted(others, key=lambda cause: -cause["gain_cycles"])[: SHOWN - 1]
    return sorted([*found[:1], *best], key=lambda cause: -cause["gain_cycles"])


def _cause(pef: pb.Pef, report: Report, bound: Bound, spent: Mapping[Bound, float]) -> Facts:
    unlimited = without(pef, bound)
    if unlimited is None:
        gain = _computing_above_peak(report) if bound is Bound.COMPUTE else spent[bound]
        how, why_not = "at most", "it computes at the machine's peak"
    else:
        relieved = simulate(unlimited, [section.index for section in report.sections], report.replicas)
        gain, how = report.cycles - relieved.cycles, "simulated without it"
        why_not = f"without it, as much time goes into {_instead(spent, spent_by_bound(relieved))}"
    if gain <= NOTHING * report.cycles:
        gain, how = 0.0, why_not
    return {
        "bound": bound.name.lower(),
        "words": WORDS[bound],
        "cycles": spent[bound],
        "share": spent[bound] / report.cycles,
        "gain_cycles": gain,
        "gain_share": gain / report.cycles,
        "how": how,
        "remark": _remark(report, bound),
        "contributors": list(_contributors(report, bound)),
    }


def _instead(before: Mapping[Bound, float], after: Mapping[Bound, float]) -> str:
    """What takes the time that one cause took before."""
    return WORDS[max(after, key=lambda bound: after[bound] - before[bound])]


def _computing_above_peak(report: Report) -> float:
    """The most that computing in another way could gain, phase by phase: arithmetic that hides behind the memory of one
    phase is no reason for another to be slow."""
    peak = peak_flops_per_cycle(report.machine)
    counts = Counter(id(section.execution) for section in report.sections)
    executions = {id(section.execution): section.execution for section in report.sections}
    return sum(counts[number] * _above_peak(execution, peak) for number, execution in executions.items())


def _above_peak(execution: Execution, peak_flops: float) -> float:
    """Of the critical path's computing what is above the peak, if all units did each of its firings together, and no
    more than what the phases take above the peak."""
    above: dict[int, float] = defaultdict(float)
    for step in execution.steps:
        if computing := step.spent.get(Bound.COMPUTE, 0.0):
            stage = execution.phases[step.phase].stages[step.index]
            above[step.phase] += computing * (1 - stage.flops / (stage.events * stage.compute_cycles * peak_flops))
    return sum(
        min(above[number], phase.end - phase.start - sum(stage.flops for stage in phase.stages) / peak_flops)
        for number, phase in enumerate(execution.phases)
    )


def without(pef: pb.Pef, bound: Bound) -> pb.Pef | None:
    """The same program on a machine that this never limits; None where no number of the machine says so."""
    changed = pb.Pef()
    changed.CopyFrom(pef)
    machine = changed.machine
    if bound is Bound.LOAD:
        machine.program_load_us = machine.argument_load_us = machine.launch_us = 0.0
    elif bound is Bound.DRAM:
        for tier in machine.tiers:
            tier.bandwidth_bytes_per_s = UNLIMITED * machine.clock_ghz * 1e9
    elif bound is Bound.AGCU:
        machine.agcu_bytes_per_cycle = UNLIMITED
    elif bound is Bound.NETWORK:
        machine.link_bytes_per_cycle = UNLIMITED
    elif bound is Bound.PORT:
        machine.pmu_port_bytes_per_cycle = UNLIMITED
    else:
        return None
    return changed


def _peak_cycles(report: Report) -> float:
    """What the step's arithmetic takes on every PCU at its peak for bf16."""
    return sum(section.execution.flops for section in report.sections) / peak_flops_per_cycle(report.machine)


def _remark(report: Report, bound: Bound) -> str:
    if bound is Bound.LOAD:
        return f"{counted(len(report.sections), 'section')}, program and arguments loaded before each launch"
    if bound is Bound.COMPUTE:
        return f"at peak on every PCU in bf16 the arithmetic takes {duration(report.us(_peak_cycles(report)))}"
    if bound is Bound.DRAM:
        moved = sum(sum((*s.execution.read_bytes, *s.execution.write_bytes)) for s in report.sections)
        return f"{size(moved)} move to or from device memory"
    if bound is Bound.FILL:
        phases = sum(len(section.execution.phases) for section in report.sections)
        return f"{counted(phases, 'phase')}, pipelines filled and drained once in each"
    return ""


def _contributors(report: Report, bound: Bound) -> Iterator[Facts]:
    """The sections, stages and streams with the most cycles of one cause; equal sections count together."""
    groups: dict[int, list[SectionReport]] = defaultdict(list)
    for section in report.sections:
        groups[id(section.execution)].append(section)
    found = []
    for sections in groups.values():
        for where, cycles in _within(sections, bound):
            found.append((cycles, sections, where))
    found.sort(key=lambda entry: (-entry[0], entry[1][0].index, entry[2]))
    for cycles, sections, (phase, kind, index) in found[:SHOWN]:
        yield {
            "section": sections[0].index,
            "sections": len(sections),
            "phase": phase,
            "kind": kind,
            "index": index,
            "name": _name(sections[0], phase, kind, index),
            "cycles": cycles,
            "share": cycles / report.cycles,
        }


def _within(sections: Sequence[SectionReport], bound: Bound) -> Iterator[tuple[tuple[int, str, int], float]]:
    if bound is Bound.LOAD:
        yield (-1, "", -1), sum(section.load_cycles for section in sections)
        return
    for actor, spent in path_by_actor(sections[0].execution).items():
        if bound.name.lower() in spent:
            yield actor, spent[bound.name.lower()] * len(sections)


def _name(section: SectionReport, phase: int, kind: str, index: int) -> str:
    if kind == "stage":
        return section.execution.phases[phase].stages[index].name
    if kind == "stream":
        stream = section.execution.phases[phase].streams[index]
        return f"{'store' if stream.store else 'load'} {section.symbols[stream.slot]}"
    return section.name


def _share(report: Report, cycles: float) -> str:
    return f"{cycles / report.cycles:.0%}" if report.cycles else "nothing"


def _of_replicas(report: Report) -> str:
    return f" of {report.replicas.count} that average gradients" if report.replicas.count > 1 else ""
