"""What the compiler needs to know of a torch.optim.Optimizer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import torch

from compiler.optimizers import OptimizerSpec, ParameterGroup
from ir.errors import Problem, UnsupportedError

KINDS: dict[str, Literal["sgd", "adam", "adamw"]] = {"SGD": "sgd", "Adam": "adam", "AdamW": "adamw"}
REFUSED = ("amsgrad", "maximize", "dampening", "differentiable")
"""Options that the update graphs do not have."""


def optimizer_spec(optimizer: torch.optim.Optimizer, model: torch.nn.Module, trained: Collection[str]) -> OptimizerSpec:
    """The optimizer over the `trained` parameters of `model`. Raises UnsupportedError with all it cannot map."""
    kind = next((KINDS[base.__name__] for base in type(optimizer).__mro__ if base.__name__ in KINDS), None)
    if kind is None:
        known = ", ".join(KINDS)
        raise UnsupportedError(
            Problem(f"optimizer {type(optimizer).__name__} is not supported", hint=f"use one of torch.optim's {known}")
        )
    if any(base.__name__ == "AdamW" for base in type(optimizer).__mro__):
        kind = "adamw"
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    problems = [problem for group in optimizer.param_groups for problem in _problems(kind, group, names)]
    UnsupportedError.raise_if(list(dict.fromkeys(problems)))
    groups = [_group(group, names, trained) for group in optimizer.param_groups]
    return OptimizerSpec(kind, tuple(group for group in groups if group.parameters))


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
    found = [names[id(parameter)] for parameter in group["params"]]
    return ParameterGroup(
        parameters=tuple(name for name in found if name in trained),
        lr=float(group["lr"]),
        weight_decay=float(group.get("weight_decay", 0.0)),
        momentum=float(group.get("momentum", 0.0)) or None,
        nesterov=bool(group.get("nesterov", False)),
        betas=tuple(float(beta) for beta in group.get("betas", (0.9, 0.999))),  # type: ignore[arg-type]
        eps=float(group.get("eps", 1e-8)),
    )
