"""What the checker says of streams that go by an index, and what a description shows of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rich.console import Console

from pef import pef_pb2 as pb
from pef.describe import Selection, as_dict, render
from tests.pef.problems import problems
from tests.pef.samples import f32, op
from tests.runtime import nests
from tests.runtime.nests import by_index


@dataclass(frozen=True)
class Mutation:
    """A program, a change to it, and a pattern of one of the problems it makes."""

    program: Callable[[], nests.Example]
    change: Callable[[pb.Pef], object]
    expected: str


def stream(pef: pb.Pef, number: int, phase: int = 0) -> pb.Stream:
    return pef.configurations[0].phases[phase].streams[number]


def rename(pef: pb.Pef, dtype: str) -> None:
    """Let the index hold numbers of another type, in its symbol, its buffer and its load."""
    pef.symbols[0].type.dtype = pef.configurations[0].slots[0].dtype = dtype
    pef.configurations[0].buffers[0].type.dtype = stream(pef, 0).values[0].type.dtype = dtype


def without_nets(pef: pb.Pef, kind: pb.Net.Kind.ValueType) -> None:
    nets = pef.configurations[0].nets
    kept = [net for net in nets if net.kind != kind]
    del nets[:]
    nets.extend(kept)


def shorten_nets(pef: pb.Pef) -> None:
    for net in pef.configurations[0].nets:
        if net.kind == pb.Net.INDEX:
            net.bytes = 1


def load_again_by_slices(pef: pb.Pef) -> None:
    """Let the load beside the scatter read the very symbol that is updated."""
    pef.symbols[1].type.shape[0] = pef.symbols[2].type.shape[0] = 64
    pef.configurations[0].slots[1].shape[0] = pef.configurations[0].slots[2].shape[0] = 64
    pef.symbols[1].kind = "buffer"
    pef.sections[0].bindings[2] = pef.sections[0].bindings[1]


def whole_by_a_ring(pef: pb.Pef) -> None:
    """Fetch everything at once, by an index of which two slices are there at a time."""
    configuration = pef.configurations[0]
    rows, fetch = configuration.buffers[1], stream(pef, 1)
    del rows.axes[:], rows.counts[:], fetch.axes[:], fetch.values[0].axes[:]
    rows.depth = 1
    fetch.values[0].type.shape[0] = 32


MUTATIONS = {
    "index of truth values": Mutation(
        nests.gathered, lambda pef: rename(pef, "f32"), r"load stream 1: the index is f32\[32\], not integers"
    ),
    "axis of another extent": Mutation(
        nests.gathered, lambda pef: by_index(stream(pef, 1), 0, 1), r"moves f32\[32,16\], of slot 1 the index picks"
    ),
    "axis that is not there": Mutation(nests.gathered, lambda pef: by_index(stream(pef, 1), 0, 2), "no axis 2"),
    "buffer that is not there": Mutation(nests.gathered, lambda pef: by_index(stream(pef, 1), 9, 0), "no buffer 9"),
    "its own index": Mutation(
        nests.gathered, lambda pef: by_index(stream(pef, 1), 1, 0), "the stream is its own index"
    ),
    "no index": Mutation(nests.gathered, lambda pef: stream(pef, 1).ClearField("index"), r"slot 1 holds f32\[64,16\]"),
    "index not brought": Mutation(
        nests.gathered, lambda pef: without_nets(pef, pb.Net.INDEX), "no net brings the index from PMU unit 0 to AGCU 0"
    ),
    "half an index": Mutation(nests.gathered, shorten_nets, "the nets carry 1 of the index's 16 bytes"),
    "index too late": Mutation(
        nests.gathered_whole_by_a_made_index,
        lambda pef: by_index(stream(pef, 0, 1), 2, 0),
        r"load stream 0: the stream is its own index",
    ),
    "ring of one loop read whole": Mutation(
        nests.gathered, whole_by_a_ring, "read by a load that comes before the phase's first firing"
    ),
    "matrix of places": Mutation(
        lambda: nests.gathered_in_part(resident=True),
        lambda pef: setattr(stream(pef, 1), "store", True),
        r"a store goes by a vector of integers, not by i32\[4,6\]",
    ),
    "update of what streams in": Mutation(
        nests.scattered, load_again_by_slices, "may be stored before .* has loaded it: one goes by index"
    ),
    "rows of nothing": Mutation(
        nests.scattered,
        lambda pef: setattr(pef.symbols[2], "kind", "output"),
        r"symbol 2 \(table\) is stored by index before it is stored",
    ),
}


def made_beside(whole: bool) -> pb.Pef:
    """A program whose index a stage makes in the phase that fetches by it."""
    b = nests.NestBuilder()
    b.phase(4)
    ids, table = b.loaded(nests.i32(32), (0,), 2), b.slot(f32(90, 16))
    doubled = b.hold("doubled", nests.i32(32), (0,), 4)
    cut = () if whole else (0,)
    rows, y = b.hold("rows", f32(32, 16), cut), b.hold("y", f32(32, 16), (0,), 2)
    stage = b.stage("double")
    number = stage.read(ids, (0,))
    stage.write(stage.apply(op("add"), number, number, axis=(0,)), doubled)
    stage.place()
    stage = b.stage("exp")
    stage.write(stage.apply(op("exp"), stage.read(rows, (0,)), axis=(0,)), y)
    stage.place()
    by_index(b.load(table, rows, cut), doubled, 0)
    b.stored(y, (0,))
    return nests.section(b.build(), ids="input", table="parameter", y="output")


@pytest.mark.parametrize("whole", [True, False])
def test_an_index_is_there_before_the_phase(whole: bool) -> None:
    expected = "by a load that comes before the phase's first firing" if whole else "before .* writes it"
    assert any(re.search(f"\\(doubled\\) is read {expected}", problem) for problem in problems(made_beside(whole)))


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_refused(name: str) -> None:
    pef = MUTATIONS[name].program().pef
    assert problems(pef) == []
    MUTATIONS[name].change(pef)
    found = problems(pef)
    assert any(re.search(MUTATIONS[name].expected, problem) for problem in found), found


def test_description() -> None:
    pef = nests.gathered().pef
    (phase,) = as_dict(pef)["configurations"][0]["phases"]
    ids, rows, _ = phase["streams"]
    assert (ids["index"], rows["index"], rows["index_axis"]) == (None, "in0", 0)
    assert (rows["transfers"], rows["bytes"]) == (8, 4 * 64)
    console = Console(width=200, record=True)
    render(pef, console, Selection(section="*"))
    assert "in0 along 0" in console.export_text()
