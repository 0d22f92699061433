"""The least time that a step can take on a machine: its arithmetic at peak, or its unavoidable traffic at full rate."""

from __future__ import annotations

from ir.graph import SymbolKind
from pef import pef_pb2 as pb
from pef.codec import decode_type
from pef.machine import Machine, SiteKind
from runtime.timing import Report

PASSING = (SymbolKind.ACTIVATION.value, SymbolKind.GRADIENT.value)
"""What a step makes and uses up itself: with room enough on the chip it need not go to memory."""

FLOPS_PER_STAGE = 2
"""A multiplication and an addition, for each lane of each pipeline stage in each cycle."""


def peak_flops_per_cycle(machine: Machine) -> int:
    """FLOPs of all working PCUs together in a cycle, at their peak for bf16."""
    return FLOPS_PER_STAGE * machine.pcu_lanes * machine.pcu_stages * len(machine.working_sites(SiteKind.PCU))


def roofline_cycles(report: Report, pef: pb.Pef) -> float:
    """Cycles of the fabric clock: max(FLOPs / peak at bf16, compulsory bytes / bandwidth), over all sections.

    Compulsory are the bytes of every symbol that lives longer than a step, once for reading and once for writing,
    at the bandwidth of the tier it lies in.
    """
    machine = report.machine
    flops = sum(section.execution.flops for section in report.sections)
    symbols = {symbol.name: symbol for symbol in pef.symbols}
    moved = {
        (section.symbols[stream.slot], stream.store): stream.tier
        for section in report.sections
        for phase in section.execution.phases
        for stream in phase.streams
    }
    moving = sum(
        decode_type(symbols[name].type).nbytes / machine.tier_bytes_per_cycle(tier)
        for (name, _), tier in moved.items()
        if symbols[name].kind not in PASSING
    )
    return max(flops / peak_flops_per_cycle(machine), moving)
