"""What the forward pass saves for the backward pass: the least in bytes and repeated work, and the same numbers."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from networkx.algorithms.flow import boykov_kolmogorov
from torch import Tensor, nn

from compiler.driver import LEVELS, CompileRequest
from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.contraction import source_side
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.partition import partition
from compiler.frontend.saving import FLOPS_PER_SAVED_BYTE, computed_again, may_repeat, work
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir import interpreter
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, SymbolKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from tests.frontend.reference import compare_training

HERE = Path(__file__)


class Attention(nn.Module):
    """Attention over scores much larger than what they come from, dropout, and a loss."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.norm, self.drop = nn.LayerNorm(8), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = self.q(h), self.k(h), self.v(h)
        shares = torch.softmax(q @ k.transpose(1, 2) / 3, -1)
        return self.out(self.drop(nn.functional.gelu(shares @ v))).square().mean()


def spec_of(model: nn.Module, *shape: int) -> ModelSpec:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    name = "x" if isinstance(model, Attention) else "input"
    return ModelSpec(model, {name: torch.randn(*shape)}, file=HERE, optimizer=optimizer)


def captured(model: nn.Module, *shape: int) -> Captured:
    return capture(spec_of(model, *shape), inference=False)


class Residuals(nn.Module):
    """Blocks of a convolution, batch norm and a residual connection; each activation is larger than all weights."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(8, 8, 1, bias=False) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(blocks))

    def forward(self, input: Tensor) -> Tensor:
        x = input
        for convolution, norm in zip(self.convolutions, self.norms):
            x = torch.relu(norm(convolution(x)) + x)
        return x.square().mean()


def saved(program: Captured) -> list[TensorType]:
    return [symbol.type for symbol in program.program.symbols if symbol.kind is SymbolKind.ACTIVATION]


def operators(program: Captured, kind: SectionKind) -> list[str]:
    graph = program.program.graph(kind)
    assert graph is not None
    return [node.op.name for node in graph.nodes]


def test_attention_scores_are_computed_again() -> None:
    program = captured(Attention(), 2, 64, 8)
    assert saved(program)
    assert max(type.numel for type in saved(program)) < 2 * 64 * 64
    assert operators(program, SectionKind.BCKWD).count("softmax") == 1


class Pooled(nn.Module):
    """The largest pixels of a parameter, and of a part of another."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.other = (nn.Parameter(torch.randn(1, 4, 32, 32)) for _ in range(2))

    def forward(self, input: Tensor) -> Tensor:
        largest = nn.functional.max_pool2d(self.image, 4)
        return (largest * input * self.other[..., :8, :8].exp()).sum()


def test_positions_of_what_is_not_read_anyway_are_saved() -> None:
    """They are a small part of the images that finding them again would read. Reading a part of a symbol costs no more
    than that part: it is not saved."""
    program = captured(Pooled(), 1, 4, 8, 8)
    assert "max_pool2d" not in operators(program, SectionKind.BCKWD)
    assert DType.I8 in {type.dtype for type in saved(program)}
    assert "exp" in operators(program, SectionKind.BCKWD)


class Joined(nn.Module):
    """Two convolutions' results side by side, and a convolution of them."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.Conv2d(4, 8, 1) for _ in range(2))
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, input: Tensor) -> Tensor:
        left, right = torch.relu(self.left(input)), torch.relu(self.right(input))
        return self.last(torch.cat([left, right, left], 1)[:, :16]).square().mean() + (left * right).mean()


def test_what_is_joined_is_joined_again() -> None:
    """The parts are saved for their own readers: joining them costs no more than reading them."""
    program = captured(Joined(), 2, 4, 16, 16)
    assert "cat" in operators(program, SectionKind.BCKWD)
    assert max(type.shape[1] for type in saved(program) if type.rank == 4) == 8


class Sorted(nn.Module):
    """Sorted rows, weighted by place."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))

    def forward(self, input: Tensor) -> Tensor:
        return (torch.sort(torch.tanh(input * self.weight), dim=-1).values * torch.arange(64.0)).sum()


def test_orders_are_saved() -> None:
    program = captured(Sorted(), 4, 64)
    assert "sort" not in operators(program, SectionKind.BCKWD)


def test_products_with_weights_are_not_computed_again() -> None:
    model = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 8), nn.GELU(), nn.Flatten(0))
    model.append(nn.Linear(32, 1))
    program = captured(model, 4, 8)
    backward = program.program.graph(SectionKind.BCKWD)
    assert backward is not None
    assert operators(program, SectionKind.BCKWD).count("gelu") == 2
    made = {result.name for node in backward.nodes if node.op.name == "matmul" for result in node.results}
    forward = program.program.graph(SectionKind.FWD)
    assert forward is not None
    assert made.isdisjoint(value.name for value in forward.values())
    assert sorted(type.shape for type in saved(program)) == [(4, 8), (4, 64)]


