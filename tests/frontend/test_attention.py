"""`scaled_dot_product_attention` with masks, and with keys and values that are no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.frontend.capture import capture
from compiler.frontend.model_file import ModelSpec
from ir.errors import CaptureError
from tests.frontend.reference import compare_inference, compare_training

LENGTH, KEYS, WIDTH = 4, 5, 2
SEEN = torch.tensor([[True, True, False, False, False], [False] * 5, [False, False, True, True, False], [True] * 5])
NUMBERS = torch.zeros(LENGTH, KEYS).masked_fill(~SEEN, float("-inf"))
LATE = torch.tensor([[False, True, True, True, True]] * LENGTH)
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "causal": {"is_causal": True},
    "a mask": {"attn_mask": SEEN},
    "a mask of numbers": {"attn_mask": NUMBERS},
    "both": {"attn_mask": SEEN, "is_causal": True},
    "both, and a row that sees nothing": {"attn_mask": LATE, "is_causal": True},
    "both, of numbers": {"attn_mask": NUMBERS + torch.linspace(-1, 1, KEYS), "is_causal": True},
}


class Attending(nn.Module):
    """Attention of tensors with a weight each."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1.0, 0.5, 1.5]))
        self.options = options

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        tensors = [tensor * weight for tensor, weight in zip((query, key, value), self.weights)]
        return functional.scaled_dot_product_attention(*tensors, **self.options)


def operands(*batch: int) -> dict[str, Tensor]:
    torch.manual_seed(4)
    shapes = {"query": LENGTH, "key": KEYS, "value": KEYS}
    return {name: torch.randn(*batch, length, WIDTH) for name, length in shapes.items()}


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask: str) -> None:
    """PyTorch's fused kernel takes a mask and the causal one; what hides a key in one hides it in both."""
    model, inputs = Attending(**MASKS[mask]), operands(2, 3)
    compare_inference(ModelSpec(model, inputs), capture(ModelSpec(model, inputs), inference=True))
    spec = ModelSpec(model, inputs, torch.optim.SGD(model.parameters(), lr=0.1), loss=lambda y: y.pow(2).mean())
    captured = capture(spec, inference=False)
    compare_training(spec, captured.program, captured.values, steps=2)


@pytest.mark.parametrize("batch", [(2,), ()], ids=["three axes", "two axes"])
def test_a_mask_beside_the_causal_one_needs_the_fused_kernel(batch: tuple[int, ...]) -> None:
    model, inputs = Attending(**MASKS["both"]), operands(*batch)
    with pytest.raises(RuntimeError, match="attn_mask should not be set when is_causal=True"):
        model(**inputs)
    with pytest.raises(CaptureError, match="attn_mask should not be set when is_causal=True"):
        capture(ModelSpec(model, inputs), inference=True)


@pytest.mark.parametrize("what", ["key", "value"])
@pytest.mark.parametrize("place", [1, KEYS - 1])
@pytest.mark.parametrize("batch", [(1, 1), (1,)], ids=["fused", "taken apart"])
@pytest.mark.parametrize("mask", ["none", "causal", "a mask", "a mask of numbers"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_a_mask_hides_may_still_be_no_number(
    what: str, place: int, batch: tuple[int, ...], mask: str, bad: float
) -> None:
    """A mask is added to the scores: a score that is NaN stays one, also in rows that see nothing; only the causal one
    of the fused kernel is written over them."""
    model, inputs = Attending(**MASKS[mask]), operands(*batch)
    inputs[what][..., place, 0] = bad
    spec = ModelSpec(model, inputs)
    with np.errstate(invalid="ignore"):
        compare_inference(spec, capture(spec, inference=True))
