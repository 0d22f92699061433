"""Capture of small models: structure, names, locations, and equality with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.frontend.assemble import Captured
from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec, load_model
from compiler.pass_manager import PassManager
from compiler.passes import standard_pipeline
from ir.graph import SectionKind, SymbolKind
from ir.types import DType
from tests.frontend.reference import compare_inference, compare_training, run

HERE = Path(__file__)
EXAMPLES = HERE.parents[2] / "examples"


def spec_of(model: nn.Module, *inputs: Tensor, sgd: dict[str, Any] | None = None, **rest: Any) -> ModelSpec:
    """A model defined in this file, with inputs x0, x1 and so on, and SGD."""
    names = list(model.forward.__code__.co_varnames[1 : 1 + len(inputs)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **(sgd or {}))
    return ModelSpec(model, dict(zip(names, inputs)), optimizer, file=HERE, **rest)


def train(spec: ModelSpec) -> Captured:
    """Capture for training and compare, as captured and improved, with PyTorch."""
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values)
    improved = PassManager(standard_pipeline("mp0")).run(captured.program)
    compare_training(spec, improved, captured.values, steps=1)
    return captured


class Applied(nn.Module):
    """A function of a learned tensor and the input, averaged to a loss."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(*shape))

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x, self.weight)
        return (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).mean()


FUNCTIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "linear": (functional.linear, (2, 3, 4), (5, 4)),
    "matmul4d": (lambda x, w: x @ w.transpose(-1, -2), (2, 3, 4, 5), (2, 3, 6, 5)),
    "matvec": (torch.mv, (4, 5), (5,)),
    "broadcast": (lambda x, w: x * w + w / 2 - x, (3, 4), (4,)),
    "rsub": (lambda x, w: 1 - w * x, (3, 4), (4,)),
    "powers": (lambda x, w: (w * x) ** 2 + (w.abs() + 1) ** -0.5 + w**3, (3,), (3,)),
    "softmax": (lambda x, w: torch.softmax(x * w, 1), (3, 4, 2), (2,)),
    "log_softmax": (lambda x, w: torch.log_softmax(x + w, -1), (3, 4), (4,)),
    "logsumexp": (lambda x, w: torch.logsumexp(x + w, -1), (3, 4), (4,)),
    "gelu": (lambda x, w: functional.gelu(x * w), (3, 4), (4,)),
    "gelu_tanh": (lambda x, w: functional.gelu(x * w, approximate="tanh"), (3, 4), (4,)),
    "silu": (lambda x, w: functional.silu(x * w), (3, 4), (4,)),
    "leaky_relu": (lambda x, w: functional.leaky_relu(x * w, 0.2), (3, 4), (4,)),
    "elu": (lambda x, w: functional.elu(x * w), (3, 4), (4,)),
    "softplus": (lambda x, w: functional.softplus(x * w), (3, 4), (4,)),
    "hardtanh": (lambda x, w: functional.hardtanh(x * w), (3, 4), (4,)),
    "relu6": (lambda x, w: functional.relu6(3 * x * w), (3, 4), (4,)),
    "hardswish": (lambda x, w: functional.hardswish(3 * x * w), (3, 4), (4,)),
    "mish": (lambda x, w: functional.mish(x * w), (3, 4), (4,)),
    "clamp": (lambda x, w: (x * w).clamp(-0.5, 0.7), (3, 4), (4,)),
    "cumsum": (lambda x, w: torch.cumsum(x * w, 1), (3, 5, 2), (2,)),
    "mean": (lambda x, w: (x * w).mean((0, 2)), (3, 4, 2), (2,)),
    "var": (lambda x, w: (x * w).var(-1), (3, 4), (4,)),
    "std_mean": (lambda x, w: torch.std_mean(x * w, 0)[0], (3, 4), (4,)),
    "max": (lambda x, w: (x * w).amax(1), (3, 4), (4,)),
    "norm": (lambda x, w: functional.normalize(x * w, dim=-1), (3, 4), (4,)),
    "slice": (lambda x, w: (x * w)[:, 1:3], (3, 4), (4,)),
    "select": (lambda x, w: (x * w)[:, 2], (3, 4), (4,)),
    "assign": (lambda x, w: _assigned(x * w), (3, 4), (4,)),
    "cat": (lambda x, w: torch.cat([x, w.expand(2, 4), x * w], 0), (3, 4), (4,)),
    "stack": (lambda x, w: torch.stack([x, x * w], 1), (3, 4), (4,)),
    "chunk": (lambda x, w: torch.mul(*(x * w).chunk(2, -1)), (3, 4), (4,)),
    "repeat": (lambda x, w: (x * w).repeat(2, 3), (3, 4), (4,)),
    "pad": (lambda x, w: functional.pad(x * w, (1, 2, 0, 1)), (3, 4), (4,)),
    "pad_around": (lambda x, w: functional.pad(x * w, (-1, 2, 1, -1), mode="circular"), (2, 3, 4, 5), (5,)),
    "interpolate": (lambda x, w: functional.interpolate(x * w, scale_factor=1.5, mode="linear"), (2, 3, 4), (4,)),
    "masked_scatter": (lambda x, w: (x * w).masked_scatter(x > 0, w.repeat(3)), (3, 4), (4,)),
    "masked_fill": (lambda x, w: (x * w).masked_fill(x > 0, 2.0), (3, 4), (4,)),
    "where": (lambda x, w: torch.where(x > w, x, w), (3, 4), (4,)),
    "rotate": (lambda x, w: torch.cat([-(x * w)[..., 2:], (x * w)[..., :2]], -1).sin(), (3, 4), (4,)),
    "attention": (lambda x, w: functional.scaled_dot_product_attention(x * w, x, x + w), (2, 2, 5, 4), (4,)),
    "grouped_attention": (
        lambda x, w: functional.scaled_dot_product_attention(x * w, x[:, :2], x[:, 2:] + w, enable_gqa=True),
        (2, 4, 5, 4),
        (4,),
    ),
    "conv": (lambda x, w: functional.conv2d(x, w, stride=2, padding=1), (2, 3, 7, 7), (4, 3, 3, 3)),
    "conv_groups": (lambda x, w: functional.conv2d(x, w, groups=2, dilation=2), (2, 4, 7, 7), (4, 2, 3, 3)),
    "conv1d": (lambda x, w: functional.conv1d(x, w, stride=2, padding=1), (2, 3, 9), (4, 3, 3)),
    "conv_transposed": (
        lambda x, w: functional.conv_transpose2d(x, w, None, (3, 2), (1, 2), (2, 3), 1, (4, 4)),
        (2, 3, 4, 4), (3, 2, 4, 5),
    ),
    "max_pool": (lambda x, w: functional.max_pool2d(x * w, 3, 2, 1), (2, 3, 7, 7), (7,)),
    "avg_pool": (lambda x, w: functional.avg_pool2d(x * w, 2), (2, 3, 6, 6), (6,)),
    "adaptive_pool": (lambda x, w: functional.adaptive_avg_pool2d(x * w, 3), (2, 3, 6, 6), (6,)),
    "global_pool": (lambda x, w: functional.adaptive_avg_pool2d(x * w, 1), (2, 3, 6, 6), (6,)),
    "layer_norm": (lambda x, w: functional.layer_norm(x, (3, 4), w), (2, 3, 4), (3, 4)),
    "rms_norm": (lambda x, w: functional.rms_norm(x, (4,), w), (3, 4), (4,)),
    "group_norm": (lambda x, w: functional.group_norm(x, 2, w), (2, 4, 3, 3), (4,)),
    "instance_norm": (lambda x, w: functional.instance_norm(x, weight=w), (2, 4, 3, 3), (4,)),
    "einsum": (lambda x, w: torch.einsum("bij,jk->bki", x, w), (2, 3, 4), (4, 5)),
    "mse": (lambda x, w: functional.mse_loss(x * w, x), (3, 4), (4,)),
    "l1": (lambda x, w: functional.l1_loss(x * w, x), (3, 4), (4,)),
    "smooth_l1": (lambda x, w: functional.smooth_l1_loss(x * w, x), (3, 4), (4,)),
    "bce": (lambda x, w: functional.binary_cross_entropy_with_logits(x * w, torch.sigmoid(x)), (3, 4), (4,)),
    "bce_probabilities": (
        lambda x, w: functional.binary_cross_entropy(torch.sigmoid(x * w), torch.sigmoid(x)), (3, 4), (4,),
    ),
    "kl_div": (
        lambda x, w: functional.kl_div(torch.log_softmax(x * w, 1), torch.softmax(x, 1), reduction="batchmean"),
        (3, 4), (4,),
    ),
}  # fmt: skip


