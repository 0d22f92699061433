"""Changes that each make a sample illegal in one way, and what the checker must say of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pef import pef_pb2 as pb
from pef.codec import encode_op, encode_type
from tests.pef.samples import ConfigurationBuilder, f32, op, route_in_dimension_order


@dataclass(frozen=True)
class Mutation:
    """A change to a sample, and a pattern of one of the problems it makes."""

    sample: str
    change: Callable[[pb.Pef], object]
    expected: str


def first(pef: pb.Pef) -> pb.Configuration:
    return pef.configurations[0]


def stage(pef: pb.Pef, number: int = 0, phase: int = 0) -> pb.Stage:
    return first(pef).phases[phase].stages[number]


def stream(pef: pb.Pef, number: int, phase: int = 0) -> pb.Stream:
    return first(pef).phases[phase].streams[number]


def net(pef: pb.Pef, kind: pb.Net.Kind.ValueType, number: int = 0) -> pb.Net:
    """The first net of a kind that has a route, or one of those after it."""
    return [net for net in first(pef).nets if net.kind == kind and len(net.route) > 2][number]


def swap_stages(pef: pb.Pef) -> None:
    stages = first(pef).phases[0].stages
    records = list(stages)
    records[0], records[1] = (
        pb.Stage.FromString(records[1].SerializeToString()),
        pb.Stage.FromString(records[0].SerializeToString()),
    )
    del stages[:]
    stages.extend(records)
    for wire in first(pef).nets:
        if wire.WhichOneof("owner") == "stage":
            wire.stage = {0: 1, 1: 0}.get(wire.stage, wire.stage)


def drop_link(pef: pb.Pef) -> None:
    route = net(pef, pb.Net.READ).route
    del route[2:4]


def drop_net(kind: pb.Net.Kind.ValueType) -> Callable[[pb.Pef], None]:
    def drop(pef: pb.Pef) -> None:
        nets = first(pef).nets
        nets.remove(next(wire for wire in nets if wire.kind == kind))

    return drop


def move_unit(unit: int, site: int) -> Callable[[pb.Pef], None]:
    """Move a unit and re-route, so that nothing but the site is wrong."""

    def move(pef: pb.Pef) -> None:
        configuration = first(pef)
        configuration.units[unit].site = site
        builder = ConfigurationBuilder(record=configuration)
        for wire in configuration.nets:
            sinks = [builder.site(sink) for sink in wire.sinks]
            wire.route[:] = route_in_dimension_order(builder.machine, builder.site(wire.source), sinks)

    return move


def set_to(path: str, value: object) -> Callable[[pb.Pef], None]:
    """Set the field at `path`, such as configurations[0].units[2].site."""

    def change(pef: pb.Pef) -> None:
        owner, _, field = path.rpartition(".")
        target: object = pef
        for name, index in re.findall(r"(\w+)(?:\[(\d+)\])?", owner):
            target = getattr(target, name)
            target = target[int(index)] if index else target  # type: ignore[index]
        name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", field).groups()  # type: ignore[union-attr]
        if index is None:
            setattr(target, name, value)
        else:
            getattr(target, name)[int(index)] = value

    return change


def add_unrelated_constant(pef: pb.Pef) -> None:
    """Store a constant of one tile's shape that does not say it is cut."""
    record = stage(pef)
    record.operations.append(encode_op(op("full", shape=(16, 32), value=1.0, dtype=f32().dtype), [], [2]))
    record.values.add(type=encode_type(f32(16, 32)))
    record.operations.append(encode_op(op("add"), [1, 2], [3]))
    record.values.add(type=encode_type(f32(16, 32)), axes=[0])
    record.outputs[0].value = 3


def use_partial_sum(pef: pb.Pef) -> None:
    record = stage(pef)
    record.operations.append(encode_op(op("tanh"), [3], [4]))
    record.values.add(type=encode_type(f32(32, 16)))
    record.outputs[0].value = 4


def write_nothing(pef: pb.Pef) -> None:
    stage(pef, 1).ClearField("outputs")
    first(pef).nets.remove(next(wire for wire in first(pef).nets if wire.kind == pb.Net.WRITE and wire.stage == 1))


