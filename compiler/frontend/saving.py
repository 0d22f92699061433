"""What the backward pass computes again rather than have the forward pass save it: a minimum cut.

A forward value that a gradient reads is either saved, which costs its bytes, or computed again from other values, for
which each of these is saved, is computed again, or lies in a symbol and is read there: at half the cost, and at none
where gradients read it anyway. The cheapest choice for a whole graph is a minimum cut between what the forward pass
alone can have and what the gradients read.

Computing again costs as many bytes as memory could move in that time: at `FLOPS_PER_SAVED_BYTE`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import networkx as nx

from compiler.frontend.contraction import source_side
from ir.graph import Graph, Node, Value
from ir.op import CostClass
from ir.ops.elementwise import Cast

FLOPS_PER_SAVED_BYTE = 256
"""Operations worth spending to save one byte less.

A saved byte is written once and read once. In the time in which memory moves a byte, accelerators that train
transformers do 150 operations and more, by their published peaks in bf16: 153 on NVIDIA's A100, 295 on its H100, 399
on an SN40L with HBM, thousands on machines with DDR. Two transfers are then worth 300 or more at the peak. Attention
scores cost as many operations a byte, in bf16, as a head has features: 64 to 256. A product with a layer's weights
costs thousands.
"""
FLOPS_PER_READ_BYTE = FLOPS_PER_SAVED_BYTE // 2
"""The same for a byte that lies in a symbol and is read once more."""

NOWHERE, NEEDED = "what cannot be had", "what gradients read"
"""The two ends of the network; other vertices are tuples."""


Rule = Callable[[Node, Graph], bool]
"""Which nodes of a graph the backward pass may compute again."""


def computed_again(joint: Graph, read: Iterable[Value], bound: Collection[str], may_repeat: Rule) -> set[str]:
    """The forward values of `joint` that the backward pass had best compute again so that it has `read`. Of what these
    are computed from, it reads the others. Values in `bound` are read where they are.

    Of equally cheap choices the one that saves values as early as possible is taken, so that views are made where they
    are read.
    """
    network = _network(joint, read, bound, may_repeat)
    if NEEDED not in network:
        return set()
    reached = set(network)
    unavailable = source_side(network, NOWHERE, NEEDED)
    return {
        result.name
        for node in joint.nodes
        if (vertex := _of_node(node)) in reached and vertex not in unavailable
        for result in node.results
    }


def long_chains(joint: Graph, again: Collection[str]) -> set[str]:
    """Of the values that are computed `again`, those to save all the same: every second one along residual connections.

    What joins a residual connection is read by the product behind it and by the next join. The backward pass reaches
    the joins in reverse, so a chain of them would have to be computed again before it starts, and then be kept in
    memory until each is reached: that is as much traffic as saving them, and more to hold at one time.
    """
    found: set[str] = set()
    joins: dict[str, int] = {}
    for node in joint.nodes:
        if node.results[0].name not in again:
            continue
        passed = max((joins.get(operand.name, 0) for operand in node.operands), default=0)
        if _goes_on(node.results[0], joint, again):
            passed += 1
        if passed > 1:
            found.update(result.name for result in node.results)
            passed = 0
        joins.update((result.name, passed) for result in node.results)
    return found


def _goes_on(value: Value, joint: Graph, again: Collection[str]) -> bool:
    """Whether a product that is not computed again reads a value, and somebody who is computed again does, too."""
    readers = list(_busy_readers(value, joint))
    products = any(node.op.cost.kind is CostClass.SYSTOLIC and not may_repeat(node, joint) for node in readers)
    return products and any(node.results[0].name in again for node in readers)


def _busy_readers(value: Value, joint: Graph) -> Iterator[Node]:
    """Who reads a value, directly or through views."""
    for node in joint.consumers[value.name]:
        if not node.op.is_free:
            yield node
            continue
        for result in node.results:
            yield from _busy_readers(result, joint)


def _network(joint: Graph, read: Iterable[Value], bound: Collection[str], may_repeat: Rule) -> nx.DiGraph:
    """Every vertex is a statement about the backward pass: that it computes a node again, or that it has a value. An
    arc from one to another is the price for the second being true without the first: without a capacity it cannot be.
    """
    network = nx.DiGraph()
    network.add_node(NOWHERE)
    pending = list(read)
    at_hand = {value.name for value in pending if value.name in bound}
    for value in pending:
        if value.name not in bound:
            network.add_edge(_of_value(value), NEEDED)
    seen: set[str] = set()
    while pending:
        value = pending.pop()
        if value.name in at_hand or value.name in seen:
            continue
        seen.add(value.name)
        if value.name in bound:
            network.add_edge(NOWHERE, _of_value(value), capacity=value.type.nbytes * FLOPS_PER_READ_BYTE)
            continue
        price = value.type.nbytes * FLOPS_PER_SAVED_BYTE
        node = joint.producers.get(value.name)
        if node is None:
            network.add_edge(NOWHERE, _of_value(value), capacity=price)
            continue
        network.add_edge(_of_node(node), _of_value(value), capacity=price)
        if not may_repeat(node, joint):
            network.add_edge(NOWHERE, _of_node(node))
            continue
        if _is_part(node, joint, bound):
            network.add_edge(NOWHERE, _of_node(node), capacity=value.type.nbytes * FLOPS_PER_READ_BYTE)
            continue
        network.add_edge(NOWHERE, _of_node(node), capacity=work(node))
        for operand in node.operands:
            if operand.name not in at_hand:
                network.add_edge(_of_value(operand), _of_node(node))
                pending.append(operand)
    return network


def _is_part(node: Node, joint: Graph, bound: Collection[str]) -> bool:
    """Whether a node picks a part of a value in `bound`, seen through views: only that part is read."""
    if not node.op.is_free or len(node.operands) != 1:
        return False
    (value,) = node.operands
    if node.results[0].type.nbytes >= value.type.nbytes:
        return False
    while value.name not in bound:
        source = joint.producers.get(value.name)
        if source is None or not source.op.is_free or len(source.operands) != 1:
            return False
        (value,) = source.operands
    return True


def work(node: Node) -> int:
    """Operations that computing a node again takes; what only moves elements takes one for each."""
    if node.op.is_free:
        return 0
    operands = tuple(operand.type for operand in node.operands)
    moved = node.op.elements(operands, tuple(result.type for result in node.results))
    return max(moved, node.op.flops(*operands))


def is_view(node: Node, joint: Graph) -> bool:
    """Whether making a value again is address arithmetic."""
    return node.op.is_free


def may_repeat(node: Node, joint: Graph) -> bool:
    """Whether computing a node again can be cheaper than saving what it made.

    Random numbers may be drawn again: they follow from the seed, the step, and which draw it is. Looking things
    up in a table may not, as that reads as much memory as the saved result does, nor putting elements in order or in
    places that depend on their values, which goes far below the peak; nor what other replicas take part in.
    Of matrix products only those of two computed values (attention scores) may: the others read weights.
    """
    if node.op.exchanges or node.op.tables or node.op.places_by_value:
        return False
    if node.op.cost.kind is not CostClass.SYSTOLIC:
        return True
    return all(_is_computed(operand, joint) for operand in node.operands)


def _is_computed(value: Value, joint: Graph) -> bool:
    """Whether a value is more than a symbol, seen through views and casts."""
    while node := joint.producers.get(value.name):
        if not (node.op.is_free or isinstance(node.op, Cast)):
            return True
        if not node.operands:
            return False
        value = node.operands[0]
    return False


def _of_node(node: Node) -> tuple[str, str]:
    return "computes again", node.results[0].name


def _of_value(value: Value) -> tuple[str, str]:
    return "has", value.name
