"""A function with assertions as they are: pytest rewrites those of test modules."""

import torch
from torch import Tensor


def asserts(y: Tensor) -> Tensor:
    """The tensor, if it is finite and small."""
    assert torch.isfinite(y).all()
    assert y.shape[0] == 5 and (y < 1e6).all() and y.dim() == 2, "too large"
    return y
