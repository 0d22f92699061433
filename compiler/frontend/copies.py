"""Copies of models, with the tensors that a module has computed and keeps, which PyTorch itself does not copy."""

from __future__ import annotations

import copy

from torch import Tensor, nn


def copied(model: nn.Module) -> nn.Module:
    """A copy; what was computed from parameters, as old-style weight norm's weights are, is copied as numbers."""
    kept = (value for module in model.modules() for value in vars(module).values())
    computed = [value for value in kept if isinstance(value, Tensor) and not value.is_leaf]
    memo = {id(tensor): tensor.detach().clone() for tensor in computed}
    return copy.deepcopy(model, memo)
