"""Small models that once computed something else than PyTorch, or were refused without need."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import SncError
from tests.models.toolchain import compiled, sgd, train_beside_torch

TOLERANCE = 1e-5
LOG = logging.getLogger("tests.hostile")
STEPS = 2


class Subject(nn.Module):
    """Two layers, and a forward given from outside."""

    def __init__(self, body: Callable[[Subject, Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.body(self, x)


def plain_sum(m: Subject, x: Tensor) -> tuple[Tensor, ...]:
    """The gradient of the bias sums up one number that was expanded: no loop cuts what that stage reads or writes."""
    return m.first(x).sum() + m.second(x).square().sum(), x * 3


def read_before_and_after(m: Subject, x: Tensor) -> tuple[Tensor, ...]:
    """A weight that forward changes while others still read what it was: a teacher that follows its student."""
    before = m.second(x)
    slope = (x * x.sigmoid()).detach()
    with torch.no_grad():
        m.second.weight.mul_(0.9).add_(m.first.weight, alpha=0.1)
    after = m.second(slope)
    late = functional.layer_norm(after, (4,)) + after
    return functional.mse_loss(late, x) + before.square().mean() + m.first(x).mean(), after


def rows_that_see_nothing(m: Subject, x: Tensor) -> Tensor:
    """The attention of a sequence padded on the left, by truth values and by numbers."""
    query, key = m.first(x)[None, None], m.second(x)[None, None]
    mask = torch.ones(len(x), len(x), dtype=torch.bool).tril()
    mask[:, :2] = False
    added = torch.zeros(len(x), len(x)).masked_fill(~mask, float("-inf"))
    by_truth = functional.scaled_dot_product_attention(query, key, key, attn_mask=mask)
    by_number = functional.scaled_dot_product_attention(query, key, key + 1, attn_mask=added)
    # Of a sum, the second step would be ten times as large as the weights, and rounding would grow with it.
    return by_truth.square().mean() + by_number.square().mean()


@pytest.mark.parametrize("rows", [6, 2048])
@pytest.mark.parametrize("body", [plain_sum, read_before_and_after, rows_that_see_nothing])
@pytest.mark.parametrize("fuse", [True, False])
def test_training_equals_pytorch(body: Callable[[Subject, Tensor], Tensor], rows: int, fuse: bool) -> None:
    if body is rows_that_see_nothing:
        rows = min(rows, 64)
    torch.manual_seed(5)
    model = Subject(body)
    spec = ModelSpec(model, {"x": torch.randn(rows, 4)}, optimizer=sgd(model.parameters()))
    worst = train_beside_torch(spec, compiled(spec, fuse=fuse), STEPS)
    assert {name: error for name, error in worst.items() if not error <= TOLERANCE} == {}


def unread_bias(m: Subject, x: Tensor) -> Tensor:
    """With beta=0 PyTorch does not read what it would add."""
    nothing = torch.full((len(x), 4), float("nan"))
    return torch.addmm(nothing, m.first(x), m.second.weight, beta=0).square().sum() + m.second(x).sum()


def layers(m: Subject, x: Tensor) -> Tensor:
    return m.second(torch.tanh(m.first(x))).square().mean()


def alignments(m: Subject, x: Tensor) -> Tensor:
    """CTC with a repeated label, a blank among the targets' padding, and a target longer than its input."""
    scores = functional.log_softmax(m.first(x)[:6], -1)[:, None].expand(-1, 2, -1)
    scores = scores * torch.tensor([1.0, 1.1]).view(1, 2, 1)
    targets, lengths = torch.tensor([[1, 2, 2], [3, 1, 0]]), torch.tensor([3, 2])
    loss = functional.ctc_loss(scores, targets, torch.tensor([5, 4]), lengths)
    short = functional.ctc_loss(scores, targets, torch.tensor([5, 1]), lengths, reduction="sum", zero_infinity=True)
    return loss + short + m.second(x).square().mean()


