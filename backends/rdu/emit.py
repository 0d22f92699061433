"""From a laid out, placed and routed section to its PEF records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.rdu.buffers import Layout, Port, Stream, stored_axes
from backends.rdu.netlist import Placement
from backends.rdu.netlist import Terminal as Pin
from backends.rdu.nets import Connection, Wiring
from backends.rdu.phases import WHOLE
from backends.rdu.route import Routing, link_ends
from backends.rdu.tiling import TiledStage
from ir.graph import Value
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_op, encode_type
from pef.machine import Machine


def emit_configuration(
    layout: Layout,
    wiring: Wiring,
    placement: Placement,
    routing: Routing,
    slots: Mapping[str, int],
    slot_types: Sequence[TensorType],
    machine: Machine,
) -> pb.Configuration:
    """The configuration of a section; `slots` numbers the symbols it binds."""
    record = pb.Configuration(slots=[encode_type(slot) for slot in slot_types])
    record.units.extend(pb.Unit(site=site) for site in placement.sites)
    for buffer, units in zip(layout.buffers, wiring.pmus):
        record.buffers.append(
            pb.Buffer(
                name=buffer.name,
                type=encode_type(buffer.type),
                axes=[_axis(buffer.axis, buffer.tiles)],
                counts=[buffer.tiles],
                depth=buffer.depth,
                units=units,
            )
        )
    for index in range(len(layout.phases)):
        record.phases.append(_phase(layout, index, wiring, slots))
    for connection, route in zip(wiring.connections, routing.routes):
        record.nets.append(_net(connection, route, machine))
    return record


def _phase(layout: Layout, index: int, wiring: Wiring, slots: Mapping[str, int]) -> pb.Phase:
    phase = layout.phases[index]
    tiles = phase.phase.tiles
    record = pb.Phase(loops=[tiles])
    for position, (stage, option) in enumerate(zip(phase.phase.stages, phase.phase.options)):
        entry = _stage(stage, phase.inputs[position], phase.outputs[position])
        entry.units.extend(wiring.pcus[index][position])
        entry.batch_parallel = option.parallel.batch
        entry.row_parallel = option.parallel.row
        entry.column_parallel = option.parallel.column
        entry.chain = option.parallel.chain
        record.stages.append(entry)
    for stream, agcus in zip(phase.streams, wiring.agcus[index]):
        record.streams.append(_stream(stream, layout, tiles, slots[stream.symbol], agcus))
    return record


def _stage(stage: TiledStage, inputs: Sequence[Port], outputs: Sequence[Port]) -> pb.Stage:
    nodes = stage.streamed.stage.nodes
    values: dict[str, Value] = {}
    for node in nodes:
        values.update((value.name, value) for value in (*node.operands, *node.results))
    number = {name: index for index, name in enumerate(values)}
    record = pb.Stage(name=stage.streamed.stage.name)
    for value in values.values():
        axis = _axis(stage.streamed.axes[value.name], stage.tiles)
        record.values.append(pb.TileValue(type=encode_type(stage.tile_type(value)), axes=[axis]))
    for node, operation in zip(nodes, stage.operations):
        operands = [number[value.name] for value in node.operands]
        results = [number[value.name] for value in node.results]
        record.operations.append(encode_op(operation.op, operands, results))
    for port in inputs:
        record.inputs.append(_port(port, number))
    for port in outputs:
        record.outputs.append(_port(port, number))
    return record


def _port(port: Port, number: Mapping[str, int]) -> pb.Port:
    combine = port.combine.value if port.combine is not None else ""
    return pb.Port(value=number[port.value.name], buffer=port.buffer, combine=combine)


def _stream(stream: Stream, layout: Layout, tiles: int, slot: int, agcus: Sequence[int]) -> pb.Stream:
    axis = _axis(stream.axis, tiles)
    record = pb.Stream(store=stream.store is not None, slot=slot, buffer=stream.buffer, axes=[axis], agcus=agcus)
    if stream.store is None:
        return record
    axes = [_axis(a, tiles) for a in stored_axes(stream.store, stream.axis, tiles)]
    chain = [stream.store.base, *(node.results[0] for node in stream.store.views)]
    types = [value.type.sliced(a, tiles) for value, a in zip(chain, axes)]
    record.values.extend(pb.TileValue(type=encode_type(t), axes=[a]) for t, a in zip(types, axes))
    for index, node in enumerate(stream.store.views):
        record.operations.append(encode_op(node.op.retyped(types[index + 1]), [index], [index + 1]))
    return record


def _net(connection: Connection, route: Sequence[int], machine: Machine) -> pb.Net:
    record = pb.Net(
        phase=connection.phase,
        kind=connection.kind,
        port=connection.port,
        source=_terminal(connection.source),
        sinks=[_terminal(sink) for sink in connection.sinks],
        bytes=connection.bytes,
    )
    if connection.kind in (pb.Net.LOAD, pb.Net.STORE):
        record.stream = connection.owner
    else:
        record.stage = connection.owner
    for link in route:
        record.route.extend(link_ends(link, machine))
    return record


def _terminal(pin: Pin) -> pb.Terminal:
    return pb.Terminal(agcu=pin.index) if pin.is_agcu else pb.Terminal(unit=pin.index)


def _axis(axis: int, tiles: int) -> int:
    """The axis as the PEF writes it: a value of one tile is whole."""
    return axis if tiles > 1 else WHOLE
