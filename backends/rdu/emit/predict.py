"""What the compiler's cost model expects of a configuration: closed forms, where the simulator counts events."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pef import pef_pb2 as pb
from pef.codec import product_side
from pef.cycles import compute_cycles, fill_cycles, operand_bytes, port_cycles
from pef.decoded import Configuration, Phase, Stage
from pef.exchange import ONE, Replicas, exchange_cycles, exchange_latency_cycles, exchanged_bytes
from pef.machine import Machine
from pef.nest import needed

HOPS = 16
"""Switches that a slice crosses between two units on the way through a buffer, as an order of magnitude."""


def predict_configuration(
    configuration: Configuration, tiers: Sequence[int], machine: Machine, replicas: Replicas = ONE
) -> pb.Prediction:
    """Cycles of one run of the configuration whose slots live in these memory tiers, and what bounds it.

    A phase takes as long as its slowest stage, from the first firing that reaches it to the last result behind it.
    What stays in a phase is loaded while the phases before run, what streams arrives with it; the section ends no
    earlier than everything has been moved.
    """
    record = pb.Prediction()
    compute = exchange = now = memory = 0.0
    for number, phase in enumerate(configuration.phases):
        busy = _phase_cycles(configuration, phase, machine)
        record.flops += sum(stage.events * stage.work.flops for stage in phase.stages)
        staying = streamed = stored = 0.0
        for stream in phase.streams:
            nbytes = configuration.transfer_bytes(number, stream) * configuration.transfers(number, stream)
            cycles = nbytes / machine.tier_bytes_per_cycle(tiers[stream.slot])
            if stream.store:
                record.dram_write_bytes += nbytes
                stored += cycles
            else:
                record.dram_read_bytes += nbytes
                staying += cycles if stream.is_whole else 0.0
                streamed += 0.0 if stream.is_whole else cycles
        exchanged = _exchange_cycles(phase, replicas, machine)
        compute += busy
        exchange += exchanged
        memory += staying
        now = max(now, memory) + max(busy, exchanged)
        memory += streamed + stored
        now = max(now, memory)
    now = max(now, memory)
    record.cycles = math.ceil(now)
    record.load_cycles = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    limits = {"compute": compute, "dram": memory, "exchange": exchange, "load": record.load_cycles}
    record.bound = max(limits, key=lambda name: limits[name])
    return record


def _exchange_cycles(phase: Phase, replicas: Replicas, machine: Machine) -> float:
    nbytes = sum(stage.events * exchanged_bytes(stage.body.tile_operations) for stage in phase.stages)
    if not nbytes:
        return 0.0
    return exchange_latency_cycles(replicas, machine) + exchange_cycles(nbytes, replicas, machine)


def _phase_cycles(configuration: Configuration, phase: Phase, machine: Machine) -> float:
    """From the start of a phase to its last result, were memory infinitely fast."""
    cycles = [_stage_cycles(configuration, stage, machine) for stage in phase.stages]
    fills = [
        fill_cycles(stage.work, stage.parallelism, machine) + 2 * HOPS * machine.hop_cycles for stage in phase.stages
    ]
    sources = _sources(configuration, phase)
    starts: list[float] = []
    for waiting in sources:
        starts.append(max((starts[s] + firings * cycles[s] + fills[s] for s, firings in waiting), default=0.0))
    tails = [0.0] * len(cycles)
    for reader in range(len(cycles) - 1, -1, -1):
        for source, _ in sources[reader]:
            firings = max(1, phase.stages[reader].events // phase.stages[source].events)
            tails[source] = max(tails[source], fills[reader] + firings * cycles[reader] + tails[reader])
    spans = [
        start + stage.events * own + fill + tail
        for start, stage, own, fill, tail in zip(starts, phase.stages, cycles, fills, tails)
    ]
    return max(spans, default=0.0)


def _sources(configuration: Configuration, phase: Phase) -> list[list[tuple[int, int]]]:
    """For each stage, the stages of the phase it reads from, and after how many of their firings it can fire first."""
    index = configuration.phases.index(phase)
    found: list[list[tuple[int, int]]] = [[] for _ in phase.stages]
    for read in configuration.reads:
        if read.phase != index or read.by_stream:
            continue
        for write in configuration.writers[read.buffer]:
            if write.phase == index and not write.by_stream and write.position < read.position:
                writer, reader = configuration.writer(write), configuration.reader(read)
                found[read.position].append((write.position, needed(writer, reader, 0) + 1))
    return found


def _stage_cycles(configuration: Configuration, stage: Stage, machine: Machine) -> int:
    """Cycles per firing: of its PCUs, or of the ports of the PMUs it reads and writes if they are slower."""
    work, parallel = stage.work, stage.parallelism
    slowest = compute_cycles(work, parallel, machine)
    for port, record in zip(stage.inputs, stage.record.inputs):
        tile = stage.body.values[port.value].type
        sent = operand_bytes(work, parallel, machine, tile, product_side(stage.record, record))
        slowest = max(slowest, port_cycles(sent, len(configuration.buffers[port.buffer].units), machine))
    for port in stage.outputs:
        tile = stage.body.values[port.value].type
        slowest = max(slowest, port_cycles(tile.nbytes, len(configuration.buffers[port.buffer].units), machine))
    return slowest
