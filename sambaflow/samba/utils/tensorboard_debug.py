"""Tensors for looking into a difference between CPU and device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sambaflow.samba.sambatensor import to_torch


def dump_accuracy_debug_info(
    outputs: Any, model: torch.nn.Module, path: str = "accuracy_debug.pt", **options: Any
) -> str:
    """Write outputs, and parameters with their device gradients, to a file that torch.load reads; returns its path."""
    parameters = dict(model.named_parameters())
    gradients = {name: getattr(parameter, "sn_grad", None) for name, parameter in parameters.items()}
    torch.save(
        {
            "outputs": [to_torch(output) for output in outputs],
            "parameters": {name: to_torch(parameter).detach() for name, parameter in parameters.items()},
            "gradients": {name: to_torch(gradient) for name, gradient in gradients.items() if gradient is not None},
        },
        path,
    )
    return str(Path(path).absolute())
