"""Sampling of images where a grid says.

PyTorch's own decomposition of it has other gradients than its kernels where a place lies on the border, as the corners
of every grid that changes nothing do.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch._decomp import decomposition_table

aten = torch.ops.aten
LINEAR, NEAREST, CUBIC = 0, 1, 2
ZEROS, BORDER, REFLECTION = 0, 1, 2


def grid_sampler(x: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    """Images x [batch, channels, *extents] at the places grid [batch, *results, axes], whose last axis begins with that
    of the last extent, from -1 to 1. Returns [batch, channels, *results]."""
    if mode == CUBIC:
        return decomposition_table[aten.grid_sampler_2d.default](x, grid, mode, padding, align_corners)
    extents = x.shape[2:]
    places = [
        _within(_place(grid[..., -1 - axis], extent, align_corners), extent, padding, align_corners)
        for axis, extent in enumerate(extents)
    ]
    if mode == NEAREST:
        corners = [[(place.round(), place.round() - place.round().detach() + 1)] for place in places]
    else:
        corners = [
            [(place.floor(), place.floor() + 1 - place), (place.floor() + 1, place - place.floor())] for place in places
        ]
    return sum(_read(x, corner) for corner in itertools.product(*corners))


def _place(numbers: Tensor, extent: int, align_corners: bool) -> Tensor:
    """Numbers from -1 to 1 as places along an axis: these are the middles of its outer elements, or their edges."""
    return (numbers + 1) * 0.5 * (extent - 1) if align_corners else ((numbers + 1) * extent - 1) * 0.5


def _within(place: Tensor, extent: int, padding: int, align_corners: bool) -> Tensor:
    """Places beyond the axis moved onto it as the padding says. Those on its border count as beyond: they do not move
    with the grid."""
    if padding == ZEROS:
        return place
    if padding == REFLECTION:
        low, span = (0.0, extent - 1) if align_corners else (-0.5, extent)
        if not span:
            return torch.where(place > place, place, 0.0)
        beyond = place - low
        beyond = torch.where(beyond < 0, -beyond, beyond)
        left = torch.fmod(beyond, span)
        is_turned = torch.fmod(torch.floor(beyond.detach() / span), 2) != 0
        place = torch.where(is_turned, span - left, left) + low
    is_inner = (place > 0) & (place < extent - 1)
    return torch.where(is_inner, place, place.detach().clamp(0, extent - 1))


def _read(x: Tensor, corner: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
    """The elements at whole places along each axis, weighed; zeros beyond the image."""
    batch, channels, *extents = x.shape
    index, weight, inside = None, None, None
    for (place, share), extent in zip(corner, extents):
        here = (place >= 0) & (place < extent)
        step = torch.where(here, place, 0.0).long()
        index = step if index is None else index * extent + step
        inside = here if inside is None else inside & here
        weight = share if weight is None else weight * share
    assert index is not None and weight is not None and inside is not None
    results = index.shape[1:]
    chosen = index.reshape(batch, 1, -1).expand(batch, channels, -1)
    read = x.reshape(batch, channels, -1).gather(2, chosen).reshape(batch, channels, *results)
    return read * torch.where(inside, weight, 0.0).unsqueeze(1)
