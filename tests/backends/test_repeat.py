"""What each reader computes again: which operators are, and that no number changes."""

from __future__ import annotations

from collections import Counter

import numpy as np

import ir.ops  # noqa: F401  (declares the operators)
from backends.rdu.fuse.distance import FAR
from backends.rdu.fuse.repeat import with_repeats
from ir import interpreter
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType

ROWS = TensorType(DType.F32, (64, 32))
ROW = TensorType(DType.F32, (1, 32))


class Building:
    """A graph of elementwise operators over %x and %y, with rows %m and %s beside them."""

    def __init__(self) -> None:
        self.builder = GraphBuilder(SectionKind.BCKWD)
        self.builder.location = Location("model.py", 1, "", "")
        self.x, self.y = (self.builder.input(name, ROWS) for name in "xy")
        self.m, self.s = (self.builder.input(name, ROW) for name in "ms")

    def add(self, name: str, *operands: Value) -> Value:
        """One more operator."""
        return self.builder.add(OPS[name](), *operands)

    def graph(self, *outputs: Value) -> Graph:
        """What was built, with these results stored."""
        for number, value in enumerate(outputs):
            self.builder.output(f"out_{number}", value)
        return self.builder.build()


def counts(graph: Graph) -> Counter[str]:
    """How often each operator stands in the graph. What repeats makes must be a graph, and say the same."""
    again = with_repeats(graph)
    rng = np.random.default_rng(0)
    values = {value.name: rng.standard_normal(value.type.shape, np.float32) for value in graph.inputs}
    expected, found = interpreter.run(graph, values), interpreter.run(again, values)
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    names = [result.name for node in again.nodes for result in node.results]
    assert len(names) == len(set(names))
    return Counter(node.op.name for node in again.nodes)


def test_every_reader_makes_what_is_cheap_itself() -> None:
    b = Building()
    centred = b.add("sub", b.x, b.m)
    graph = b.graph(b.add("mul", centred, b.y), b.add("mul", centred, b.s), b.add("add", centred, b.y))
    assert counts(graph) == {"sub": 3, "mul": 2, "add": 1}


def test_a_chain_is_made_again_as_a_whole() -> None:
    b = Building()
    centred = b.add("sub", b.x, b.m)
    scaled = b.add("mul", centred, b.s)
    graph = b.graph(b.add("mul", scaled, b.y), b.add("add", scaled, b.y), b.add("mul", centred, b.y))
    assert counts(graph) == {"sub": 3, "mul": 4, "add": 1}


def test_an_operator_that_reads_one_value_twice_gets_one_copy() -> None:
    b = Building()
    centred = b.add("sub", b.x, b.m)
    graph = b.graph(b.add("mul", centred, centred), b.add("add", centred, centred))
    assert counts(graph) == {"sub": 2, "mul": 1, "add": 1}


def test_what_is_stored_dear_or_made_on_chip_stays_one() -> None:
    b = Building()
    stored = b.add("sub", b.x, b.m)
    dear = b.add("exp", b.y)
    made = b.add("add", dear, b.m)
    readers = [b.add("mul", value, b.y) for value in (stored, dear, made)]
    others = [b.add("add", value, b.x) for value in (stored, dear, made)]
    assert counts(b.graph(stored, *readers, *others)) == {"sub": 1, "exp": 1, "mul": 3, "add": 4}


def test_chains_end_where_computing_costs_more_than_moving() -> None:
    b = Building()
    value = b.x
    for _ in range(6):
        value = b.add("add", value, b.m)
    assert counts(b.graph(b.add("mul", value, b.y), b.add("sub", value, b.y))) == {"add": 6, "mul": 1, "sub": 1}


def test_what_is_made_of_an_updated_symbol_stays_one() -> None:
    b = Building()
    centred = b.add("sub", b.x, b.m)
    product, total = b.add("mul", centred, b.y), b.add("add", centred, b.y)
    b.builder.output("x", total)
    assert counts(b.graph(product)) == {"sub": 1, "mul": 1, "add": 1}


def test_who_comes_much_later_reads_what_is_stored_anyway() -> None:
    """As the other end of a skip connection does: what the backward pass will read is in memory already."""
    for between, copies in ((4, 1), (FAR + 4, 2)):
        b = Building()
        stored = b.add("exp", b.x)
        cheap = b.add("relu", b.add("sub", stored, b.m))
        far = b.add("mul", cheap, b.y)
        for _ in range(between):
            far = b.builder.add(OPS["softmax"](dim=1), far)
        found = counts(b.graph(stored, b.add("mul", far, cheap)))
        assert found["sub"] == found["relu"] == copies and found["exp"] == 1
