"""The text form: what prints is read back the same, and what cannot be read is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import SAMPLES, op

from ir.errors import GraphError
from ir.graph import Graph, Node, Output, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import Op
from ir.text import parse_program, print_program
from ir.types import DType, TensorType

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.from_regex(r"[\w.\-/<>$]{1,12}", fullmatch=True, alphabet=st.characters(codec="ascii"))
locations = st.builds(Location, st.text(max_size=12), st.integers(0, 10**6), *[st.text(max_size=12)] * 2)
fulls = st.builds(
    lambda shape, value, dtype: op("full", shape=shape, value=value, dtype=dtype),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    st.floats(allow_nan=False),
    st.sampled_from(DType),
)


@st.composite
def graphs(draw: st.DrawFn, kind: SectionKind, symbols: list[Symbol]) -> Graph:
    """A graph of random operators whose operands are symbols of fitting types, made as they are needed."""
    taken = {symbol.name for symbol in symbols}
    inputs: list[Value] = []
    nodes: list[Node] = []

    def fresh() -> str:
        name = draw(names.filter(lambda name: name not in taken))
        taken.add(name)
        return name

    def operand(type: TensorType) -> Value:
        known = [v for v in [*inputs, *(r for node in nodes for r in node.results)] if v.type == type]
        if known and draw(st.booleans()):
            return draw(st.sampled_from(known))
        symbols.append(Symbol(fresh(), type, draw(st.sampled_from(SymbolKind))))
        inputs.append(Value(symbols[-1].name, type))
        return inputs[-1]

    for _ in range(draw(st.integers(0, 4))):
        sample = draw(st.sampled_from(SAMPLES))
        applied: Op = sample.op if sample.operands else draw(fulls)
        operands = tuple(operand(type) for type in sample.operands)
        results = tuple(Value(fresh(), type) for type in applied.results(*sample.operands))
        nodes.append(Node(applied, operands, results, draw(locations)))
    outputs = []
    for value in inputs[:2]:
        symbols.append(Symbol(fresh(), value.type, SymbolKind.OUTPUT))
        outputs.append(Output(symbols[-1].name, value))
    return Graph(kind, tuple(inputs), tuple(nodes), tuple(outputs))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    symbols: list[Symbol] = []
    kinds = draw(st.lists(st.sampled_from(SectionKind), unique=True, max_size=2))
    made = tuple(draw(graphs(kind, symbols)) for kind in kinds)
    return Program(draw(st.from_regex(r"[A-Za-z_]\w{0,9}", fullmatch=True)), tuple(symbols), made)


@quick
@given(programs())
def test_programs_read_as_they_print(program: Program) -> None:
    text = print_program(program)
    assert parse_program(text) == program
    assert print_program(parse_program(text)) == text


@quick
@given(programs(), st.data())
def test_damaged_text_is_refused_and_never_crashes(program: Program, data: st.DataObject) -> None:
    text = print_program(program)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 20)))
    damaged = text[:start] + data.draw(st.text(max_size=3)) + text[stop:]
    try:
        parse_program(damaged)
    except GraphError as error:
        assert str(error).startswith("error[GRAPH]: <text>:")


PROGRAM = """program @tiny {
  symbol %x : f32[4,6] input
  symbol %y : f32[4,6] output

  graph FWD (%x) {
    %a = gelu(%x) {approximate="tanh"} : f32[4,6] @ "model.py":12 "act"
    store %a -> %y
  }
}
"""


def test_the_form_is_stable() -> None:
    assert print_program(parse_program(PROGRAM)) == PROGRAM


@pytest.mark.parametrize(
    ("seen", "instead", "message"),
    [
        ("f32[4,6] input", "f99[4,6] input", "t:2: 'f99[4,6]' is not a tensor type"),
        ("f32[4,6] input", "f32[4,6] inputs", "t:2: 'inputs' is not a valid SymbolKind"),
        ("graph FWD", "graph FORWARD", "t:5: 'FORWARD' is not a valid SectionKind"),
        ("graph FWD (%x)", "graph FWD (%z)", "t:5: %z is not a symbol"),
        ("gelu(", "glue(", "t:6: there is no operator 'glue'"),
        ("gelu(%x)", "gelu(%z)", "t:6: %z is not defined"),
        ('{approximate="tanh"}', '{form="tanh"}', "t:6: operator gelu: "),
        ('{approximate="tanh"}', "{approximate=tanh}", "t:6: 'tanh' is not an attribute value"),
        ('{approximate="tanh"}', "{approximate=[1,x]}", "t:6: expected a whole number, found 'x'"),
        (': f32[4,6] @ "model', ': f32[4,6], i8[4] @ "model', "t:6: 1 result(s) have 2 type(s)"),
        ('@ "model.py":12', "@ model.py:12", "t:6: expected a text in double quotes, found 'model.py'"),
        (':12 "act"', ':twelve "act"', "t:6: expected a whole number, found 'twelve'"),
        ("store %a -> %y", "store %a %y", "t:7: expected '->', found '%y'"),
        ("store %a -> %y", "store a -> %y", "t:7: expected a value such as %x, found 'a'"),
        ("store %a", "store ?", "t:7: cannot read '?"),
        ("  }\n}\n", "  }\n", "t:8: the text ends too early"),
        ("  }\n}\n", "  }\n}\nand more", "t:10: the text goes on after the program: 'and'"),
    ],
)
def test_error_names_the_line(seen: str, instead: str, message: str) -> None:
    assert PROGRAM.count(seen) == 1
    with pytest.raises(GraphError) as error:
        parse_program(PROGRAM.replace(seen, instead), "t")
    assert message in str(error.value)
