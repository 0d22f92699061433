"""Giving content to the parameters of a model that was built without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ir.errors import Problem, UsageError
from sambaflow.samba.nn.parameter import SambaParameter


@contextmanager
def materialize(model: nn.Module) -> Iterator[nn.Module]:
    """The model with content on the CPU: from each parameter's materializer, else from its module's own
    `reset_parameters`. Raises UsageError for parameters that have neither."""
    for module in model.modules():
        _fill(module)
    lacking = [name for name, parameter in model.named_parameters() if parameter.device.type == "meta"]
    if lacking:
        hint = "give its SambaParameter a materializer, or the module a reset_parameters method"
        raise UsageError(
            *(Problem(f"parameter {name!r} has no content and no way to get it", hint=hint) for name in lacking)
        )
    yield model


def _fill(module: nn.Module) -> None:
    empty = {name: p for name, p in module._parameters.items() if p is not None and p.device.type == "meta"}
    for name, parameter in list(empty.items()):
        if isinstance(parameter, SambaParameter) and parameter.materializer is not None:
            parameter.materialize()
            del empty[name]
    if empty and hasattr(module, "reset_parameters"):
        for parameter in empty.values():
            parameter.data = torch.empty(parameter.shape, dtype=parameter.dtype)
        module.reset_parameters()
    for name, buffer in module._buffers.items():
        if buffer is not None and buffer.device.type == "meta":
            module._buffers[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)
