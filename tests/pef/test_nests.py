"""The checker on nests of loops: it accepts what can run and names what cannot."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ir.errors import IllegalPefError
from pef import pef_pb2 as pb
from pef.codec import encode_op, encode_type
from runtime.timing import simulate
from tests.pef.nests import NESTS, attention, maximum, pef_of_nest
from tests.pef.problems import problems
from tests.pef.samples import ConfigurationBuilder, f32
from tests.timing.build import FREE_MEMORY, bf16, matmul, op


def nest_problems(configuration: pb.Configuration) -> list[str]:
    """What the checker finds in a PEF of this configuration."""
    return problems(pef_of_nest(configuration))


@pytest.mark.parametrize("name", NESTS)
def test_nests_are_legal(name: str) -> None:
    assert nest_problems(NESTS[name]()) == []


Change = Callable[[pb.Configuration], object]


def loops(*counts: int) -> Change:
    return lambda c: c.phases[0].loops.__setitem__(slice(None), counts)


def recut_buffer(number: int, axes: list[int], counts: list[int], depth: int) -> Change:
    """Another cut of a buffer, which its ports know nothing of."""

    def change(c: pb.Configuration) -> None:
        buffer = c.buffers[number]
        buffer.axes[:], buffer.counts[:], buffer.depth = axes, counts, depth

    return change


def recut_input(stage: int, port: int, axes: list[int], *shape: int) -> Change:
    """Another cut of what a stage reads, and of nothing else."""

    def change(c: pb.Configuration) -> None:
        record = c.phases[0].stages[stage]
        value = record.values[record.inputs[port].value]
        value.axes[:], value.type.shape[:] = axes, shape

    return change


def deepen(buffer: int, depth: int) -> Change:
    return lambda c: setattr(c.buffers[buffer], "depth", depth)


def combine(stage: int, how: str) -> Change:
    return lambda c: setattr(c.phases[0].stages[stage].outputs[0], "combine", how)


def read_sum_in_its_phase(c: pb.Configuration) -> None:
    """The second phase's stage and store, moved into the first."""
    c.phases[0].stages.append(c.phases[1].stages[0])
    c.phases[0].streams.append(c.phases[1].streams[0])
    stage = c.phases[0].stages[1]
    for value in stage.values:
        value.axes[:], value.type.shape[:] = [-1, 1], (24, 16)
    for net in c.nets:
        if net.phase == 1:
            net.phase, kind = 0, net.WhichOneof("owner")
            setattr(net, kind, 1 if kind == "stage" else 2)
    del c.phases[1]
    c.buffers[3].axes[:], c.buffers[3].counts[:], c.buffers[3].depth = [-1, 1], [1, 4], 4
    stream = c.phases[0].streams[2]
    stream.axes[:] = [-1, 1]
    stream.values[0].axes[:], stream.values[0].type.shape[:] = [-1, 1], (24, 16)


def copy_not_reduced(c: pb.Configuration) -> None:
    """Write what the inner loop leaves as it is beside what it sums."""
    stage = c.phases[0].stages[0]
    stage.operations.append(encode_op(op("full", shape=(32, 24), value=1.0, dtype=bf16().dtype), [], [3]))
    stage.values.add(type=encode_type(bf16(32, 24)), axes=[0])
    stage.outputs[0].value = 3


def two_ways(c: pb.Configuration) -> None:
    """A product summed over the inner loop whose maximum over the outer one is taken of parts."""
    stage = c.phases[0].stages[0]
    stage.operations.append(encode_op(op("amax", dims=(0,), keepdim=True), [2], [3]))
    stage.values.add(type=encode_type(bf16(1, 24)))


