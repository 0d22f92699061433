"""Small models that once computed something else than PyTorch, or were refused without need."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.frontend.model_file import ModelSpec
from tests.models.toolchain import compiled, sgd, train_beside_torch

TOLERANCE = 1e-5
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


def rows_that_see_nothing(m: Subject, x: Tensor) -> Tensor:
    """The attention of a sequence padded on the left, by truth values and by numbers."""
    query, key = m.first(x)[None, None], m.second(x)[None, None]
    mask = torch.ones(len(x), len(x), dtype=torch.bool).tril()
    mask[:, :2] = False
    added = torch.zeros(len(x), len(x)).masked_fill(~mask, float("-inf"))
    by_truth = functional.scaled_dot_product_attention(query, key, key, attn_mask=mask)
    by_number = functional.scaled_dot_product_attention(query, key, key + 1, attn_mask=added)
    return by_truth.square().sum() + by_number.square().sum()


@pytest.mark.parametrize("rows", [6, 2048])
@pytest.mark.parametrize("body", [plain_sum, rows_that_see_nothing])
def test_training_equals_pytorch(body: Callable[[Subject, Tensor], Tensor], rows: int) -> None:
    if body is rows_that_see_nothing:
        rows = min(rows, 64)
    torch.manual_seed(5)
    model = Subject(body)
    spec = ModelSpec(model, {"x": torch.randn(rows, 4)}, optimizer=sgd(model.parameters()))
    worst = train_beside_torch(spec, compiled(spec), STEPS)
    assert {name: error for name, error in worst.items() if not error <= TOLERANCE} == {}
