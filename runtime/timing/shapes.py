"""Sizes of what moves: tiles of stages, transfers of streams."""

from __future__ import annotations

from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import decode_type


def tile_type(stage: pb.Stage, value: int) -> TensorType:
    """The type of one tile of a stage's value."""
    return decode_type(stage.values[value].type)


def transfer_bytes(configuration: pb.Configuration, phase: pb.Phase, stream: pb.Stream) -> int:
    """Bytes of device memory that one transfer of the stream reads or writes."""
    whole = decode_type(configuration.slots[stream.slot]).nbytes
    return whole if stream.axis < 0 else -(-whole // phase.tiles)