def _assigned(x: Tensor) -> Tensor:
    x = x + 0
    x[1, 1:] = 3.0
    x[:, 0] *= 2
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    torch.manual_seed(0)
    function, input_shape, weight_shape = FUNCTIONS[name]
    train(spec_of(Applied(function, *weight_shape), torch.randn(*input_shape)))


class Normalized(nn.Module):
    """Convolution, batch norm, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.flat = nn.BatchNorm1d(2, affine=False)
        self.head = nn.Linear(6, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.act(self.norm(self.conv(image))).mean((2, 3))
        return (self.head(torch.cat([features, self.flat(image.mean((2, 3)))], 1)) ** 2).mean()


def test_batch_norm_training_moves_running_statistics() -> None:
    torch.manual_seed(1)
    captured = train(spec_of(Normalized(), torch.randn(6, 2, 7, 7)))
    program = captured.program
    assert program.symbol["norm.running_mean"].kind is SymbolKind.BUFFER
    forward = program.graph(SectionKind.FWD)
    assert forward is not None
    stored = {output.symbol for output in forward.outputs}
    assert {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "flat.running_var"} <= stored


def test_batch_norm_inference_and_frozen() -> None:
    torch.manual_seed(1)
    model = Normalized()
    model(torch.randn(6, 2, 7, 7))
    spec = spec_of(model, torch.randn(6, 2, 7, 7))
    compare_inference(spec, capture(spec, inference=True))
    model.eval()
    captured = train(spec)
    forward = captured.program.graph(SectionKind.FWD)
    assert forward is not None
    assert all(program_kind(captured, output.symbol) is not SymbolKind.BUFFER for output in forward.outputs)


def program_kind(captured: Captured, name: str) -> SymbolKind:
    """The kind of a symbol."""
    return captured.program.symbol[name].kind


class Classifier(nn.Module):
    """Embedded tokens to classes."""

    def __init__(self, **loss: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6, padding_idx=3)
        self.head = nn.Linear(6, 5)
        self.criterion = nn.CrossEntropyLoss(**loss)

    def forward(self, tokens: Tensor, label: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.table(tokens).sum(1))
        loss = self.criterion(logits, label)
        return {"loss": loss.sum(), "logits": logits}


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"ignore_index": 2},
        {"weight": torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]), "ignore_index": 1},
        {"label_smoothing": 0.1},
    ],
)
def test_cross_entropy_and_embedding(loss: dict[str, Any]) -> None:
    torch.manual_seed(2)
    tokens, label = torch.randint(9, (6, 4)), torch.tensor([0, 1, 2, 3, 4, 2])
    captured = train(spec_of(Classifier(**loss), tokens, label))
    assert [s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT] == ["loss", "logits"]
    assert captured.program.symbol["tokens"].type.dtype is DType.I32


class Tied(nn.Module):
    """One weight under two names, one frozen weight, one unused weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.frozen(self.second(torch.tanh(self.first(x))))
        return (y**2).mean(), y


def test_tied_frozen_and_unused_parameters() -> None:
    captured = train(spec_of(Tied(), torch.randn(3, 4), sgd={"momentum": 0.9, "weight_decay": 0.1}))
    names = {s.name for s in captured.program.symbols if s.kind is SymbolKind.GRADIENT}
    assert names == {"first.weight.grad", "first.bias.grad", "second.bias.grad"}
    assert "second.weight" not in captured.program.symbol
    assert "output" in captured.program.symbol
    assert "momentum" in captured.program.symbol


def test_momentum_of_zero_keeps_no_state() -> None:
    captured = train(spec_of(Tied(), torch.randn(3, 4), sgd={"weight_decay": 0.1}))
    assert not [s for s in captured.program.symbols if s.kind is SymbolKind.STATE]
    assert "momentum" not in captured.program.symbol


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_parameter_groups(kind: Any) -> None:
    model = Tied()
    groups = [
        {"params": [model.first.weight], "lr": 0.01, "weight_decay": 0.2},
        {"params": [model.first.bias, model.second.bias], "lr": 0.003, "weight_decay": 0.0},
    ]
    spec = ModelSpec(model, {"x": torch.randn(3, 4)}, kind(groups), file=HERE)
    captured = train(spec)
    assert {"lr", "lr.1", "weight_decay.1"} <= set(captured.program.symbol)
    assert captured.values["lr.1"] == np.float32(0.003)


