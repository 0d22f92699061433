"""From a program's model, inputs and arguments to a PEF: what the SDK asks of the compiler, and what it records."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from compiler.driver import LEVELS, CompileRequest, CompileResult, compile_graphs, compile_spec, divides
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.multigraph import ForwardGraph
from compiler.report import starts
from ir.errors import Problem, UsageError
from sambaflow.logging import announce, samba_logger
from sambaflow.samba._capture import logs
from sambaflow.samba._capture.convert import from_torch_model_, lacks_content, model_name, plain_torch
from sambaflow.samba._capture.record import SECTION, optimizer_record, sdk_metadata
from sambaflow.samba._capture.tracing import Traced, trace
from sambaflow.samba.directives import fused_modules
from sambaflow.samba.graph import FwdGraph
from sambaflow.samba.optim.optimizer import as_list, optimizer_spec
from sambaflow.samba.sambatensor import SambaTensor

ARCHITECTURES = {"sn10": "sn10", "sn20": "sn10", "sn30": "sn30", "sn40": "sn40l", "sn40l": "sn40l"}
PRESETS = {"default": "mp4", "mp0": "mp0", "mp1": "mp1", "mp4": "mp4"}


def compile_model(
    model: nn.Module,
    inputs: Any,
    optimizers: Any,
    *,
    name: str | None,
    arguments: Mapping[str, Any],
    inference: bool | None,
    pef_metadata: Mapping[str, Any] | None,
    recorded: Mapping[str, Any],
) -> str:
    """Compile a model and return the path of its PEF."""
    from_torch_model_(model)
    if recorded.get("graph_transform_hook") is not None:
        samba_logger.warning("graph_transform_hook is not called: this compiler's graphs are of another kind")
    is_inference = bool(arguments.get("inference")) if inference is None else inference
    app = name or model_name(model)
    request = compile_request(arguments, app, is_inference)
    log = logs.start(request, arguments)
    traced = trace(model, inputs)
    result = compile_spec_of(traced, optimizers, request, app, sdk_metadata(traced, arguments, pef_metadata, recorded))
    logs.finish(log, traced.operators, result, arguments.get("resource_report_path"))
    return os.path.abspath(result.pef_path)


def compile_spec_of(
    traced: Traced, optimizers: Any, request: CompileRequest, app: str, metadata: Mapping[str, Any]
) -> CompileResult:
    """Hand a traced model to the compiler, as a plain torch module."""
    model = traced.model
    names = {id(parameter): path for path, parameter in model.named_parameters()}
    update, max_grad_norm = (None, None) if request.inference else optimizer_spec(as_list(optimizers), names)
    metadata = {**metadata, "optimizer": optimizer_record(update, max_grad_norm)}
    fake = FakeTensorMode(allow_non_fake_inputs=True) if lacks_content(model) else None
    with plain_torch(model, fake):
        spec = replace(model_spec(traced, app, fake), optimizer=update, max_grad_norm=max_grad_norm)
        result = compile_spec(spec, request, metadata={SECTION: metadata})
    if starts(result):
        announce(f"[info   ] {starts(result)}")
    return result


def model_spec(traced: Traced, app: str, fake: FakeTensorMode | None = None) -> ModelSpec:
    """A traced model as the compiler takes it; with `fake`, its inputs too are without content."""
    inputs = {key: _plain(tensor) for key, tensor in traced.structure.tensors.items()}
    return ModelSpec(
        traced.model,
        {key: tensor if fake is None else fake.from_tensor(tensor) for key, tensor in inputs.items()},
        name=app,
        file=Path(sys.argv[0] or "app.py"),
        call=traced.structure.call,
        every_gradient=True,
        regions=fused_modules(traced.model),
    )


def compile_request(arguments: Mapping[str, Any], app: str, inference: bool) -> CompileRequest:
    """The compiler's options among a program's arguments. Raises UsageError for values it does not know."""
    arch = str(arguments.get("arch") or "sn30")
    preset = str(arguments.get("graphamp_preset") or "mp0")
    if preset not in PRESETS:
        hint = f"use one of {', '.join(PRESETS)}"
        raise UsageError(Problem(f"--graphamp-preset {preset} is not known", hint=hint))
    is_data_parallel = arguments.get("data_parallel") is True
    level, rules = fusion_level(arguments), arguments.get("optimization_rules")
    if rules and level != "o1":
        samba_logger.warning("--optimization-rules %s is ignored at --%s: give --o1 to fuse by rules", rules, level)
    return CompileRequest(
        model=sys.argv[0] or app,
        inference=inference,
        batch_size=arguments.get("batch_size"),
        output_folder=Path(arguments.get("output_folder") or "out"),
        pef_name=arguments.get("pef_name") or f"{app}_{time.strftime('%m%d%H%M%S')}_{os.getpid()}",
        arch=ARCHITECTURES.get(arch, arch),
        avoid=(str(arguments["avoid"]),) if arguments.get("avoid") else (),
        separate_optimizer=True,  # programs run section types apart, and read gradients between them
        level=level,
        preset=PRESETS[preset],
        seed=int(os.environ.get("SAMBA_SEED", "0")),
        microbatch_size=_microbatch_size(arguments),
        replicas=int(arguments.get("world_size") or 1) if is_data_parallel and not inference else None,
        optimization_rules=Path(rules) if rules and level == "o1" else None,
        default_rules=arguments.get("use_o1_default_rules") is not False,
    )


def fusion_level(arguments: Mapping[str, Any]) -> str:
    """o0, o1 or o3: the option that is given, else the structured arguments' `optim_level`; o1hd counts as o1."""
    given = next((level for level in LEVELS if arguments.get(level) is True), None)
    return given or str(arguments.get("optim_level") or "o3").removesuffix("hd")


