"""PyTorch model to one functional ATen graph of the forward and the backward pass, every node with its location.

The eager model runs once on tensors without content, under `make_fx` and PyTorch's own autograd. Operators that the
lowering knows stay whole; others are decomposed by PyTorch's tables.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._export.utils import _compiling_state_context
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules import activation, transformer

from compiler.frontend.assertions import checks_dropped
from compiler.frontend.clock import Clock
from compiler.frontend.eager import EagerRun
from compiler.frontend.export_errors import explain, known_cause
from compiler.frontend.host_random import Seeding
from compiler.frontend.joint import Joint
from compiler.frontend.locations import Locator, definition_line
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.padding import zeros_in_padding
from compiler.frontend.repetition import require_repeatable
from compiler.frontend.state import Surroundings
from ir.errors import CaptureError, SncError


def trace(
    spec: ModelSpec,
    surroundings: Surroundings,
    *,
    inference: bool,
    decompositions: Mapping[Any, Callable[..., Any]],
) -> Joint:
    """The joint graph of the model in `spec`; for inference only its forward part, with all modules in eval mode.

    `surroundings` are as they were before the trace, and are not put back."""
    run = EagerRun(spec, locator(spec), inference=inference, surroundings=surroundings)
    try:
        return _traced(run, surroundings, decompositions)
    except SncError:
        raise
    except Exception as error:
        if known_cause(f"{type(error).__name__}: {error}") is not None:
            raise CaptureError(explain(error, run.locator, spec, run.interception.reached)) from error
    surroundings.restore()
    run = EagerRun(spec, locator(spec), inference=inference, surroundings=surroundings)
    try:
        return _traced(run, surroundings, decompositions, as_compiled=False)
    except SncError:
        raise
    except Exception as error:
        raise CaptureError(explain(error, run.locator, spec, run.interception.reached)) from error


def _traced(
    run: EagerRun,
    surroundings: Surroundings,
    decompositions: Mapping[Any, Callable[..., Any]],
    *,
    as_compiled: bool = True,
) -> Joint:
    """The joint graph; with `as_compiled`, libraries that ask are told that the model is being compiled: they leave out
    what reads values, but some leave out what their eager models need."""
    fake, clock, seeding = _fake_mode(run.spec), Clock(run.locator), Seeding(run.locator)

    def stand_in(tensor: Tensor) -> Tensor:
        return _without_content(tensor, fake)

    with (
        conditions(run.spec.model, run.inference, as_compiled),
        fake,
        checks_dropped(run.locator.shown),
        clock.watched(surroundings),
        seeding.watched(surroundings),
    ):
        joint = run.joint(stand_in, decompositions)
        require_repeatable(run, surroundings, clock, seeding, stand_in, decompositions)
        return joint


def locator(spec: ModelSpec) -> Locator:
    """What finds the places of the model in `spec`."""
    line = spec.line or definition_line(spec.file, "loss" if spec.loss else "model")
    return Locator(spec.file, line, spec.regions)


def _fake_mode(spec: ModelSpec) -> FakeTensorMode:
    """The mode of the tensors without content that the model has already, else one of our own."""
    tensors = (*spec.model.parameters(), *spec.model.buffers(), *spec.inputs.values())
    found = (tensor.fake_mode for tensor in tensors if isinstance(tensor, FakeTensor))
    return next(found, None) or FakeTensorMode(allow_non_fake_inputs=True)


def _without_content(tensor: Tensor, fake: FakeTensorMode) -> Tensor:
    """A tensor of the same type without content, and without a gradient, on the host."""
    if isinstance(tensor, FakeTensor) or not tensor.is_meta:
        return tensor.detach() if isinstance(tensor, FakeTensor) else fake.from_tensor(tensor.detach())
    with fake:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


@contextmanager
def conditions(model: nn.Module, inference: bool, as_compiled: bool = True) -> Any:
    """What holds while a model is traced: its mode, PyTorch's flags, and nothing that one call would hide."""
    with (
        mode(model, inference),
        zeros_in_padding(),
        whole_operators(),
        _compiling_state_context() if as_compiled else nullcontext(),
        torch.compiler.set_stance("force_eager"),  # parts that torch.compile would trace by itself
        torch.set_grad_enabled(not inference),
    ):
        yield


@contextmanager
def mode(model: nn.Module, inference: bool) -> Any:
    """For inference, put every module in eval mode and back."""
    training = {module: module.training for module in model.modules()}
    if inference:
        model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def quiet() -> Any:
    """Without PyTorch's own warnings about its tracing, which say nothing about the user's model."""
    level = logging.getLogger("torch").level
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch").setLevel(level)


def _is_said_to_be_causal(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """PyTorch would read the values of a mask to find out: it is the same, mask or hint, but for the way."""
    return is_causal is True


_has_torch_function = torch.overrides.has_torch_function


def _has_function_of_its_own(arguments: Iterable[Any]) -> bool:
    """PyTorch's modules ask whether their tensors are of a class with operators of its own, and are told that they are
    where only a mode is active, as here."""
    plain = (Tensor, nn.Parameter, FakeTensor)
    return any(type(argument) not in plain for argument in arguments) and _has_torch_function(arguments)


_apply = nn.Module._apply


def _applied_if_needed(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`module.to(x)` in forward mostly changes nothing; PyTorch would replace each tensor by itself, which fails while
    tracing."""
    tensors = (*module.parameters(recurse), *module.buffers(recurse))
    with torch.no_grad():
        is_needed = any(function(tensor) is not tensor for tensor in tensors)
    return _apply(module, function, recurse) if is_needed else module


@contextmanager
def whole_operators() -> Any:
    """Without the host's fused operators that make one opaque call of a recurrent layer, and with those of attention
    that the eager model uses; quietly, for switching them off warns of GPUs that are not there."""
    with (
        quiet(),
        torch.backends.mkldnn.flags(enabled=False),
        patch.object(transformer, "_detect_is_causal_mask", _is_said_to_be_causal),
        patch.object(activation, "_is_make_fx_tracing", lambda: False),
        patch.object(torch.overrides, "has_torch_function", _has_function_of_its_own),
        patch.object(nn.Module, "_apply", _applied_if_needed),
    ):
        yield
