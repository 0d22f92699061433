"""The text form of programs, and its parser: `parse(print_program(p)) == p`.

program @name {
  symbol %image : f32[64,64] input
  graph FWD (%image, %fc.weight) {
    %y = matmul(%image, %fc.weight) {dtype=f32} : f32[64,10] @ "model.py":12 "fc"
    store %y -> %logits
  }
}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TypeVar

from ir.errors import GraphError, Problem
from ir.graph import Graph, Node, Output, Program, SectionKind, Symbol, SymbolKind, Value
from ir.location import Location
from ir.op import OPS, Attribute, Op
from ir.types import DType, TensorType


def print_program(program: Program) -> str:
    """The program as text."""
    lines = [f"program @{program.name} {{"]
    lines += [f"  symbol %{symbol.name} : {symbol.type} {symbol.kind.value}" for symbol in program.symbols]
    for graph in program.graphs:
        lines += ["", *(f"  {line}" for line in graph_lines(graph))]
    return "\n".join([*lines, "}", ""])


def graph_lines(graph: Graph) -> Iterator[str]:
    """One graph as lines of text."""
    name = f"{json.dumps(graph.name)} " if graph.name else ""
    yield f"graph {graph.kind.value} {name}({', '.join('%' + value.name for value in graph.inputs)}) {{"
    for node in graph.nodes:
        yield f"  {print_node(node)}"
    for output in graph.outputs:
        yield f"  store %{output.value.name} -> %{output.symbol}"
    yield "}"


def print_node(node: Node) -> str:
    """One node as a line of text."""
    where = node.location
    place = f"@ {json.dumps(where.file)}:{where.line} {json.dumps(where.module)}"
    place += f" in {json.dumps(where.region)}" if where.region else ""
    return f"{print_computation(node)} {place}"


def print_computation(node: Node) -> str:
    """What a node computes of what, without where the program says so."""
    results = ", ".join(f"%{result.name}" for result in node.results)
    operands = ", ".join(f"%{operand.name}" for operand in node.operands)
    attributes = node.op.attributes()
    shown = f" {{{', '.join(f'{name}={print_attribute(value)}' for name, value in attributes.items())}}}"
    types = ", ".join(str(result.type) for result in node.results)
    return f"{results} = {node.op.name}({operands}){shown if attributes else ''} : {types}"


def print_attribute(value: Attribute) -> str:
    """An attribute value; its text alone tells its kind: true, 3, 1.0, "text", f32, [1,2]."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value) if isinstance(value, DType) else repr(value)


def parse_program(text: str, source: str = "<text>") -> Program:
    """The program that prints as `text`. Raises GraphError with `source` and the line where it cannot be read."""
    return _Parser(text, source).program()


