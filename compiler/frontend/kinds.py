"""What `type(x)` says in a model's code while it is traced: the class that a tensor has when the model runs.

A trace runs forward on tensors without content, which are of a class of PyTorch's own. `isinstance` takes them for
tensors; `type(x) is torch.Tensor` would not, and forward would go another way than it does later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from compiler.frontend.stand_ins import class_like
from compiler.frontend.state import sources


@contextmanager
def kinds_of_tensors(model: nn.Module) -> Iterator[None]:
    """The modules that a model's code comes from have a `type` of their own."""
    globals_of = [vars(module) for module in sources(model)]
    given = [names for names in globals_of if "type" not in names]
    for names in given:
        names["type"] = KIND
    try:
        yield
    finally:
        for names in given:
            if names.get("type") is KIND:
                del names["type"]


def _kind(*arguments: Any, **named: Any) -> Any:
    found = type(*arguments, **named)
    if len(arguments) != 1 or found is not FakeTensor:
        return found
    if getattr(arguments[0], "_is_param", False):
        return nn.Parameter
    return nn.Buffer if getattr(arguments[0], "_is_buffer", False) else Tensor


KIND = class_like(type, _kind, {"__class_getitem__": classmethod(lambda _, item: type[item])})
"""What stands for `type`."""
