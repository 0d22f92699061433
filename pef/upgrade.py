"""Older formats read as today's: records are rewritten when a file is read, so nothing else knows of them.

Format 1 streamed a phase along a single loop of `tiles` iterations; `axis` said which axis it cut.
"""

from __future__ import annotations

from pef import pef_pb2 as pb


def modernised(pef: pb.Pef) -> pb.Pef:
    """The record with the fields of format 1 turned into those of format 2."""
    for configuration in pef.configurations:
        if not any(phase.tiles for phase in configuration.phases):
            continue
        for buffer in configuration.buffers:
            buffer.axes.append(buffer.axis)
            buffer.counts.append(buffer.tiles)
            buffer.ClearField("axis")
            buffer.ClearField("tiles")
        for phase in configuration.phases:
            _modernise_phase(phase)
    return pef


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
    record.axes.append(record.axis)
    record.ClearField("axis")
