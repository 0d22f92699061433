"""Results that no stage computes, and tensors that hold nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.model_file import ModelSpec
from ir.errors import UnsupportedError
from tests.models.toolchain import compiled


class Constants(nn.Module):
    """Returns an immediate as it is and as a view; the gradient of what is rounded is one too."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.full((6,), 1.75))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.fc(x) * torch.round(self.scale)
        return y.square().sum(), torch.zeros_like(x), torch.full((3, 4), 2, dtype=torch.int64).t()


@pytest.mark.parametrize("fuse", [True, False])
def test_outputs_and_gradients_that_are_constants(fuse: bool) -> None:
    torch.manual_seed(7)
    result = compiled(ModelSpec(Constants(), {"x": torch.randn(8, 6)}), fuse=fuse)
    session = result.session()
    for name in ("output", "output_1", "scale.grad"):
        session.write(name, np.full(result.program.symbol[name].type.shape, 9, session.read(name).dtype))
    session.run()
    np.testing.assert_array_equal(session.read("output"), np.zeros((8, 6), np.float32))
    np.testing.assert_array_equal(session.read("output_1"), np.full((4, 3), 2))
    np.testing.assert_array_equal(session.read("scale.grad"), np.zeros(6, np.float32))


class Empty(nn.Module):
    """Returns rows, of which there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.fc(x)
        return y.sum(), y[:0]


def test_tensors_without_elements_are_refused_by_line() -> None:
    with pytest.raises(UnsupportedError) as raised:
        compiled(ModelSpec(Empty(), {"x": torch.randn(8, 6)}), inference=True)
    line = Empty.forward.__code__.co_firstlineno + 2
    assert [str(problem) for problem in raised.value.problems] == [
        f"tests/models/test_edges.py:{line}: slice has no elements\n"
        "    try: leave the tensor out: decide by its shape, which is known when compiling"
    ]
