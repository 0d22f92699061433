"""Records that can be looked at: types, operators and indices exist, so that every other rule may follow them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from google.protobuf.message import Message

from ir.errors import PefError, Problem
from ir.graph import SectionKind, SymbolKind
from pef import pef_pb2 as pb
from pef.codec import decode_op, decode_type
from pef.decoded import named
from pef.nest import WHOLE

_MAX_RANK = 32
_MAX_BYTES = 1 << 62
_MAX_LOOPS = 16

_OWNERS = {
    pb.Net.READ: "stage",
    pb.Net.WRITE: "stage",
    pb.Net.CHAIN: "stage",
    pb.Net.LOAD: "stream",
    pb.Net.STORE: "stream",
    pb.Net.INDEX: "stream",
}


def header_problems(pef: pb.Pef) -> Iterator[Problem]:
    """The options and the metadata are JSON texts, or absent."""
    for field, text in (("options", pef.header.options_json), ("metadata", pef.header.metadata_json)):
        try:
            json.loads(text or "null")
        except (ValueError, RecursionError) as error:
            yield Problem(f"the {field} are not JSON: {error}", "header")


def symbol_problems(pef: pb.Pef) -> Iterator[Problem]:
    """A symbol has a type, a known kind, an existing tier, and a lifetime within the sections."""
    kinds = {kind.value for kind in SymbolKind}
    for number, symbol in enumerate(pef.symbols):
        where = named("symbol", number, symbol.name)
        yield from _type_problems(symbol.type, where)
        if symbol.kind not in kinds:
            yield Problem(f"unknown kind {symbol.kind!r}", where)
        yield from _out_of_range([symbol.tier], len(pef.machine.tiers), "memory tier", where)
        if not symbol.persistent:
            yield from _out_of_range([symbol.first, symbol.last], len(pef.sections), "section", where)


def section_problems(pef: pb.Pef) -> Iterator[Problem]:
    """A section has a known kind, an existing configuration, existing symbols and files, and a finite prediction."""
    kinds = {kind.value for kind in SectionKind}
    for number, section in enumerate(pef.sections):
        where = named("section", number, section.name)
        if section.kind not in kinds:
            yield Problem(f"unknown kind {section.kind!r}", where)
        yield from _out_of_range([section.configuration], len(pef.configurations), "configuration", where)
        yield from _out_of_range(section.bindings, len(pef.symbols), "symbol", where)
        places = {index for location in section.locations for index in (location.file, location.module)}
        yield from _out_of_range(sorted(places), len(pef.strings), "string", where)
        for field in ("cycles", "load_cycles"):
            if not 0 <= getattr(section.prediction, field) < math.inf:
                yield Problem(f"the predicted {field} are {getattr(section.prediction, field)}", where)


def configuration_problems(pef: pb.Pef, number: int) -> Iterator[Problem]:
    """Slots, units, buffers, phases and nets of a configuration refer to what exists."""
    configuration, where = pef.configurations[number], f"configuration {number}"
    for slot, tensor in enumerate(configuration.slots):
        yield from _type_problems(tensor, f"{where}, slot {slot}")
    sites = pef.machine.rows * pef.machine.columns
    for index, unit in enumerate(configuration.units):
        yield from _out_of_range([unit.site], sites, "site", f"{where}, unit {index}")
    for index, buffer in enumerate(configuration.buffers):
        yield from _buffer_problems(buffer, len(configuration.units), f"{where}, {named('buffer', index, buffer.name)}")
    for index, phase in enumerate(configuration.phases):
        yield from _phase_problems(pef, configuration, phase, f"{where}, phase {index}")
    agcus = len(pef.machine.agcu_sites)
    for index, net in enumerate(configuration.nets):
        yield from _net_problems(configuration, net, agcus, f"{where}, net {index}")


def _buffer_problems(buffer: pb.Buffer, units: int, where: str) -> Iterator[Problem]:
    yield from _type_problems(buffer.type, where)
    yield from _axes_problems(buffer.axes, buffer.type, _MAX_LOOPS, where)
    if len(buffer.axes) != len(buffer.counts):
        yield Problem(f"the buffer has {len(buffer.axes)} axes and {len(buffer.counts)} counts", where)
    for axis, count in zip(buffer.axes, buffer.counts):
        if axis == WHOLE and count > 1:
            yield Problem(f"{count} iterations are counted of a loop that cuts no axis", where)
    if 0 in buffer.counts:
        yield Problem("the buffer has no slices", where)
    yield from _outdated(buffer, ("axis", "tiles"), where)
    if not buffer.units:
        yield Problem("the buffer has no PMU", where)
    yield from _out_of_range(buffer.units, units, "unit", where)


def _phase_problems(pef: pb.Pef, configuration: pb.Configuration, phase: pb.Phase, where: str) -> Iterator[Problem]:
    if 0 in phase.loops:
        yield Problem(f"loop {list(phase.loops).index(0)} of the phase has no iterations", where)
    if len(phase.loops) > _MAX_LOOPS:
        yield Problem(f"the phase has {len(phase.loops)} loops, more than {_MAX_LOOPS}", where)
    yield from _outdated(phase, ("tiles",), where)
    loops = len(phase.loops)
    for index, stage in enumerate(phase.stages):
        yield from _stage_problems(configuration, stage, loops, f"{where}, {named('stage', index, stage.name)}")
    for index, stream in enumerate(phase.streams):
        place = f"{where}, {'store' if stream.store else 'load'} stream {index}"
        yield from _body_problems(stream, loops, place)
        yield from _out_of_range([stream.slot], len(configuration.slots), "slot", place)
        yield from _out_of_range(stream.agcus, len(pef.machine.agcu_sites), "AGCU", place)
        yield from _outdated(stream, ("axis",), place)
        if stream.HasField("index"):
            yield from _index_problems(configuration, stream, place)
        missing = list(_out_of_range([stream.buffer], len(configuration.buffers), "buffer", place))
        yield from missing or _axes_problems(stream.axes, configuration.buffers[stream.buffer].type, loops, place)


def _index_problems(configuration: pb.Configuration, stream: pb.Stream, where: str) -> Iterator[Problem]:
    """An index lies in a buffer, and picks along an axis that the symbol has."""
    yield from _out_of_range([stream.index.buffer], len(configuration.buffers), "buffer", where)
    if stream.slot < len(configuration.slots):
        yield from _out_of_range([stream.index.axis], len(configuration.slots[stream.slot].shape), "axis", where)


def _stage_problems(configuration: pb.Configuration, stage: pb.Stage, loops: int, where: str) -> Iterator[Problem]:
    yield from _body_problems(stage, loops, where)
    yield from _out_of_range(stage.units, len(configuration.units), "unit", where)
    if not (stage.batch_parallel and stage.row_parallel and stage.column_parallel and stage.chain):
        yield Problem("the stage is spread over no PCUs", where)
    for side, ports in (("input", stage.inputs), ("output", stage.outputs)):
        for index, port in enumerate(ports):
            place = f"{where}, {side} {index}"
            yield from _out_of_range([port.value], len(stage.values), "value", place)
            yield from _out_of_range([port.buffer], len(configuration.buffers), "buffer", place)
            yield from _outdated(port, ("axis",), place)


def _body_problems(owner: pb.Stage | pb.Stream, loops: int, where: str) -> Iterator[Problem]:
    for index, value in enumerate(owner.values):
        place = f"{where}, value {index}"
        yield from _type_problems(value.type, place)
        yield from _axes_problems(value.axes, value.type, loops, place)
        yield from _outdated(value, ("axis",), place)
    for index, operation in enumerate(owner.operations):
        place = f"{where}, {named('operation', index, operation.op)}"
        yield from _decoding_problems(lambda record=operation: decode_op(record), place)  # type: ignore[misc]
        yield from _out_of_range([*operation.operands, *operation.results], len(owner.values), "value", place)


def _net_problems(configuration: pb.Configuration, net: pb.Net, agcus: int, where: str) -> Iterator[Problem]:
    missing = list(_out_of_range([net.phase], len(configuration.phases), "phase", where))
    yield from missing or _owner_problems(configuration.phases[net.phase], net, where)
    if not net.sinks:
        yield Problem("the net leads nowhere", where)
    for terminal in (net.source, *net.sinks):
        at = terminal.WhichOneof("at")
        if at is None:
            yield Problem("the net has a terminal that is neither a unit nor an AGCU", where)
        elif at == "unit":
            yield from _out_of_range((terminal.unit,), len(configuration.units), "unit", where)
        else:
            yield from _out_of_range((terminal.agcu,), agcus, "AGCU", where)


def _owner_problems(phase: pb.Phase, net: pb.Net, where: str) -> Iterator[Problem]:
    owner = net.WhichOneof("owner")
    if net.kind not in _OWNERS:
        yield Problem(f"the net is of unknown kind {net.kind}", where)
    elif owner != _OWNERS[net.kind]:
        yield Problem(f"a {pb.Net.Kind.Name(net.kind)} net belongs to a {_OWNERS[net.kind]}, not to {owner}", where)
    elif owner == "stream":
        yield from _out_of_range((net.stream,), len(phase.streams), "stream", where)
    elif net.stage >= len(phase.stages) or net.kind == pb.Net.CHAIN:
        yield from _out_of_range((net.stage,), len(phase.stages), "stage", where)
    else:
        stage = phase.stages[net.stage]
        ports = stage.inputs if net.kind == pb.Net.READ else stage.outputs
        yield from _out_of_range((net.port,), len(ports), "port", where)


def _out_of_range(indices: Iterable[int], count: int, what: str, where: str) -> Iterator[Problem]:
    for index in indices:
        if index >= count:
            yield Problem(f"there is no {what} {index}; there are {count}", where)


def _axes_problems(axes: Sequence[int], tensor: pb.TensorType, loops: int, where: str) -> Iterator[Problem]:
    """Of a buffer, value or stream: it names an axis that exists for each loop that cuts it, and for no loop more."""
    if len(axes) > loops:
        yield Problem(f"{len(axes)} axes are named for {loops} loops", where)
    for axis in axes:
        if not WHOLE <= axis < len(tensor.shape):
            yield Problem(f"a tensor of rank {len(tensor.shape)} has no axis {axis}", where)


def _outdated(record: Message, fields: Sequence[str], where: str) -> Iterator[Problem]:
    """Fields of format 1 are rewritten when a file is read; no record has them after that."""
    for field in fields:
        if getattr(record, field):
            yield Problem(f"the field {field!r} belongs to format 1", where)


def _type_problems(record: pb.TensorType, where: str) -> Iterator[Problem]:
    """A tensor has a known element type, at least one element, and a size that fits the machine's integers."""
    broken = list(_decoding_problems(lambda: decode_type(record), where))
    yield from broken
    if broken:
        return
    if len(record.shape) > _MAX_RANK:
        yield Problem(f"a tensor of rank {len(record.shape)} has more than {_MAX_RANK} axes", where)
    elif not 0 < (size := decode_type(record).nbytes) < _MAX_BYTES:
        yield Problem(f"a tensor of {size} bytes cannot be held", where)


def _decoding_problems(decode: Callable[[], object], where: str) -> Iterator[Problem]:
    try:
        decode()
    except PefError as error:
        for problem in error.problems:
            yield Problem(problem.message, where, problem.hint)
    except ValueError as error:
        yield Problem(str(error), where)
