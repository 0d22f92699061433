"""The model's copy on the simulated RDU: a loaded PEF whose symbols the host sees as torch tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compiler.optimizers import CLIP, NORM
from ir.errors import BindError, Problem, UsageError
from ir.graph import SectionKind, SymbolKind
from ir.kernels.processor import host_cores
from ir.types import DType
from pef.decoded_pef import DecodedPef
from pef.exchange import ONE, Replicas
from pef.wording import listed
from runtime.session import PreparedRun, Session
from sambaflow.samba._replicas.launch import launched
from sambaflow.samba.sambatensor import SambaTensor


class DeviceTensor:
    """A symbol of the device. `memory` is its memory as a torch tensor; `dtype` the host's element type for it."""

    def __init__(self, device: Device, symbol: str, dtype: torch.dtype) -> None:
        self.device = device
        self.symbol = symbol
        self.dtype = dtype
        self.memory = device.memory(symbol)
        self.shape = self.memory.shape
        gradient = f"{symbol}.grad"
        self._gradient = gradient if gradient in device.runtime.symbols else None

    def content(self) -> Tensor:
        """A copy of what the device holds."""
        memory = self.memory
        return memory.clone() if memory.dtype is self.dtype else memory.to(self.dtype)

    def write(self, tensor: Tensor) -> None:
        """Write the symbol. Raises BindError where the shape or the kind of numbers does not match."""
        self.device.write(self.symbol, tensor)

    def gradient(self) -> Tensor | None:
        """A copy of the gradient, None where no section has made one."""
        if self._gradient is None or not self.device.has_value(self._gradient):
            return None
        return self.device.memory(self._gradient).to(self.dtype, copy=True)

    @property
    def takes_gradient(self) -> bool:
        """Whether there is a gradient on the device: made there, or where back-propagation starts."""
        return self._gradient is not None

    def gradient_memory(self) -> Tensor | None:
        """The gradient's memory as a torch tensor."""
        return None if self._gradient is None else self.device.memory(self._gradient)

    def set_gradient(self, gradient: Any) -> None:
        """Set what back-propagation starts from. Raises UsageError where the PEF does not take it."""
        if self._gradient is None:
            hint = "only outputs that depend on trainable parameters, of a PEF compiled for training, take one"
            raise UsageError(Problem(f"{self.symbol!r} takes no gradient on the device", hint=hint))
        tensor = gradient if isinstance(gradient, Tensor) else torch.as_tensor(gradient)
        if tensor.numel() == 1 and tensor.shape != self.shape:
            tensor = torch.full(self.shape, float(tensor))
        if tensor.shape != self.shape:
            shapes = f"has shape {list(tensor.shape)}, the output has {list(self.shape)}"
            hint = "give a gradient of the output's shape, or one number"
            raise BindError(Problem(f"the gradient of output {self.symbol!r} {shapes}", hint=hint))
        self.device.write(self._gradient, tensor)


