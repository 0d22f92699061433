"""What the SDK changes about torch functions: products of mixed precisions are computed in the wider one, and indices
and classes may be integers of any width."""

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

INDICES: dict[Any, tuple[str, int]] = {
    F.embedding: ("input", 0),
    F.embedding_bag: ("input", 0),
    F.one_hot: ("tensor", 0),
    F.cross_entropy: ("target", 1),
    F.nll_loss: ("target", 1),
    F.multi_margin_loss: ("target", 1),
    **dict.fromkeys((torch.index_select, torch.Tensor.index_select), ("index", 2)),
    **dict.fromkeys((torch.gather, torch.Tensor.gather), ("index", 2)),
    **dict.fromkeys((torch.scatter, torch.Tensor.scatter, torch.Tensor.scatter_), ("index", 2)),
    **dict.fromkeys((torch.scatter_add, torch.Tensor.scatter_add, torch.Tensor.scatter_add_), ("index", 2)),
    **dict.fromkeys((torch.index_add, torch.Tensor.index_add, torch.Tensor.index_add_), ("index", 2)),
    **dict.fromkeys((torch.take_along_dim, torch.Tensor.take_along_dim), ("indices", 1)),
    **dict.fromkeys((torch.take, torch.Tensor.take), ("index", 1)),
    torch.Tensor.__getitem__: ("indices", 1),
}  # fmt: skip
"""Functions that read integers which plain torch wants 64 bits wide: the argument's name, and its position."""

NARROW = frozenset({torch.int8, torch.int16, torch.int32})


class MixedPrecision(TorchFunctionMode):  # type: ignore[misc]
    """While active, plain tensors too are taken as the device takes them."""

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
    """The arguments of `function` as plain torch takes them: all floating-point tensors in the widest of their types
    where it is a product, integers 64 bits wide where it indexes by them."""
    if function in INDICES:
        return _widened(*INDICES[function], arguments, named)
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


def _widened(
    name: str, position: int, arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if name in named:
        return arguments, {**named, name: _long(named[name])}
    before, rest = arguments[:position], arguments[position:]
    return (*before, *map(_long, rest[:1]), *rest[1:]), named


def _long(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_long, value))
    return value.long() if isinstance(value, Tensor) and value.dtype in NARROW else value


def _tensors(values: tuple[Any, ...]) -> list[Tensor]:
    found = []
    for value in values:
        found += _tensors(tuple(value)) if isinstance(value, (list, tuple)) else [value]
    return [value for value in found if isinstance(value, Tensor)]


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
