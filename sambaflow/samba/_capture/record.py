"""What a PEF keeps of the program that it was compiled for: arguments, operators, the update of its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from compiler.optimizers import OptimizerSpec
from sambaflow.samba._capture.tracing import Traced

SECTION = "sambaflow"
"""The part of a PEF's metadata that the SDK writes."""


def sdk_metadata(
    traced: Traced,
    arguments: Mapping[str, Any],
    pef_metadata: Mapping[str, Any] | None,
    recorded: Mapping[str, Any],
) -> dict[str, Any]:
    """What the PEF tells of the program: its arguments, its own metadata, and the operators it traced."""
    hints = {key: value for key, value in recorded.items() if value not in (None, False, {}, "")}
    return {
        "arguments": plain(arguments),
        "metadata": plain(pef_metadata or {}),
        "hints": plain(hints),
        "operators": traced.signature,
        "inputs": {name: list(tensor.shape) for name, tensor in traced.structure.tensors.items()},
    }


def plain(value: Any) -> Any:
    """JSON-like values as they are; anything else as text that is the same in every process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def optimizer_record(update: OptimizerSpec | None, max_grad_norm: float | None) -> dict[str, Any] | None:
    """What a compile fixes about the update of parameters; the rest are arguments of a run."""
    if update is None:
        return None
    adaptive = update.kind != "sgd"
    groups = [
        {
            "parameters": list(group.parameters),
            **({"betas": list(group.betas), "eps": group.eps} if adaptive else {"nesterov": group.nesterov}),
        }
        for group in update.groups
    ]
    return {"kind": update.kind, "clips": max_grad_norm is not None, "groups": groups}
