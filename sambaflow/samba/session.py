"""The session: compile a model, load its PEF into the simulated RDU, run sections, and move tensors to and fro.

Programs use the one object `samba.session`. Host and device hold separate copies of a model; they meet when a graph
is traced for a PEF, and in `to_cpu`, `to_rdu` and the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from compiler.frontend.dtypes import to_array
from ir.errors import Problem, UsageError
from pef.wording import listed
from runtime.session import require_replicas
from sambaflow.samba._capture.compilation import compile_model, compile_multigraph
from sambaflow.samba._capture.tracing import Traced
from sambaflow.samba._device import checkpointing, profile, spatial
from sambaflow.samba._device.device import Device
from sambaflow.samba._device.loading import Loaded, load, load_graphs
from sambaflow.samba._program import current
from sambaflow.samba._program.accepted import AcceptedCalls
from sambaflow.samba._program.ending import progress
from sambaflow.samba._replicas import distributed
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.profiler import Profiler
from sambaflow.samba.sambatensor import SambaTensor


class SambaSession(AcceptedCalls):
    """Everything a program does with the device. One PEF is loaded at a time."""

    def __init__(self, pef_path: str = "") -> None:
        super().__init__()
        self.pef_path = pef_path
        self.tracing = False
        self.arguments: dict[str, Any] = {}
        self.profiler = Profiler()
        self.buffer_dict: dict[str, Tensor] = {}
        self._graphs: list[FwdGraph] = []
        self._loaded: Loaded | None = None
        self._by_graph: dict[str, Loaded] = {}

    # -- compiling ------------------------------------------------------------------------------------------------

    def compile(
        self,
        model: nn.Module,
        inputs: Any,
        optimizers: Any = None,
        name: str | None = None,
        app_dir: str | None = None,
        squeeze_bs_dim: bool = False,
        init_output_grads: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        pef_metadata: Mapping[str, Any] | None = None,
        inference: bool | None = None,
        *,
        optim: Any = None,
        **options: Any,
    ) -> str:
        """Compile `model` for `inputs` and return the path of the PEF.

        `inputs` are dummies: one tensor, a sequence for forward's positions (None allowed) or a dict of keywords.
        `config_dict` holds the command line's arguments; without it those of parse_app_args count. Hints for
        hardware (`metadata`, other options) are recorded in the PEF.
        """
        progress.worked = True
        return compile_model(
            model,
            inputs,
            optimizers if optimizers is not None else optim,
            name=name,
            arguments={**self.arguments, **_as_dict(config_dict)},
            inference=inference,
            pef_metadata=pef_metadata,
            recorded={"squeeze_bs_dim": squeeze_bs_dim, "metadata": metadata, "app_dir": app_dir, **options},
        )

    def add_graph(self, graph: FwdGraph) -> None:
        """Add a forward graph to the PEF that `compile_multigraph` makes."""
        self._graphs.append(graph)

    def compile_multigraph(
        self,
        name: str | None = None,
        config_dict: Mapping[str, Any] | None = None,
        pef_metadata: Mapping[str, Any] | None = None,
        enable_hypersection: bool = True,
        inference: bool = True,
        **options: Any,
    ) -> str:
        """Compile all graphs added, into one PEF; tensors with one region name share device memory."""
        progress.worked = True
        recorded = {"enable_hypersection": enable_hypersection, **options}
        arguments = {**self.arguments, **_as_dict(config_dict)}
        return compile_multigraph(self._graphs, name, arguments, pef_metadata, recorded)

    def init_multigraph_runtime(self, pef: str = "") -> None:
        """Load a PEF of several graphs for the graphs added, and copy their weights to the device."""
        progress.worked = True
        self._close()
        self._by_graph = load_graphs(self._graphs, pef or self.arguments.get("pef") or self.pef_path)
        self._loaded = next(iter(self._by_graph.values()), None)
        self.to_device()

    # -- loading --------------------------------------------------------------------------------------------------

    def load(
        self,
        traced: Traced,
        pef: str,
        optimizers: Any = None,
        *,
        init_output_grads: bool = True,
        loss_indices: Sequence[Any] | None = None,
        transfer_device: bool = True,
    ) -> tuple[SambaTensor, ...]:
        """Load a PEF for a traced model, as `samba.utils.trace_graph` does; returns the model's output tensors."""
        progress.worked = True
        self._close()
        self._loaded = load(traced, pef or self.pef_path, optimizers, init_output_grads, loss_indices)
        if self.arguments.get("data_parallel") is True:
            require_replicas(self._loaded.device.pef, distributed.group().size)
        if transfer_device:
            self._loaded.to_device()
            checkpointing.optimizers_to_device(self._loaded, self._loaded.optimizers)
        return self._loaded.outputs

    def _close(self) -> None:
        """Give the machine back."""
        if self._loaded is not None:
            self._loaded.device.close()
        self._loaded = None
        self._by_graph = {}

    def _parts(self) -> list[Loaded]:
        """Everything loaded: one part, or one for each graph."""
        return list(self._by_graph.values()) or [self.loaded]

    @property
    def loaded(self) -> Loaded:
        """What is on the device. Raises UsageError where nothing is."""
        if self._loaded is None:
            hint = "call samba.utils.trace_graph(model, inputs, optimizer, pef=args.pef) before running"
            raise UsageError(Problem("no PEF is loaded", hint=hint))
        return self._loaded

    @property
    def device(self) -> Device:
        """The simulated RDU with the loaded PEF."""
        return self.loaded.device

    # -- running --------------------------------------------------------------------------------------------------

    def run(
        self,
        input_tensors: Any = None,
        output_tensors: Any = None,
        hyperparam_dict: Mapping[str, Any] | None = None,
        section_types: Sequence[str] | None = None,
        grad_of_outputs: Sequence[Any] | None = None,
        data_parallel: bool = False,
        reduce_on_rdu: bool = False,
        data_parallel_mode: str | None = None,
        graph_name: str | None = None,
        section_ids: Sequence[int] | None = None,
        **options: Any,
    ) -> tuple[SambaTensor, ...]:
        """Run sections: all, or the forward ones under --inference, unless types or ids say otherwise. Returns the
        outputs in forward's order.

        Inputs are matched by name. Hyper-parameters not given keep their last value. `grad_of_outputs` holds, for
        this run, the gradients of the outputs (None: as before). With `data_parallel`, gradients are averaged over all
        replicas before anything uses them; `reduce_on_rdu` is how the RDU would do it, and changes simulated time only.
        """
        loaded = self.loaded if graph_name is None else self._graph(graph_name)
        if section_types is None and section_ids is None and self.arguments.get("inference"):
            section_types = ("fwd",)
        loaded.meet(data_parallel, reduce_on_rdu)
        count = spatial.asked_for(self.arguments)
        if count == 1:
            return loaded.run(input_tensors, hyperparam_dict, section_types, section_ids, grad_of_outputs)
        outputs: tuple[SambaTensor, ...] = ()
        for batch in spatial.batches(loaded.named_inputs(input_tensors), loaded.input_shapes, count):
            outputs = loaded.run(batch, hyperparam_dict, section_types, section_ids, grad_of_outputs)
        return outputs

    def _graph(self, name: str) -> Loaded:
        if name not in self._by_graph:
            names = list(self._by_graph)
            hint = f"there are {listed(names)}" if names else "call init_multigraph_runtime first"
            raise UsageError(Problem(f"no graph {name!r} is loaded", hint=hint))
        return self._by_graph[name]

    # -- moving tensors -------------------------------------------------------------------------------------------

    def to_cpu(self, model: nn.Module | None = None, optimizers: Any = None) -> None:
        """Copy parameters and buffers device to host, into the tensors they came from; and optimizers' state."""
        for part in self._parts():
            part.to_cpu(model)
        checkpointing.optimizers_to_cpu(self.loaded, optimizers)

    def to_rdu(self, model: nn.Module | None = None, optimizers: Any = None) -> None:
        """Copy parameters and buffers host to device; and optimizers' state."""
        for part in self._parts():
            part.to_device(model)
        checkpointing.optimizers_to_device(self.loaded, optimizers)

    def to_device(self) -> None:
        """Copy everything that was traced host to device."""
        for part in self._parts():
            part.to_device()

    def optimizer_to_cpu(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an optimizer's state device to host."""
        checkpointing.optimizers_to_cpu(self.loaded, optimizer)

    def optimizer_to_rdu(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an optimizer's state host to device."""
        checkpointing.optimizers_to_device(self.loaded, optimizer)

    def get_tensors_by_name(self, names: Iterable[str]) -> list[SambaTensor]:
        """Copies of the device's tensors: inputs, parameters, gradients, outputs and what lies between sections."""
        parts = self._parts()
        return [next((part for part in parts if name in part.names()), self.loaded).named(name) for name in names]

    def get_tensors(self, tensors: Iterable[SambaTensor]) -> list[SambaTensor]:
        """Copies of what the device holds for these tensors."""
        return [SambaTensor(t.sn_data, name=t.sn_name, batch_dim=t.batch_dim) for t in tensors]

    def set_tensors(self, tensors: Mapping[str, Any]) -> None:
        """Write arrays to the device by the names of its tensors. Raises UsageError for names that it does not have,
        BindError for arrays that do not fit."""
        names = {name: self.loaded.symbol_of(name) for name in tensors}
        for name, array in tensors.items():
            self.device.runtime.write(names[name], to_array(torch.as_tensor(array)))

    @property
    def ctx(self) -> SambaSession:
        """Where older programs look for `set_tensors`."""
        return self

    def _traced_tensors(self) -> list[SambaTensor]:
        return list(self.loaded.tensors().values())

    @property
    def tensor_dict(self) -> dict[str, dict[str, SambaTensor]]:
        """The device's tensors by kind: `inputs`, `params`, `grads`, `outputs`."""
        return self.loaded.by_kind()

    @property
    def output_dict(self) -> dict[str, SambaTensor]:
        """The model's outputs by name."""
        return {tensor.sn_name or "": tensor for tensor in self.loaded.outputs}

    @property
    def optim_dict(self) -> dict[str, torch.optim.Optimizer]:
        """The optimizers by number; each has `.cpu()` and `.rdu()`."""
        return {str(number): optimizer for number, optimizer in enumerate(self.loaded.optimizers)}

    # -- profiling ------------------------------------------------------------------------------------------------

    def start_samba_profile(self) -> None:
        """Begin to record the host's events."""
        self.profiler.start_profile()

    def end_samba_profile(self, filename: str | None = None) -> None:
        """Stop recording the host's events; with `filename` write their statistics."""
        self.profiler.stop_profile()
        if filename:
            self.profiler.write(filename)

    def start_runtime_profile(self) -> None:
        """Begin to record how long sections take, on the host and in simulated time."""
        self.loaded.history = []

    def end_runtime_profile(self, filename: str | None = None) -> None:
        """Stop recording sections; with `filename` write a table of them."""
        profile.write_runtime_profile(self.loaded, filename)
        self.loaded.history = None

    # -- state and switches ---------------------------------------------------------------------------------------

    def setup(self, arguments: Any) -> None:
        """Take the arguments of a structured program (CompileArgs or RunArgs) for later calls."""
        given = _as_dict(arguments)
        self.arguments.update(given)
        if given.get("data_parallel") is True and "output_folder" not in given:
            distributed.start()

    def reset(self) -> None:
        """Unload the PEF and forget all graphs."""
        self._close()
        self._graphs.clear()
        self.aux_tensors.clear()
        self.dynamic_dims.clear()
        self.buffer_dict.clear()

    def get_dropout_rate_argin_names(self) -> list[str]:
        """The keys of `hyperparam_dict` that are dropout rates, one for each dropout; `p` counts for all of them."""
        return list(self.loaded.hyper.rates)


def current_session() -> SambaSession:
    """`samba.session`, for what is built on it."""
    return cast(SambaSession, current.session())


def _as_dict(arguments: Any) -> dict[str, Any]:
    """The fields of a dict, a Namespace or a pydantic model."""
    if arguments is None:
        return {}
    if isinstance(arguments, Mapping):
        return dict(arguments)
    return dict(arguments.model_dump()) if hasattr(arguments, "model_dump") else dict(vars(arguments))
