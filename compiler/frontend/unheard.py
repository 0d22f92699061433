"""What a trace would not hear of: hooks that run outside it, and tensors that share memory or keep state unregistered.

Each would make the program's numbers differ from PyTorch's from some step on, so each is refused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import register_optimizer_step_pre_hook

from compiler.frontend.dtypes import has_content
from compiler.frontend.joint import Placeholder, Role
from compiler.frontend.locations import Locator
from ir.errors import CaptureError, Problem
from ir.location import Location


def check_modules(model: nn.Module, locator: Locator) -> None:
    """Raise CaptureError for modules whose Python is not there any more."""
    CaptureError.raise_if(
        [
            Problem(
                f"{f'module {path}' if path else 'the model'} was compiled by torch.jit, which leaves nothing to trace",
                locator.location(None, path, None),
                "give the module itself, as it is before torch.jit.script or torch.jit.trace",
            )
            for path, module in model.named_modules()
            if isinstance(module, torch.jit.ScriptModule) and not _is_within(path, model)
        ]
    )


def _is_within(path: str, model: nn.Module) -> bool:
    """Whether the module around a module was compiled too: that one is named."""
    around, _, name = path.rpartition(".")
    return bool(name) and isinstance(model.get_submodule(around), torch.jit.ScriptModule)


@contextmanager
def no_steps_of(tensors: Collection[int], fail: Callable[[str, str], None]) -> Iterator[None]:
    """Meanwhile `fail` where an optimizer of these tensors, by their ids, makes a step: it was made before the trace,
    and sees no gradients of what stands for them."""

    def check(optimizer: Any, *_: Any) -> None:
        if any(id(tensor) in tensors for group in optimizer.param_groups for tensor in group["params"]):
            fail(
                "forward makes a step of an optimizer that was made outside of it",
                "give it to the compiler; or make it in forward, or update parameters there, under torch.no_grad()",
            )

    handle = register_optimizer_step_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def check_classes(sources: Sequence[Placeholder], locator: Locator) -> None:
    """Raise CaptureError for tensors of classes with operators of their own: what stands for them is a plain tensor."""
    CaptureError.raise_if(
        [
            Problem(
                f"{source.role.value} {source.name} is of class {type(source.tensor).__name__}, which computes in its "
                "own way",
                locator.location(None, source.name.rpartition(".")[0], None),
                "make it a plain tensor or parameter, and write what the class does in forward",
            )
            for source in sources
            if _computes_itself(source.tensor)
        ]
    )


def _computes_itself(tensor: Tensor) -> bool:
    """Whether PyTorch asks the class of a tensor about operators of it."""
    cls = type(tensor)
    if isinstance(tensor, FakeTensor) or is_lazy(tensor):
        return False
    asked = getattr(cls.__torch_function__, "__func__", cls.__torch_function__)
    plain = (Tensor.__torch_function__.__func__, torch._C._disabled_torch_function_impl)
    return asked not in plain or cls.__torch_dispatch__ is not torch._C._disabled_torch_dispatch_impl


def check_sources(sources: Sequence[Placeholder], locator: Locator) -> None:
    """Raise CaptureError for parameters whose gradients or contents something else changes."""
    problems = [
        Problem(
            f"parameter {source.name} has a hook that runs after its gradient is complete",
            locator.location(None, source.name.rpartition(".")[0], None),
            "use parameter.register_hook, and give the optimizer to the compiler",
        )
        for source in sources
        if getattr(source.tensor, "_post_accumulate_grad_hooks", None)
    ]
    state = [source for source in sources if source.role in (Role.PARAMETER, Role.BUFFER)]
    spans = _Spans([source.tensor for source in state])
    for place, owner in enumerate(state):
        if not _is_learned(owner):
            continue
        for number in spans.overlapping(owner.tensor):
            other = state[number]
            if number > place or (number < place and not _is_learned(other)):  # each pair once
                problems.append(_sharing(f"{other.role.value} {other.name}", owner, locator))
    CaptureError.raise_if(problems)


def hooks_on(leaves: Sequence[Tensor]) -> list[int]:
    """How many hooks each of some tensors has."""
    return [len(leaf._backward_hooks or ()) for leaf in leaves]


def check_hooks(sources: Sequence[Placeholder], before: Sequence[int], now: Sequence[int], locator: Locator) -> None:
    """Raise CaptureError where forward has registered hooks on the model's own tensors: what stands for each of them
    had as many `before` as it should have `now`."""
    CaptureError.raise_if(
        [
            Problem(
                f"forward registers a hook on {source.role.value} {source.name}, and every call would add another",
                locator.location(None, source.name.rpartition(".")[0], None),
                "register it in __init__, or remove it in the end: handle.remove()",
            )
            for source, had, has in zip(sources, before, now)
            if has > had and source.role in (Role.PARAMETER, Role.BUFFER)
        ]
    )


def check_threads(
    placeholders: Mapping[fx.Node, Placeholder],
    sources: Sequence[Placeholder],
    locator: Locator,
    locations: Mapping[fx.Node, Location],
) -> None:
    """Raise CaptureError for tensors that were made where nothing is traced; of a model with content, those have
    none."""
    own = {id(source.tensor) for source in sources}
    if not all(has_content(source.tensor) for source in sources):
        return
    CaptureError.raise_if(
        [
            Problem(
                f"forward uses a tensor, {_type(source.tensor)}, that was not made in the thread that calls it",
                next((locations[user] for user in node.users if user in locations), locator.start),
                "compute everything in forward's own thread: what runs side by side is decided for the device",
            )
            for node, source in placeholders.items()
            if source.role is Role.BUFFER and id(source.tensor) not in own and node.users
        ]
    )


def check_constants(
    placeholders: Mapping[fx.Node, Placeholder],
    written: Mapping[Placeholder, fx.Node],
    sources: Sequence[Placeholder],
    replaced: Mapping[int, str],
    locator: Locator,
    locations: Mapping[fx.Node, Location],
) -> None:
    """Raise CaptureError for tensors that the graph holds though they change from step to step. `replaced` names
    tensors, by their ids, that the model held before and holds no more."""
    changing = [*filter(_is_learned, sources), *(s for s in written if s.role in (Role.PARAMETER, Role.BUFFER))]
    spans = _Spans([source.tensor for source in changing])
    own = {id(source.tensor) for source in sources}
    problems = []
    for node, source in placeholders.items():
        if source.role is not Role.CONSTANT and id(source.tensor) in own:
            sharing = [changing[number] for number in spans.overlapping(source.tensor)]
            writers = [owner for owner in sharing if owner is not source and not _is_learned(owner)]
            if writers and (node.users or source in written) and source.role is not Role.INPUT:
                problems.append(_sharing(f"{source.role.value} {source.name}", writers[0], locator))
            continue
        if source.role is Role.TANGENT or not (node.users or source in written):
            continue
        where = next((locations[user] for user in node.users if user in locations), locator.start)
        if source in written:
            what = f"forward writes into a tensor, {_type(source.tensor)}, that is not a buffer of the model"
            problems.append(Problem(what, where, "register it: self.register_buffer(name, tensor)"))
            continue
        if id(source.tensor) in replaced:
            kept = replaced[id(source.tensor)]
            what = f"forward reads {kept} and then replaces it, which is not a buffer of the model"
            problems.append(Problem(what, where, "register it: self.register_buffer(name, tensor)"))
        for number in spans.overlapping(source.tensor)[:1]:
            problems.append(_sharing(f"a tensor, {_type(source.tensor)},", changing[number], locator, where))
    CaptureError.raise_if(problems)


def _sharing(what: str, owner: Placeholder, locator: Locator, where: Location | None = None) -> Problem:
    return Problem(
        f"{what} shares memory with {owner.role.value} {owner.name}, which changes from step to step",
        where or locator.location(None, owner.name.rpartition(".")[0], None),
        f"use {owner.name} itself, or give the other memory of its own: tensor.clone()",
    )


def _is_learned(source: Placeholder) -> bool:
    return source.role is Role.PARAMETER and source.tensor.requires_grad


class _Spans:
    """The memory of many tensors, to ask which of them have some in common with another."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.spans = sorted((*_span(tensor), number) for number, tensor in enumerate(tensors))
        self.reach = list(accumulate((end for _, end, _ in self.spans), max))
        """Up to which byte any of the spans until here goes."""

    def overlapping(self, tensor: Tensor) -> list[int]:
        """The numbers of those whose memory overlaps, by the first and the last byte of each."""
        start, end = _span(tensor)
        found = []
        place = bisect_left(self.spans, (end,)) - 1
        while place >= 0 and self.reach[place] > start:
            if self.spans[place][1] > start:
                found.append(self.spans[place][2])
            place -= 1
        return sorted(found)


def _span(tensor: Tensor) -> tuple[int, int]:
    if not has_content(tensor) or not tensor.numel():
        return 0, 0
    last = sum((extent - 1) * stride for extent, stride in zip(tensor.shape, tensor.stride()))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _type(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