def test_loss_outside_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    spec = ModelSpec(
        model,
        {"input": torch.randn(5, 4)},
        optimizer,
        loss=nn.CrossEntropyLoss(),
        file=HERE,
        targets={"label": torch.randint(3, (5,))},
    )
    captured = train(spec)
    assert [s.name for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT] == ["loss", "output"]
    assert {s.name for s in captured.program.symbols if s.kind is SymbolKind.INPUT} == {"input", "label"}
    assert "0.weight.grad" in captured.program.symbol


def test_without_a_loss_every_output_is_differentiated() -> None:
    spec = spec_of(nn.Linear(4, 3), torch.randn(5, 4))
    program = capture(spec, inference=False).program
    assert program.symbol["output.grad"].kind is SymbolKind.OUTPUT_GRADIENT
    assert program.symbol["output.grad"].type.shape == (5, 3)


def test_constants_are_computed_when_compiling() -> None:
    def function(x: Tensor, w: Tensor) -> Tensor:
        mask = torch.ones(4, 4).tril() * torch.arange(4.0)
        return x * w * mask + torch.tensor([1.0, 2.0, 3.0, 4.0]) + torch.zeros(4)

    captured = train(spec_of(Applied(function, 4), torch.randn(4, 4)))
    constants = [s for s in captured.program.symbols if s.kind is SymbolKind.CONSTANT]
    assert sorted(s.type.shape for s in constants) == [(4,), (4, 4), (4, 4)]


class Written(nn.Module):
    """A tensor made without content, of which a part is written."""

    def forward(self, x: Tensor) -> Tensor:
        written = torch.empty(4, 3)
        written[:2] = x
        return written + torch.empty_like(x, dtype=torch.float32).sum() * 0


def test_memory_that_was_not_initialised_holds_zeros() -> None:
    kept = [torch.full((4, 3), 7.0) for _ in range(8)]  # what the allocator would hand out again
    del kept
    x = torch.randn(2, 3)
    captured = capture(ModelSpec(Written(), {"x": x}, file=HERE), inference=True)
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    (found,) = (symbols[s.name] for s in captured.program.symbols if s.kind is SymbolKind.OUTPUT)
    np.testing.assert_array_equal(found, np.concatenate((x.numpy(), np.zeros((2, 3), np.float32))))


def test_bf16_model() -> None:
    model = nn.Linear(4, 3).bfloat16()
    captured = capture(spec_of(model, torch.randn(5, 4).bfloat16()), inference=True)
    assert captured.program.symbol["weight"].type.dtype is DType.BF16
    assert captured.values["weight"].dtype == np.float32
    symbols = dict(captured.values)
    run(captured.program.graphs, symbols)
    expected = model(torch.from_numpy(captured.values["input"]).bfloat16()).float().detach().numpy()
    np.testing.assert_allclose(symbols["output"], expected, rtol=2e-2, atol=2e-2)


def test_every_node_has_a_real_location() -> None:
    file = EXAMPLES / "transformer.py"
    program = capture(load_model(f"{file}:tiny", 2), inference=False).program
    modules = {name for name, _ in load_model(f"{file}:tiny", 2).model.named_modules()}
    lines = file.read_text().splitlines()
    for graph in program.graphs:
        for node in graph.nodes:
            where = node.location
            if graph.kind in (SectionKind.FWD, SectionKind.BCKWD):
                assert where.file == "transformer.py"
                assert lines[where.line - 1].strip()
                assert where.module in modules
            else:
                assert where.file in ("<adamw>", "<clip_grad_norm>")


def test_locations_of_known_modules() -> None:
    file = EXAMPLES / "transformer.py"
    program = capture(load_model(f"{file}:tiny", 2), inference=False).program
    lines = file.read_text().splitlines()
    places = {
        (graph.kind, node.op.name, node.location.module): lines[node.location.line - 1].strip()
        for graph in program.graphs[:2]
        for node in graph.nodes
    }
    forward, backward = SectionKind.FWD, SectionKind.BCKWD
    projected = "return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))"
    attended = "mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)"
    assert places[forward, "matmul", "layers.1.attn.proj"] == projected
    assert places[backward, "matmul", "layers.1.attn.proj"] == projected
    assert places[forward, "softmax", "layers.0.attn"] == attended
    assert places[backward, "softmax_backward", "layers.0.attn"] == attended
    assert places[backward, "layer_norm_backward", "layers.0.norm1"] == "x = x + self.attn(self.norm1(x))"
    assert places[backward, "index_add", "token"].startswith("x = self.token(tokens)")
