"""`tensor.data = other`, which PyTorch does behind autograd's and every tracer's back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, set_proxy_slot
from torch.overrides import TorchFunctionMode

from ir.errors import CaptureError, Problem

SET_DATA = Tensor.data.__set__


class Assignments(TorchFunctionMode):  # type: ignore[misc]
    """While active, what is traced of a tensor whose data was assigned is what was assigned to it."""

    def __init__(self) -> None:
        super().__init__()
        self.assigned: dict[Tensor, None] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function != SET_DATA:
            return function(*args, **(kwargs or {}))
        tensor, value = args
        if tensor.shape != value.shape or tensor.dtype != value.dtype:
            what = f"the data of a tensor, {_type(tensor)}, is set to a tensor of another type, {_type(value)}"
            raise CaptureError(Problem(what, hint="give it a tensor of its own shape and element type"))
        mode = get_proxy_mode()
        if mode is not None:
            with torch.no_grad():
                value = value.detach()
            set_proxy_slot(tensor, mode.tracer, get_proxy_slot(value, mode.tracer))
            self.assigned[tensor] = None
        return None if mode is not None else function(*args)


def _type(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
