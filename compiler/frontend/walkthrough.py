"""A model that tracing stops at, walked through to its end: run once on its sample inputs, recording every operator
with its location, and noting what a compile stops at instead of stopping.

The user's Python takes the branches that the sample values choose, or where there are none, those of tensors of zeros
with a one in front. For reports only: what is recorded holds for these values alone.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, get_proxy_mode, track_tensor_tree
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from compiler.frontend.assertions import checks_dropped
from compiler.frontend.dtypes import has_content
from compiler.frontend.eager import EagerRun
from compiler.frontend.export_errors import CONTROL_FLOW, LEAVES_PYTORCH, NUMBER_READ
from compiler.frontend.interception import Interception
from compiler.frontend.joint import Joint
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.tracing import conditions, locator
from ir.errors import Problem

NUMBERS = (Tensor.item, Tensor.tolist, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__complex__)
MEMORY = (Tensor.numpy, Tensor.__array__, Tensor.data_ptr, Tensor.untyped_storage, Tensor.__dlpack__)
MEANING = {
    Tensor.__bool__: CONTROL_FLOW,
    **dict.fromkeys(NUMBERS, NUMBER_READ),
    **dict.fromkeys(MEMORY, LEAVES_PYTORCH),
}
"""What it means that the model calls one of these functions: the message and the remedy."""
_FRONTEND = str(Path(__file__).parent)
SHOWS = (Tensor.__repr__, Tensor.__format__)
"""Functions that look at values but do not change what the model computes."""


@dataclass(frozen=True)
class Walk:
    """What was noted on the way, and the joint graph where the way led to the end."""

    problems: tuple[Problem, ...]
    joint: Joint | None


def walk(spec: ModelSpec, *, inference: bool, decompositions: Mapping[Any, Callable[..., Any]]) -> Walk:
    """Run the model, and its backward pass unless for inference; where that fails, the forward pass alone."""
    walked = _walked(spec, inference, inference, decompositions)
    if walked.joint is not None or inference:
        return walked
    forward = _walked(spec, inference, True, decompositions)
    return Walk(tuple(dict.fromkeys((*walked.problems, *forward.problems))), forward.joint)


def _walked(
    spec: ModelSpec, inference: bool, forward_only: bool, decompositions: Mapping[Any, Callable[..., Any]]
) -> Walk:
    run = EagerRun(spec, locator(spec), inference=forward_only)
    watcher = _Watcher(run.interception)
    joint = None
    try:
        dropped = checks_dropped(run.locator.shown, say=False)
        with conditions(spec.model, inference), _unheard(), _Assumed(), watcher, dropped:
            joint = run.joint(lambda tensor: _beside(spec.model, tensor.detach()).clone(), decompositions)
    except Exception:
        # The model itself fails on its sample inputs, or does what cannot be recorded: what was noted until then
        # stands beside what the trace said.
        joint = None
    return Walk(tuple(watcher.problems), joint)


def _beside(model: nn.Module, tensor: Tensor) -> Tensor:
    """The tensor as the model can take it: without content where the model's parameters have none."""
    first = next(model.parameters(), None)
    return tensor.to("meta") if first is not None and first.is_meta else tensor


def _unheard() -> Any:
    """What the model prints was printed when it was traced."""
    return redirect_stdout(io.StringIO())


class _Assumed(TorchDispatchMode):  # type: ignore[misc]
    """Lets operators whose results depend on values read assumed ones where a tensor has no content."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tags = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        given = (args, kwargs or {})
        if not any(tag in function.tags for tag in tags) or all(map(_has_any, pytree.tree_leaves(given))):
            return function(*args, **(kwargs or {}))
        with disable_proxy_modes_tracing():
            args, kwargs = pytree.tree_map(_assumed, given)
            results = pytree.tree_map_only(Tensor, lambda tensor: tensor.to("meta"), function(*args, **kwargs))
        tracing = get_proxy_mode()
        if tracing is None:
            return results
        proxies = pytree.tree_map(tracing.tracer.unwrap_proxy, given)
        node = tracing.tracer.create_proxy("call_function", function, *proxies)
        return track_tensor_tree(results, node, constant=None, tracer=tracing.tracer)


def _has_any(value: Any) -> bool:
    return not isinstance(value, Tensor) or has_content(value)


def _assumed(value: Any) -> Any:
    """Zeros and a one in front for a tensor without content, so that something is chosen of it, but not much."""
    if _has_any(value):
        return value
    flat = torch.zeros(value.numel(), dtype=value.dtype)
    flat[:1] = 1
    return flat.reshape(value.shape)


class _Watcher(TorchFunctionMode):  # type: ignore[misc]
    """Notes where values leave the graph, at the line that runs."""

    def __init__(self, interception: Interception) -> None:
        super().__init__()
        self.interception = interception
        self.problems: dict[Problem, None] = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_ours = function in MEMORY and sys._getframe(1).f_code.co_filename.startswith(_FRONTEND)
        if is_ours or (function not in MEANING and function not in SHOWS):
            return function(*args, **(kwargs or {}))
        if function in MEANING:
            message, hint = self.interception.counted_by(function) or MEANING[function]
            self.problems[Problem(message, self.interception.here(sys._getframe(1)), hint)] = None
            args = tuple(map(_assumed, args))
        with disable_proxy_modes_tracing():
            return function(*args, **(kwargs or {}))
