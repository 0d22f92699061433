"""Tables whose rows are kept short: `Embedding(max_norm)` writes into the rows that it looks up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.model_file import ModelSpec
from tests.models.toolchain import compiled, sgd, train_beside_torch


class Bounded(nn.Module):
    """Rows of a table, some of them longer than one, and a loss."""

    def __init__(self, bag: bool, norm_type: float) -> None:
        super().__init__()
        kind = nn.EmbeddingBag if bag else nn.Embedding
        self.table = kind(10, 4, max_norm=1.0, norm_type=norm_type)
        with torch.no_grad():
            self.table.weight.mul_(torch.linspace(0.1, 3, 10)[:, None])

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.table(ids)
        return rows.square().sum() + rows.sum(), rows


@pytest.mark.parametrize(("bag", "norm_type"), [(False, 2.0), (False, 1.0), (True, 2.0)])
def test_rows_are_bounded_as_in_pytorch(bag: bool, norm_type: float) -> None:
    torch.manual_seed(3)
    model = Bounded(bag, norm_type)
    ids = torch.tensor([[1, 9, 9], [7, 0, 8]])
    spec = ModelSpec(model, {"ids": ids}, optimizer=sgd(model.parameters()), name="bounded")
    worst = train_beside_torch(spec, compiled(spec), steps=3)
    assert {name: error for name, error in worst.items() if error > 1e-5} == {}


def test_what_is_not_looked_up_stays() -> None:
    torch.manual_seed(3)
    model = Bounded(False, 2.0)
    before = model.table.weight.detach().clone().numpy()
    result = compiled(ModelSpec(model, {"ids": torch.tensor([9, 2])}, name="bounded"), inference=True)
    session = result.session()
    session.run()
    after = session.read("table.weight")
    kept = [row for row in range(10) if row not in (9, 2)]
    np.testing.assert_array_equal(after[kept], before[kept])
    assert np.linalg.norm(before[9]) > 1.5 and abs(np.linalg.norm(after[9]) - 1) < 1e-5
