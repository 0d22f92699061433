"""Views that become tensors: which do, that no number changes, and that their readers stream."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn

import ir.ops  # noqa: F401  (declares the operators)
from backends.rdu.fuse.views import with_views_made
from compiler.frontend.model_file import ModelSpec
from ir import interpreter
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from tests.models.toolchain import compiled

ROWS, WORDS = 256, 512
FLOAT, INDEX = TensorType(DType.F32, (ROWS, WORDS)), TensorType(DType.I32, (ROWS + 1,))


def builder() -> GraphBuilder:
    made = GraphBuilder(SectionKind.FWD)
    made.location = Location("model.py", 1, "", "")
    return made


def shifted(b: GraphBuilder, index: Value) -> Value:
    return b.add(OPS["slice"](dim=0, start=1, stop=ROWS + 1, step=1), index)


def part(b: GraphBuilder, value: Value, number: int) -> Value:
    half = WORDS // 2
    return b.add(OPS["slice"](dim=1, start=number * half, stop=(number + 1) * half, step=1), value)


def copies(graph: Graph) -> list[str]:
    """The views that get a copy. The graph with copies says the same."""
    after = with_views_made(graph)
    rng = np.random.default_rng(0)
    values = {
        value.name: rng.integers(0, WORDS, value.type.shape, np.int32)
        if value.type.dtype is DType.I32
        else rng.standard_normal(value.type.shape, np.float32)
        for value in graph.inputs
    }
    expected, found = interpreter.run(graph, values), interpreter.run(after, values)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    kinds = Counter(node.op.name for node in after.nodes) - Counter(node.op.name for node in graph.nodes)
    made = [node.operands[0].name for node in after.nodes if node.results[0].name.endswith(".made")]
    assert kinds == ({"cast": len(made)} if made else {})
    return made


def test_a_slice_of_labels_is_made_before_something_large_goes_by_it() -> None:
    b = builder()
    likelihood = b.add(OPS["nll"](ignore_index=-100), b.input("logits", FLOAT), shifted(b, b.input("labels", INDEX)))
    b.output("loss", likelihood)
    assert copies(b.build()) == ["slice"]


def test_a_slice_beside_tensors_of_its_size_stays_a_view() -> None:
    b = builder()
    b.output("sum", b.add(OPS["add"](), part(b, b.input("x", FLOAT), 0), part(b, b.input("x", FLOAT), 1)))
    assert copies(b.build()) == []


def test_half_of_a_result_is_made_once_where_several_read_it() -> None:
    b = builder()
    whole = b.add(OPS["exp"](), b.input("x", FLOAT))
    several, single = part(b, whole, 0), part(b, whole, 1)
    b.output("a", b.add(OPS["neg"](), several))
    b.output("b", b.add(OPS["tanh"](), several))
    b.output("c", b.add(OPS["neg"](), single))
    assert copies(b.build()) == [several.name]


class ShiftedLoss(nn.Module):
    """The likelihood of every next word, as language models compute it: the labels are padded, then sliced."""

    def __init__(self, shift: bool) -> None:
        super().__init__()
        self.shift = shift
        self.head = nn.Linear(32, 1024, bias=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        if self.shift:
            labels = nn.functional.pad(labels, (0, 1), value=-100)[..., 1:]
        return nn.functional.cross_entropy(self.head(x), labels)


def test_a_loss_over_shifted_labels_writes_no_more_to_memory() -> None:
    moved = {}
    for shift in (False, True):
        inputs = {"x": torch.randn(128, 32), "labels": torch.randint(1024, (128,))}
        made = compiled(ModelSpec(ShiftedLoss(shift), inputs, name="loss"), inference=True)
        sections = [section.execution for section in made.session().run_timing().sections]
        moved[shift] = sum(sum(section.read_bytes) + sum(section.write_bytes) for section in sections)
    logits = 4 * 128 * 1024
    assert moved[True] - moved[False] < logits / 16
