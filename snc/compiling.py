"""`snc.compile`: from a live PyTorch module to a compiled model."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from backends.rdu.compile import BUDGETS, Placer
from backends.rdu.place.place import place
from compiler.driver import CompileRequest, build_spec
from compiler.passes import Pass
from ir.errors import Problem, UsageError
from pef.machine import Machine
from snc.compiled import Compiled

if TYPE_CHECKING:
    import torch

Progress = Callable[[str, float], None]


def compile(
    module: torch.nn.Module,
    inputs: Mapping[str, Any] | Sequence[Any] | torch.Tensor,
    *,
    optimizer: torch.optim.Optimizer | Callable[..., torch.optim.Optimizer] | None = None,
    loss: Callable[..., torch.Tensor] | None = None,
    targets: Mapping[str, torch.Tensor] | Sequence[torch.Tensor] | torch.Tensor | None = None,
    max_grad_norm: float | None = None,
    inference: bool | None = None,
    name: str | None = None,
    arch: str | Path | Machine = "sn30",
    level: str = "o3",
    preset: str = "mp0",
    passes: str | Sequence[Pass] | None = None,
    rules: str | Path | None = None,
    microbatch_size: int | None = None,
    budgets: Sequence[float] = BUDGETS,
    placer: Placer = place,
    avoid: Sequence[str] = (),
    separate_optimizer: bool = False,
    seed: int = 0,
    progress: Progress = lambda what, done: None,
) -> Compiled:
    """Compile a module for the RDU. Nothing is written; `Compiled.save` does that.

    inputs: sample tensors by the names of forward's parameters, or in their order; shapes and element types count.
    optimizer: of the module's parameters, or a function of them; with one, the model is compiled for training, and
    `loss(outputs, *targets)` computes the loss where forward does not return it first; targets: as inputs, by the names
    of its parameters or in their order. inference: overrides that.
    arch: a machine's name (`sn10`, `sn30`, `sn40l`, or one that a package adds), a TOML file, or a machine.
    level, preset, rules, microbatch_size, avoid, separate_optimizer: as the options of `snc compile`.
    passes: a pipeline as text (`canonicalize,precision{preset=mp4},dce`), or passes; None for the usual ones.
    budgets: the shares of the machine's units that sections may plan with, tried in turn.
    placer: gives every unit of a section a site: (netlist, machine, seed) -> placement.

    Raises SncError, with the user's lines, for everything that a user can mend.
    """
    import torch

    from compiler.frontend.model_file import ModelSpec

    if isinstance(optimizer, torch.optim.Optimizer) or optimizer is None:
        update = optimizer
    else:
        update = optimizer(module.parameters())
    file, line = _place_of(module, sys._getframe(1))
    spec = ModelSpec(
        module,
        _named(inputs, "inputs", "forward", _parameters(module.forward)),
        update,
        loss,
        max_grad_norm,
        name=name or type(module).__name__.lower(),
        file=file,
        line=line,
        targets=_named(() if targets is None else targets, "targets", "loss", _parameters(loss)[1:] if loss else []),
    )
    request = CompileRequest(
        spec.name,
        inference=optimizer is None and loss is None if inference is None else inference,
        pef_name=name,
        arch=arch if isinstance(arch, Machine) else str(arch),
        level=level,
        preset=preset,
        seed=seed,
        microbatch_size=microbatch_size,
        batch_size=_batch(spec.inputs) if microbatch_size is not None else None,
        optimization_rules=Path(rules) if rules is not None else None,
        passes=passes if passes is None or isinstance(passes, str) else tuple(passes),
        budgets=tuple(budgets),
        placer=placer,
        avoid=tuple(avoid),
        separate_optimizer=separate_optimizer,
    )
    built = build_spec(spec, request, progress)
    return Compiled(built.pef, built.origin.weights, built.origin.reference)


def _named(given: Any, what: str, taker: str, parameters: list[str]) -> dict[str, Any]:
    """Tensors by the names of the parameters that take them. Raises UsageError for more than there are."""
    if isinstance(given, Mapping):
        return dict(given)
    tensors = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(tensors) > len(parameters):
        message = f"{len(tensors)} {what} are given, and {taker} takes {', '.join(parameters) or 'none by name'}"
        raise UsageError(Problem(message, hint=f"give a dict of {what} by name"))
    return dict(zip(parameters, tensors))


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind not in variadic]


def _batch(inputs: Mapping[str, Any]) -> int | None:
    """The samples in the inputs: the first extent of the first that has one."""
    return next((int(tensor.shape[0]) for tensor in inputs.values() if tensor.dim()), None)


def _place_of(module: torch.nn.Module, caller: FrameType) -> tuple[Path, int]:
    """The file with the module's class, and no line; where PyTorch has the class, such as Sequential, the file and the
    line that compile it."""
    if type(module).__module__.partition(".")[0] == "torch":
        return Path(caller.f_code.co_filename), caller.f_lineno
    try:
        return Path(inspect.getfile(type(module))), 0
    except (OSError, TypeError):  # a notebook's cells have no file
        return Path("model.py"), 0
