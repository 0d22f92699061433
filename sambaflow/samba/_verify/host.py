"""One batch on the host, as the device ran it: outputs, and gradients of every parameter."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from compiler.frontend.precise import Float64, in_float64, is_small_enough
from sambaflow.samba._capture.tracing import Structure, structure_of
from sambaflow.samba._tensor.overrides import NoDropout
from sambaflow.samba.sambatensor import SambaTensor, to_torch

Step = dict[str, Tensor]
"""Outputs by name, and gradients by `<parameter>__grad`, the last layer's first."""


def host_step(
    model: nn.Module,
    inputs: Any,
    results: Sequence[SambaTensor],
    trains: bool,
    *,
    precise: bool = False,
) -> Step:
    """What PyTorch computes for one batch on a copy of `model`, without dropping out; `precise`: in float64.

    `results` are the outputs of the device: they name those of the host, and hold the gradients to start from.
    """
    host = in_float64(model) if precise else copy.deepcopy(model)
    host.train(trains and model.training)
    structure = structure_of(host, inputs)
    with NoDropout(), Float64() if precise else nullcontext():
        expected = _forward(host, structure)
        named = {str(result.sn_name): tensor.detach() for result, tensor in zip(results, expected)}
        if not trains:
            return named
        starts = [
            (tensor, result.sn_grad.torch_tensor().to(tensor.dtype))
            for result, tensor in zip(results, expected)
            if tensor.requires_grad and result.sn_grad is not None
        ]
        torch.autograd.backward([tensor for tensor, _ in starts], [gradient for _, gradient in starts])
    gradients = {
        f"{name}__grad": to_torch(parameter.grad).detach()
        for name, parameter in reversed([*host.named_parameters()])
        if parameter.grad is not None
    }
    return {**named, **gradients}


def precise_step(model: nn.Module, inputs: Any, results: Sequence[SambaTensor], trains: bool) -> Mapping[str, Tensor]:
    """The step in float64; nothing where that cannot be had."""
    if not is_small_enough(model):
        return {}
    try:
        return host_step(model, inputs, results, trains, precise=True)
    except Exception:  # a judge that cannot be heard: the difference is told without
        return {}


def _forward(host: nn.Module, structure: Structure) -> list[Tensor]:
    leaves = pytree.tree_leaves(structure.call(host, structure.tensors))
    return [to_torch(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