def hold_in_ring(pef: pb.Pef) -> None:
    """Keep one of four slices of `x`, and read it in the other phase."""
    first(pef).buffers[0].depth = 1
    first(pef).phases[1].stages[0].inputs[0].buffer = 0


def read_whole(pef: pb.Pef) -> None:
    value = stage(pef, 1).values[0]
    value.ClearField("axes")
    value.type.CopyFrom(first(pef).buffers[1].type)


def cut_a_constant(pef: pb.Pef) -> None:
    """A stage of phase 1 that reads and writes whole, with a constant cut by the phase's loop."""
    record = stage(pef, 0, 1)
    for value in record.values:
        value.ClearField("axes")
    record.values.add(type=encode_type(f32(32, 8)), axes=[1])
    record.operations.append(encode_op(op("full", shape=(32, 8), value=1.0, dtype=f32().dtype), [], [9]))


def multiply_twice(pef: pb.Pef) -> None:
    record = stage(pef, 1)
    record.operations.append(record.operations[0])
    record.operations[1].results[0] = 3
    record.values.append(record.values[2])


def store_twice(pef: pb.Pef) -> None:
    """Another stream that does what the store does."""
    streams = first(pef).phases[0].streams
    streams.append(streams[1])
    for wire in [wire for wire in first(pef).nets if wire.kind == pb.Net.STORE]:
        first(pef).nets.add().CopyFrom(wire)
        first(pef).nets[-1].stream = 2


def compute_before_product(pef: pb.Pef) -> None:
    """A product after a computation in the same stage."""
    record = stage(pef, 1)
    record.operations.insert(0, encode_op(op("tanh"), [0], [3]))
    record.values.add(type=encode_type(f32(64, 48)), axes=[0])
    record.operations[1].operands[0] = 3


C = "configurations[0]"
P = f"{C}.phases[0]"

