"""From a laid out, placed and routed section to its PEF records."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from backends.rdu.allocate.buffers import Layout, Port, Stream
from backends.rdu.route.route import Routing, link_ends
from backends.rdu.stream.forms import Form
from backends.rdu.stream.nests import NestedStage
from backends.rdu.wire.netlist import Placement
from backends.rdu.wire.netlist import Terminal as Pin
from backends.rdu.wire.nets import Connection, Wiring
from ir.types import TensorType
from pef import pef_pb2 as pb
from pef.codec import encode_op, encode_type
from pef.machine import Machine
from pef.nest import WHOLE, Slicing, level_of


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
                axes=buffer.slicing,
                counts=[count if axis != WHOLE else 1 for count, axis in zip(buffer.home.counts, buffer.slicing)],
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
    record = pb.Phase(loops=phase.nest.counts)
    for position, (stage, option) in enumerate(zip(phase.phase.stages, phase.phase.options)):
        entry = _stage(stage, phase.inputs[position], phase.outputs[position])
        entry.units.extend(wiring.pcus[index][position])
        entry.batch_parallel = option.parallel.batch
        entry.row_parallel = option.parallel.row
        entry.column_parallel = option.parallel.column
        entry.chain = option.parallel.chain
        record.stages.append(entry)
    for stream, agcus in zip(phase.streams, wiring.agcus[index]):
        record.streams.append(_stream(stream, slots[stream.symbol], agcus))
    return record


def _stage(stage: NestedStage, inputs: Sequence[Port], outputs: Sequence[Port]) -> pb.Stage:
    record = pb.Stage(name=stage.stage.name)
    record.MergeFrom(_body(stage.form, stage.slicings))
    record.inputs.extend(_port(port, stage) for port in inputs)
    record.outputs.extend(_port(port, stage) for port in outputs)
    return record


@functools.lru_cache(maxsize=1 << 12)
def _body(form: Form, slicings: tuple[Slicing, ...]) -> pb.Stage:
    """The values and operators of a stage: many have the same, and sections are recorded to be predicted."""
    values = [
        pb.TileValue(type=encode_type(tensor), axes=slicing[: level_of(slicing)])
        for tensor, slicing in zip(form.types, slicings)
    ]
    return pb.Stage(values=values, operations=[encode_op(o.op, o.operands, o.results) for o in form.operations])


def _port(port: Port, stage: NestedStage) -> pb.Port:
    combine = port.combine.value if port.combine is not None else ""
    return pb.Port(value=stage.numbers[port.value.name], buffer=port.buffer, combine=combine)


def _stream(stream: Stream, slot: int, agcus: Sequence[int]) -> pb.Stream:
    record = pb.Stream(
        store=stream.store is not None, slot=slot, buffer=stream.buffer, axes=stream.slicing, agcus=agcus
    )
    if stream.pick is not None:
        record.index.buffer, record.index.axis = stream.index, stream.pick.axis
    if stream.store is not None:
        body = _body(stream.store.form, stream.store.slicings)
        record.values.extend(body.values)
        record.operations.extend(body.operations)
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
    if connection.kind in (pb.Net.LOAD, pb.Net.STORE, pb.Net.INDEX):
        record.stream = connection.owner
    else:
        record.stage = connection.owner
    for link in route:
        record.route.extend(link_ends(link, machine))
    return record


def _terminal(pin: Pin) -> pb.Terminal:
    return pb.Terminal(agcu=pin.index) if pin.is_agcu else pb.Terminal(unit=pin.index)