def _microbatch_size(arguments: Mapping[str, Any]) -> int | None:
    """The microbatch that the arguments ask for, None where the batch that they give does not consist of such."""
    size, batch = arguments.get("microbatch_size"), arguments.get("batch_size")
    if not size or divides(size, batch):
        return size or None
    samba_logger.warning("-mb %s is ignored: it does not divide -b %s", size, batch)
    return None


def _plain(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, SambaTensor):
        return tensor
    if not tensor.has_data:
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    return tensor.torch_tensor().clone().requires_grad_(tensor.requires_grad)


def compile_multigraph(
    graphs: Sequence[FwdGraph],
    name: str | None,
    arguments: Mapping[str, Any],
    pef_metadata: Mapping[str, Any] | None,
    recorded: Mapping[str, Any],
) -> str:
    """Compile several forward graphs into one PEF and return its path."""
    if not graphs:
        hint = "trace with samba.utils.trace_multigraph and add with samba.session.add_graph(FwdGraph(...))"
        raise UsageError(Problem("there are no graphs to compile", hint=hint))
    app = name or model_name(graphs[0].traced.model)
    request = compile_request(arguments, app, inference=True)
    log = logs.start(request, arguments)
    operators = [operator for graph in graphs for operator in graph.traced.operators]
    metadata = sdk_metadata(graphs[0].traced, arguments, pef_metadata, recorded)
    metadata["operators"] = [str(operator) for operator in operators]
    models = {id(graph.traced.model): graph.traced.model for graph in graphs}.values()
    fake = FakeTensorMode(allow_non_fake_inputs=True) if any(map(lacks_content, models)) else None
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(plain_torch(model, fake))
        parts = [
            ForwardGraph(graph.name, model_spec(graph.traced, app, fake), graph.input_regions, graph.output_regions)
            for graph in graphs
        ]
        result = compile_graphs(parts, app, request, metadata={SECTION: metadata})
    logs.finish(log, operators, result, arguments.get("resource_report_path"))
    return os.path.abspath(result.pef_path)
