"""What the time model says of a published row: simulated time, what it was spent on, rivals, and sensitivity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from backends.rdu.compile import BackendOptions
from backends.rdu.fuse.rules_file import read_rules
from backends.rdu.machine import load_machine, machine_entries
from benchmarks.mapping import compulsory_bytes, flops, roofline_ms
from benchmarks.mapping_models import Workload
from benchmarks.published.rows import FUSED, RULES, UNFUSED, Ratio, Row, ratio_workload
from benchmarks.unplaced import compile_unplaced
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.graph import Program
from pef import pef_pb2 as pb
from pef.codec import encode_machine
from pef.machine import Machine, SiteKind, Tier
from runtime.timing import Report, simulate
from runtime.timing.report import Bound

DDR_PEAK = 204.8e9
"""Bytes per second of eight channels of DDR4-3200, which an SN30 may have: no source states its speed."""


@dataclass(frozen=True)
class Measured:
    """A row's simulated time at one level, in seconds, with what stands beside it.

    roofline: of the whole model; operators: the sum over sections of the longer of arithmetic at peak and what they
    move at full bandwidth. spent: shares of the time by what ends it.
    """

    row: str
    level: str
    seconds: float
    sections: int
    configurations: int
    roofline: float
    operators: float
    spent: dict[str, float]


def options(level: str) -> BackendOptions:
    """What a level means to the backend."""
    if level == FUSED:
        return BackendOptions()
    return BackendOptions(fuse=False, rules=read_rules(None, with_default=True) if level == RULES else None)


def mapped(workload: Workload, machine: Machine, level: str) -> tuple[Program, pb.Pef]:
    """The workload's program in bf16, and its PEF, neither placed nor routed. What is training gets AdamW."""
    optimizer = torch.optim.AdamW(workload.model.parameters()) if workload.training else None
    spec = ModelSpec(workload.model, workload.inputs, optimizer=optimizer)
    captured = capture(spec, inference=not workload.training, recompute=level == FUSED)
    program = PassManager(standard_pipeline("mp4")).run(captured.program)
    return program, compile_unplaced(program, machine, options(level))


def measure(row: Row, level: str) -> tuple[Measured, pb.Pef]:
    """One row at one level."""
    workload, machine = row.workload(), row.machine()
    program, pef = mapped(workload, machine, level)
    report = simulate(pef)
    least = roofline_ms(flops(workload), compulsory_bytes(program), program, machine) / 1e3
    seconds = _seconds(report, report.cycles)
    measured = Measured(
        row.name,
        level,
        seconds,
        len(pef.sections),
        len(pef.configurations),
        least,
        sum(_operator_seconds(report, machine)),
        _spent(report),
    )
    return measured, pef


def _seconds(report: Report, cycles: float) -> float:
    return report.us(cycles) / 1e6


def _operator_seconds(report: Report, machine: Machine) -> Iterator[float]:
    """What each section takes at least."""
    pcus = len(machine.working_sites(SiteKind.PCU))
    peak = pcus * machine.pcu_lanes * machine.pcu_stages * 2
    for section in report.sections:
        done = section.execution
        moved = zip(done.read_bytes, done.write_bytes, strict=True)
        memory = sum((r + w) / machine.tier_bytes_per_cycle(tier) for tier, (r, w) in enumerate(moved))
        yield _seconds(report, max(done.flops / peak, memory))


def _spent(report: Report) -> dict[str, float]:
    total: Counter[str] = Counter()
    for section in report.sections:
        total[Bound.LOAD.value] += section.load_cycles
        for bound, cycles in section.execution.path.items():
            total[bound.value] += cycles
    return {bound: cycles / report.cycles for bound, cycles in sorted(total.items()) if cycles}


def variants(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """The machine with one constant changed: every guess that a replica alone feels, halved and doubled, and the
    memory's bandwidth at the most that its channels could have."""
    guesses = [entry.key.split(".")[-1] for entry in machine_entries("sn30") if entry.source.startswith("guess")]
    for name in guesses:
        if hasattr(machine, name) and not name.startswith(("rdu_", "ring_", "host_")):
            value = getattr(machine, name)
            yield f"`{name}` halved", replace(machine, **{name: type(value)(value / 2)})
            yield f"`{name}` doubled", replace(machine, **{name: value * 2})
    fast = tuple(Tier(t.name, t.capacity_bytes, DDR_PEAK) for t in machine.tiers)
    yield "memory at 204.8 GB/s instead of 100", replace(machine, tiers=fast)


def sensitivity(pef: pb.Pef, machine: Machine) -> dict[str, float]:
    """The time of a mapping under each variant of its machine, as a multiple of its own."""
    base = simulate(pef)
    found = {}
    for name, changed in variants(machine):
        pef.machine.CopyFrom(encode_machine(changed))
        report = simulate(pef)
        found[name] = _seconds(report, report.cycles) / _seconds(base, base.cycles)
    pef.machine.CopyFrom(encode_machine(machine))
    return found


def ratio(which: Ratio) -> float:
    """Ours beside a published range, in its unit."""
    machine = load_machine(which.machine)
    _, fused = mapped(ratio_workload(which.model), machine, FUSED)
    report = simulate(fused)
    if which.unit == "%":
        loads = {
            "gpt-program-load": sum(section.program_load_cycles for section in report.sections),
            "gpt-argument-load": sum(section.argument_load_cycles for section in report.sections),
        }
        return 100 * loads[which.name] / report.cycles
    _, unfused = mapped(ratio_workload(which.model), machine, UNFUSED)
    if which.name == "prefill-launches":
        return len(unfused.sections) / len(fused.sections)
    return simulate(unfused).cycles / report.cycles
