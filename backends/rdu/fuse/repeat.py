"""What is computed again by each of its readers: one cheap operator over a tensor that comes from memory anyway.

The backward pass of a batch norm reads `x - mean` three times: with the statistics, behind them, and in the activation
that is computed again. Made once, it is as large as `x`, and where a section ends between its readers it is stored and
loaded in the place of `x`. Made by each reader, it is one more pipeline stage of a PCU there, and only `x` is loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from backends.rdu.fuse.distance import Distance
from ir.graph import Graph, Node, Value
from ir.op import CostClass

SMALL = 1 / 16
"""Operands of this part of the result's bytes weigh nothing beside it."""

MOST = 5
"""Pipeline stages of a chain at most: a batch norm and its activation."""


def with_repeats(graph: Graph) -> Graph:
    """The graph with a copy of every such chain of operators for each operator that reads its result.

    What a graph stores anyway, such as what the backward pass will read, is in memory for those who come much later,
    such as the other end of a skip connection: they read it there, and compute again what is cheap to make of it.
    """
    distance = Distance(graph)
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in {operand.name for operand in node.operands}:
            readers[name] = readers.get(name, 0) + 1
    stored = {output.value.name for output in graph.outputs}
    # What the graph also stores is read as early as may be: whoever reads it holds back the store.
    inputs = {value.name for value in graph.inputs} - {output.symbol for output in graph.outputs}
    chains: dict[str, tuple[Node, ...]] = {}
    late_chains: dict[str, tuple[Node, ...]] = {}
    made: dict[str, Node] = {}
    read: set[str] = set()
    number = itertools.count(2)
    nodes: list[Node] = []
    for node in graph.nodes:
        changed: dict[str, Value] = {}
        for operand in dict.fromkeys(node.operands):
            chain = chains.get(operand.name, ()) if operand.name in read else ()
            if operand.name in late_chains and not node.op.is_free and distance.is_far(made[operand.name], node):
                chain = late_chains[operand.name]
            if chain and readers[operand.name] > 1:
                again, changed[operand.name] = _copied(chain, f".again_{next(number)}")
                nodes += again
            read.add(operand.name)
        nodes.append(_reading(node, changed))
        made.update((result.name, node) for result in node.results)
        for found, known in ((chains, inputs), (late_chains, inputs | stored)):
            chain = _chain(node, known, found)
            if chain and node.results[0].name not in stored:
                found[node.results[0].name] = chain
    return replace(graph, nodes=tuple(nodes))


def _chain(node: Node, inputs: Set[str], chains: Mapping[str, tuple[Node, ...]]) -> tuple[Node, ...]:
    """The operators that make a result from what memory holds, ending with this one, if that is cheap: at most `MOST`
    pipeline stages, over tensors no smaller than the result."""
    cost = node.op.cost
    if not node.op.is_elementwise or cost.kind is not CostClass.SIMD or cost.tail:
        return ()
    (result,) = node.results
    large = {o.name: o for o in node.operands if o.type.nbytes > SMALL * result.type.nbytes}
    if not large or not all(name in inputs or name in chains for name in large):
        return ()
    before = {n.results[0].name: n for name in large if name in chains for n in chains[name]}
    chain = (*before.values(), node)
    return chain if sum(n.op.cost.operations for n in chain) <= MOST else ()


def _copied(chain: Sequence[Node], suffix: str) -> tuple[list[Node], Value]:
    """The chain once more with results of other names, and the last of them."""
    changed: dict[str, Value] = {}
    nodes = []
    for node in chain:
        (result,) = node.results
        node = _reading(node, changed)
        changed[result.name] = Value(result.name + suffix, result.type)
        nodes.append(replace(node, results=(changed[result.name],)))
    return nodes, changed[chain[-1].results[0].name]


def _reading(node: Node, changed: Mapping[str, Value]) -> Node:
    """The node with other operands in the place of some."""
    if not changed:
        return node
    return replace(node, operands=tuple(changed.get(operand.name, operand) for operand in node.operands))