def test_where_sections_are_operators_nothing_but_views_is_made_again() -> None:
    spec = spec_of(Attention(0.1), 2, 64, 8)
    program = capture(spec, inference=False, recompute=False)
    forward, backward = (program.program.graph(kind) for kind in (SectionKind.FWD, SectionKind.BCKWD))
    assert forward is not None and backward is not None
    made = {result.name for node in forward.nodes for result in node.results}
    assert all(node.op.is_free for node in backward.nodes if node.results[0].name in made)
    assert (2, 64, 64) in [type.shape for type in saved(program)]
    assert [CompileRequest("m.py", level=level).recomputes() for level in LEVELS] == [False, False, True]


def test_training_with_repeated_work_equals_pytorch() -> None:
    spec = spec_of(Attention(), 2, 64, 8)
    program = capture(spec, inference=False)
    assert "softmax" in operators(program, SectionKind.BCKWD)
    compare_training(spec, program.program, program.values)


def test_masks_drawn_again_are_the_same_masks() -> None:
    """The backward pass draws with the step from before the forward pass counted it, which is what is saved."""
    torch.manual_seed(0)
    model = nn.Dropout(0.5)
    x = torch.randn(64, 32, requires_grad=True)
    program = capture(ModelSpec(model, {"input": x}, file=HERE, every_gradient=True), inference=False)
    assert [type.shape for type in saved(program)] == [()]
    assert "keep_mask" in operators(program, SectionKind.BCKWD)
    symbols = {**program.values, "output.grad": np.ones((64, 32), np.float32)}
    masks = []
    for _ in range(3):
        for graph in program.program.graphs:
            symbols.update(interpreter.run(graph, symbols))
        np.testing.assert_array_equal(symbols["input.grad"] != 0, symbols["output"] != 0)
        masks.append(symbols["output"] != 0)
    assert not np.array_equal(masks[0], masks[1])


def test_views_are_made_where_they_are_read() -> None:
    """The larger value before a view is not saved in its place, nor the view beside it."""
    b = GraphBuilder(SectionKind.FWD)
    b.location = Location("m.py", 1)
    w, x = b.input("w", f32(4, 4)), b.input("x", f32(4, 4))
    y = b.add(OPS["matmul"](DType.F32), x, w)
    turned = b.add(OPS["permute"](dims=(1, 0)), y)
    b.output("loss", b.add(OPS["sum"](dims=(0, 1), keepdim=False), turned))
    b.output("w.grad", b.add(OPS["matmul"](DType.F32), turned, b.add(OPS["mul"](), y, y)))
    split = partition(b.build(), ["loss"])
    assert [symbol.name for symbol in split.activations] == [y.name]


def test_outputs_are_not_saved_twice() -> None:
    b = GraphBuilder(SectionKind.FWD)
    b.location = Location("m.py", 1)
    w, x = b.input("w", f32(4, 4)), b.input("x", f32(4, 4))
    y = b.add(OPS["matmul"](DType.F32), x, w)
    b.output("y", y)
    b.output("w.grad", b.add(OPS["mul"](), y, b.add(OPS["exp"](), y)))
    split = partition(b.build(), ["y"])
    assert split.activations == ()
    assert [value.name for value in split.backward.inputs] == ["y"]


def test_repeated_work_stands_right_before_its_first_reader() -> None:
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(8, 8), nn.GELU())))
    model.extend([nn.Flatten(0), nn.Linear(64, 1)])
    program = captured(model, 8, 8)
    forward, backward = (program.program.graph(kind) for kind in (SectionKind.FWD, SectionKind.BCKWD))
    assert forward is not None and backward is not None
    names = {result.name for node in forward.nodes for result in node.results}
    repeated = [index for index, node in enumerate(backward.nodes) if node.op.name == "gelu"]
    assert len(repeated) == 4
    assert all(backward.nodes[index].results[0].name in names for index in repeated)
    assert repeated[-1] > len(backward.nodes) / 2


def test_what_is_saved_is_deterministic() -> None:
    first, second = (captured(Attention(0.1), 2, 64, 8).program for _ in range(2))
    assert first.symbols == second.symbols
    assert [graph.nodes for graph in first.graphs] == [graph.nodes for graph in second.graphs]


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def random_graph(seed: int) -> tuple[Graph, list[Value]]:
    """A graph of products, elementwise operators, reductions and views on 16 x 16 tensors and parts of them, and some
    values that gradients read."""
    draw = random.Random(seed)
    b = GraphBuilder(SectionKind.FWD)
    b.location = Location("m.py", 1)
    values = [b.input(name, f32(16, 16)) for name in ("w", "x")]
    for _ in range(9):
        kind = draw.choice(["matmul", "matmul", "exp", "tanh", "add", "slice", "layer_norm", "sum"])
        x = draw.choice(values)
        if kind == "matmul":
            values.append(b.add(OPS["matmul"](DType.F32), x, values[draw.randrange(2)]))
        elif kind == "add":
            y = draw.choice([value for value in values if value.type == x.type])
            values.append(b.add(OPS["add"](), x, y))
        elif kind == "slice" and x.type.shape[0] > 4:
            values.append(b.add(OPS["slice"](dim=0, start=0, stop=4, step=1), x))
        elif kind == "layer_norm":
            row = b.input("row", f32(16))
            values.append(b.add_all(OPS["layer_norm"](axes=1, eps=1e-5), x, row, row)[0])
        elif kind == "sum":
            total = b.add(OPS["sum"](dims=(0,), keepdim=True), x)
            values.append(b.add(OPS["add"](), x, total))
        elif kind in ("exp", "tanh"):
            values.append(b.add(OPS[kind](), x))
    graph = b.build()
    made = [result for node in graph.nodes for result in node.results]
    return graph, draw.sample(made, min(3, len(made)))


