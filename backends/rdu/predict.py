"""What the compiler's cost model expects of a configuration: closed forms, where the simulator counts events."""

from __future__ import annotations

import math

from pef import pef_pb2 as pb
from pef.codec import decode_type, parallelism, product_side, stage_work, tile_operations
from pef.cycles import compute_cycles, fill_cycles, operand_bytes, port_cycles
from pef.exchange import ONE, Replicas, exchange_cycles, exchange_latency_cycles, exchanged_bytes
from pef.machine import Machine


def predict_configuration(configuration: pb.Configuration, machine: Machine, replicas: Replicas = ONE) -> pb.Prediction:
    """Cycles of one run of the configuration, and what bounds it.

    A phase takes one interval per tile after its first tile has passed all stages, but at least as long as memory
    needs for everything it moves, and as the link between replicas needs for what it exchanges. The interval is that
    of its slowest stage.
    """
    rate = machine.tier_bytes_per_cycle(0)
    record = pb.Prediction()
    compute = memory = exchange = 0.0
    for phase in configuration.phases:
        works = [(stage_work(stage), parallelism(stage)) for stage in phase.stages]
        cycles = [_stage_cycles(configuration, stage, machine) for stage in phase.stages]
        fills = [fill_cycles(work, parallel, machine) for work, parallel in works]
        moved = 0
        for stream in phase.streams:
            nbytes = decode_type(configuration.slots[stream.slot]).nbytes
            moved += nbytes
            if stream.store:
                record.dram_write_bytes += nbytes
            else:
                record.dram_read_bytes += nbytes
        tiles = math.prod(phase.loops)
        busy = (tiles - 1) * max(cycles, default=0) + sum(cycles) + sum(fills)
        nbytes = sum(exchanged_bytes(tile_operations(stage)) for stage in phase.stages)
        exchanged = float(tiles * exchange_cycles(nbytes, replicas, machine)) if nbytes else 0.0
        if nbytes:
            exchanged += exchange_latency_cycles(replicas, machine)
        compute += busy
        memory += moved / rate
        exchange += exchanged
        record.cycles += math.ceil(max(busy, moved / rate, exchanged))
        record.flops += tiles * sum(work.flops for work, _ in works)
    record.load_cycles = machine.cycles(machine.program_load_us + machine.argument_load_us + machine.launch_us)
    limits = {"compute": compute, "dram": memory, "exchange": exchange, "load": record.load_cycles}
    record.bound = max(limits, key=lambda name: limits[name])
    return record


def _stage_cycles(configuration: pb.Configuration, stage: pb.Stage, machine: Machine) -> int:
    """Cycles per tile of a stage: of its PCUs, or of the ports of the PMUs it reads and writes if they are slower."""
    work, parallel = stage_work(stage), parallelism(stage)
    slowest = compute_cycles(work, parallel, machine)
    for port in stage.inputs:
        tile = decode_type(stage.values[port.value].type)
        sent = operand_bytes(work, parallel, machine, tile, product_side(stage, port))
        slowest = max(slowest, port_cycles(sent, len(configuration.buffers[port.buffer].units), machine))
    for port in stage.outputs:
        tile = decode_type(stage.values[port.value].type)
        slowest = max(slowest, port_cycles(tile.nbytes, len(configuration.buffers[port.buffer].units), machine))
    return slowest
