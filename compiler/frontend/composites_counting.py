"""Histograms, as every element's bin and a sum over equal ones."""

from __future__ import annotations

import torch
from torch import Tensor


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max]; of all that x spans where these are equal."""
    x = x.reshape(-1)
    low: Tensor | float = min
    high: Tensor | float = max
    if min == max:
        if not x.numel():
            return x.new_zeros(bins)
        smallest, largest = x.amin(), x.amax()
        is_flat = smallest == largest
        low = torch.where(is_flat, smallest - 1, smallest)
        high = torch.where(is_flat, largest + 1, largest)
    place = torch.floor((x - low) * bins / (high - low))
    place = torch.where(x > high, bins, place.clamp(max=bins - 1))  # the last bin includes its upper edge
    return (place[:, None] == torch.arange(bins, device=x.device)).to(x.dtype).sum(0)