_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<value>%[\w.\-/<>$]+)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<arrow>->)
    |(?P<name>@?[A-Za-z_][\w.\-]*(?:\[[\d,]*\])?)|(?P<number>[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf|nan))|(?P<sign>[{}()\[\],=:@])""",
    re.VERBOSE,
)


Item = TypeVar("Item")
Kind = TypeVar("Kind", bound=Enum)


class _Parser:
    """Recursive descent over a list of tokens."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.tokens: list[tuple[str, int]] = []
        self.position = 0
        offset, line = 0, 1
        while offset < len(text):
            match = _TOKEN.match(text, offset)
            if match is None:
                raise GraphError(Problem(f"cannot read {text[offset : offset + 20]!r}", f"{source}:{line}"))
            if match.lastgroup != "space":
                self.tokens.append((match[0], line))
            line += match[0].count("\n")
            offset = match.end()

    def program(self) -> Program:
        self.expect("program")
        name = self.next()[1:]
        self.expect("{")
        symbols: list[Symbol] = []
        while self.peek() == "symbol":
            symbols.append(self.symbol())
        graphs: list[Graph] = []
        types = {symbol.name: symbol.type for symbol in symbols}
        while self.peek() == "graph":
            graphs.append(self.graph(types))
        self.expect("}")
        if self.peek():
            raise self.error(f"the text goes on after the program: {self.next()!r}")
        return Program(name, tuple(symbols), tuple(graphs))

    def symbol(self) -> Symbol:
        self.expect("symbol")
        name = self.value_name()
        self.expect(":")
        return Symbol(name, self.tensor_type(), self.member(SymbolKind))

    def graph(self, symbols: dict[str, TensorType]) -> Graph:
        self.expect("graph")
        kind = self.member(SectionKind)
        name = self.string() if self.peek().startswith('"') else ""
        values: dict[str, Value] = {}
        inputs = []
        for symbol in self.listing("(", self.value_name, ")"):
            if symbol not in symbols:
                raise self.error(f"%{symbol} is not a symbol")
            values[symbol] = Value(symbol, symbols[symbol])
            inputs.append(values[symbol])
        self.expect("{")
        nodes = []
        while self.peek() not in ("store", "}"):
            nodes.append(self.node(values))
            values.update({result.name: result for result in nodes[-1].results})
        outputs = []
        while self.peek() == "store":
            self.expect("store")
            value = self.known(values)
            self.expect("->")
            outputs.append(Output(self.value_name(), value))
        self.expect("}")
        return Graph(kind, tuple(inputs), tuple(nodes), tuple(outputs), name)

    def node(self, values: dict[str, Value]) -> Node:
        names = [self.value_name()]
        while self.peek() == ",":
            self.next()
            names.append(self.value_name())
        self.expect("=")
        op_name = self.next()
        if op_name not in OPS:
            raise self.error(f"there is no operator {op_name!r}")
        operands = self.listing("(", lambda: self.known(values), ")")
        attributes = dict(self.listing("{", self.attribute, "}")) if self.peek() == "{" else {}
        self.expect(":")
        types = [self.tensor_type()]
        while self.peek() == ",":
            self.next()
            types.append(self.tensor_type())
        if len(types) != len(names):
            raise self.error(f"{len(names)} result(s) have {len(types)} type(s)")
        self.expect("@")
        file = self.string()
        self.expect(":")
        location = Location(file, self.integer(), self.string(), self.region())
        return Node(self.make(OPS[op_name], attributes), tuple(operands), tuple(map(Value, names, types)), location)

    def region(self) -> str:
        """The region that a location ends with, if it does."""
        if self.peek() != "in":
            return ""
        self.expect("in")
        return self.string()

    def make(self, op: type[Op], attributes: dict[str, Attribute]) -> Op:
        try:
            return op(**attributes)
        except TypeError as error:
            raise self.error(f"operator {op.name}: {error}") from error

    def attribute(self) -> tuple[str, Attribute]:
        name = self.next()
        self.expect("=")
        return name, self.attribute_value()

    def attribute_value(self) -> Attribute:
        if self.peek() == "[":
            return tuple(self.listing("[", self.integer, "]"))
        if self.peek().startswith('"'):
            return self.string()
        text = self.next()
        if text in ("true", "false"):
            return text == "true"
        if text in DType._value2member_map_:
            return DType(text)
        try:
            return int(text)
        except ValueError:
            return self.floating(text)

    def floating(self, text: str) -> float:
        try:
            return float(text)
        except ValueError as error:
            raise self.error(f"{text!r} is not an attribute value") from error

    def integer(self) -> int:
        text = self.next()
        try:
            return int(text)
        except ValueError as error:
            raise self.error(f"expected a whole number, found {text!r}") from error

    def string(self) -> str:
        text = self.next()
        if not text.startswith('"'):
            raise self.error(f"expected a text in double quotes, found {text!r}")
        try:
            return str(json.loads(text))
        except json.JSONDecodeError as error:
            raise self.error(f"{text} is not a text: {error.msg}") from error

    def tensor_type(self) -> TensorType:
        text = self.next()
        try:
            return TensorType.parse(text)
        except GraphError as error:
            raise self.error(error.problems[0].message) from error

    def known(self, values: dict[str, Value]) -> Value:
        name = self.value_name()
        if name not in values:
            raise self.error(f"%{name} is not defined")
        return values[name]

    def value_name(self) -> str:
        text = self.next()
        if not text.startswith("%"):
            raise self.error(f"expected a value such as %x, found {text!r}")
        return text[1:]

    def member(self, kinds: type[Kind]) -> Kind:
        text = self.next()
        try:
            return kinds(text)
        except ValueError as error:
            raise self.error(str(error)) from error

    def listing(self, opening: str, item: Callable[[], Item], closing: str) -> list[Item]:
        self.expect(opening)
        items = []
        while self.peek() != closing:
            items.append(item())
            if self.peek() == ",":
                self.next()
        self.expect(closing)
        return items

    def peek(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def next(self) -> str:
        if self.position == len(self.tokens):
            raise self.error("the text ends too early")
        self.position += 1
        return self.tokens[self.position - 1][0]

    def expect(self, text: str) -> None:
        found = self.next()
        if found != text:
            raise self.error(f"expected {text!r}, found {found!r}")

    def error(self, message: str) -> GraphError:
        line = self.tokens[min(self.position, len(self.tokens)) - 1][1] if self.tokens else 1
        return GraphError(Problem(message, f"{self.source}:{line}"))
