"""Hyper-parameters of a run: from the names programs use to the symbols of the PEF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compiler.optimizers import MAX_NORM
from ir.errors import Problem, UsageError
from sambaflow.samba.device import Device

OPTIMIZER_KEYS = ("lr", "momentum", "weight_decay", "max_grad_norm")


class HyperParameters:
    """The hyper-parameter symbols of a PEF. A key counts for every parameter group of every optimizer, and with an
    optimizer's `argin_region_name` before it for that optimizer. Keys that the PEF has no use for are ignored."""

    def __init__(self, device: Device, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.device = device
        self._last: dict[str, Any] = {}
        self._targets: dict[str, list[Tensor]] = {}
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        number = 0
        for optimizer in optimizers:
            prefix = getattr(optimizer, "argin_region_name", "")
            for group in optimizer.param_groups:
                if any(f"{names.get(id(p))}.grad" in device.runtime.symbols for p in group["params"]):
                    self._add_group(group, prefix, f".{number}" if number else "")
                    number += 1
            norm = getattr(optimizer, "max_grad_norm", None)
            if norm:
                self._add(MAX_NORM, "", MAX_NORM, float(norm))
        for symbol in device.hyper:
            if not device.has_value(symbol) and not optimizers:
                self._add(symbol.partition(".")[0], "", symbol, None)

    def write(self, values: Mapping[str, Any]) -> None:
        """Write the values that changed since the last call. Raises UsageError for what is no number."""
        if values == self._last:
            return
        for key, value in values.items():
            number = _number(key, value)
            for memory in self._targets.get(key, ()):
                memory.fill_(number)
            if key == "momentum" and number and not self._targets.get(key) and self._targets:
                hint = "momentum belongs to samba.optim.SGD: AdamW has betas, fixed when it is made"
                raise UsageError(Problem("'momentum' is given, but nothing in the PEF uses it", hint=hint))
        self._last = dict(values)

    def _add_group(self, group: Mapping[str, Any], prefix: str, suffix: str) -> None:
        for key in OPTIMIZER_KEYS:
            if key in group:
                self._add(key, prefix, f"{key}{suffix}", float(group[key]))

    def _add(self, key: str, prefix: str, symbol: str, value: float | None) -> None:
        if symbol not in self.device.hyper:
            return
        if value is not None:
            self.device.runtime.write(symbol, value)
        memory = self.device.memory(symbol)
        for name in dict.fromkeys((key, f"{prefix}{key}", f"{prefix}_{key}")):
            self._targets.setdefault(name, []).append(memory)


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        hint = "give a number such as {'lr': 0.01}"
        raise UsageError(Problem(f"hyper-parameter {key!r} is {value!r}, which is no number", hint=hint)) from error
