"""A PEF on the device together with the program's model, optimizers and tensors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compiler.frontend.multigraph import REGION_PREFIX
from ir.errors import BindError, Problem, UsageError
from ir.graph import SymbolKind
from pef.exchange import ONE, Replicas
from pef.wording import listed
from runtime.collective import ALONE, Collective
from runtime.session import PreparedRun
from sambaflow.logging import announce
from sambaflow.samba._capture.convert import model_name, parameter_name
from sambaflow.samba._capture.tracing import Traced
from sambaflow.samba._device import agreement
from sambaflow.samba._device.device import Device, DeviceTensor, bind
from sambaflow.samba._device.hyperparameters import HyperParameters
from sambaflow.samba._device.replica import Replica
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.optim.optimizer import as_list
from sambaflow.samba.sambatensor import SambaTensor

KIND_NAMES = {
    SymbolKind.INPUT: "inputs",
    SymbolKind.PARAMETER: "params",
    SymbolKind.GRADIENT: "grads",
    SymbolKind.OUTPUT: "outputs",
}


def load(
    traced: Traced,
    pef_path: str,
    optimizers: Any,
    init_output_grads: bool,
    loss_indices: Sequence[Any] | None,
) -> Loaded:
    """Read a PEF, check that it was compiled from what was traced, and bind the program's tensors to it."""
    decoded = agreement.read(pef_path)
    pef = decoded.record
    agreement.check(pef, pef_path, traced, as_list(optimizers))
    loaded = Loaded(Device(decoded), traced, as_list(optimizers))
    for name, tensor in agreement.constants(pef, pef_path).items():
        loaded.device.write(name, tensor)
    loaded.start_gradients(init_output_grads, loss_indices)
    return loaded


@dataclass(frozen=True)
class Layout:
    """Which symbols of the PEF a graph's inputs (by name), outputs (in order) and weights (by path) are; `sections`
    are those of the graph, None for all."""

    inputs: Mapping[str, str]
    outputs: Sequence[str]
    weights: Mapping[str, str]
    sections: tuple[int, ...] | None = None

    @staticmethod
    def of(device: Device, graph: str | None = None) -> Layout:
        """The layout of a PEF's only graph, or of one of several. Raises UsageError for a graph that is not there."""
        if graph is None:
            weights = {name: name for name in device.runtime.symbols}
            return Layout({name: name for name in device.inputs}, device.outputs, weights)
        graphs = json.loads(device.pef.header.metadata_json).get("graphs", {})
        if graph not in graphs:
            hint = f"it has {listed(list(graphs))}" if graphs else "compile it with samba.session.compile_multigraph"
            raise UsageError(Problem(f"the PEF has no graph {graph!r}", hint=hint))
        names = [section.name.rpartition("_")[0] for section in device.pef.sections]
        sections = tuple(number for number, name in enumerate(names) if name == graph)
        return Layout(**graphs[graph], sections=sections)


def load_graphs(graphs: Sequence[FwdGraph], pef_path: str) -> dict[str, Loaded]:
    """Read a PEF of several graphs, and bind the tensors of each."""
    decoded = agreement.read(pef_path)
    device = Device(decoded)
    for name, tensor in agreement.constants(decoded.record, pef_path).items():
        device.write(name, tensor)
    return {graph.name: Loaded(device, graph.traced, [], graph.name) for graph in graphs}


