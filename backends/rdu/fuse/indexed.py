"""Rows of symbols by index: which operators become streams that gather or scatter in device memory.

A table that is read by index, such as an embedding, need not be on chip: a stream fetches the rows. A symbol that is
updated in place by index, such as a key-value cache, gets the new rows only; whoever reads the updated value in the
same section still merges them on chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ir.graph import Graph, Node, Output, Value
from ir.op import Array
from ir.ops.elementwise import Cast
from ir.types import DType
from pef.machine import Machine
from pef.nest import Nest, Pick, Slicing


@dataclass(frozen=True, slots=True)
class Gather:
    """A value that is fetched by index: slices of the symbol `table` along `axis`, in bursts of memory."""

    value: Value
    table: Value
    index: Value
    axis: int
    burst_bytes: int

    @property
    def pick(self) -> Pick:
        """What the index picks."""
        return Pick(self.axis, self.index.type.shape)

    def moved_bytes(self, nest: Nest, slicing: Slicing) -> int:
        """Bytes that memory moves for all of it, slice by slice."""
        part = nest.sliced(self.value.type, slicing)
        return nest.slices(slicing) * self.pick.moved_bytes(self.table.type, part, self.burst_bytes)


@dataclass(frozen=True, slots=True)
class Update:
    """A symbol of which slices along `axis` are replaced in place, in bursts of memory; `updated` is the whole of it
    afterwards."""

    symbol: Value
    index: Value
    axis: int
    updated: Value
    burst_bytes: int

    @property
    def pick(self) -> Pick:
        """What the index picks."""
        return Pick(self.axis, self.index.type.shape)

    def moved_bytes(self, nest: Nest, slicing: Slicing) -> int:
        """Bytes that memory moves for all new slices, if the loops cut them so."""
        part = nest.sliced(self.pick.picked(self.symbol.type), slicing)
        return nest.slices(slicing) * self.pick.moved_bytes(self.symbol.type, part, self.burst_bytes)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What goes by index in a graph: gathers by the name of what they fetch, updates by symbol."""

    gathers: Mapping[str, Gather] = field(default_factory=dict)
    updates: Mapping[str, Update] = field(default_factory=dict)


def by_index(graph: Graph, machine: Machine) -> tuple[Graph, Indexed]:
    """The graph as sections are cut from it, and what of it goes by index, where that moves less than the whole symbol.

    Outputs that are updates by index become outputs of the new slices. An index is an input or the result of an
    operator that computes: what is only a view of one gets a copy.
    """
    graph, updates = _updates(graph, machine)
    return _gathers(graph, updates, machine)


def _gathers(graph: Graph, updates: Mapping[str, Update], machine: Machine) -> tuple[Graph, Indexed]:
    inputs = {value.name for value in graph.inputs}
    stored = {output.symbol for output in graph.outputs}
    stored_values = _bases(graph, [output.value for output in graph.outputs])
    nodes: list[Node] = []
    copies: dict[str, Value] = {}
    gathers: dict[str, Gather] = {}
    for node in graph.nodes:
        axis = node.op.picked_axis
        if axis is not None and node.operands[0].name in inputs - stored:
            (table, index), (value,) = node.operands, node.results
            producer = graph.producers.get(index.name)
            is_view = producer is not None and producer.op.is_free
            early = index.name in inputs or value.name not in stored_values
            if early and _is_less(table, index, axis, machine):
                if is_view and index.name not in copies:
                    copies[index.name] = Value(f"{index.name}.index", index.type)
                    nodes.append(Node(Cast(DType.I32), (index,), (copies[index.name],), node.location))
                index = copies.get(index.name, index)
                gathers[value.name] = Gather(value, table, index, axis, machine.memory_burst_bytes)
                node = replace(node, operands=(table, index))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), Indexed(gathers, updates)


def _is_less(table: Value, index: Value, axis: int, machine: Machine) -> bool:
    """Whether fetching what the index picks moves less than the table is."""
    pick = Pick(axis, index.type.shape)
    return pick.moved_bytes(table.type, pick.picked(table.type), machine.memory_burst_bytes) < table.type.nbytes


def _updates(graph: Graph, machine: Machine) -> tuple[Graph, dict[str, Update]]:
    """Outputs that write slices of an input over those of the same symbol."""
    inputs = {value.name: value for value in graph.inputs}
    outputs: list[Output] = []
    updates: dict[str, Update] = {}
    for output in graph.outputs:
        found = _update(graph, output, inputs, machine)
        if found is not None:
            updates[output.symbol], source = found
            output = Output(output.symbol, source)
        outputs.append(output)
    return _without_dead_scatters(replace(graph, outputs=tuple(outputs))), updates


def _update(graph: Graph, output: Output, inputs: Mapping[str, Value], machine: Machine) -> tuple[Update, Value] | None:
    """The update that an output is, and the slices it writes; None where it is none."""
    node = graph.producers.get(output.value.name)
    axis = node.op.replaced_axis if node is not None else None
    if node is None or axis is None or node.operands[0].name != output.symbol:
        return None
    symbol, index, source = node.operands
    vector = _vector(graph, index, axis)
    covered = all(i == extent for a, (i, extent) in enumerate(zip(index.type.shape, symbol.type.shape)) if a != axis)
    if vector is None or not covered or not _bases(graph, [vector]) or not _bases(graph, [source]):
        return None
    if not _is_less(symbol, vector, axis, machine):
        return None
    return Update(inputs[output.symbol], vector, axis, output.value, machine.memory_burst_bytes), source


def _bases(graph: Graph, values: list[Value]) -> set[str]:
    """The inputs and results of operators that compute of which these values are views."""
    found = set()
    for value in values:
        while (producer := graph.producers.get(value.name)) is not None and producer.op.is_free and producer.operands:
            value = producer.operands[0]
        if producer is None or not producer.op.is_free:
            found.add(value.name)
    return found


def _vector(graph: Graph, index: Value, axis: int) -> Value | None:
    """The vector of which the index of a scatter is a view that names whole slices along `axis`."""
    views: list[Node] = []
    value = index
    while (producer := graph.producers.get(value.name)) is not None and producer.op.is_free and producer.operands:
        views.append(producer)
        value = producer.operands[0]
    if value.type.rank != 1 or value.type.numel != index.type.shape[axis] or value.type.dtype is not DType.I32:
        return None
    seen: Array = np.arange(value.type.numel)
    for node in reversed(views):
        seen = node.op.view(seen)  # type: ignore[attr-defined]
    along = np.arange(value.type.numel).reshape([-1 if a == axis else 1 for a in range(index.type.rank)])
    return value if _equal(seen, along, axis) else None


def _equal(seen: Array, along: Array, axis: int) -> bool:
    """Whether both are the same, broadcast: where `seen` repeats itself without memory, one line of it says so."""
    if all(stride == 0 or extent == 1 or a == axis for a, (stride, extent) in enumerate(zip(seen.strides, seen.shape))):
        seen = seen[tuple(slice(None) if a == axis else slice(1) for a in range(seen.ndim))]
    return bool((seen == along).all())


def _without_dead_scatters(graph: Graph) -> Graph:
    """Without the updates whose result nobody reads on chip."""
    stored = {output.value.name for output in graph.outputs}
    dead = [
        node
        for node in graph.nodes
        if node.op.replaced_axis is not None
        and not graph.consumers[node.results[0].name]
        and node.results[0].name not in stored
    ]
    return replace(graph, nodes=tuple(node for node in graph.nodes if node not in dead)) if dead else graph
