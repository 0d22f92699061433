"""Older formats read as today's: records are rewritten when a file is read, so nothing else knows of them.

Format 1 streamed a phase along a single loop of `tiles` iterations; `axis` said which axis it cut. A buffer that held
its whole tensor could name any cut; now it names that of its writer. Machines had no bursts: nothing was indexed.
"""

from __future__ import annotations

from pef import pef_pb2 as pb
from pef.nest import WHOLE


def modernised(pef: pb.Pef) -> pb.Pef:
    """The record with the fields of format 1 turned into those of format 2."""
    if pef.HasField("machine"):
        pef.machine.memory_burst_bytes = pef.machine.memory_burst_bytes or 1
    for configuration in pef.configurations:
        if not any(phase.tiles for phase in configuration.phases):
            continue
        cuts = _written_cuts(configuration)
        for number, buffer in enumerate(configuration.buffers):
            axis, tiles, depth = buffer.axis, buffer.tiles, buffer.depth
            if depth == tiles and number in cuts:
                axis, tiles = cuts[number]
                depth = tiles
            if axis != WHOLE:
                buffer.axes.append(axis)
                buffer.counts.append(tiles)
            buffer.depth = depth
            buffer.ClearField("axis")
            buffer.ClearField("tiles")
        for phase in configuration.phases:
            _modernise_phase(phase)
    return pef


def _written_cuts(configuration: pb.Configuration) -> dict[int, tuple[int, int]]:
    """The axis and the number of tiles by which each buffer is written."""
    cuts: dict[int, tuple[int, int]] = {}
    for phase in configuration.phases:
        writes = [(port.buffer, port.axis) for stage in phase.stages for port in stage.outputs]
        writes += [(stream.buffer, stream.axis) for stream in phase.streams if not stream.store]
        cuts.update({buffer: (axis, phase.tiles if axis != WHOLE else 1) for buffer, axis in writes})
    return cuts


def _modernise_phase(phase: pb.Phase) -> None:
    """A single loop; what one of its iterations cuts is in the values."""
    phase.loops.append(phase.tiles)
    phase.ClearField("tiles")
    for stage in phase.stages:
        for value in stage.values:
            _modernise_axis(value)
        for port in (*stage.inputs, *stage.outputs):
            port.ClearField("axis")
    for stream in phase.streams:
        _modernise_axis(stream)
        for value in stream.values:
            _modernise_axis(value)


def _modernise_axis(record: pb.TileValue | pb.Stream) -> None:
    if record.axis != WHOLE:
        record.axes.append(record.axis)
    record.ClearField("axis")
