"""What PyTorch's own tests call: every sample input of every module family and every operator it knows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing._internal import common_methods_invocations
from torch.testing._internal.common_device_type import toleranceOverride
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db
from torch.utils import _pytree as pytree


def _called(operator: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """An operator without a seed of its own. PyTorch's samples of random operators set one with every call, which a
    model's forward must not: it would draw the same numbers in every step, and is refused."""
    return operator(*args, **kwargs)


common_methods_invocations.wrapper_set_seed = _called  # looked up when a sample is run

DTYPES = (torch.float32, torch.int64, torch.bool)
"""What operators are swept in; modules are swept in float32."""


TIES = ("topk", "kthvalue", "mode", "median", "nanmedian", "sort", "argsort", "msort", "aminmax")
"""Operators whose integer results say which of several equal elements was taken, which
PyTorch leaves open; only their first results are compared."""
UNSET = ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
"""Operators whose results hold anything."""


class Call(nn.Module):
    """A module or function with its arguments, of which the tensors are given anew with every call."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, results: int | None = None) -> None:
        super().__init__()
        self.results = results
        self.function = function
        leaves, self.tree = pytree.tree_flatten((tuple(args), dict(kwargs)))
        self.is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
        self.constants = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.samples = [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Call:
        args, kwargs = pytree.tree_unflatten(self.leaves(self.samples), self.tree)
        return Call(copy.deepcopy(self.function, memo), args, kwargs, self.results)

    def leaves(self, tensors: Any) -> list[Any]:
        """All arguments, flat."""
        given = iter(tensors)
        return [next(given) if hole else constant for hole, constant in zip(self.is_tensor, self.constants)]

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """Every tensor among the results. A leading axis keeps scalars from being taken for losses."""
        args, kwargs = pytree.tree_unflatten(self.leaves(tensors), self.tree)
        results = [leaf for leaf in pytree.tree_leaves(self.function(*args, **kwargs)) if isinstance(leaf, Tensor)]
        results = results[: self.results]
        return [result.unsqueeze(0) if result.is_floating_point() else result for result in results]


class Calls(nn.Module):
    """Several calls as one model, to trace them at once."""

    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self.calls = nn.ModuleList(calls)

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        results, start = [], 0
        for call in self.calls:
            count = len(call.samples)
            results += call(*tensors[start : start + count])
            start += count
        return results


@dataclass(frozen=True)
class Family:
    """One entry of a database in one element type."""

    kind: str
    name: str
    index: int
    dtype: torch.dtype

    @property
    def key(self) -> str:
        """The name and the element type."""
        return f"{self.name} {str(self.dtype).removeprefix('torch.')}"

    def calls(self) -> list[Call]:
        """Every sample input as a call, the same ones every time."""
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(self._module_calls() if self.kind == "modules" else self._op_calls())

    def tolerances(self) -> tuple[float, float]:
        """Relative and absolute: PyTorch's for float32, or those its tests of the entry allow."""
        entry = module_db[self.index] if self.kind == "modules" else op_db[self.index]
        allowed = [
            override[torch.float32]
            for decorator in entry.decorators
            for applied in getattr(decorator, "decorators", [])
            if isinstance(applied, toleranceOverride) and torch.float32 in (override := applied.d)
            if decorator.device_type in (None, "cpu")
        ]
        return max([1.3e-6, *(t.rtol for t in allowed)]), max([1e-5, *(t.atol for t in allowed)])

    def _module_calls(self) -> Iterator[Call]:
        entry = module_db[self.index]
        for training in (True, False):
            for sample in entry.module_inputs_func(entry, "cpu", self.dtype, True, training=training):
                given = sample.constructor_input
                module = entry.module_cls(*given.args, **given.kwargs).train(training)
                if sample.forward_input is None:
                    continue
                if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
                    module(*sample.forward_input.args, **sample.forward_input.kwargs)
                call = Call(module, sample.forward_input.args, sample.forward_input.kwargs)
                yield call.train(training)

    def _op_calls(self) -> Iterator[Call]:
        entry = op_db[self.index]
        gradients = self.dtype is torch.float32 and entry.supports_autograd
        if entry.name in UNSET:
            return
        for sample in entry.sample_inputs("cpu", self.dtype, requires_grad=gradients):
            yield Call(entry.op, (sample.input, *sample.args), sample.kwargs, 1 if entry.name in TIES else None)


def families(kind: str) -> list[Family]:
    """All entries of a database: `modules` or `ops`."""
    if kind == "modules":
        return [Family(kind, entry.name, index, torch.float32) for index, entry in enumerate(module_db)]
    return [
        Family(kind, f"{entry.name}.{entry.variant_test_name}".rstrip("."), index, dtype)
        for index, entry in enumerate(op_db)
        for dtype in DTYPES
        if dtype in entry.dtypes
    ]