MUTATIONS = {
    # the machine
    "no lanes": Mutation("two_products", set_to("machine.pcu_lanes", 0), "machine: pcu_lanes is 0"),
    "clock runs backwards": Mutation("two_products", set_to("machine.clock_ghz", -1.0), "machine: clock_ghz"),
    "endless launch": Mutation("two_products", set_to("machine.launch_us", float("nan")), "machine: launch_us"),
    "no memory": Mutation("two_products", lambda pef: pef.machine.ClearField("tiers"), "no memory tier"),
    "no bandwidth": Mutation("two_products", set_to("machine.tiers[0].bandwidth_bytes_per_s", 0.0), r"tier 0 \(ddr\)"),
    "AGCU off the grid": Mutation("two_products", set_to("machine.agcu_sites[1]", 64), "AGCU 64 is not on the 8x8"),
    "fault off the grid": Mutation("two_products", set_to("machine.faulty_sites[0]", 99), "faulty site 99"),
    # structure
    "metadata": Mutation("two_products", set_to("header.metadata_json", "{"), "header: the metadata"),
    "symbol kind": Mutation("two_products", set_to("symbols[0].kind", "x"), r"symbol 0 \(x\): unknown kind 'x'"),
    "symbol tier": Mutation("two_products", set_to("symbols[0].tier", 1), r"symbol 0 \(x\): there is no memory tier 1"),
    "lifetime": Mutation("residual", set_to("symbols[1].last", 2), r"symbol 1 \(h\): there is no section 2"),
    "element type": Mutation("two_products", set_to("symbols[1].type.dtype", "f8"), r"symbol 1 \(a\): unknown element"),
    "no elements": Mutation("two_products", set_to(f"{C}.buffers[0].type.shape[0]", 0), r"buffer 0 \(x\): .* 0 bytes"),
    "huge": Mutation(
        "two_products", set_to("symbols[0].type.shape[0]", 2**64 - 1), r"symbol 0 \(x\): .* cannot be held"
    ),
    "section kind": Mutation("two_products", set_to("sections[0].kind", "fwd"), r"section 0 \(fwd_0\): unknown kind"),
    "dangling configuration": Mutation("two_products", set_to("sections[0].configuration", 1), "no configuration 1"),
    "dangling symbol": Mutation("two_products", set_to("sections[0].bindings[2]", 9), r"section 0 .*no symbol 9"),
    "dangling string": Mutation("two_products", set_to("sections[0].locations[0].file", 5), "no string 5"),
    "dangling unit": Mutation("two_products", set_to(f"{C}.buffers[1].units[0]", 77), r"buffer 1 \(a\): .*no unit 77"),
    "dangling buffer": Mutation("two_products", set_to(f"{P}.stages[0].inputs[0].buffer", 7), "input 0: .*no buffer 7"),
    "dangling value": Mutation("two_products", set_to(f"{P}.stages[0].outputs[0].value", 9), "output 0: .*no value 9"),
    "dangling operand": Mutation("two_products", set_to(f"{P}.stages[0].operations[0].operands[0]", 9), "no value 9"),
    "dangling slot": Mutation("two_products", set_to(f"{P}.streams[0].slot", 9), "load stream 0: there is no slot 9"),
    "dangling AGCU": Mutation("two_products", set_to(f"{P}.streams[3].agcus[0]", 4), "store stream 3: .*no AGCU 4"),
    "site off the grid": Mutation("two_products", set_to(f"{C}.units[2].site", 64), "unit 2: there is no site 64"),
    "no such axis": Mutation("two_products", set_to(f"{P}.stages[0].values[0].axes[0]", 2), "value 0: .*no axis 2"),
    "more axes than loops": Mutation(
        "two_products", lambda pef: stage(pef).values[0].axes.append(1), "value 0: 2 axes are named for 1 loops"
    ),
    "axes without counts": Mutation(
        "two_products", lambda pef: first(pef).buffers[0].ClearField("counts"), r"\(x\): .*1 axes and 0 counts"
    ),
    "counted but not cut": Mutation(
        "two_products", set_to(f"{C}.buffers[0].axes[0]", -1), r"\(x\): 4 iterations are counted of a loop that cuts no"
    ),
    "field of format 1": Mutation("two_products", set_to(f"{P}.tiles", 4), "phase 0: the field 'tiles' belongs to"),
    "unknown operator": Mutation(
        "two_products", set_to(f"{P}.stages[0].operations[1].op", "tahn"), r"stage 0 \(fc1\).*unknown operator 'tahn'"
    ),
    "unknown attribute": Mutation(
        "two_products",
        set_to(f"{P}.stages[0].operations[0].attributes[0].name", "x"),
        r"\(matmul\): .*takes the attributes dtype, not x",
    ),
    "attribute without value": Mutation(
        "two_products",
        lambda pef: stage(pef).operations[0].attributes[0].ClearField("dtype"),
        "'dtype' of .* has no value",
    ),
    "attribute of another type": Mutation(
        "two_phases",
        set_to(f"{P}.stages[0].operations[0].attributes[0].integer", 3),
        "takes a value of kind integers, not integer",
    ),
    "attribute twice": Mutation(
        "two_products",
        lambda pef: stage(pef).operations[0].attributes.append(stage(pef).operations[0].attributes[0]),
        "takes the attributes dtype, not dtype, dtype",
    ),
    "no iterations": Mutation("two_products", set_to(f"{P}.loops[0]", 0), "phase 0: loop 0 .* has no iterations"),
    "no parallelism": Mutation("two_products", set_to(f"{P}.stages[1].chain", 0), r"stage 1 \(fc2\): .*no PCUs"),
    "net without owner": Mutation(
        "two_products", lambda pef: first(pef).nets[0].ClearField("owner"), "net 0: a READ net"
    ),
    "net of a wrong owner": Mutation("two_products", set_to(f"{C}.nets[0].stream", 0), "net 0: .*not to stream"),
    "net of no stage": Mutation("two_products", set_to(f"{C}.nets[0].stage", 5), "net 0: there is no stage 5"),
    "net of no phase": Mutation("two_products", set_to(f"{C}.nets[0].phase", 1), "net 0: there is no phase 1"),
    "net of no port": Mutation("two_products", set_to(f"{C}.nets[0].port", 2), "net 0: there is no port 2"),
    "net of no kind": Mutation("two_products", set_to(f"{C}.nets[0].kind", 9), "net 0: .*unknown kind 9"),
    "net from nowhere": Mutation(
        "two_products", lambda pef: first(pef).nets[0].ClearField("source"), "net 0: .*neither"
    ),
    "net to nowhere": Mutation("two_products", lambda pef: first(pef).nets[0].ClearField("sinks"), "net 0: .*nowhere"),
    # units
    "two units on one site": Mutation("two_products", move_unit(1, 1), "unit 1 stands on site 1, where unit 0 is"),
    "faulty site": Mutation("two_products", move_unit(0, 10), "unit 0 stands on site 10, which is faulty"),
    "buffer on a PCU": Mutation("two_products", move_unit(0, 45), r"buffer 0 \(x\): unit 0 on site 45 is a PCU"),
    "stage on a PMU": Mutation("two_products", move_unit(10, 62), r"stage 1 \(fc2\): unit 10 on site 62 is a PMU"),
    "PCU in two stages": Mutation("two_products", set_to(f"{P}.stages[1].units[0]", 6), "PCU unit 6 is taken 2 times"),
    "unused unit": Mutation("two_products", lambda pef: first(pef).units.add(site=62), "unit 11 belongs to no stage"),
    "PMU named twice": Mutation("two_products", set_to(f"{C}.buffers[2].units[1]", 2), "names a PMU twice"),
    "PMU too small": Mutation(
        "two_products",
        set_to("machine.pmu_bytes", 12287),
        r"PMU unit 2 on site .* holds 12288 bytes of buffer 2 \(hidden\)",
    ),
    # buffers
    "ring of no slices": Mutation("two_products", set_to(f"{C}.buffers[0].depth", 0), r"\(x\): .*holds 0 of its 4"),
    "ring of too many slices": Mutation(
        "two_products", set_to(f"{C}.buffers[0].depth", 5), r"\(x\): .*holds 5 of its 4"
    ),
    "unequal tiles": Mutation(
        "two_products", set_to(f"{C}.buffers[0].counts[0]", 3), r"\(x\): .*not cut .*into 3 equal"
    ),
    "ring out of step": Mutation("two_products", set_to(f"{C}.buffers[0].counts[0]", 8), r"\(x\): .*counts 8 .* has 4"),
    "ring along another axis": Mutation(
        "two_products", set_to(f"{C}.buffers[0].axes[0]", 1), r"stream 0: .*\(x\) is cut \[1\], but written cut \[0\]"
    ),
    "ring across phases": Mutation("two_phases", hold_in_ring, "ring of phase 0 is used in phase 1"),
    "phase of other tiles": Mutation("two_products", set_to(f"{P}.loops[0]", 3), "not cut along axis 0 into 3"),
    "two writers": Mutation(
        "residual", set_to(f"{P}.stages[1].outputs[0].buffer", 1), r"buffer 1 \(inner\): .*2 writers"
    ),
    "no writer": Mutation(
        "residual", set_to(f"{P}.stages[1].outputs[0].buffer", 1), r"buffer 2 \(outer\): .*0 writers"
    ),
    "no reader": Mutation(
        "residual", set_to(f"{P}.stages[2].inputs[1].buffer", 0), r"buffer 2 \(outer\): .*nothing reads the buffer"
    ),
    "stages swapped": Mutation("two_products", swap_stages, r"stage 0 \(fc2\), input 0: .*\(hidden\) is read before"),
    "later stages swapped": Mutation(
        "residual", swap_stages, r"stage 0 \(outer\), input 0: .*\(inner\) is read before"
    ),
    "phases swapped": Mutation(
        "two_phases", lambda pef: first(pef).phases.reverse(), r"\(scaling\), input 0: .*read before phase 1 writes it"
    ),
    "whole read of a stream": Mutation(
        "residual", read_whole, r"stage 1 \(outer\), input 0: .*\(inner\) is read before .* has written all of it"
    ),
    "sum without a combine": Mutation(
        "two_phases",
        set_to(f"{P}.stages[0].outputs[0].combine", ""),
        r"\(product\), output 0: every iteration of loop 0",
    ),
    "slices combined": Mutation(
        "two_products", set_to(f"{P}.stages[0].outputs[0].combine", "sum"), "output 0: slices are combined by 'sum'"
    ),
    "combine on a read": Mutation("two_products", set_to(f"{P}.stages[0].inputs[0].combine", "sum"), "read combines"),
    # stages
    "wrong combine": Mutation(
        "two_phases", set_to(f"{P}.stages[0].outputs[0].combine", "max"), "combined by 'max', the operator says 'sum'"
    ),
    "unknown combine": Mutation(
        "two_phases", set_to(f"{P}.stages[0].outputs[0].combine", "product"), "combined by 'product'"
    ),
    "wrong tile type": Mutation(
        "two_products", set_to(f"{P}.stages[0].values[2].type.shape[1]", 47), r"operation 0 \(matmul\): the results are"
    ),
    "wrong port type": Mutation(
        "two_products", set_to(f"{P}.stages[0].values[0].type.dtype", "bf16"), "input 0: the value"
    ),
    "wrong axis": Mutation("two_products", set_to(f"{P}.stages[0].values[2].axes[0]", 1), "does not cut the results"),
    "port along another axis": Mutation(
        "two_products", set_to(f"{P}.stages[0].values[0].axes[0]", 1), r"input 0: loop 0 cuts .*\(x\) along axis 1"
    ),
    "value inside the ports' loops": Mutation(
        "two_phases", cut_a_constant, r"\(scaling\): value 9 is cut \[1\], the ports by the outer 0 loops alone"
    ),
    "used before made": Mutation(
        "two_products", set_to(f"{P}.stages[0].operations[0].operands[0]", 3), "value 3 is used before it is made"
    ),
    "made twice": Mutation(
        "two_products", set_to(f"{P}.stages[0].operations[1].results[0]", 2), "value 2 is made twice"
    ),
    "never made": Mutation(
        "two_products", lambda pef: stage(pef).operations.pop(), r"\(fc1\), output 0: value 3 is never made"
    ),
    "given twice": Mutation("two_products", set_to(f"{P}.stages[0].inputs[1].value", 0), "value 0 is given twice"),
    "limit": Mutation(
        "residual",
        lambda pef: [value.type.__setattr__("dtype", "i32") for value in stage(pef).values],
        r"operation 0 \(tanh\): tanh: the operator takes floating-point tensors",
    ),
    "constant of a tile": Mutation("residual", add_unrelated_constant, "cutting the operands of add"),
    "partial sum used": Mutation("two_phases", use_partial_sum, "complete only after the last iteration"),
    "two products": Mutation("two_products", multiply_twice, r"\(fc2\): the stage has 2 matrix products"),
    "product of a computation": Mutation("two_products", compute_before_product, "computed in its own stage"),
    "a PCU short": Mutation("two_products", lambda pef: stage(pef).units.pop(), r"\(fc1\): .*3 PCUs, .* 1x2x2x1"),
    "chain too short": Mutation("two_phases", set_to(f"{C}.phases[1].stages[0].chain", 1), "chain is 1 .* fill 2"),
    "no output": Mutation("two_products", write_nothing, "writes no buffer"),
    # streams
    "load computes": Mutation(
        "two_products", lambda pef: stream(pef, 0).operations.append(encode_op(op("tanh"), [0], [0])), "load passes"
    ),
    "store computes": Mutation(
        "two_phases", set_to(f"{C}.phases[1].streams[1].operations[0].op", "tanh"), "store stream 1"
    ),
    "stream of another tile": Mutation(
        "two_products", set_to(f"{P}.streams[0].values[0].type.shape[0]", 32), "load stream 0: the slice is"
    ),
    "stream along another axis": Mutation(
        "two_products", set_to(f"{P}.streams[0].values[0].axes[0]", 1), r"load stream 0: the slice is cut \[1\]"
    ),
    "store of nothing": Mutation("two_products", lambda pef: stream(pef, 3).ClearField("values"), "store has no value"),
    "slot of another type": Mutation("two_products", set_to(f"{C}.slots[3].shape[0]", 128), "store stream 3: .* moves"),
    "store without its view": Mutation(
        "two_phases", lambda pef: stream(pef, 1, 1).ClearField("operations"), "last value is never made"
    ),
    "no AGCU": Mutation("two_products", lambda pef: stream(pef, 1).ClearField("agcus"), "load stream 1: .*no AGCU"),
    "AGCU twice": Mutation("two_products", set_to(f"{P}.streams[0].agcus[1]", 0), "load stream 0: .*AGCU twice"),
    "unused slot": Mutation(
        "two_products", lambda pef: first(pef).slots.append(encode_type(f32(1))), "slot 4 is neither"
    ),
    # nets
    "no route": Mutation(
        "two_products", lambda pef: net(pef, pb.Net.LOAD).ClearField("route"), "does not lead from AGCU"
    ),
    "dropped link": Mutation("two_products", drop_link, "net .* of .*the route"),
    "half a link": Mutation("two_products", lambda pef: net(pef, pb.Net.READ).route.pop(), "half a link"),
    "link across the chip": Mutation(
        "two_products", lambda pef: net(pef, pb.Net.READ).route.extend([1, 60]), "1 to 60"
    ),
    "link around the edge": Mutation("two_products", lambda pef: net(pef, pb.Net.READ).route.extend([7, 8]), "7 to 8"),
    "link off the grid": Mutation("two_products", lambda pef: net(pef, pb.Net.READ).route.extend([63, 71]), "63 to 71"),
    "link twice": Mutation(
        "two_products", lambda pef: net(pef, pb.Net.READ).route.extend(net(pef, pb.Net.READ).route[:2]), "twice"
    ),
    "dangling branch": Mutation("two_products", lambda pef: net(pef, pb.Net.READ).route.extend([55, 63]), "to no sink"),
    "no bytes": Mutation(
        "two_products", set_to(f"{C}.nets[0].bytes", 0), r"net 0 of .*\(fc1\): the net carries no bytes"
    ),
    "net from elsewhere": Mutation(
        "two_products", set_to(f"{C}.nets[0].source.unit", 1), "READ net cannot start at unit 1"
    ),
    "net to elsewhere": Mutation(
        "two_products", set_to(f"{C}.nets[0].sinks[0].unit", 10), "READ net cannot end at unit 10"
    ),
    "net from an AGCU": Mutation("two_products", set_to(f"{C}.nets[0].source.agcu", 0), "cannot start at AGCU 0"),
    "net ends twice": Mutation("two_products", set_to(f"{C}.nets[0].sinks[1].unit", 6), "ends twice"),
    "stream of the other kind": Mutation(
        "two_products", set_to(f"{P}.streams[3].store", False), "STORE net cannot start"
    ),
    "missing read": Mutation(
        "two_products", drop_net(pb.Net.READ), r"stage 0 \(fc1\): no net joins PCU unit 6 to input 0"
    ),
    "missing write": Mutation("two_products", drop_net(pb.Net.WRITE), r"\(fc1\): no net joins PCU unit 6 to output 0"),
    "missing load": Mutation("two_products", drop_net(pb.Net.LOAD), "load stream 0: no net of the stream joins AGCU 0"),
    "missing store": Mutation("two_products", drop_net(pb.Net.STORE), "store stream 3: no net of the stream joins PMU"),
    "missing chain": Mutation("two_phases", drop_net(pb.Net.CHAIN), r"\(scaling\): .*to the next of its chain"),
    "operand bytes lost": Mutation(
        "two_products", set_to(f"{C}.nets[0].bytes", 1), r"stage 0 \(fc1\), input 0: the nets carry 1 of the operand's"
    ),
    "result bytes lost": Mutation(
        "two_products",
        lambda pef: setattr(net(pef, pb.Net.WRITE), "bytes", 1),
        "output 0: the nets carry .* of the value's",
    ),
    "bytes lost": Mutation("two_products", lambda pef: setattr(net(pef, pb.Net.STORE), "bytes", 1), "carry 1 of the"),
    # what symbols are for
    "parameter as state": Mutation("two_products", set_to("symbols[1].kind", "state"), r"\(a\): no section stores it"),
    "output as hyper": Mutation(
        "two_products", set_to("symbols[3].kind", "hyper"), r"\(y\): a section of type FWD stores it, .* kind hyper"
    ),
    "output as activation": Mutation(
        "two_products", set_to("symbols[3].kind", "activation"), r"\(y\): it is persistent, but of kind activation"
    ),
    "input as output gradient": Mutation(
        "two_products", set_to("symbols[0].kind", "output_gradient"), r"\(x\): a section of type FWD loads it"
    ),
    "input as output": Mutation("two_products", set_to("symbols[0].kind", "output"), r"\(x\) is loaded before it"),
    "hyper-parameter of many numbers": Mutation(
        "two_products", set_to("symbols[0].kind", "hyper"), r"\(x\): a hyper-parameter is one number"
    ),
    "gradient without a writer": Mutation(
        "two_phases",
        lambda pef: pef.symbols.add(
            name="g", type=encode_type(f32(1)), kind="gradient", persistent=True, offset=1 << 20
        ),
        r"\(g\): no section stores it",
    ),
    "activation for ever": Mutation("residual", set_to("symbols[1].persistent", True), r"\(h\): it is persistent"),
    "forward pass that updates": Mutation(
        "two_products", set_to("sections[0].kind", "OPT"), r"\(x\): a section of type OPT loads it"
    ),
    "update before the forward pass": Mutation(
        "step", set_to("sections[1].kind", "OPT"), r"section 2 \(fwd_1\): section type FWD comes after OPT"
    ),
    # sizes
    "grid of millions": Mutation("two_products", set_to("machine.rows", 4194304), "a grid of 4194304x8 has more than"),
    "bandwidth of next to nothing": Mutation(
        "two_products", set_to("machine.tiers[0].bandwidth_bytes_per_s", 5e-324), "bandwidth_bytes_per_s is .*, not"
    ),
    "clock of next to nothing": Mutation("two_products", set_to("machine.clock_ghz", 5e-324), "clock_ghz is .*, not"),
    "endless name": Mutation("two_products", set_to("symbols[0].name", "x" * 2**20), "a name of 1048576 characters"),
    "name that clears the screen": Mutation(
        "two_products", set_to("symbols[0].name", "\x1b[2J"), r"symbol 0: the name '\\x1b\[2J' has characters"
    ),
    "stages without end": Mutation(
        "two_products",
        lambda pef: first(pef).phases[0].stages.extend([pb.Stage()] * 20_000),
        "20,002 stages are more than the 64 sites",
    ),
    "sections without end": Mutation(
        "two_products", lambda pef: pef.sections.extend([pb.Section()] * 200_000), "200,001 sections are more than"
    ),
    "firings without end": Mutation(
        "two_products", set_to(f"{P}.tiles", 2**32 - 1), "firings of stages and streams are more than"
    ),
    # symbols
    "no name": Mutation("two_products", set_to("symbols[0].name", ""), "symbol 0: the symbol has no name"),
    "name twice": Mutation("two_products", set_to("symbols[1].name", "x"), r"symbol 1 \(x\): symbol 0 has this name"),
    "beyond memory": Mutation("two_products", set_to("symbols[3].offset", 1 << 24), r"symbol 3 \(y\): .*in tier ddr"),
    "unaligned": Mutation("two_products", set_to("symbols[3].offset", 65537), r"symbol 3 \(y\): offset 65537"),
    "live symbols overlap": Mutation(
        "two_products", set_to("symbols[1].offset", 64), r"symbol 1 \(a\): .*symbol 0 \(x\)"
    ),
    "lifetimes overlap": Mutation("step", set_to("symbols[4].last", 2), r"\(h2\): .*symbol 4 \(h\) while both live"),
    "lifetime backwards": Mutation("residual", set_to("symbols[1].first", 1), "used outside its lifetime"),
    "loaded too late": Mutation(
        "residual", set_to("symbols[1].last", 0), r"section 1 .*symbol 1 \(h\) is used outside"
    ),
    "loaded before stored": Mutation(
        "residual", lambda pef: pef.sections.reverse(), r"section 0 \(fwd_1\).*symbol 1 \(h\) is loaded before"
    ),
    "binding too few": Mutation("two_products", lambda pef: pef.sections[0].bindings.pop(), "binds 3 of 4 slots"),
    "binding of another type": Mutation(
        "two_products", set_to("sections[0].bindings[1]", 2), r"slot 1 takes f32\[32,48\]"
    ),
    "location missing": Mutation("two_products", lambda pef: pef.sections[0].locations.pop(), "2 locations for 3"),
    "stored twice": Mutation("residual", store_twice, "is stored by .* too"),
}
