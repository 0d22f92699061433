"""What the compiler needs to know of a torch.optim.Optimizer."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from compiler.frontend.dtypes import has_content, to_array
from compiler.optimizers import Kind, OptimizerSpec, ParameterGroup
from ir.errors import Problem, UnsupportedError
from ir.op import Array

log = logging.getLogger("snc")

KINDS: dict[type[torch.optim.Optimizer], Kind] = {
    torch.optim.SGD: "sgd",
    torch.optim.Adam: "adam",
    torch.optim.AdamW: "adamw",
    torch.optim.RMSprop: "rmsprop",
    torch.optim.Adagrad: "adagrad",
}
REFUSED = ("dampening", "differentiable")
"""Options that the update graphs do not have."""


def departures(optimizer: torch.optim.Optimizer) -> list[Problem]:
    """What an optimizer of a known kind does in a step beside its kind's own update: the device would leave it out."""
    name = type(optimizer).__name__
    base = _base(optimizer)
    found = []
    if base is not None and _code(optimizer.step) is not _code(base.step):
        hint = (
            f"use torch.optim.{base.__name__} as it is; change gradients with parameter.register_hook, or in the loss"
        )
        found.append(
            Problem(f"optimizer {name} has a step of its own, not that of torch.optim.{base.__name__}", hint=hint)
        )
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        hint = "change gradients with parameter.register_hook, and parameters in forward, under torch.no_grad()"
        found.append(Problem(f"optimizer {name} has hooks that run around its step", hint=hint))
    return found


def say_what_is_scheduled(optimizer: torch.optim.Optimizer) -> None:
    """Note that a scheduler of PyTorch, which leaves `initial_lr` behind, does not reach the device."""
    if any("initial_lr" in group for group in optimizer.param_groups):
        log.warning(
            "note: a scheduler changes the optimizer's learning rate on the host: the device keeps the one it starts "
            "from, until a run gives it another\n    try: --hyper lr=0.05, or train(hyper={'lr': 0.05}) step by step"
        )


def _base(optimizer: torch.optim.Optimizer) -> type[torch.optim.Optimizer] | None:
    """The optimizer of PyTorch that this is or derives from."""
    return next((base for base in type(optimizer).__mro__ if base in KINDS), None)


def _code(step: Any) -> Any:
    """The function behind a method, without what PyTorch and its schedulers have wrapped around it."""
    function = inspect.unwrap(step)
    return getattr(function, "__func__", function)


def optimizer_spec(optimizer: torch.optim.Optimizer, model: torch.nn.Module, trained: Collection[str]) -> OptimizerSpec:
    """The optimizer over the `trained` parameters of `model`. Raises UnsupportedError with all it cannot map."""
    base = _base(optimizer)
    if base is None:
        known = ", ".join(kind.__name__ for kind in KINDS)
        raise UnsupportedError(
            Problem(f"optimizer {type(optimizer).__name__} is not supported", hint=f"use one of torch.optim's {known}")
        )
    decoupled = {bool(group.get("decoupled_weight_decay")) for group in optimizer.param_groups}
    kind: Kind = "adamw" if True in decoupled else KINDS[base]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    problems = departures(optimizer)
    problems += [problem for group in optimizer.param_groups for problem in _problems(kind, group, names)]
    if len(decoupled) > 1:
        what = "adam with decoupled_weight_decay in some of its groups only is not supported"
        problems.append(Problem(what, hint="give all groups the same decoupled_weight_decay"))
    UnsupportedError.raise_if(list(dict.fromkeys(problems)))
    groups = [_group(group, names, trained) for group in optimizer.param_groups]
    return OptimizerSpec(kind, tuple(group for group in groups if group.parameters))


def state_of(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, trained: Collection[str], states: Collection[str]
) -> dict[str, Array]:
    """What an optimizer that has made steps before holds, for those of `states` that it has.

    Raises UnsupportedError where its parameters have made different numbers of steps: the device counts one.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = {names[id(p)]: state for p, state in optimizer.state.items() if names.get(id(p)) in trained}
    if not held:
        return {}
    found = {
        f"{name}.{key}": to_array(value)
        for name, state in held.items()
        for key, value in state.items()
        if f"{name}.{key}" in states and isinstance(value, torch.Tensor) and has_content(value)
    }
    if "step" in states:
        steps = {
            float(held.get(name, {}).get("step", 0))
            for group in optimizer.param_groups
            for name in _names(group, names, trained)
        }
        if len(steps) > 1:
            made = ", ".join(f"{step:g}" for step in sorted(steps))
            what = f"the optimizer's parameters differ in the steps they have made: {made}"
            hint = "make the optimizer anew: the device counts the same steps for all parameters"
            raise UnsupportedError(Problem(what, hint=hint))
        found["step"] = np.asarray(steps.pop(), np.float32)
    return found


def _names(group: dict[str, Any], names: dict[int, str], trained: Collection[str]) -> list[str]:
    """The trained parameters of a group."""
    return [name for parameter in group["params"] if (name := names.get(id(parameter), "")) in trained]


def _problems(kind: str, group: dict[str, Any], names: dict[int, str]) -> list[Problem]:
    problems = [
        Problem(f"{kind} with {option}={group[option]} is not supported", hint=f"leave {option} out")
        for option in REFUSED
        if group.get(option)
    ]
    if any(id(parameter) not in names for parameter in group["params"]):
        problems.append(
            Problem(
                "the optimizer updates parameters that the model does not have",
                hint="make it over model.parameters() of the model that is compiled",
            )
        )
    return problems


def _group(group: dict[str, Any], names: dict[int, str], trained: Collection[str]) -> ParameterGroup:
    """A parameter group; Adam's decoupled weight decay is AdamW."""
    return ParameterGroup(
        parameters=tuple(_names(group, names, trained)),
        lr=float(group["lr"]),
        weight_decay=float(group.get("weight_decay", 0.0)),
        momentum=float(group.get("momentum", 0.0)) or None,
        nesterov=bool(group.get("nesterov", False)),
        betas=tuple(float(beta) for beta in group.get("betas", (0.9, 0.999))),  # type: ignore[arg-type]
        eps=float(group.get("eps", 1e-8)),
        maximize=bool(group.get("maximize", False)),
        amsgrad=bool(group.get("amsgrad", False)),
        alpha=float(group.get("alpha", 0.99)),
        centered=bool(group.get("centered", False)),
        lr_decay=float(group.get("lr_decay", 0.0)),
    )
