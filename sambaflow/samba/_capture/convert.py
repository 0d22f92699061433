"""Converting a torch module in place, and lending it to the compiler as a plain torch module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sambaflow.samba._program import current
from sambaflow.samba.nn.parameter import SambaParameter
from sambaflow.samba.sambatensor import SambaTensor


def model_name(model: nn.Module) -> str:
    """The name of a model: what its conversion gave it, else its class in lower case."""
    name = getattr(model, "name", None)
    return name if isinstance(name, str) and name else type(model).__name__.lower()


def parameter_name(root: str, path: str) -> str:
    """The SambaFlow name of what PyTorch calls `path` in the model called `root`: `logreg__lin_layer__weight`."""
    return "__".join([root, *path.split(".")]).lower()


def from_torch_model_(model: nn.Module, parent_module_prefix: str | None = None) -> nn.Module:
    """Make every parameter of `model` a SambaParameter, in place: the objects stay the same, and so do tied weights.

    The model gets a `name` (its class in lower case), every parameter an `sn_name`. Buffers stay plain tensors.
    """
    prefix = f"{parent_module_prefix}__" if parent_module_prefix else ""
    for path, module in model.named_modules():
        if not isinstance(getattr(module, "name", None), str):
            root = type(model).__name__.lower()
            module.name = prefix + (parameter_name(root, path) if path else root)
    root = model_name(model)
    for path, parameter in model.named_parameters():
        if not isinstance(parameter, SambaParameter):
            parameter.__class__ = SambaParameter
        parameter.sn_name = parameter_name(root, path)
    current.session().buffer_dict.update((parameter_name(root, path), buffer) for path, buffer in model.named_buffers())
    torch.serialization.add_safe_globals(list({type(module) for module in model.modules()}))
    return model


from_torch_ = from_torch_model_


@contextmanager
def plain_torch(model: nn.Module, fake: FakeTensorMode | None = None) -> Iterator[None]:
    """The model with plain parameters, and plain tensors in place of SambaTensors among the modules' attributes.

    They share memory with what they stand for; of `fake` they are where there is no content.
    """
    twins: dict[int, Tensor] = {}
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for module in model.modules():
        for table in (module._parameters, module._buffers, module.__dict__):
            for key, value in table.items():
                if isinstance(value, SambaTensor) or (isinstance(value, Tensor) and not has_content(value)):
                    replaced.append((table, key, value))
                    twins.setdefault(id(value), _twin(value, fake))
    try:
        for table, key, value in replaced:
            table[key] = twins[id(value)]
        yield
    finally:
        for table, key, value in replaced:
            table[key] = value


def has_content(tensor: Tensor) -> bool:
    """Whether a tensor has more than a shape and an element type."""
    return str(tensor.device) != "meta"


def lacks_content(model: nn.Module) -> bool:
    """Whether some parameter or buffer of a model has no content."""
    return not all(map(has_content, (*model.parameters(), *model.buffers())))


def _twin(value: Tensor, fake: FakeTensorMode | None) -> Tensor:
    plain = value.torch_tensor() if isinstance(value, SambaTensor) else value
    if fake is not None and not has_content(plain):
        with fake:
            plain = torch.empty(plain.shape, dtype=plain.dtype)
    return nn.Parameter(plain, value.requires_grad) if isinstance(value, nn.Parameter) else plain
