"""What the forward pass saves for the backward pass: the least in bytes and repeated work, and the same numbers."""

from __future__ import annotations

import random
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compiler.frontend.capture import Captured, capture
from compiler.frontend.model_file import ModelSpec
from compiler.frontend.partition import partition
from compiler.frontend.saving import FLOPS_PER_SAVED_BYTE, computed_again, may_repeat
from ir.builder import GraphBuilder
from ir.graph import Graph, SectionKind, SymbolKind, Value
from ir.location import Location
from ir.op import OPS
from ir.types import DType, TensorType
from tests.frontend.reference import compare_training

HERE = Path(__file__)


class Attention(nn.Module):
    """Dropout, attention over scores much larger than what they come from, and a loss."""

    def __init__(self, features: int = 8, p: float = 0.0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(features, features) for _ in range(4))
        self.norm, self.drop = nn.LayerNorm(features), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = self.q(h), self.k(h), self.v(h)
        shares = torch.softmax(q @ k.transpose(1, 2) / 3, -1)
        return self.out(self.drop(nn.functional.gelu(shares @ v))).square().mean()


def trained(model: nn.Module, *shape: int) -> Captured:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    spec = ModelSpec(model, {"x": torch.randn(*shape)}, file=HERE, optimizer=optimizer)
    return capture(spec, inference=False)


def saved(captured: Captured) -> list[TensorType]:
    return [symbol.type for symbol in captured.program.symbols if symbol.kind is SymbolKind.ACTIVATION]


def operators(captured: Captured, kind: SectionKind) -> list[str]:
    graph = captured.program.graph(kind)
    assert graph is not None
    return [node.op.name for node in graph.nodes]


def test_scores_are_computed_again_and_products_with_weights_are_not() -> None:
    captured = trained(Attention(), 2, 64, 8)
    assert saved(captured)
    assert max(type.numel for type in saved(captured)) < 2 * 64 * 64
    forward, backward = (operators(captured, kind) for kind in (SectionKind.FWD, SectionKind.BCKWD))
    assert backward.count("softmax") == 1
    weights, scores, products = 4, 2, forward.count("matmul")
    assert products == weights + scores
    gradients = 2 * products - 0
    assert backward.count("matmul") <= gradients + 1


def test_training_with_recomputation_equals_pytorch() -> None:
    torch.manual_seed(0)
    model = Attention()
    spec = ModelSpec(
        model, {"x": torch.randn(2, 64, 8)}, file=HERE, optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    captured = capture(spec, inference=False)
    assert "softmax" in operators(captured, SectionKind.BCKWD)
    compare_training(spec, captured.program, captured.values)
