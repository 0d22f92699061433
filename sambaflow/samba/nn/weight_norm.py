"""Weights as a magnitude times a direction, for layers of PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ir.errors import Problem, UsageError


class NormalisedWeight(nn.Module):  # type: ignore[misc]
    """A layer whose `weight` is weight_magnitude * weight_direction / |weight_direction|, the norm taken for each row
    (each output feature). Both are parameters; `weight` is computed from them whenever it is read."""

    weight_magnitude: nn.Parameter
    weight_direction: nn.Parameter

    @property
    def weight(self) -> Tensor:
        """The weight that the layer computes with."""
        direction = self.weight_direction
        axes = tuple(range(1, direction.dim()))
        return direction * (self.weight_magnitude * direction.square().sum(axes, keepdim=True).rsqrt())


class Linear(NormalisedWeight, nn.Linear):  # type: ignore[misc]
    """A linear layer with a normalised weight."""


class Conv1d(NormalisedWeight, nn.Conv1d):  # type: ignore[misc]
    """A convolution with a normalised weight."""


class Conv2d(NormalisedWeight, nn.Conv2d):  # type: ignore[misc]
    """A convolution with a normalised weight."""


class Conv3d(NormalisedWeight, nn.Conv3d):  # type: ignore[misc]
    """A convolution with a normalised weight."""


CLASSES: dict[type[nn.Module], type[NormalisedWeight]] = {
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
}


def weight_norm_(module: nn.Module) -> nn.Module:
    """Normalise the weight of a linear layer or a convolution, in place: parameter `weight` becomes `weight_magnitude`
    [out, 1, ...] and `weight_direction`, whose product it is at first. Call it before an optimizer is made.

    Raises UsageError for other modules.
    """
    if isinstance(module, NormalisedWeight):
        return module
    if type(module) not in CLASSES:
        names = ", ".join(cls.__name__ for cls in CLASSES)
        hint = f"it takes {names}; torch.nn.utils.parametrizations.weight_norm takes others"
        raise UsageError(Problem(f"weight_norm_ does not take a {type(module).__name__}", hint=hint))
    weight = module.weight
    del module._parameters["weight"]
    module.__class__ = CLASSES[type(module)]
    with torch.no_grad():
        magnitude = weight.detach().square().sum(tuple(range(1, weight.dim())), keepdim=True).sqrt()
    trains = weight.requires_grad
    module.register_parameter("weight_magnitude", nn.Parameter(magnitude, trains))
    module.register_parameter("weight_direction", nn.Parameter(weight.detach(), trains))
    return module
