"""What is in a PEF, as plain data. Sizes are in bytes, times in cycles or microseconds of the simulated machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from pef import pef_pb2 as pb
from pef import picture
from pef.check import check
from pef.codec import decode_machine, decode_type, parallelism, stage_work
from pef.cycles import compute_cycles
from pef.links import busiest_link_cycles
from pef.machine import Machine, SiteKind

Facts = dict[str, Any]


def as_dict(pef: pb.Pef) -> Facts:
    """Everything in a PEF but its routes. Raises IllegalPefError where the PEF is not legal."""
    check(pef)
    machine = decode_machine(pef.machine)
    return {
        "name": pef.header.name,
        "toolchain_version": pef.header.toolchain_version,
        "options": json.loads(pef.header.options_json or "null"),
        "metadata": json.loads(pef.header.metadata_json or "null"),
        "replicas": pef.header.replicas,
        "machine": _machine(machine),
        "symbols": [_symbol(symbol, machine) for symbol in pef.symbols],
        "sections": [_section(pef, section, machine) for section in pef.sections],
        "configurations": [_configuration(pef, number, machine) for number in range(len(pef.configurations))],
    }


def _machine(machine: Machine) -> Facts:
    kinds = {kind: len(machine.working_sites(kind)) for kind in SiteKind}
    return {**dataclasses.asdict(machine), "pcus": kinds[SiteKind.PCU], "pmus": kinds[SiteKind.PMU]}


def _symbol(symbol: pb.Symbol, machine: Machine) -> Facts:
    tensor = decode_type(symbol.type)
    return {
        "name": symbol.name,
        "type": str(tensor),
        "kind": symbol.kind,
        "bytes": tensor.nbytes,
        "tier": machine.tiers[symbol.tier].name,
        "offset": symbol.offset,
        "lifetime": None if symbol.persistent else [symbol.first, symbol.last],
    }


def _section(pef: pb.Pef, section: pb.Section, machine: Machine) -> Facts:
    configuration, prediction = pef.configurations[section.configuration], section.prediction
    stages = [stage for phase in configuration.phases for stage in phase.stages]
    kinds = [machine.kind(unit.site) for unit in configuration.units]
    return {
        "name": section.name,
        "kind": section.kind,
        "rule": section.rule,
        "configuration": section.configuration,
        "bindings": [pef.symbols[index].name for index in section.bindings],
        "phases": len(configuration.phases),
        "stages": len(stages),
        "operators": sum(len(stage.operations) for stage in stages),
        "pcus": kinds.count(SiteKind.PCU),
        "pmus": kinds.count(SiteKind.PMU),
        "tiles": [phase.tiles for phase in configuration.phases],
        "predicted_cycles": prediction.cycles,
        "predicted_us": prediction.cycles / machine.cycles(1.0),
        "load_us": prediction.load_cycles / machine.cycles(1.0),
        "bound": prediction.bound,
        "flops": prediction.flops,
        "dram_read_bytes": prediction.dram_read_bytes,
        "dram_write_bytes": prediction.dram_write_bytes,
    }


def _configuration(pef: pb.Pef, number: int, machine: Machine) -> Facts:
    record = pef.configurations[number]
    sources = _sources(pef, number)
    return {
        "sections": [section.name for section in pef.sections if section.configuration == number],
        "phases": [
            {
                "tiles": phase.tiles,
                "busiest_link_cycles_per_tile": busiest_link_cycles(pef, number, index),
                "stages": [_stage(record, stage, machine, sources) for stage in phase.stages],
                "streams": [_stream(record, phase, stream) for stream in phase.streams],
            }
            for index, phase in enumerate(record.phases)
        ],
        "buffers": [_buffer(record, buffer) for buffer in record.buffers],
        "grid": picture.grid(record, machine),
    }


def _sources(pef: pb.Pef, number: int) -> Iterator[Facts]:
    """Where the operations of a configuration come from in the first section that uses it."""
    for section in pef.sections:
        if section.configuration == number:
            for place in section.locations:
                yield {"file": pef.strings[place.file], "line": place.line, "module": pef.strings[place.module]}
            return


def _stage(record: pb.Configuration, stage: pb.Stage, machine: Machine, sources: Iterator[Facts]) -> Facts:
    parallel = parallelism(stage)
    return {
        "name": stage.name,
        "operators": [{"op": operation.op, "source": next(sources, None)} for operation in stage.operations],
        "reads": [record.buffers[port.buffer].name for port in stage.inputs],
        "writes": [record.buffers[port.buffer].name for port in stage.outputs],
        "combine": [port.combine for port in stage.outputs if port.combine],
        "parallel": {"batch": parallel.batch, "row": parallel.row, "column": parallel.column, "chain": parallel.chain},
        "pcus": len(stage.units),
        "sites": [record.units[unit].site for unit in stage.units],
        "compute_cycles_per_tile": compute_cycles(stage_work(stage), parallel, machine),
    }


def _buffer(record: pb.Configuration, buffer: pb.Buffer) -> Facts:
    tensor = decode_type(buffer.type)
    return {
        "name": buffer.name,
        "type": str(tensor),
        "axis": buffer.axis,
        "tiles": buffer.tiles,
        "depth": buffer.depth,
        "bytes": buffer.depth * tensor.sliced(buffer.axis, buffer.tiles).nbytes,
        "pmus": len(buffer.units),
        "sites": [record.units[unit].site for unit in buffer.units],
    }


def _stream(record: pb.Configuration, phase: pb.Phase, stream: pb.Stream) -> Facts:
    buffer = record.buffers[stream.buffer]
    return {
        "direction": "store" if stream.store else "load",
        "slot": stream.slot,
        "buffer": buffer.name,
        "axis": stream.axis,
        "bytes": decode_type(buffer.type).sliced(stream.axis, phase.tiles).nbytes,
        "transfers": phase.tiles if stream.axis >= 0 else 1,
        "through": [operation.op for operation in stream.operations],
        "agcus": list(stream.agcus),
    }
