"""Tensors for looking into a difference between CPU and device."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sambaflow.samba._capture.tracing import structure_of
from sambaflow.samba.sambatensor import SambaTensor, to_torch

FILE = "accuracy_debug.pt"


def dump_accuracy_debug_info(*given: Any, path: str | None = None, **named: Any) -> str:
    """Write outputs, inputs, and parameters with their gradients on the device to a file that torch.load reads; returns
    its path.

    Called with (args, model, inputs, outputs), or (outputs, model[, path]). The file is `path`, else in the folder of
    `args.pef`, else in the working folder.
    """
    args = named.pop("args", None)
    rest = list(given)
    if rest and (rest[0] is None or isinstance(rest[0], (argparse.Namespace, Mapping))):
        args = rest.pop(0)
    model = named.pop("model", None) or next(value for value in rest if isinstance(value, nn.Module))
    tensors = [value for value in rest if not isinstance(value, (nn.Module, str))]
    outputs = named.pop("traced_outputs", named.pop("outputs", tensors[-1] if tensors else ()))
    inputs = named.pop("inputs", tensors[0] if len(tensors) > 1 else ())
    file = Path(path or next((value for value in rest if isinstance(value, str)), None) or _beside(args))
    parameters = dict(model.named_parameters())
    gradients = {name: getattr(parameter, "sn_grad", None) for name, parameter in parameters.items()}
    torch.save(
        {
            "outputs": [_latest(output) for output in _tensors(outputs)],
            "inputs": {name: _host(tensor) for name, tensor in structure_of(model, inputs).tensors.items()},
            "parameters": {name: _host(parameter) for name, parameter in parameters.items()},
            "gradients": {name: _host(gradient) for name, gradient in gradients.items() if gradient is not None},
        },
        file,
    )
    return str(file.absolute())


def _beside(args: Any) -> Path:
    pef = args.get("pef") if isinstance(args, Mapping) else getattr(args, "pef", None)
    return Path(pef).with_name(FILE) if pef else Path(FILE)


def _tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _latest(tensor: Tensor) -> Tensor:
    """What the device holds, of an output that was traced."""
    return tensor.sn_data if isinstance(tensor, SambaTensor) and tensor.on_device else _host(tensor)


def _host(tensor: Tensor) -> Tensor:
    plain: Tensor = to_torch(tensor).detach().clone()
    return plain
