"""Optimizer state between host and device, under PyTorch's own names, so that checkpoints are PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from sambaflow.samba._device.loading import Loaded
from sambaflow.samba.optim.optimizer import as_list

STATES = ("momentum_buffer", "exp_avg", "exp_avg_sq")
STEP = "step"


def optimizers_to_cpu(loaded: Loaded, optimizers: Any) -> None:
    """Copy the state of optimizers device to host. Before the first update there is none."""
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        for optimizer in as_list(optimizers):
            for parameter, path in _updated(loaded, optimizer):
                state = {
                    key: loaded.device.memory(f"{path}.{key}").clone()
                    for key in STATES
                    if f"{path}.{key}" in loaded.device.runtime.symbols and loaded.device.has_value(f"{path}.{key}")
                }
                if state and STEP in loaded.device.runtime.symbols:
                    state[STEP] = loaded.device.memory(STEP).clone()
                if state:
                    optimizer.state[parameter] = state


def optimizers_to_device(loaded: Loaded, optimizers: Any) -> None:
    """Copy the state of optimizers host to device: where they have one, as after load_state_dict."""
    for optimizer in as_list(optimizers):
        for parameter, path in _updated(loaded, optimizer):
            state = optimizer.state.get(parameter) or {}
            for key in STATES:
                if state.get(key) is not None and f"{path}.{key}" in loaded.device.runtime.symbols:
                    loaded.device.write(f"{path}.{key}", state[key])
            if STEP in state and STEP in loaded.device.runtime.symbols:
                loaded.device.runtime.write(STEP, float(state[STEP]))


def _updated(loaded: Loaded, optimizer: torch.optim.Optimizer) -> Iterator[tuple[torch.nn.Parameter, str]]:
    """The parameters of an optimizer that the device has, with their names there."""
    names = {id(tensor): path for path, tensor in loaded.weights(loaded.model)}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in names:
                yield parameter, names[id(parameter)]