MUTANTS: dict[str, tuple[str, Change, str]] = {
    "no such count": ("stationary", loops(5, 4), r"\(w\): the buffer counts 3 iterations of loop 0, .* phase 0 has 5"),
    "unequal slices": ("attention", loops(3, 5), "is not cut along axis 0 into 3 and along axis 1 into 5"),
    "more axes than loops": ("attention", loops(12), "2 axes are named for 1 loops"),
    "buffer not as written": (
        "attention",
        recut_buffer(3, [0], [3], 2),
        r"\(qk\), output 0: .*\(s\) is cut \[0\], but written cut \[0, 1\]",
    ),
    "whole load into a ring": (
        "attention",
        lambda c: c.phases[0].streams[1].axes.pop(),
        r"load stream 1: .*\(k\) is cut \[0\], but written cut \[\]",
    ),
    "same axis by another loop": (
        "resident",
        recut_input(0, 1, [1, 1], 32, 8),
        r"\(gemm\), input 1: axis 1 of .*\(w\) is cut \[1, 1\], while .*load stream 1 writes it cut \[-1, 1\]",
    ),
    "ring read along another axis": (
        "attention",
        recut_input(1, 0, [0, 2], 1, 64, 16),
        r"\(softmax\), input 0: loop 1 cuts .*\(s\) along axis 2, while .* writes it cut \[0, 1\]",
    ),
    "ring too short for what is read whole": (
        "attention",
        recut_input(1, 0, [0], 1, 64, 64),
        r"\(s\): the ring holds 2 slices, .*\(softmax\), input 0 reads 4 of them",
    ),
    "read across the outer loop": (
        "attention",
        recut_input(1, 0, [-1, 1], 3, 16, 64),
        r"\(softmax\), input 0: .*\(s\) is read before .* has written all of it",
    ),
    "sum without a combine": (
        "inner_sum",
        combine(0, ""),
        r"\(product\), output 0: every iteration of loop 1 writes the same slice",
    ),
    "wrong combine": ("inner_sum", combine(0, "max"), "combined by 'max', the operator says 'sum'"),
    "wrong combine of a maximum": ("maximum", combine(1, "sum"), "combined by 'sum', the operator says 'max'"),
    "combine of slices": ("inner_sum", combine(1, "sum"), r"\(exp\), output 0: slices are combined by 'sum'"),
    "combine of what no loop changes": (
        "inner_sum",
        copy_not_reduced,
        "output 0: iterations are combined by 'sum', although nothing is reduced over loop 1",
    ),
    "sum over parts used": ("inner_sum", two_ways, "amax uses a sum that is complete only after the last iteration"),
    "outer sum read in its phase": (
        "outer_sum",
        read_sum_in_its_phase,
        r"\(exp\), input 0: .*\(held\) is read before it is combined over the phase's outermost loop",
    ),
    "outer sum in a ring": ("outer_sum", deepen(2, 2), r"\(held\): a ring of phase 0 is used in phase 1"),
    "store repeats itself": (
        "stationary",
        lambda c: c.phases[0].streams[2].axes.__setitem__(0, -1),
        "store stream 2: the store moves the same slice in every iteration of loop 0",
    ),
    "store changes the cut": (
        "stationary",
        lambda c: c.phases[0].streams[2].values[0].axes.__setitem__(0, -1),
        "store stream 2: the store turns the slices of loop 0 into a whole",
    ),
    "scores do not wait": (
        "maximum",
        deepen(2, 3),
        r"\(s\): .*would stop for ever, .*\(exp\); .*\(sub\); .*\(amax\)\n    try: let the ring hold more than 3",
    ),
    "part of a unit": ("units", deepen(1, 3), r"\(h\): the ring holds 3 slices, of which 2 are complete at one time"),
    "rebound element type": (
        "attention",
        lambda c: c.buffers[0].type.CopyFrom(encode_type(f32(3, 64, 32))),
        r"\(qk\), input 0: the value is",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_refused(name: str) -> None:
    sample, change, expected = MUTANTS[name]
    configuration = {**NESTS, "units": units}[sample]()
    change(configuration)
    found = nest_problems(configuration)
    assert any(re.search(expected, problem) for problem in found), found


def units() -> pb.Configuration:
    """Products by two blocks of columns, summed over a middle loop: both blocks are complete at one time."""
    b = ConfigurationBuilder(FREE_MEMORY)
    counts, cut = (3, 2, 2), (0, -1, 1)
    types = bf16(96, 64), bf16(64, 48), bf16(96, 48)
    x = b.buffer("x", types[0], (0, 1), counts, 2)
    h = b.buffer("h", types[2], cut, counts, 4)
    w = b.buffer("w", types[1], (-1, 0, 1), counts, 4)
    y = b.buffer("y", types[2], cut, counts, 4)
    slots = [b.slot(tensor) for tensor in types]
    b.phase(*counts)
    stage = b.stage("product")
    product = stage.apply(matmul(), stage.read(x, (0, 1)), stage.read(w, (-1, 0, 1)), axis=cut)
    stage.write(product, h, combine="sum")
    stage.place()
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(h, 0), axis=0), y)
    stage.place()
    b.record.buffers[y].axes[:], b.record.buffers[y].counts[:], b.record.buffers[y].depth = [0], [3], 2
    b.load(slots[0], x, (0, 1), agcus=(0,))
    b.load(slots[1], w, (-1, 0, 1), agcus=(1,))
    b.store(slots[2], y, 0, agcus=(2,))
    return b.build()


def test_units_of_several_slices_are_legal() -> None:
    assert nest_problems(units()) == []


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_ring_beside_a_reduction_holds_its_block(depth: int) -> None:
    """The checker refuses exactly the depths at which the simulation stands still."""
    configuration = maximum(depth=depth)
    found = nest_problems(configuration)
    if depth < 4:
        assert len(found) == 1
        with pytest.raises(IllegalPefError, match=r"deadlocks: .*'exp' stops after"):
            simulate(pef_of_nest(configuration))
    else:
        assert found == []
        assert simulate(pef_of_nest(configuration)).cycles > 0


def test_a_symbol_may_be_loaded_twice() -> None:
    """K and V of one symbol, each in a buffer of its own."""
    configuration = attention()
    configuration.phases[0].streams[2].slot = 1
    del configuration.slots[2]
    configuration.phases[0].streams[3].slot = 2
    assert nest_problems(configuration) == []
