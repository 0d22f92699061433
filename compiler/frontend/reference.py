"""What PyTorch computes for a captured model: the yardstick for the device's numbers."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from compiler.frontend.copies import copied
from compiler.frontend.dtypes import has_content, to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.precise import Float64, in_float64, is_small_enough
from compiler.frontend.returned import flat_tensors
from ir.graph import Program, SectionKind, SymbolKind
from ir.op import Array
from pef.reference import EVERY, WELL_CONDITIONED, float64_name

SEED = "random.seed"
"""The symbol of a program that draws random numbers: every run draws others."""

log = logging.getLogger("snc")


def reference(spec: ModelSpec, program: Program) -> dict[str, Array]:
    """The content of a reference file: PyTorch's outputs for the sample inputs, and where float32 is off by much, what
    they are in float64. Nothing, with a warning, where PyTorch cannot run the samples: only their names, shapes and
    element types need to be right."""
    try:
        outputs = eager_outputs(spec, program)
    except Exception as error:
        line = next(iter(str(error).splitlines()), "")
        log.warning(
            "there is no reference to compare with, because PyTorch does not run the sample inputs: %s: %s",
            type(error).__name__,
            line[:200],
        )
        return {}
    return {**outputs, **_judges(spec, program, outputs)}


def _judges(spec: ModelSpec, program: Program, outputs: dict[str, Array]) -> dict[str, Array]:
    """The outputs in float64 that those in float32 differ from by more than a well-conditioned model's would."""
    is_random = any(symbol.name == SEED for symbol in program.symbols)
    if not outputs or is_random or not is_small_enough(spec.model):
        return {}
    try:
        model = in_float64(spec.model)
        with Float64():  # (a copy made under it would convert again, with every tensor, all that were copied before)
            precise = _outputs(spec, program, model)
    except Exception as error:
        log.info("float64 cannot judge the outputs: %s: %s", type(error).__name__, error)
        return {}
    found = {float64_name(EVERY): np.zeros(0, np.float32)}
    for name, output in outputs.items():
        exact = precise[name].to(torch.float32).numpy(force=True)
        if exact.shape == output.shape and not np.allclose(output, exact, *WELL_CONDITIONED, equal_nan=True):
            found[float64_name(name)] = exact
    return found


def eager_outputs(spec: ModelSpec, program: Program) -> dict[str, Array]:
    """PyTorch's outputs for the sample inputs, by the names `program` gives them. The model itself stays as it is.

    A model without content (of fake tensors, or on the meta device) has none.
    """
    tensors = (*spec.model.parameters(), *spec.model.buffers(), *spec.inputs.values())
    if not all(map(has_content, tensors)):
        return {}
    found = _outputs(spec, program, copied(spec.model))
    return {name: to_array(tensor) for name, tensor in found.items()}


def _outputs(spec: ModelSpec, program: Program, model: torch.nn.Module) -> dict[str, Tensor]:
    """The outputs of `model`, a copy, by name."""
    forward = program.graph(SectionKind.FWD)
    stored = {output.symbol for output in forward.outputs} if forward else set()
    names = [s.name for s in program.symbols if s.kind is SymbolKind.OUTPUT and s.name in stored]
    if not any(graph.kind.back_propagates for graph in program.graphs):
        model.eval()
    with torch.no_grad():
        return dict(zip(names, call(spec, model)))


def call(spec: ModelSpec, model: torch.nn.Module, **inputs: Tensor) -> list[Tensor]:
    """The outputs of `model`, the loss first where `spec` computes it, for `inputs` in place of the samples."""
    outputs = spec.call(model, {**spec.inputs, **inputs})
    if spec.loss is not None:
        outputs = (spec.loss(outputs, *spec.targets.values()), outputs)
    return flat_tensors(outputs)