def pooled_in_fractions(m: Subject, x: Tensor) -> Tensor:
    """Fractional pooling whose random numbers are given."""
    places = torch.tensor([[[0.1, 0.7], [0.99, 0.0]]])
    image = torch.stack([m.first(x), m.second(x)])[None]
    pooled, _ = functional.fractional_max_pool2d(
        image, 2, output_size=(3, 2), return_indices=True, _random_samples=places
    )
    return pooled.square().sum()


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.02),
    "decoupled": lambda m: torch.optim.Adam(m.parameters(), lr=0.02, weight_decay=0.5, decoupled_weight_decay=True),
}


def subject(body: Callable[[Subject, Tensor], Tensor], optimizer: str = "sgd", steps: int = 0) -> ModelSpec:
    """A model with an optimizer that has made some steps on the host."""
    torch.manual_seed(5)
    model = Subject(body)
    update = OPTIMIZERS[optimizer](model)
    x = torch.randn(8, 4)
    for _ in range(steps):
        model(x).backward()
        update.step()
        update.zero_grad()
    return ModelSpec(model, {"x": x}, optimizer=update)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_an_optimizer_goes_on_from_the_steps_it_has_made(optimizer: str, steps: int) -> None:
    spec = subject(layers, optimizer, steps)
    worst = train_beside_torch(spec, compiled(spec), STEPS)
    assert {name: error for name, error in worst.items() if not error <= TOLERANCE} == {}


@pytest.mark.parametrize("body", [unread_bias, alignments, pooled_in_fractions])
def test_rare_operators_equal_pytorch(body: Callable[[Subject, Tensor], Tensor]) -> None:
    spec = subject(body)
    worst = train_beside_torch(spec, compiled(spec), STEPS)
    assert {name: error for name, error in worst.items() if not error <= TOLERANCE} == {}


def test_parameters_of_different_steps_are_refused() -> None:
    spec = subject(layers, "adamw", 1)
    assert isinstance(spec.optimizer, torch.optim.Optimizer)
    del spec.optimizer.state[spec.model.first.bias]
    with pytest.raises(SncError, match="parameters differ in the steps they have made: 0, 1"):
        capture(spec, inference=False)


def drawn_by_python(m: Subject, x: Tensor) -> Tensor:
    return m.first(x).sum() * random.random() + m.second(x).sum()


def drawn_by_numpy(m: Subject, x: Tensor) -> Tensor:
    return m.first(x).sum() * float(np.random.rand()) + m.second(x).sum()


def drawn_and_logged(m: Subject, x: Tensor) -> Tensor:
    LOG.info("a call")  # whether anybody listens is remembered by the logger
    return drawn_by_python(m, x)


def drawn_in_vain(m: Subject, x: Tensor) -> Tensor:
    return m.first(x).sum() * (random.random() < 2)


def large_immediate(m: Subject, x: Tensor) -> tuple[Tensor, ...]:
    return m.first(x).sum(), (x.long() * 2654435761) % 97


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (drawn_by_python, "draws random numbers with Python or NumPy"),
        (drawn_by_numpy, "draws random numbers with Python or NumPy"),
        (drawn_and_logged, "draws random numbers with Python or NumPy"),
        (large_immediate, "2654435761 does not fit a whole number of 32 bits"),
    ],
)
def test_what_the_device_would_not_compute_is_refused(body: Callable[[Subject, Tensor], Tensor], why: str) -> None:
    with pytest.raises(SncError, match=why):
        capture(subject(body), inference=False)


def test_numbers_that_are_drawn_in_vain_change_nothing() -> None:
    assert capture(subject(drawn_in_vain), inference=False).program.graphs


class Aliased(nn.Module):
    """Two buffers over one memory, of which one is written."""

    def __init__(self, is_written: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.is_written = is_written
        self.register_buffer("whole", torch.zeros(4))
        self.register_buffer("part", self.whole[1:3])

    def forward(self, x: Tensor) -> Tensor:
        if self.is_written:
            self.whole.add_(1)
        return self.layer(x)[:, :2].mul(self.part).sum()


def test_buffers_that_share_memory_are_refused_where_one_is_written() -> None:
    inputs = {"x": torch.randn(3, 4)}
    assert capture(ModelSpec(Aliased(False), inputs), inference=False).program.graphs
    with pytest.raises(SncError, match="buffer part shares memory with buffer whole"):
        capture(ModelSpec(Aliased(True), inputs), inference=False)
