"""Operators beside PyTorch's: the recorded ATen graph runs in PyTorch, and what it was lowered to in the interpreter.

Both run the same graph, so every result of the one can be compared with one value of the other. An isolated error is
that of an operator on PyTorch's own operands: what it made is replaced by PyTorch's result before others read it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from compiler.frontend.assemble import Captured
from compiler.frontend.capture import Steps
from compiler.frontend.dtypes import has_content, is_supported, to_array
from compiler.frontend.joint import Joint, Role
from compiler.frontend.lower import LoweredJoint
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.recording import is_random
from compiler.frontend.reference import eager_outputs
from ir.graph import Graph, Node, Value
from ir.interpreter import apply, evaluate
from ir.op import Array
from ir.types import DType
from workbench.bisect.findings import Finding
from workbench.numbers.errors import ABSOLUTE_SHARE, BF16_TOLERANCE, FLOAT32_TOLERANCE, difference, largest
from workbench.numbers.errors import differences as all_differences
from workbench.numbers.runs import complete_values, run_program


def compare_operators(spec: ModelSpec, steps: Steps) -> Iterator[Finding]:
    """Every operator of the model in the order they run, then the outputs beside those of the eager model.

    Nothing for models without content, and no eager outputs for those that draw random numbers.
    """
    joint, lowered, captured = steps.joint, steps.lowered, steps.captured
    if not all(has_content(source.tensor) for source in joint.placeholders if source.role is not Role.TANGENT):
        return
    results = _torch_results(joint, captured.values)
    anchors = _anchors(lowered, results)
    symbols = {value.name: _symbol(value, captured, lowered) for value in lowered.graph.inputs}
    accumulated = evaluate(lowered.graph, symbols)
    yield from _isolated(lowered.graph, symbols, anchors, accumulated)
    if not any(is_random(node.target) for node in joint.graph.nodes):
        values = complete_values(captured.program, captured.values)
        found = all_differences(run_program(captured.program, values), eager_outputs(spec, captured.program))
        if found:
            yield Finding("capture", found[0].name, largest(found), largest(found), FLOAT32_TOLERANCE)


class _Keeping(fx.Interpreter):  # type: ignore[misc]
    """Runs a graph in PyTorch and keeps a copy of every tensor: later operators may write into it."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.results: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor) and n.op == "call_function":
            self.results[n] = result.detach().clone()
        return result


def _torch_results(joint: Joint, values: Mapping[str, Array]) -> dict[fx.Node, Tensor]:
    interpreter = _Keeping(fx.GraphModule(torch.nn.Module(), joint.graph))
    tensors = [
        torch.as_tensor(values[source.name], dtype=source.tensor.dtype).reshape(source.tensor.shape)
        if source.role is Role.TANGENT
        else source.tensor.detach().clone()
        for source in joint.placeholders
    ]
    with torch.no_grad():
        interpreter.run(*tensors)
    return interpreter.results


def _anchors(lowered: LoweredJoint, results: Mapping[fx.Node, Tensor]) -> dict[str, tuple[fx.Node, Array]]:
    """For values that an ATen operator became, that operator and PyTorch's result."""
    found: dict[str, tuple[fx.Node, Array]] = {}
    for node, tensor in results.items():
        value = lowered.made.get(node)
        if not isinstance(value, Value) or not is_supported(tensor.dtype) or tensor.is_complex() or _is_private(node):
            continue
        if tuple(tensor.shape) == value.type.shape:
            found.setdefault(value.name, (node, to_array(tensor)))  # later ones are views of it
    return found


def _is_private(node: fx.Node) -> bool:
    """Whether a result is a message from an operator to its own backward pass, such as where the maxima of a pool are:
    PyTorch and the device each have their own notation."""
    if node.target is not operator.getitem or node.meta["val"].is_floating_point():
        return False
    family = str(node.args[0].target).removesuffix(".default")
    return all(str(user.target).startswith(f"{family}_backward") for user in node.users)


def _aten_name(node: fx.Node) -> str:
    target = node.args[0].target if node.target is operator.getitem else node.target
    return str(target).removesuffix(".default")


def _symbol(value: Value, captured: Captured, lowered: LoweredJoint) -> Array:
    known = {**lowered.initial, **lowered.constants, **captured.values}
    return known[value.name] if value.name in known else np.zeros(value.type.shape, value.type.dtype.compute)


def _isolated(
    graph: Graph,
    symbols: Mapping[str, Array],
    anchors: Mapping[str, tuple[fx.Node, Array]],
    accumulated: Mapping[str, Array],
) -> Iterator[Finding]:
    """One finding for every ATen operator; its error is that of all that was computed since the ones before it."""
    values = dict(symbols)
    since: list[Node] = []
    for node in graph.nodes:
        apply(node, values)
        since.append(node)
        anchored = [result for result in node.results if result.name in anchors]
        for result in anchored:
            origin, expected = anchors[result.name]
            if not is_random(origin.target):
                yield _finding(result, origin, expected, since, values, accumulated)
            values[result.name] = np.asarray(expected, values[result.name].dtype)
        if anchored:
            since = []


def _finding(
    result: Value,
    origin: fx.Node,
    expected: Array,
    since: list[Node],
    values: Mapping[str, Array],
    accumulated: Mapping[str, Array],
) -> Finding:
    operands = [np.asarray(values[o.name], np.float64) for node in since for o in node.operands]
    # What cancels is measured against what it was computed from.
    floor = ABSOLUTE_SHARE * max((float(np.linalg.norm(a[np.isfinite(a)])) for a in operands), default=0.0)
    kernels = "+".join(dict.fromkeys(node.op.name for node in since if not node.op.is_free)) or "view"
    name = f"{kernels}, for {_aten_name(origin)}"
    bf16 = any(value.type.dtype is DType.BF16 for node in since for value in (*node.operands, *node.results))
    return Finding(
        "operator",
        name,
        difference(result.name, values[result.name], expected, floor).relative,
        difference(result.name, accumulated[result.name], expected, floor).relative,
        BF16_TOLERANCE if bf16 else FLOAT32_TOLERANCE,
        str(since[-1].location),
    )
