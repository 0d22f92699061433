"""Hyper-parameters of a run: from the names programs use to the symbols of the PEF."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compiler.optimizers import MAX_NORM
from ir.errors import Problem, UsageError
from sambaflow.logging import samba_logger
from sambaflow.samba._capture.convert import model_name, parameter_name
from sambaflow.samba._device.device import Device

OPTIMIZER_KEYS = ("lr", "momentum", "weight_decay", "max_grad_norm")
RATE = "p"
"""The key of all dropout rates."""
RATE_SYMBOL = re.compile(r"(.+\.)?p(\.\d+)?")
"""What the compiler calls a dropout rate: `<module>.p`, numbered where a module drops out more than once."""
SEED = "random.seed"


class HyperParameters:
    """The hyper-parameter symbols of a PEF; they start from what the program's optimizers have, else from what they
    were when compiling.

    A key counts for every parameter group of every optimizer, and with an optimizer's `argin_region_name` before it for
    that optimizer; `p` for every dropout, the names in `rates` for one. Keys that the PEF has no use for are ignored,
    those that nothing is ever called with a warning.
    """

    def __init__(self, device: Device, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.device = device
        self.rates = {
            parameter_name(model_name(model), symbol): symbol
            for symbol in device.hyper
            if RATE_SYMBOL.fullmatch(symbol)
        }
        self._last: dict[str, Any] = {}
        self._told: set[str] = set()
        self._targets: dict[str, list[Tensor]] = {}
        starts = json.loads(device.pef.header.metadata_json or "{}").get("hyper", {})
        for symbol, value in starts.items():
            device.runtime.write(symbol, value)
        self._add_optimizers(model, optimizers)
        for name, symbol in self.rates.items():
            self._add(symbol, RATE, name)
        self.seed(0)

    def _add_optimizers(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        number = 0
        for optimizer in optimizers:
            prefix = getattr(optimizer, "argin_region_name", "")
            for group in optimizer.param_groups:
                if any(f"{names.get(id(p))}.grad" in self.device.runtime.symbols for p in group["params"]):
                    self._add_group(group, prefix, f".{number}" if number else "")
                    number += 1
            norm = getattr(optimizer, "max_grad_norm", None)
            if norm:
                self._start(MAX_NORM, float(norm))
                self._add(MAX_NORM, MAX_NORM)
        if not optimizers:
            for symbol in self.device.hyper:
                if symbol.partition(".")[0] in OPTIMIZER_KEYS:
                    self._add(symbol, symbol.partition(".")[0])

    def write(self, values: Mapping[str, Any]) -> None:
        """Write the values that changed since the last call; what counts for one symbol wins over what counts for many.

        Raises UsageError for what is not a number, and for rates that are not probabilities.
        """
        if values == self._last:
            return
        self._tell_unknown(values)
        for key in sorted(values, key=lambda key: -len(self._targets.get(key, ()))):
            number = _number(key, values[key])
            if (key == RATE or key in self.rates) and not 0 <= number <= 1:
                raise UsageError(Problem(f"dropout rate {key!r} is {number:g}", hint="give a number from 0 to 1"))
            for memory in self._targets.get(key, ()):
                memory.fill_(number)
            if key == "momentum" and number and not self._targets.get(key) and self._targets.get("lr"):
                hint = "momentum belongs to samba.optim.SGD: AdamW has betas, fixed when it is made"
                raise UsageError(Problem("'momentum' is given, but nothing in the PEF uses it", hint=hint))
        self._last = dict(values)

    def _tell_unknown(self, values: Mapping[str, Any]) -> None:
        """Warn, once for each, of keys that are not hyper-parameters."""
        unknown = [key for key in values if key not in {*self._targets, *OPTIMIZER_KEYS, RATE, *self._told}]
        if unknown:
            self._told.update(unknown)
            known = ", ".join(self._targets) or "none"
            named = ", ".join(map(repr, unknown))
            samba_logger.warning("hyperparam_dict: %s ignored; the PEF's hyper-parameters are %s", named, known)

    def seed(self, replica: int) -> None:
        """Start the device's random numbers from torch's seed; each replica draws numbers of its own."""
        if SEED in self.device.hyper:
            self.device.runtime.write(SEED, (torch.initial_seed() + replica) % (1 << 31))

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """All dropout rates at zero for a while."""
        memories = [self.device.memory(symbol) for symbol in self.rates.values()]
        rates = [float(memory) for memory in memories]
        try:
            for memory in memories:
                memory.zero_()
            yield
        finally:
            for memory, rate in zip(memories, rates):
                memory.fill_(rate)

    def _add_group(self, group: Mapping[str, Any], prefix: str, suffix: str) -> None:
        for key in OPTIMIZER_KEYS:
            if key in group:
                self._start(f"{key}{suffix}", float(group[key]))
                own = (f"{prefix}{key}", f"{prefix}_{key}") if prefix else ()
                self._add(f"{key}{suffix}", key, *own)

    def _start(self, symbol: str, value: float) -> None:
        if symbol in self.device.hyper:
            self.device.runtime.write(symbol, value)

    def _add(self, symbol: str, *keys: str) -> None:
        """Let each of `keys` count for a symbol, where the PEF has it."""
        if symbol in self.device.hyper:
            for key in dict.fromkeys(keys):
                self._targets.setdefault(key, []).append(self.device.memory(symbol))


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        hint = "give a number such as {'lr': 0.01}"
        raise UsageError(Problem(f"hyper-parameter {key!r} is {value!r}, which is not a number", hint=hint)) from error
