"""What the SDK changes about torch functions: products of mixed precisions are computed in the wider one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

PRODUCTS = frozenset(
    {
        torch.matmul, torch.mm, torch.bmm, torch.mv, torch.addmm, torch.baddbmm, torch.einsum, torch.bilinear,
        torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__, torch.Tensor.mm, torch.Tensor.bmm,
        torch.Tensor.addmm, torch.Tensor.baddbmm,
        F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
        F.scaled_dot_product_attention, F.layer_norm, F.batch_norm, F.group_norm,
    }
)  # fmt: skip
"""Functions that plain torch refuses on operands of different floating-point types, and the device does not."""


class MixedPrecision(TorchFunctionMode):  # type: ignore[misc]
    """While active, plain tensors too are multiplied in the wider of their precisions."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        arguments, named = promoted(func, tuple(args), kwargs or {})
        return func(*arguments, **named)


RATES: dict[Any, tuple[str, int]] = {
    **dict.fromkeys(
        (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
         torch.dropout, torch.dropout_, torch.feature_dropout, torch.feature_dropout_, torch.alpha_dropout,
         torch.alpha_dropout_, torch.feature_alpha_dropout, torch.feature_alpha_dropout_, torch.native_dropout),
        ("p", 1),
    ),
    F.scaled_dot_product_attention: ("dropout_p", 4),
    F.multi_head_attention_forward: ("dropout_p", 10),
    **dict.fromkeys((torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), ("dropout", 5)),
}  # fmt: skip
"""Functions that drop out: the name of the rate, and its position."""


class NoDropout(TorchFunctionMode):  # type: ignore[misc]
    """While active, nothing is dropped, whether a module or a function asks for it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        arguments, named = list(args), dict(kwargs or {})
        if func in RATES:
            name, position = RATES[func]
            if len(arguments) > position:
                arguments[position] = 0.0
            else:
                named[name] = 0.0
        return func(*arguments, **named)


def promoted(
    function: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments of `function`, all floating-point tensors in the widest of their types where it is a product."""
    if function not in PRODUCTS:
        return arguments, named
    types = {t.dtype for t in _tensors((*arguments, *named.values())) if t.is_floating_point()}
    if len(types) < 2:
        return arguments, named
    widest = next(iter(types))
    for other in types:
        widest = torch.promote_types(widest, other)
    cast = {key: _cast(value, widest) for key, value in named.items()}
    return tuple(_cast(value, widest) for value in arguments), cast


def _tensors(values: tuple[Any, ...]) -> list[Tensor]:
    found = []
    for value in values:
        found += _tensors(tuple(value)) if isinstance(value, (list, tuple)) else [value]
    return [value for value in found if isinstance(value, Tensor)]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
