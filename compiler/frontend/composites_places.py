"""Choosing elements by their values, from a tensor that has none: then nothing is chosen, whatever the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def where_it_holds(x: Tensor) -> Tensor:
    """A row of indices for each element that is not zero."""
    if x.numel():
        found: Tensor = aten.nonzero(x)
        return found
    return torch.zeros((0, x.dim()), dtype=torch.int64, device=x.device)


def along_each_axis(x: Tensor) -> list[Tensor]:
    """The same as a tensor for each axis."""
    return list(where_it_holds(x).unbind(1))


def chosen(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where a mask holds."""
    shape = torch.broadcast_shapes(x.shape, mask.shape)
    if 0 not in shape:
        found: Tensor = aten.masked_select(x, mask)
        return found
    return x.expand(shape).reshape(0)


def read_by_index(x: Tensor, indices: list[Tensor | None]) -> Tensor:
    """Reading by indices, of which those that are masks without elements are none at all."""
    found: list[Tensor | None] = []
    for index in indices:
        is_empty_mask = index is not None and index.dtype in (torch.bool, torch.uint8) and not index.numel()
        found += along_each_axis(index) if is_empty_mask else [index]
    read: Tensor = aten.index(x, found)
    return read


PLACES: dict[Any, Callable[..., Any]] = {
    aten.nonzero.default: where_it_holds,
    aten.argwhere.default: where_it_holds,
    aten.nonzero_numpy.default: along_each_axis,
    aten.where.default: along_each_axis,
    aten.masked_select.default: chosen,
    aten.index.Tensor: read_by_index,
}
