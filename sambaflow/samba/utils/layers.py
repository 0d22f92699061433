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

from sambaflow.samba import current
from sambaflow.samba.overrides import NoDropout
from sambaflow.samba.sambatensor import SambaTensor, to_torch
from sambaflow.samba.tracing import structure_of
from sambaflow.samba.utils.probe import layers
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
    """Run one batch forward and backward on both, and compare every module's results, outputs and gradients.

    Prints a table, and raises AssertionError naming the first that differs by over `threshold`, in the order in which
    they are computed. The model is traced for `args.pef`; of an inference PEF there are no gradients. Dropout rates
    are zero meanwhile.
    """
    session = current.session()
    outputs = trace_graph(model, inputs, optim, pef=args.pef, mapping=args.mapping)
    trains = "BCKWD" in session.device.kinds
    with session.loaded.hyper.without_dropout():
        results = session.run(inputs, outputs, section_types=["fwd", "bckwd"] if trains else ["fwd"])
        triples = [*layers(model, inputs, session.device.pef), *_pairs(model, inputs, results, trains)]
    differences = [_difference(*triple) for triple in triples]
    width = max(len(difference.name) for difference in differences)
    for difference in differences:
        mark = "" if difference.absolute <= threshold else "  <-- differs"
        amounts = f"difference {difference.absolute:.3e}  of at most {difference.largest:.3e}"
        print(f"{difference.name:<{width}}  {amounts}{mark}")
    wrong = [difference.name for difference in differences if not difference.absolute <= threshold]
    if wrong:
        others = f"; so do {len(wrong) - 1} behind it" if len(wrong) > 1 else ""
        raise AssertionError(f"{wrong[0]} is the first that differs by over {threshold:g}{others}")
    return differences


def _difference(name: str, device: Tensor, host: Tensor) -> Difference:
    """How far two tensors are apart; a shape of its own is no agreement at all."""
    if device.shape != host.shape:
        raise AssertionError(f"{name}: shapes {list(device.shape)} and {list(host.shape)} differ")
    a, b = device.double(), host.double()
    return Difference(name, float((a - b).abs().max()), float(b.abs().max())) if a.numel() else Difference(name, 0, 0)


def _pairs(
    model: nn.Module, inputs: Any, results: tuple[SambaTensor, ...], trains: bool
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name, device, host) of every output, and of the gradient of every parameter, the last layer's first."""
    host = copy.deepcopy(model)
    host.train(trains and model.training)
    structure = structure_of(host, inputs)
    with NoDropout():
        expected = pytree.tree_leaves(structure.call(host, structure.tensors))
    expected = [to_torch(leaf) for leaf in expected if isinstance(leaf, Tensor)]
    for result, tensor in zip(results, expected):
        yield str(result.sn_name), result.torch_tensor(), tensor.detach()
    if not trains:
        return
    starts = [
        (tensor, result.sn_grad.torch_tensor())
        for result, tensor in zip(results, expected)
        if tensor.requires_grad and result.sn_grad is not None
    ]
    torch.autograd.backward([tensor for tensor, _ in starts], [gradient for _, gradient in starts])
    for (name, parameter), (_, twin) in reversed([*zip(model.named_parameters(), host.named_parameters())]):
        gradient = parameter.sn_grad if isinstance(parameter, SambaTensor) else None
        if gradient is not None and twin.grad is not None:
            yield f"{name}__grad", gradient.torch_tensor(), to_torch(twin.grad).detach()
