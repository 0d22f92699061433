"""Every operator that a model runs, seen before PyTorch's autograd sees it.

Here, operators that PyTorch would take apart can still be traced as our own expression of them, every operator's line
and module are known, and what autograd will run for it later can be told where it belongs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher, no_python_dispatcher
from torch._functorch.autograd_function import custom_function_call
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.autograd.graph import _engine_run_backward
from torch.fx import traceback
from torch.nn.modules import module as module_hooks
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from compiler.frontend.composites import COMPOSITES
from compiler.frontend.export_errors import CONTROL_FLOW, unknown_size
from compiler.frontend.locations import REGION, Locator, is_users
from compiler.frontend.recording import Recorder
from ir.errors import CaptureError, Problem
from ir.location import Location

COUNTED = (
    "batch norm with momentum=None reads how many batches it has seen into Python",
    "give it a momentum, such as 0.1",
)
"""A cumulative average changes by another factor in every step; what is compiled is one step."""
OWN_GENERATOR = (
    "forward draws random numbers from a torch.Generator of its own, which the device does not have",
    "leave out generator=; or draw the numbers in __init__ and keep them in a buffer, where they stay the same",
)
LOSSES = (
    "cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d", "mse_loss", "l1_loss", "smooth_l1_loss",
    "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "soft_margin_loss",
    "hinge_embedding_loss", "margin_ranking_loss", "cosine_embedding_loss", "triplet_margin_loss", "poisson_nll_loss",
    "_linear_cross_entropy_batch_chunked", "_linear_cross_entropy_batch_chunked_no_reduction",
)  # fmt: skip
"""Operators that compute a loss."""

_ENGINE: CodeType = _engine_run_backward.__code__
_DISPATCH = (torch._ops.__file__, torch._library.utils.__file__, torch._dispatch.python.__file__, __file__)
"""Files whose frames stand between an operator and what calls it."""


class Interception(SchemaCheckMode):  # type: ignore[misc]
    """While active, operators above autograd are recorded and composites replaced.

    A schema check mode only in name: PyTorch keeps the one place above autograd that is free for such modes.
    `losses` are the results of loss operators. `boundary` is the code that calls the model: what calls that is not the
    model's.
    """

    def __init__(self, locator: Locator, recorder: Recorder, model: nn.Module, boundary: CodeType) -> None:
        TorchDispatchMode.__init__(self, _dispatch_key=torch._C.DispatchKey.PreDispatch)
        self.locator = locator
        self.recorder = recorder
        self.boundary = boundary
        self.modules = dict(model.named_modules())
        self.names = {module: name for name, module in self.modules.items()}
        self.running = [""]
        self.losses: list[Tensor] = []
        self.foreign: dict[Tensor, Tensor | None] = {}
        self.backward = False
        self._seen: set[Any] = set()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Sees every operator, and knows which module runs."""
        enter = module_hooks.register_module_forward_pre_hook(self._entered)
        leave = module_hooks.register_module_forward_hook(lambda *_: self._left(), always_call=True)
        try:
            with enable_python_dispatcher(), self:
                yield
        finally:
            enter.remove()
            leave.remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with no_python_dispatcher():
            frame = _caller()
            if frame.f_code is _ENGINE:  # one of autograd's own formulas
                return func(*args, **(kwargs or {}))
            self.recorder.switch(self.here(frame))
            if (kwargs or {}).get("generator") is not None:
                raise self._refusal(*OWN_GENERATOR)
            try:
                result = COMPOSITES.get(func, func)(*args, **(kwargs or {}))
            except DynamicOutputShapeException as error:
                raise self._refusal(*unknown_size(_name(func))) from error
            except DataDependentOutputException as error:
                raise self._refusal(*CONTROL_FLOW) from error
            finally:
                self.recorder.flush()  # also where a checkpoint that runs again stops here
            for leaf in pytree.tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                    self.follow(leaf.grad_fn)
            if func.overloadpacket.__name__ in LOSSES:
                self.losses.append(result[0] if isinstance(result, tuple) else result)
            return result

    def here(self, frame: FrameType) -> Location:
        """The innermost line that is the user's or a library's, not PyTorch's, and the module that runs.

        In the backward pass, a module that does not run again belongs to what is differentiated.
        """
        module = self.running[-1]
        if self.backward and len(self.running) == 1:
            module = self.recorder.location.module
        found = self._line(frame)
        if found is None and self.backward:
            found = self.recorder.location.file, self.recorder.location.line
        marked = (traceback.current_meta.get("custom") or {}).get(REGION)
        if self.backward and marked is None:
            file, line = found or ("", 0)
            return Location(file, line, module, self.recorder.location.region)
        return self.locator.location(found, module, marked)

    @property
    def reached(self) -> Location | None:
        """What is differentiated, in the backward pass; None in the forward pass, where an error tells its line."""
        return self.recorder.location if self.backward else None

    def follow(self, function: Any) -> None:
        """Have `function` and what leads to it, as far as it is new, tell this location when autograd runs it."""
        location = self.recorder.location
        pending = [function]
        while pending:
            function = pending.pop()
            if function in self._seen:
                continue
            self._seen.add(function)
            leaf = getattr(function, "variable", None)
            if leaf is not None:
                self.foreign.setdefault(leaf, leaf.grad)
            function.register_prehook(lambda _: self.recorder.switch(location))
            pending += [following for following, _ in function.next_functions if following is not None]

    def counted_by(self, function: Any) -> tuple[str, str] | None:
        """What it means that a module of PyTorch reads its own count of batches; None where none does."""
        module = self.modules.get(self.running[-1])
        if isinstance(module, _NormBase) and module.momentum is None and function is Tensor.__float__:
            return COUNTED
        return None

    def _line(self, frame: FrameType | None) -> tuple[str, int] | None:
        while frame is not None and frame.f_code is not self.boundary:
            if is_users(frame.f_code.co_filename):
                return self.locator.shown(frame.f_code.co_filename), frame.f_lineno
            frame = frame.f_back
        return None

    def _refusal(self, message: str, hint: str) -> CaptureError:
        return CaptureError(Problem(message, self.recorder.location, hint))

    def _entered(self, module: nn.Module, _: Any) -> None:
        """A module begins to run; one that the model does not list belongs to the one around it."""
        self.running.append(self.names.get(module, self.running[-1]))

    def _left(self) -> None:
        self.running.pop()


def _caller() -> FrameType:
    """The frame that called the operator now being dispatched."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename in _DISPATCH and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _name(operator: Callable[..., Any]) -> str:
    return str(getattr(operator, "overloadpacket", operator))


@custom_function_call.py_impl(Interception)  # type: ignore[untyped-decorator]
def _custom_function_below(mode: Interception, *arguments: Any, **named: Any) -> Any:
    """A custom autograd function within torch.func's transforms, such as reading by index in the masks that
    transformers makes with vmap: its operators are traced as PyTorch takes them apart."""
    return custom_function_call(*arguments, **named)