class Device:
    """A PEF in the simulated machine. Every way in and out of device memory that the SDK uses is here."""

    def __init__(self, pef: DecodedPef) -> None:
        self.pef = pef.record
        self.runtime = Session(pef, threads=_threads())
        self.inputs = self.runtime.names(SymbolKind.INPUT)
        self.outputs = [name for name in self.runtime.names(SymbolKind.OUTPUT) if name != NORM]
        self.hyper = self.runtime.names(SymbolKind.HYPER)
        self._memory: dict[str, Tensor] = {}
        self._prepared: dict[tuple[Any, ...], PreparedRun] = {}
        if CLIP in self.runtime.symbols:
            self.runtime.write(CLIP, 1.0)

    def memory(self, symbol: str) -> Tensor:
        """The symbol's memory as a torch tensor: not a copy."""
        if symbol not in self._memory:
            raw = torch.from_numpy(self.runtime.raw(symbol))
            self._memory[symbol] = raw.view(torch.bfloat16) if raw.dtype is torch.uint16 else raw
        return self._memory[symbol]

    def write(self, symbol: str, tensor: Tensor) -> None:
        """Write a symbol; floating-point numbers of any precision are taken. Raises BindError."""
        with torch._C.DisableTorchFunctionSubclass():
            plain = tensor.detach()
            if plain.is_floating_point():
                plain = plain.to(torch.float32)
            self.runtime.write(symbol, plain.contiguous().numpy())

    def has_value(self, symbol: str) -> bool:
        """Whether anything was ever written to the symbol."""
        return self.runtime.has_value(symbol)

    @property
    def kinds(self) -> list[str]:
        """The section types of the PEF, in order."""
        return list(dict.fromkeys(section.kind for section in self.pef.sections))

    def prepared(self, section_types: Sequence[str] | None, section_ids: Sequence[int] | None) -> PreparedRun:
        """The sections asked for, laid out once. Raises UsageError for sections that the PEF does not have."""
        key = (
            None if section_types is None else tuple(section_types),
            None if section_ids is None else tuple(section_ids),
        )
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = self._prepare(section_types, section_ids)
        return found

    def _prepare(self, section_types: Sequence[str] | None, section_ids: Sequence[int] | None) -> PreparedRun:
        if section_types is not None:
            asked = {kind.upper() for kind in section_types}
            section_types = [kind.value for kind in SectionKind if kind.value in asked] + sorted(
                asked - {kind.value for kind in SectionKind}
            )
            # the mean over one replica changes nothing: a PEF without REDUCE sections needs none
            section_types = [kind for kind in section_types if kind != SectionKind.REDUCE.value or kind in self.kinds]
            self._require_training(section_types)
        sections = self.runtime.sections(section_types, section_ids)
        needed = self.runtime.needed(sections)
        missing = [name for name in self.inputs if name in needed and not self.has_value(name)]
        if missing:
            expected = listed([f"{name} {self.runtime.symbols[name].type}" for name in self.inputs])
            hint = f"the PEF expects {expected}"
            raise BindError(*(Problem(f"input {name!r} is missing", hint=hint) for name in missing))
        return self.runtime.prepare(section_types, section_ids=section_ids)

    def _require_training(self, kinds: Iterable[str]) -> None:
        missing = [kind for kind in kinds if kind not in self.kinds and kind in {k.value for k in SectionKind}]
        if missing and self.kinds == [SectionKind.FWD.value]:
            hint = "compile without --inference, or run section_types=['fwd'] only"
            raise UsageError(
                Problem(f"the PEF was compiled for inference: it has no {' and no '.join(missing)} section", hint=hint)
            )

    def write_inputs(self, tensors: Mapping[str, Tensor], symbols: Mapping[str, str]) -> None:
        """Write inputs by name; `symbols` are the names the PEF has for them. Raises one BindError for all that are
        unknown or do not match."""
        problems: list[Problem] = []
        for name, tensor in tensors.items():
            if name not in symbols:
                hint = f"inputs are matched by name; the PEF expects {listed(list(symbols))}"
                problems.append(Problem(f"the PEF has no input {name!r}", hint=hint))
                continue
            kind = self._kind_problem(name, self.runtime.symbols[symbols[name]].type.dtype, tensor)
            if kind is not None:
                problems.append(kind)
                continue
            try:
                self.write(symbols[name], tensor)
            except BindError as error:
                problems += error.problems
        BindError.raise_if(problems)

    @staticmethod
    def _kind_problem(name: str, dtype: DType, tensor: Tensor) -> Problem | None:
        """Whether whole numbers are given for fractions or the other way round."""
        is_float = tensor.is_floating_point()
        if dtype.is_float == is_float:
            return None
        cast = ".float()" if dtype.is_float else ".bool()" if dtype is DType.BOOL else ".long()"
        types = f"is {str(tensor.dtype).removeprefix('torch.')}, but the PEF expects {dtype.compute}"
        return Problem(f"input {name!r} {types}", hint=f"give {name}{cast}")

    def simulated_seconds(self, sections: Sequence[int], replicas: Replicas = ONE) -> float:
        """What the RDU would take for these sections, as one of `replicas`."""
        report = self.runtime.run_timing(section_ids=sections, replicas=replicas)
        return report.us(report.cycles) / 1e6

    def close(self) -> None:
        """Give the machine back."""
        self.runtime.close()


def _threads() -> int:
    """This process's share of the host's cores, where several replicas run on one machine."""
    launch = launched()
    return max(1, host_cores() // launch.local_size) if launch is not None else host_cores()


def bind(tensor: SambaTensor, device: Device, symbol: str) -> None:
    """Let a tensor stand for a symbol of the device."""
    tensor.on_device = DeviceTensor(device, symbol, tensor.dtype)
