"""Giving content to the parameters of a model that was built without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ir.errors import Problem, UsageError
from sambaflow.samba.lazy_param import initialised
from sambaflow.samba.nn.parameter import SambaParameter


@contextmanager
def materialize(model: nn.Module) -> Iterator[nn.Module]:
    """The model with content on the CPU: from each parameter's materializer, else as it was initialised under
    `lazy_param`, else from its module's own `reset_parameters`. Raises UsageError for what has none of these."""
    fill(model)
    yield model


def fill(model: nn.Module) -> None:
    """Give content to all parameters and buffers that have none. Raises UsageError as `materialize` does."""
    for module in model.modules():
        _fill(module)
    hint = "give its SambaParameter a materializer, or the module a reset_parameters method, or load a checkpoint"
    UsageError.raise_if(
        [
            Problem(f"{what} {name!r} has no content and no way to get it", hint=hint)
            for what, named in (("parameter", model.named_parameters()), ("buffer", model.named_buffers()))
            for name, tensor in named
            if tensor.is_meta
        ]
    )


def _fill(module: nn.Module) -> None:
    empty = {name: p for name, p in module._parameters.items() if p is not None and p.is_meta}
    for name, parameter in list(empty.items()):
        content = _content(parameter)
        if content is not None:
            parameter.data = content.to(parameter.dtype)
            del empty[name]
    buffers = {name: buffer for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta}
    if (empty or buffers) and hasattr(module, "reset_parameters"):
        for parameter in empty.values():
            parameter.data = torch.empty(parameter.shape, dtype=parameter.dtype)
        for name, buffer in buffers.items():
            module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        module.reset_parameters()


def _content(parameter: nn.Parameter) -> torch.Tensor | None:
    if isinstance(parameter, SambaParameter) and parameter.materializer is not None:
        return parameter.materializer(parameter)
    return initialised(parameter)