def price(graph: Graph, read: list[Value], again: set[str]) -> int:
    """What it costs, in operations, to have the values read when those in `again` are computed again."""
    pending, paid, total = list(read), set[str](), 0
    inputs = {value.name for value in graph.inputs}
    while pending:
        value = pending.pop()
        node = graph.producers.get(value.name)
        if value.name in paid:
            continue
        paid.add(value.name)
        if node is None:
            total += value.type.nbytes * FLOPS_PER_SAVED_BYTE // 2
            continue
        if value.name in again and node.op.name == "slice" and node.operands[0].name in inputs:
            total += value.type.nbytes * FLOPS_PER_SAVED_BYTE // 2
            continue
        if value.name not in again:
            total += value.type.nbytes * FLOPS_PER_SAVED_BYTE
            continue
        paid.update(result.name for result in node.results)
        total += work(node)
        pending += node.operands
    return total


@pytest.mark.parametrize("seed", range(40))
def test_the_cut_is_the_cheapest_of_all_choices(seed: int) -> None:
    graph, read = random_graph(seed)
    free = [node for node in graph.nodes if may_repeat(node, graph)]
    choices = (
        {result.name for node, is_in in zip(free, chosen) if is_in for result in node.results}
        for chosen in product((False, True), repeat=len(free))
    )
    found = computed_again(graph, read, {value.name for value in graph.inputs}, may_repeat)
    assert price(graph, read, found) == min(price(graph, read, again) for again in choices)


def test_a_deep_transformer_is_cut_whole() -> None:
    """Every layer's scores are computed again, not those of the first few alone."""
    layers = [nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True, norm_first=True) for _ in range(3)]
    model = nn.Sequential(*layers, nn.Flatten(0), nn.Linear(2 * 64 * 8, 1))
    program = captured(model, 2, 64, 8)
    PassManager(standard_pipeline("mp0")).run(program.program)
    assert operators(program, SectionKind.BCKWD).count("softmax") == 3
    assert all(type.numel <= 2 * 64 * 24 for type in saved(program))


@pytest.mark.parametrize("blocks", [2, 5])
def test_every_second_join_along_residual_connections_is_saved(blocks: int) -> None:
    whole = [tensor for tensor in saved(captured(Residuals(blocks), 4, 8, 16, 16)) if tensor.shape == (4, 8, 16, 16)]
    assert len(whole) == blocks + (blocks - 1) // 2


def random_network(seed: int) -> nx.DiGraph:
    """A small network in which no way from end to end is without a price."""
    pick = random.Random(seed)
    count = pick.randint(1, 12)
    network = nx.DiGraph()
    network.add_nodes_from(["source", "sink", *range(count)])
    for _ in range(pick.randint(1, 3 * count)):
        giver, taker = pick.choice(["source", *range(count)]), pick.choice(["sink", *range(count)])
        if giver != taker and (giver, taker) != ("source", "sink"):
            network.add_edge(
                giver, taker, **({"capacity": pick.choice([0, 1, 2, 3, 5])} if pick.random() < 0.75 else {})
            )
    free = nx.DiGraph((a, b) for a, b, arc in network.edges(data=True) if "capacity" not in arc)
    if "source" in free and "sink" in free and nx.has_path(free, "source", "sink"):
        return random_network(seed + 10_000)
    return network


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_a_contracted_network_is_cut_in_the_same_place(start: int) -> None:
    for seed in range(start, start + 100):
        network = random_network(seed)
        whole = boykov_kolmogorov(network, "source", "sink").graph["trees"][0]
        assert source_side(network.copy(), "source", "sink") == set(whole), seed


def test_a_chain_leaves_nothing_to_search() -> None:
    network = nx.DiGraph()
    for number in range(2000):
        network.add_edge("source", number, capacity=1)
        network.add_edge(number, number + 1, capacity=100 + number % 7)
    network.add_edge(2000, "sink")
    side = source_side(network, "source", "sink")
    assert set(network) == {"source", "sink"}
    assert side == {"source", *range(1996)}
