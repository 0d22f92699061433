"""What PyTorch computes for a captured model: the yardstick for the device's numbers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from compiler.frontend.dtypes import to_array
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.outputs import tensors_of
from ir.graph import Program, SectionKind, SymbolKind
from ir.op import Array


def eager_outputs(spec: ModelSpec, program: Program) -> dict[str, Array]:
    """PyTorch's outputs for the sample inputs, by the names `program` gives them. The model itself stays as it is.

    A model without content (of fake tensors) has none.
    """
    tensors = (*spec.model.parameters(), *spec.model.buffers(), *spec.inputs.values())
    if any(isinstance(tensor, FakeTensor) for tensor in tensors):
        return {}
    forward = program.graph(SectionKind.FWD)
    stored = {output.symbol for output in forward.outputs} if forward else set()
    names = [s.name for s in program.symbols if s.kind is SymbolKind.OUTPUT and s.name in stored]
    model = copy.deepcopy(spec.model)
    if program.graph(SectionKind.BCKWD) is None:
        model.eval()
    with torch.no_grad():
        outputs = call(spec, model)
    return {name: to_array(tensor) for name, tensor in zip(names, outputs)}


def call(spec: ModelSpec, model: torch.nn.Module, **inputs: Tensor) -> list[Tensor]:
    """The outputs of `model`, the loss first where `spec` computes it, for `inputs` in place of the samples."""
    outputs = spec.call(model, {**spec.inputs, **inputs})
    if spec.loss is not None:
        outputs = (spec.loss(outputs, *spec.targets.values()), outputs)
    return [tensor for _, tensor in tensors_of(outputs)]