class Loaded:
    """A traced model on the device. `history` collects (sections, seconds) of runs while profiling."""

    def __init__(
        self, device: Device, traced: Traced, optimizers: list[torch.optim.Optimizer], graph: str | None = None
    ) -> None:
        self.device = device
        self.layout = Layout.of(device, graph)
        self.model = traced.model
        self.optimizers = optimizers
        self.outputs = traced.outputs
        self.made = traced.made
        self.structure = traced.structure
        self.last_inputs: Any = None
        self.history: list[tuple[tuple[int, ...], float]] | None = None
        self.root = model_name(traced.model)
        self.hyper = HyperParameters(device, self.model, optimizers)
        self.replica = Replica(device)
        self.replicas = ONE
        self.collective: Collective = ALONE
        self._inputs: dict[str, DeviceTensor] = {}
        for path, tensor in self.weights(self.model):
            if isinstance(tensor, SambaTensor):
                bind(tensor, device, path)
        for name, tensor in self.structure.tensors.items():
            if isinstance(tensor, SambaTensor) and name in self.layout.inputs:
                bind(tensor, device, self.layout.inputs[name])
        for tensor, symbol in zip(self.outputs, self.layout.outputs):
            tensor.sn_name = symbol
            bind(tensor, device, symbol)

    # -- running --------------------------------------------------------------------------------------------------

    def meet(self, data_parallel: bool, reduce_on_rdu: bool) -> None:
        """Let the next runs be those of one replica of several, or of one alone. Raises ReplicaError."""
        if data_parallel and not self.replica.has_joined:
            self.hyper.seed(self.replica.join().rank)
        self.collective = self.replica.join() if data_parallel else ALONE
        self.replicas = Replicas(self.collective.size, reduce_on_rdu)

    def run(
        self,
        inputs: Any,
        hyper: Mapping[str, Any] | None,
        section_types: Sequence[str] | None,
        section_ids: Sequence[int] | None,
        gradients: Sequence[Any] | None,
    ) -> tuple[SambaTensor, ...]:
        """Run sections on inputs; see SambaSession.run."""
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            self._write_inputs(inputs)
            self.last_inputs = self.last_inputs if inputs is None else inputs
            if hyper is not None:
                self.hyper.write(hyper)
            if section_ids is None:
                section_ids = self._sections_of_graph(section_types)
            prepared = self.prepared(section_types, section_ids)
            if self.collective is not ALONE:
                self.replica.require_one_update(prepared.sections)
            saved = self._write_gradients(gradients) if gradients is not None else []
            began = time.perf_counter()
            prepared.run(self.collective)
            self.replica.ran(prepared.kinds)
            if self.history is not None:
                self.history.append((prepared.sections, time.perf_counter() - began))
            for gradient, before in saved:
                gradient.copy_(before)
            return tuple([_fetched(tensor) for tensor in self.outputs])

    def _sections_of_graph(self, section_types: Sequence[str] | None) -> tuple[int, ...] | None:
        """The sections of these types of this one of several graphs; None where there is only one graph."""
        if self.layout.sections is None:
            return None
        kinds = [section.kind for section in self.device.pef.sections]
        wanted = None if section_types is None else {kind.upper() for kind in section_types}
        return tuple(i for i in self.layout.sections if wanted is None or kinds[i] in wanted)

    def prepared(self, section_types: Sequence[str] | None, section_ids: Sequence[int] | None = None) -> PreparedRun:
        """The sections asked for, and what a data parallel run needs between them."""
        if self.collective is not ALONE:
            section_types = self.replica.with_reduction(section_types)
        return self.device.prepared(section_types, section_ids)

    def named_inputs(self, inputs: Any) -> dict[str, Tensor]:
        """The inputs that a program gives for a run, by name."""
        return dict(self._named(inputs))

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes that the PEF expects, by name."""
        symbols = self.device.runtime.symbols
        return {name: symbols[symbol].type.shape for name, symbol in self.layout.inputs.items()}

    def _write_inputs(self, inputs: Any) -> None:
        """Copy inputs to the device: straight into its memory where they match the last ones, else with checks."""
        named = list(self._named(inputs))
        if len({name for name, _ in named}) != len(named):
            raise BindError(_twice([name for name, _ in named]))
        for name, tensor in named:
            bound = self._inputs.get(name)
            if bound is None or tensor.shape != bound.shape or tensor.dtype is not bound.dtype:
                self._write_new_inputs(dict(named))
                return
            bound.memory.copy_(tensor)
            if isinstance(tensor, SambaTensor):
                tensor.on_device = bound

    def _write_new_inputs(self, tensors: Mapping[str, Tensor]) -> None:
        self.device.write_inputs(tensors, self.layout.inputs)
        for name, tensor in tensors.items():
            self._inputs[name] = DeviceTensor(self.device, self.layout.inputs[name], tensor.dtype)
            if isinstance(tensor, SambaTensor):
                tensor.on_device = self._inputs[name]

    def _named(self, inputs: Any) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of a container with its name: its own, else its key, else the one traced at its position."""
        if inputs is None:
            return
        if isinstance(inputs, Tensor):
            inputs = (inputs,)
        if isinstance(inputs, Mapping):
            for key, value in inputs.items():
                yield from _named_item(value, key)
            return
        traced = self.structure.positions
        for position, value in enumerate(inputs):
            yield from _named_item(value, traced[position] if position < len(traced) else f"input_{position}")

    def _write_gradients(self, gradients: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
        """Write gradients of outputs for one run; returns their memory with what it held before."""
        saved = []
        for tensor, gradient in zip(self.outputs, gradients):
            if gradient is None or tensor.on_device is None:
                continue
            memory = tensor.on_device.gradient_memory()
            if memory is not None:
                saved.append((memory, memory.clone()))
            tensor.on_device.set_gradient(gradient)
        return saved

    # -- gradients of outputs ---------------------------------------------------------------------------------------

    def start_gradients(self, init_output_grads: bool, loss_indices: Sequence[Any] | None) -> None:
        """Where back-propagation starts: ones for the losses (or the outputs at `loss_indices`), zeros elsewhere."""
        if loss_indices is None:
            losses = set(json.loads(self.device.pef.header.metadata_json or "{}").get("losses", []))
        else:
            losses = {self.device.outputs[i] for i in _flat(loss_indices)}
        started: dict[str, bool] = {}
        for tensor, symbol in zip(self.outputs, self.device.outputs):
            if tensor.on_device is not None and tensor.on_device.takes_gradient:
                started[symbol] = init_output_grads and symbol in losses
                tensor.on_device.set_gradient(float(started[symbol]))
        if len(started) > 1:
            ones = listed([symbol for symbol, is_one in started.items() if is_one]) or "no output"
            announce(f"[info   ] Gradients start from {ones}, of {listed(list(started))}")

    # -- moving tensors -------------------------------------------------------------------------------------------

    def weights(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """The parameters and buffers of `model` (this one, a part of it, or one around it) that the device has."""
        paths = {id(tensor): path for path, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]}
        for tensor in [*model.parameters(), *model.buffers()]:
            symbol = self.layout.weights.get(paths.get(id(tensor), ""))
            if symbol is not None:
                yield symbol, tensor

    def to_device(self, model: nn.Module | None = None) -> None:
        """Copy parameters and buffers host to device."""
        for path, tensor in self.weights(model or self.model):
            self.device.write(path, tensor)

    def to_cpu(self, model: nn.Module | None = None) -> None:
        """Copy parameters and buffers device to host, into the tensors they came from."""
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            for path, tensor in self.weights(model or self.model):
                tensor.detach().copy_(self.device.memory(path))

    # -- tensors by name ------------------------------------------------------------------------------------------

    def named(self, name: str) -> SambaTensor:
        """A copy of what the device holds under a SambaFlow name or the PEF's own. Raises UsageError for others."""
        return SambaTensor(self.device.memory(self.symbol_of(name)).clone(), name=name)

    def symbol_of(self, name: str) -> str:
        """The PEF's name of what a SambaFlow name, or the PEF's own, stands for. Raises UsageError for others."""
        known = self.names()
        symbol = known.get(name, known.get(name.lower(), ""))
        if not symbol:
            hint = f"it has {listed(list(known))}"
            raise UsageError(Problem(f"the device has no tensor called {name!r}", hint=hint))
        return symbol

    def names(self) -> dict[str, str]:
        """SambaFlow names, names of inputs and regions, and the PEF's own, to the PEF's."""
        names: dict[str, str] = dict(self.layout.inputs)
        for symbol in self.device.runtime.symbols:
            stem = symbol.removesuffix(".grad")
            suffix = "__grad" if stem != symbol else ""
            names[symbol] = symbol
            names[stem + suffix] = symbol
            names[parameter_name(self.root, stem) + suffix] = symbol
            if symbol.startswith(REGION_PREFIX):
                names[symbol.removeprefix(REGION_PREFIX)] = symbol
        return {**self._operator_names(), **names}

    def _operator_names(self) -> dict[str, str]:
        """Names of outputs and of their gradients after the operators that made them: `sigmoid__outputs__0__grad`."""
        names = {}
        for made, symbol in zip(self.made, self.layout.outputs):
            for name in (made, f"{self.root}__{made}"):
                names[name] = symbol
                if f"{symbol}.grad" in self.device.runtime.symbols:
                    names[f"{name}__grad"] = f"{symbol}.grad"
        return names

    def tensors(self) -> dict[str, SambaTensor]:
        """All tensors of the program that are on the device, by name."""
        found = {t.sn_name or path: t for path, t in self.weights(self.model) if isinstance(t, SambaTensor)}
        found |= {name: t for name, t in self.structure.tensors.items() if isinstance(t, SambaTensor)}
        return found | {t.sn_name or "": t for t in self.outputs}

    def by_kind(self) -> dict[str, dict[str, SambaTensor]]:
        """Copies of the device's tensors by kind and SambaFlow name."""
        found: dict[str, dict[str, SambaTensor]] = {name: {} for name in KIND_NAMES.values()}
        for symbol in self.device.runtime.symbols.values():
            if symbol.kind in KIND_NAMES:
                stem = symbol.name.removesuffix(".grad")
                is_weight = symbol.kind in (SymbolKind.PARAMETER, SymbolKind.GRADIENT)
                name = parameter_name(self.root, stem) if is_weight and stem not in self.device.inputs else stem
                name += "__grad" if symbol.kind is SymbolKind.GRADIENT else ""
                found[KIND_NAMES[symbol.kind]][name] = self.named(symbol.name)
        return found


def _named_item(value: Any, fallback: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield getattr(value, "sn_name", None) or fallback, value
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _named_item(item, f"{fallback}_{number}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _named_item(item, f"{fallback}_{key}")
    elif value is not None:
        raise BindError(
            Problem(
                f"input {fallback!r} is a {type(value).__name__}", hint="give tensors, or None for absent arguments"
            )
        )


def _twice(names: Sequence[str]) -> Problem:
    repeated = next(name for name in names if names.count(name) > 1)
    hint = "inputs are matched by name: give each its own in samba.from_torch_tensor(tensor, name=...)"
    return Problem(f"two inputs of this run are called {repeated!r}", hint=hint)


def _fetched(tensor: SambaTensor) -> SambaTensor:
    """A copy of an output as the device holds it now; the traced tensor itself is brought up to date too."""
    bound = tensor.on_device
    content = bound.content()  # type: ignore[union-attr]
    torch.Tensor.data.__set__(tensor, content)
    fetched: SambaTensor = torch.Tensor._make_subclass(SambaTensor, content)
    fetched.sn_name = tensor.sn_name
    fetched.on_device = bound
    return fetched


def _flat(indices: Any) -> list[int]:
    """[0], [(0,), (1,)] or 0 as a list of integers."""
    if isinstance(indices, int):
        return [indices]
    return [number for index in indices for number in _flat(index)]
