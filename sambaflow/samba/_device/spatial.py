"""Spatial batches: inputs of several batches in one run, which executes its sections once for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from sambaflow.samba._device import agreement
from sambaflow.samba.sambatensor import carried


def asked_for(arguments: Mapping[str, object]) -> int:
    """How many batches a run of these arguments may take: --num-spatial-batches with --mapping spatial."""
    count = arguments.get("num_spatial_batches")
    return count if arguments.get("mapping") == "spatial" and isinstance(count, int) and count > 1 else 1


def first_batch(inputs: Any, path: str, arguments: Mapping[str, object]) -> Any:
    """Inputs to trace with, in the same containers: those of several batches cut down to the first, where the arguments
    allow several; `path` is the PEF, which knows how long one batch is."""
    count = asked_for(arguments)
    if count == 1:
        return inputs
    shapes = agreement.input_shapes(path)

    def cut(value: Any, fallback: str) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(item, key) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([cut(item, f"{fallback}_{number}") for number, item in enumerate(value)])
        if not isinstance(value, Tensor):
            return value
        axis = _axis(value, shapes.get(getattr(value, "sn_name", None) or fallback, ()), count)
        return value if axis is None else _first(value, axis, count)

    return cut(inputs, "input")


def _first(tensor: Tensor, axis: int, count: int) -> Tensor:
    part = tensor.detach().narrow(axis, 0, tensor.shape[axis] // count)
    part.requires_grad_(tensor.requires_grad)
    return carried(tensor, part)


def batches(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]], count: int) -> list[dict[str, Tensor]]:
    """The inputs of each of `count` batches; `shapes` are those that one batch has.

    An input `count` times as long along one axis is cut along it; one of the right shape goes to every batch. Where no
    input is longer, they are those of a single batch.
    """
    axes = {name: _axis(tensor, shapes.get(name, ()), count) for name, tensor in tensors.items()}
    if all(axis is None for axis in axes.values()):
        return [dict(tensors)]
    pieces = {name: _pieces(tensor, axes[name], count) for name, tensor in tensors.items()}
    return [{name: parts[number] for name, parts in pieces.items()} for number in range(count)]


def _axis(tensor: Tensor, shape: Sequence[int], count: int) -> int | None:
    """The one axis along which a tensor is `count` times as long as it should be."""
    if tensor.dim() != len(shape):
        return None
    wrong = [axis for axis, (given, wanted) in enumerate(zip(tensor.shape, shape)) if given != wanted]
    return wrong[0] if len(wrong) == 1 and tensor.shape[wrong[0]] == count * shape[wrong[0]] else None


def _pieces(tensor: Tensor, axis: int | None, count: int) -> Sequence[Tensor]:
    return [tensor] * count if axis is None else tensor.chunk(count, axis)
