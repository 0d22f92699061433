"""One training step on CPU and device, compared output by output and layer by layer."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sambaflow.samba.sambatensor import SambaTensor, to_torch
from sambaflow.samba.tracing import structure_of
from sambaflow.samba.utils.comparison import assert_close
from sambaflow.samba.utils.trace import trace_graph


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference in one tensor, and the largest magnitude expected."""

    name: str
    absolute: float
    largest: float


def compare_step(
    args: argparse.Namespace, model: nn.Module, inputs: Any, optim: Any = None, threshold: float = 3e-3
) -> list[Difference]:
    """Run one batch forward and backward on both, print a table, and raise AssertionError where they differ by more.

    The model is traced for `args.pef`. For an inference PEF outputs alone are compared.
    """
    from sambaflow.samba import session

    outputs = trace_graph(model, inputs, optim, pef=args.pef, mapping=args.mapping)
    trains = "BCKWD" in session.device.kinds
    results = session.run(inputs, outputs, section_types=["fwd", "bckwd"] if trains else ["fwd"])
    pairs = list(_pairs(model, inputs, results, trains))
    differences = [
        Difference(name, float((a - b).abs().max()) if a.numel() else 0.0, float(b.abs().max()) if b.numel() else 0.0)
        for name, a, b in pairs
    ]
    width = max(len(difference.name) for difference in differences)
    for difference in differences:
        print(f"{difference.name:<{width}}  difference {difference.absolute:.3e}  of at most {difference.largest:.3e}")
    for name, device, host in pairs:
        assert_close(device, host, name, threshold=threshold)
    return differences


def _pairs(
    model: nn.Module, inputs: Any, results: tuple[SambaTensor, ...], trains: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, device, host) of every output, and of the gradient of every parameter."""
    host = copy.deepcopy(model)
    host.train(trains and model.training)
    structure = structure_of(host, inputs)
    expected = pytree.tree_leaves(structure.call(host, structure.tensors))
    expected = [to_torch(leaf) for leaf in expected if isinstance(leaf, Tensor)]
    for result, tensor in zip(results, expected):
        yield str(result.sn_name), result.torch_tensor().double(), tensor.detach().double()
    if not trains:
        return
    starts = [
        (tensor, result.sn_grad.torch_tensor())
        for result, tensor in zip(results, expected)
        if tensor.requires_grad and result.sn_grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in starts], [gradient for _, gradient in starts])
    for (name, parameter), (_, twin) in zip(model.named_parameters(), host.named_parameters()):
        gradient = parameter.sn_grad if isinstance(parameter, SambaTensor) else None
        if gradient is not None and twin.grad is not None:
            yield f"{name}__grad", gradient.torch_tensor().double(), to_torch(twin.grad).detach().double()
