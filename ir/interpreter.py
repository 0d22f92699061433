"""The reference: runs a program's graphs node by node on whole arrays, rounding where the device rounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ir.graph import Graph, Node
from ir.op import Array
from ir.rounding import round_to_bf16
from ir.types import DType


def run(graph: Graph, symbols: Mapping[str, Array]) -> dict[str, Array]:
    """The symbols that `graph` stores, computed from `symbols` (arrays of each type's compute dtype)."""
    values = evaluate(graph, symbols)
    return {output.symbol: values[output.value.name].copy() for output in graph.outputs}


def evaluate(graph: Graph, symbols: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of `graph` by name, computed from `symbols`."""
    values: dict[str, Array] = {value.name: symbols[value.name] for value in graph.inputs}
    for node in graph.nodes:
        apply(node, values)
    return values


def apply(node: Node, values: dict[str, Array]) -> None:
    """Compute one node's results from `values`, and add them."""
    operands = [values[operand.name] for operand in node.operands]
    results = [np.empty(result.type.shape, result.type.dtype.compute) for result in node.results]
    scratch = [np.empty(t.shape, t.dtype.compute) for t in node.op.scratch(*(o.type for o in node.operands))]
    with np.errstate(all="ignore"):  # infinities and NaN are values, as on the device
        node.op.kernel(*operands, *results, *scratch)
    for result, array in zip(node.results, results):
        if result.type.dtype is DType.BF16:
            round_to_bf16(array)
        values[result.name] = array
