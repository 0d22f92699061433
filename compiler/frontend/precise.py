"""A model in float64: the judge where two computations in float32 disagree.

Where float32 itself is off by much (a batch norm over two samples divides by differences that hardly survive rounding),
two right computations disagree, and neither is at fault. Against float64 both can be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from compiler.frontend.copies import copied

LARGEST = 50_000_000
"""Elements of a model's weights up to which it is computed in float64 as well: beyond, the host would wait for it."""

_ROUNDED = frozenset({torch.float32, torch.bfloat16, torch.float16})
_CASTS = frozenset({torch.Tensor.float, torch.Tensor.bfloat16, torch.Tensor.half})


class Float64(TorchFunctionMode):  # type: ignore[misc]
    """While active, every floating-point number is computed in float64, whatever the code asks for."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        args, named = pytree.tree_map(_wide, (tuple(args), dict(kwargs or {})))
        result = torch.Tensor.double(args[0]) if func in _CASTS else func(*args, **named)
        return pytree.tree_map_only(Tensor, _wide, result) if func in _FACTORIES else result


_FACTORIES = frozenset({torch.tensor, torch.rand, torch.randn, torch.zeros, torch.ones, torch.full, torch.arange,
                        torch.empty, torch.linspace, torch.eye, torch.as_tensor, torch.from_numpy})  # fmt: skip


def _wide(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _ROUNDED else value
    if isinstance(value, Tensor) and value.dtype in _ROUNDED:
        with torch._C.DisableTorchFunction():
            return value.double()
    return value


def is_small_enough(model: nn.Module) -> bool:
    """Whether a model is computed in float64 as well."""
    return bool(sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers())) <= LARGEST)


def in_float64(model: nn.Module) -> nn.Module:
    """A copy of a model with weights in float64; call it, and PyTorch's functions on its results, under `Float64`."""
    return copied(model).double()
