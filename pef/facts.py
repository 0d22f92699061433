"""What is in a PEF, as plain data. Sizes are in bytes, times in cycles or microseconds of the simulated machine."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from pef import pef_pb2 as pb
from pef import picture
from pef.check import check
from pef.codec import decode_type
from pef.cycles import compute_cycles
from pef.decoded import Buffer, Configuration, Stage, Stream
from pef.links import busiest_link_cycles, net_events
from pef.machine import Machine, SiteKind

Facts = dict[str, Any]


def as_dict(pef: pb.Pef) -> Facts:
    """Everything in a PEF. Raises IllegalPefError where the PEF is not legal."""
    decoded = check(pef)
    machine = decoded.machine
    return {
        "name": pef.header.name,
        "toolchain_version": pef.header.toolchain_version,
        "options": json.loads(pef.header.options_json or "null"),
        "metadata": json.loads(pef.header.metadata_json or "null"),
        "replicas": pef.header.replicas,
        "machine": _machine(machine),
        "symbols": [_symbol(symbol, machine) for symbol in pef.symbols],
        "sections": [
            section_summary(pef, section, machine)
            | {"bindings": [pef.symbols[index].name for index in section.bindings]}
            | {"sources": list(_sources(pef, section))}
            for section in pef.sections
        ],
        "configurations": [
            _configuration(pef, number, decoded.configuration(number)) for number in range(len(pef.configurations))
        ],
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


def section_summary(pef: pb.Pef, section: pb.Section, machine: Machine) -> Facts:
    """What a section takes of the machine, and what the compiler expects of it."""
    configuration, prediction = pef.configurations[section.configuration], section.prediction
    stages = [stage for phase in configuration.phases for stage in phase.stages]
    kinds = [machine.kind(unit.site) for unit in configuration.units]
    return {
        "name": section.name,
        "kind": section.kind,
        "rule": section.rule,
        "configuration": section.configuration,
        "phases": len(configuration.phases),
        "stages": len(stages),
        "operators": sum(len(stage.operations) for stage in stages),
        "pcus": kinds.count(SiteKind.PCU),
        "pmus": kinds.count(SiteKind.PMU),
        "loops": [list(phase.loops) for phase in configuration.phases],
        "predicted_cycles": prediction.cycles,
        "predicted_us": prediction.cycles / machine.cycles(1.0),
        "load_us": prediction.load_cycles / machine.cycles(1.0),
        "bound": prediction.bound,
        "flops": prediction.flops,
        "dram_read_bytes": prediction.dram_read_bytes,
        "dram_write_bytes": prediction.dram_write_bytes,
    }


def _configuration(pef: pb.Pef, number: int, configuration: Configuration) -> Facts:
    sections = [section for section in pef.sections if section.configuration == number]
    sources = _sources(pef, sections[0]) if sections else iter(())
    return {
        "sections": [section.name for section in sections],
        "phases": [
            {
                "loops": list(phase.nest.counts),
                "busiest_link_cycles": busiest_link_cycles(configuration, index),
                "stages": [_stage(configuration, stage, sources) for stage in phase.stages],
                "streams": [_stream(configuration, index, stream) for stream in phase.streams],
            }
            for index, phase in enumerate(configuration.phases)
        ],
        "buffers": [_buffer(configuration, buffer) for buffer in configuration.buffers],
        "nets": [_net(configuration, net) for net in configuration.record.nets],
        "units": configuration.sites,
        "grid": picture.grid(configuration.record, configuration.machine),
    }


def _sources(pef: pb.Pef, section: pb.Section) -> Iterator[Facts]:
    """Where the operations of a section come from: phase by phase, stage by stage."""
    for place in section.locations:
        yield {"file": pef.strings[place.file], "line": place.line, "module": pef.strings[place.module]}


def _stage(configuration: Configuration, stage: Stage, sources: Iterator[Facts]) -> Facts:
    buffers, parallel = configuration.buffers, stage.parallelism
    return {
        "name": stage.name,
        "operators": [{"op": a.op.name, "source": next(sources, None)} for a in stage.body.applications],
        "reads": [buffers[port.buffer].name for port in stage.inputs],
        "writes": [buffers[port.buffer].name for port in stage.outputs],
        "combine": [port.combine for port in stage.outputs if port.combine],
        "parallel": {"batch": parallel.batch, "row": parallel.row, "column": parallel.column, "chain": parallel.chain},
        "pcus": len(stage.record.units),
        "sites": [configuration.sites[unit] for unit in stage.record.units],
        "loops": list(stage.body.nest.counts[: stage.level]),
        "firings": stage.events,
        "compute_cycles_per_firing": compute_cycles(stage.work, parallel, configuration.machine),
    }


def _buffer(configuration: Configuration, buffer: Buffer) -> Facts:
    return {
        "name": buffer.name,
        "type": str(buffer.type),
        "axes": list(buffer.slicing),
        "counts": list(buffer.home.counts[: len(buffer.slicing)]),
        "slices": buffer.slices,
        "depth": buffer.depth,
        "bytes": buffer.bytes,
        "pmus": len(buffer.units),
        "sites": [configuration.sites[unit] for unit in buffer.units],
    }


def _stream(configuration: Configuration, phase: int, stream: Stream) -> Facts:
    buffer = configuration.buffers[stream.buffer]
    return {
        "direction": "store" if stream.store else "load",
        "slot": stream.slot,
        "buffer": buffer.name,
        "axes": list(stream.slicing),
        "index": configuration.buffers[stream.record.index.buffer].name if stream.pick is not None else None,
        "index_axis": stream.pick.axis if stream.pick is not None else None,
        "bytes": configuration.transfer_bytes(phase, stream),
        "transfers": configuration.transfers(phase, stream),
        "through": [application.op.name for application in stream.body.applications],
        "agcus": list(stream.record.agcus),
    }


def _net(configuration: Configuration, net: pb.Net) -> Facts:
    """A net with the names of what it joins; `bytes` per firing of its stage or transfer of its stream."""
    source, sink = _joined(configuration, net)
    owner = net.WhichOneof("owner")
    return {
        "phase": net.phase,
        "kind": pb.Net.Kind.Name(net.kind).lower(),
        "stage": net.stage if owner == "stage" else None,
        "stream": net.stream if owner == "stream" else None,
        "port": net.port if net.kind in (pb.Net.READ, pb.Net.WRITE) else None,
        "from": source,
        "to": sink,
        "source": _terminal(net.source),
        "sinks": [_terminal(sink) for sink in net.sinks],
        "bytes": net.bytes,
        "events": net_events(configuration, net),
        "route": [list(link) for link in zip(net.route[::2], net.route[1::2])],
    }


def _joined(configuration: Configuration, net: pb.Net) -> tuple[str, str]:
    """What stands at the two sides of a net: names of stages and buffers, or memory."""
    phase, buffers = configuration.phases[net.phase], configuration.buffers
    if net.WhichOneof("owner") == "stage":
        stage = phase.stages[net.stage]
        if net.kind == pb.Net.READ:
            return buffers[stage.inputs[net.port].buffer].name, stage.name
        return stage.name, stage.name if net.kind == pb.Net.CHAIN else buffers[stage.outputs[net.port].buffer].name
    stream = phase.streams[net.stream]
    if net.kind == pb.Net.INDEX:
        return buffers[stream.record.index.buffer].name, "memory"
    held = buffers[stream.buffer].name
    return ("memory", held) if net.kind == pb.Net.LOAD else (held, "memory")


def _terminal(terminal: pb.Terminal) -> Facts:
    at = terminal.WhichOneof("at")
    return {"agcu": terminal.agcu} if at == "agcu" else {"unit": terminal.unit}
