"""Histograms, as every element's bin and a sum over equal ones."""

from __future__ import annotations

import torch
from torch import Tensor


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max]; of all that x spans where these are equal."""
    x = x.reshape(-1)
    low: Tensor | float = min
    width: Tensor | float = max - min
    if min == max:
        if not x.numel():
            return x.new_zeros(bins)
        smallest, largest = x.amin(), x.amax()
        is_flat = smallest == largest
        low = torch.where(is_flat, smallest - 1, smallest)
        width = torch.where(is_flat, 2.0, largest - smallest)
    place = torch.floor((x - low) * bins / width)
    place = torch.where(x == low + width, bins - 1, place)
    return (place[:, None] == torch.arange(bins, device=x.device)).to(x.dtype).sum(0)
