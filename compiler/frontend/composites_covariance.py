"""Covariance and correlation. PyTorch's own read how many observations there are from a tensor."""

from __future__ import annotations

import torch
from torch import Tensor


def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """Of variables in rows and observations in columns; weights are how often each was seen, and how much it counts."""
    x = x.reshape(1, -1) if x.dim() < 2 else x
    x = x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())
    observations = x.shape[1]
    if fweights is None and aweights is None:
        centred = x - x.mean(1, keepdim=True)
        return (centred @ centred.t().conj() / max(observations - correction, 0)).squeeze()
    weights = torch.ones(observations, dtype=x.dtype, device=x.device)
    for given in (fweights, aweights):
        weights = weights if given is None else weights * given
    total = weights.sum()
    centred = x - (x * weights).sum(1, keepdim=True) / total
    freedom = total - correction * (1 if aweights is None else (weights * aweights).sum() / total)
    return ((centred * weights) @ centred.t().conj() / freedom.clamp(min=0)).squeeze()


def corrcoef(x: Tensor) -> Tensor:
    """Pearson's coefficient of every two rows."""
    covariance = cov(x)
    if not covariance.dim():
        return covariance / covariance
    variance = covariance.diagonal()
    deviation = (variance.real if variance.is_complex() else variance).sqrt()
    found = covariance / deviation[:, None] / deviation
    return found if found.is_complex() else found.clamp(-1, 1)
