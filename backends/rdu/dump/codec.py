"""Between the planner's dataclasses and plain data for YAML.

A dataclass is a mapping of its fields. What the program already says is referred to, not repeated: values and nodes by
name, stages by number and name (`3 matmul+add`), phases of a section by number.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from backends.rdu.fuse.stages import StageNodes
from backends.rdu.stream.forms import form_with_types
from backends.rdu.stream.nests import NestedStage, Phase
from ir.errors import GraphError, Problem, UsageError
from ir.graph import Graph, Node, Symbol, Value
from ir.types import TensorType
from pef.nest import WHOLE, Slicing

Data = Any
"""What YAML holds: None, booleans, numbers, text, lists, and mappings with text as keys."""


class Codec:
    """Encodes and decodes what is planned about one graph."""

    def __init__(self, graphs: Sequence[Graph], symbols: Sequence[Symbol], stages: Sequence[StageNodes] = ()) -> None:
        self.values = {symbol.name: Value(symbol.name, symbol.type) for symbol in symbols}
        self.values |= {value.name: value for graph in graphs for value in graph.values()}
        self.nodes = {node.results[0].name: node for graph in graphs for node in graph.nodes}
        self.stages = list(stages)
        self.phases: Sequence[Phase] = ()
        self._numbers = {_names(stage): number for number, stage in enumerate(stages)}

    # -- to data ------------------------------------------------------------------------------------------------

    def encode(self, item: Any) -> Data:
        """The data of anything that plans hold."""
        if isinstance(item, Enum):
            return item.value
        if isinstance(item, TensorType):
            return str(item)
        if isinstance(item, Value):
            return item.name
        if isinstance(item, Node):
            return item.results[0].name
        if isinstance(item, StageNodes) and _names(item) in self._numbers:
            return f"{self._numbers[_names(item)]} {item.name}"
        if isinstance(item, NestedStage):
            return self._nested(item)
        if isinstance(item, Phase) and item in self.phases:
            return list(self.phases).index(item)
        if dataclasses.is_dataclass(item):
            return {field.name: self.encode(getattr(item, field.name)) for field in dataclasses.fields(item)}
        if isinstance(item, Mapping):
            return {key: self.encode(value) for key, value in item.items()}
        if isinstance(item, (tuple, list)):
            return [self.encode(part) for part in item]
        return item

    def _nested(self, stage: NestedStage) -> Data:
        """A stage in a nest: of every value, the type in one firing and the axis that each loop cuts."""
        cut = {
            name: f"{tensor} {_axes(slicing)}".rstrip()
            for name, tensor, slicing in zip(stage.names, stage.form.types, stage.slicings)
        }
        accumulated = [stage.names[number] for number in sorted(stage.accumulated)]
        return {"stage": self.encode(stage.stage), "values": cut, "accumulated": accumulated}

    # -- from data ----------------------------------------------------------------------------------------------

    def decode(self, kind: Any, data: Data, where: str) -> Any:
        """The item of type `kind` that `data` stands for. Raises UsageError with the place where there is none."""
        try:
            return self._decoded(kind, data, where)
        except UsageError:
            raise
        except GraphError as error:
            raise UsageError(Problem(error.problems[0].message, where)) from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            shown = repr(data) if len(repr(data)) < 80 else f"{repr(data)[:80]}..."
            raise UsageError(Problem(f"cannot read {shown}: {error}", where)) from error

    def _decoded(self, kind: Any, data: Data, where: str) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            inner = next(argument for argument in arguments if argument is not type(None))
            return None if data is None else self.decode(inner, data, where)
        if origin in (dict, collections.abc.Mapping):
            return {key: self.decode(arguments[1], value, f"{where}.{key}") for key, value in data.items()}
        if origin in (tuple, list, collections.abc.Sequence):
            kinds = arguments if origin is tuple and arguments[-1] is not Ellipsis else [arguments[0]] * len(data)
            parts = [self.decode(k, part, f"{where}[{i}]") for i, (k, part) in enumerate(zip(kinds, data))]
            return parts if origin is list else tuple(parts)
        if kind is TensorType:
            return TensorType.parse(data)
        if kind is Value:
            return self._known(self.values, data, "value", where)
        if kind is Node:
            return self._known(self.nodes, data, "operator that makes", where)
        if kind is StageNodes and isinstance(data, str):
            return self._stage(data, where)
        if kind is NestedStage:
            return self._nested_of(data, where)
        if kind is Phase and isinstance(data, int):
            return self.phases[data]
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, data, where)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(data)
        return _plain(kind, data)

    def _known(self, table: Mapping[str, Any], name: str, what: str, where: str) -> Any:
        if name not in table:
            raise UsageError(Problem(f"the program has no {what} %{name}", where))
        return table[name]

    def _stage(self, label: str, where: str) -> StageNodes:
        number, _, name = label.partition(" ")
        if not number.isdigit() or int(number) >= len(self.stages) or self.stages[int(number)].name != name:
            hint = "stages are named as in the list `stages` of the graph: number and name"
            raise UsageError(Problem(f"there is no stage {label!r}", where, hint))
        return self.stages[int(number)]

    def _nested_of(self, data: Data, where: str) -> NestedStage:
        stage: StageNodes = self.decode(StageNodes, data["stage"], f"{where}.stage")
        outside = NestedStage.of(stage)
        if set(data["values"]) != set(outside.names):
            expected = ", ".join(outside.names)
            raise UsageError(Problem(f"the values of {stage.name} are {expected}", f"{where}.values"))
        tensors, slicings = [], []
        for name in outside.names:
            tensor, _, axes = data["values"][name].partition(" ")
            tensors.append(TensorType.parse(tensor))
            slicings.append(_slicing(axes))
        accumulated = frozenset(outside.numbers[name] for name in data["accumulated"])
        form = form_with_types(outside.form, tensors)
        return NestedStage(stage, outside.names, form, tuple(slicings), accumulated)

    def _dataclass(self, kind: Any, data: Data, where: str) -> Any:
        hints = _hints(kind)
        fields = [field.name for field in dataclasses.fields(kind)]
        wrong = sorted(set(data) ^ set(fields))
        if wrong:
            raise UsageError(Problem(f"expected {', '.join(fields)}; missing or unknown: {', '.join(wrong)}", where))
        return kind(**{name: self.decode(hints[name], data[name], f"{where}.{name}") for name in fields})


def _plain(kind: Any, data: Data) -> Any:
    """A number, a text or a truth value. Raises TypeError for another kind of data."""
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return data
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise TypeError(f"expected {kind.__name__}")
    return data


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _names(stage: StageNodes) -> tuple[str, ...]:
    """What tells a stage of a graph: the results of its nodes."""
    return tuple(node.results[0].name for node in stage.nodes)


def _axes(slicing: Slicing) -> str:
    """The axis that each loop cuts: `0,-,1`."""
    return ",".join("-" if axis == WHOLE else str(axis) for axis in slicing)


def _slicing(text: str) -> Slicing:
    return tuple(WHOLE if axis == "-" else int(axis) for axis in text.split(",")) if text else ()
