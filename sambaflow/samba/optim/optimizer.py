"""What SambaFlow optimizers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from compiler.frontend.optimizer_options import departures
from compiler.optimizers import OptimizerSpec, ParameterGroup
from ir.errors import Problem, UnsupportedError
from sambaflow.samba._program import current

KINDS = {torch.optim.SGD: "sgd", torch.optim.AdamW: "adamw", torch.optim.Adam: "adam"}
REFUSED = ("amsgrad", "maximize", "dampening")
"""Options that the device's update does not have."""


class SambaOptimizer(torch.optim.Optimizer):  # type: ignore[misc]
    """A torch optimizer whose state also lives on the device.

    argin_region_name: prefix of this optimizer's hyper-parameters in `hyperparam_dict`. max_grad_norm: clip the
    gradients to this global norm, in a GRADNORM section.
    """

    argin_region_name: str = ""
    max_grad_norm: float | None = None
    _opt_called = True  # schedulers of learning rates would warn that step() was not called: the device does it

    def cpu(self) -> None:
        """Copy the optimizer's state device to host."""
        current.session().optimizer_to_cpu(self)

    def rdu(self) -> None:
        """Copy the optimizer's state host to device."""
        current.session().optimizer_to_rdu(self)


def as_list(optimizers: Any) -> list[torch.optim.Optimizer]:
    """None, one optimizer or several, as a list."""
    if optimizers is None:
        return []
    if isinstance(optimizers, (list, tuple)):
        return [optimizer for optimizer in optimizers if optimizer is not None]
    return [optimizers]


def kind_of(optimizer: torch.optim.Optimizer) -> str | None:
    """The compiler's name for an optimizer's update rule, None if it has none."""
    if isinstance(optimizer, torch.optim.Adam) and optimizer.defaults.get("decoupled_weight_decay"):
        return "adamw"
    return next((kind for base, kind in KINDS.items() if isinstance(optimizer, base)), None)


def optimizer_spec(
    optimizers: Sequence[torch.optim.Optimizer], names: Mapping[int, str]
) -> tuple[OptimizerSpec | None, float | None]:
    """The update of all `optimizers`, and the norm to clip gradients to; `names` are parameters' names by id.

    Momentum is an argument of a run, so its buffers are there even where it is zero. Raises UnsupportedError.
    """
    if not optimizers:
        return None, None
    kinds = {kind_of(optimizer) for optimizer in optimizers}
    problems = [problem for optimizer in optimizers for problem in _problems(optimizer, names)]
    if len(kinds) > 1:
        listed = ", ".join(sorted(type(optimizer).__name__ for optimizer in optimizers))
        problems.append(Problem(f"one model is updated by {listed}", hint="use one kind of optimizer for all groups"))
    UnsupportedError.raise_if(problems)
    groups = [_group(group, names) for optimizer in optimizers for group in optimizer.param_groups]
    norms = [norm for norm in (getattr(optimizer, "max_grad_norm", None) for optimizer in optimizers) if norm]
    return OptimizerSpec(kinds.pop(), tuple(groups)), norms[0] if norms else None  # type: ignore[arg-type]


def _problems(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> list[Problem]:
    kind = kind_of(optimizer)
    if kind is None:
        hint = "use samba.optim.SGD or samba.optim.AdamW"
        return [Problem(f"optimizer {type(optimizer).__name__} is not supported on the device", hint=hint)]
    problems = departures(optimizer)
    problems += [
        Problem(
            f"{type(optimizer).__name__} with {option}={group[option]} is not supported", hint=f"leave {option} out"
        )
        for group in optimizer.param_groups
        for option in REFUSED
        if group.get(option)
    ]
    if any(id(parameter) not in names for group in optimizer.param_groups for parameter in group["params"]):
        hint = "make it over model.parameters() of the model that is compiled"
        problems.append(Problem("the optimizer updates parameters that the model does not have", hint=hint))
    return problems


def _group(group: Mapping[str, Any], names: Mapping[int, str]) -> ParameterGroup:
    betas = group.get("betas", (0.9, 0.999))
    return ParameterGroup(
        parameters=tuple(names[id(parameter)] for parameter in group["params"]),
        lr=float(group["lr"]),
        weight_decay=float(group.get("weight_decay", 0.0)),
        momentum=float(group.get("momentum", 0.0)),
        nesterov=bool(group.get("nesterov", False)),
        betas=(float(betas[0]), float(betas[1])),
        eps=float(group.get("eps", 1e-8)),
    )
