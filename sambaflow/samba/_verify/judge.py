"""Whether a difference between CPU and RDU that a program found is a fault, or rounding that float32 cannot help."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from runtime.snrun.compare import Verdict
from sambaflow.samba._device.loading import Loaded
from sambaflow.samba._verify.host import Step, host_step, precise_step
from sambaflow.samba.sambatensor import SambaTensor
from sambaflow.samba.session import current_session


def verdict_on(first: Tensor, second: Tensor) -> Verdict | None:
    """The verdict on two tensors of which one is an output, or a parameter's gradient, of the last run, and the other
    the same on the host. None where they are not, or where the device rounds more than the model does."""
    session = current_session()
    if session._loaded is None or session.loaded.last_inputs is None or not is_as_written(session.loaded):
        return None
    loaded = session.loaded
    device = device_step(loaded)
    name = next((name for name, found in device.items() if _is(found, first) or _is(found, second)), None)
    if name is None:
        return None
    ours, theirs = (first, second) if _is(device[name], first) else (second, first)
    trains = name.endswith("__grad")
    try:
        host = host_step(loaded.model, loaded.last_inputs, loaded.outputs, trains or loaded.model.training)
    except Exception:  # the program's own message stands
        return None
    if name not in host or not torch.allclose(host[name].double(), theirs.double(), 1e-6, 1e-9, equal_nan=True):
        return None
    exact = precise_step(loaded.model, loaded.last_inputs, loaded.outputs, trains or loaded.model.training).get(name)
    if exact is None or exact.shape != ours.shape:
        return None
    return Verdict(_apart(ours, exact), _apart(theirs, exact))


def device_step(loaded: Loaded) -> Step:
    """What the device holds: outputs, and the gradients of parameters."""
    found = {str(tensor.sn_name): tensor.sn_data for tensor in loaded.outputs}
    for name, parameter in loaded.model.named_parameters():
        gradient = parameter.sn_grad if isinstance(parameter, SambaTensor) else None
        if gradient is not None:
            found[f"{name}__grad"] = gradient.torch_tensor()
    return found


def is_as_written(loaded: Loaded) -> bool:
    """Whether the device computes in the precision of the model: what is rounded on purpose is no chaos."""
    options = json.loads(loaded.device.pef.header.options_json or "{}")
    return bool(options.get("preset", "mp0") == "mp0")


def _is(found: Tensor, tensor: Tensor) -> bool:
    return bool(found.shape == tensor.shape and torch.equal(found.double(), tensor.double()))


def _apart(first: Tensor, second: Tensor) -> float:
    return float((first.double() - second.double()).abs().max()) if first.numel() else 0.0
