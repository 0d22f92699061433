"""Every rule of a program: broken once, it is reported; broken together, all are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from samples import f32, i32, op

from ir.errors import GraphError
from ir.graph import Graph, Node, Output, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.verifier import verify

X, Y = Symbol("x", f32(4, 6), SymbolKind.INPUT), Symbol("y", f32(4, 6), SymbolKind.OUTPUT)
VALUE, RESULT = Value("x", f32(4, 6)), Value("a", f32(4, 6))
WHERE = Location("model.py", 12, "act")
NODE = Node(op("relu"), (VALUE,), (RESULT,), WHERE)
GRAPH = Graph(SectionKind.FWD, (VALUE,), (NODE,), (Output("y", RESULT),))
PROGRAM = Program("tiny", (X, Y), (GRAPH,))


def with_node(**changes: object) -> Program:
    return replace(PROGRAM, graphs=(replace(GRAPH, nodes=(replace(NODE, **changes),)),))


def with_graph(**changes: object) -> Program:
    return replace(PROGRAM, graphs=(replace(GRAPH, **changes),))


BROKEN = {
    "program tiny declares a symbol twice": replace(PROGRAM, symbols=(X, Y, X)),
    "program tiny has two graphs of one section type": replace(PROGRAM, graphs=(GRAPH, GRAPH)),
    "graph FWD reads %x as f32[4,6], which is not declared": replace(PROGRAM, symbols=(Y,)),
    "graph FWD reads %x as f32[4,6], which is declared i32[4,6]": replace(
        PROGRAM, symbols=(replace(X, type=i32(4, 6)), Y)
    ),
    "graph FWD reads %x twice": with_graph(inputs=(VALUE, VALUE)),
    "model.py:12 (act): %a is defined twice": with_graph(nodes=(NODE, NODE)),
    "model.py:12 (act): %x is defined twice": with_graph(nodes=(NODE, replace(NODE, results=(VALUE,)))),
    "model.py:12 (act): relu reads %z, not defined as f32[4,6]": with_node(operands=(Value("z", f32(4, 6)),)),
    "model.py:12 (act): relu reads %x, not defined as i32[4,6]": with_node(operands=(Value("x", i32(4, 6)),)),
    "model.py:12 (act): add does not accept (f32[4,6])": with_node(op=op("add")),
    "model.py:12 (act): softmax does not accept (f32[4,6]): f32[4,6] has no axis 2": with_node(op=op("softmax", dim=2)),
    "model.py:12 (act): relu makes f32[4,6], not the declared results": with_node(results=(Value("a", f32(6, 4)),)),
    "model.py:12 (act): logical_not: the operator takes bool tensors": with_node(op=op("logical_not")),
    "graph FWD stores %b, which is not defined as f32[4,6]": with_graph(outputs=(Output("y", Value("b", f32(4, 6))),)),
    "graph FWD stores f32[4,6] into symbol z, which is not declared": with_graph(outputs=(Output("z", RESULT),)),
    "graph FWD stores f32[4,6] into symbol y, which is declared i32[4]": replace(
        PROGRAM, symbols=(X, replace(Y, type=i32(4)))
    ),
    "graph FWD stores a symbol twice": with_graph(outputs=(Output("y", RESULT), Output("y", RESULT))),
}


def test_a_valid_program_passes() -> None:
    verify(PROGRAM)


@pytest.mark.parametrize("message", BROKEN)
def test_broken_rule_is_reported(message: str) -> None:
    with pytest.raises(GraphError) as error:
        verify(BROKEN[message])
    assert message in str(error.value)


def test_all_broken_rules_are_reported_at_once() -> None:
    nodes = (replace(NODE, op=op("logical_not")), replace(NODE, op=op("softmax", dim=2)))
    with pytest.raises(GraphError) as error:
        verify(replace(PROGRAM, symbols=(X, Y, X), graphs=(replace(GRAPH, nodes=nodes),)))
    messages = [problem.message for problem in error.value.problems]
    assert messages == [
        "program tiny declares a symbol twice",
        "logical_not: the operator takes bool tensors",
        "softmax does not accept (f32[4,6]): f32[4,6] has no axis 2",
        "%a is defined twice",
    ]
